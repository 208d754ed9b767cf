//! Errors in a job file: their line, and the name that was probably meant. Pure.

/// What is wrong with a text, and the line, counted from 1, where it is.
#[derive(Debug)]
pub(super) struct Mistake {
    pub line: usize,
    /// The line and what is wrong there.
    pub text: String,
}

pub(super) fn by_json(error: serde_json::Error) -> Mistake {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(&*text, |(what, _)| what);
    let line = error.line();
    Mistake { line, text: format!("line {line}, column {}: {}", error.column(), helpful(what)) }
}

pub(super) fn by_toml(text: &str, error: &toml::de::Error) -> Mistake {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    Mistake { line, text: format!("line {line}: {}", helpful(error.message().trim())) }
}

/// What a deserializer expects, and the words for it that a user of a job file knows.
const EXPECTED: [(&str, &str); 13] = [
    (
        "invalid type: map, expected a sequence",
        "there may be several of these: write its name in two brackets, [[ ]]",
    ),
    ("expected usize", "expected a whole number, 0 or more"),
    ("expected u64", "expected a whole number, 0 or more"),
    ("expected u32", "expected a whole number, 0 or more"),
    ("expected a nonzero u64", "expected a whole number, 1 or more"),
    ("expected a duration", "expected a duration in quotes, such as \"30s\""),
    ("expected parsable string", "expected a size in quotes, such as \"10MiB\""),
    ("expected a sequence", "expected a list in brackets, [ ]"),
    ("expected a map", "expected a table"),
    ("expected struct Settings", "expected a table"),
    ("expected string or map", "expected a text in quotes"),
    ("wanted string or table", "expected a text in quotes"),
    ("expected a string", "expected a text in quotes"),
];

/// The error in a user's words; for an unknown field with the name that was meant.
pub(super) fn helpful(what: &str) -> String {
    for (technical, plain) in EXPECTED {
        if let Some(before) = what.strip_suffix(technical) {
            return format!("{before}{plain}");
        }
    }
    let mut names = what.split('`').skip(1).step_by(2);
    let suggestion = names
        .next()
        .filter(|_| what.starts_with("unknown "))
        .and_then(|wrong| closest(wrong, names));
    match suggestion {
        Some(right) => format!("{what}; did you mean `{right}`?"),
        None => what.to_owned(),
    }
}

/// The name that is most similar to `wrong`, if any is similar.
pub(crate) fn closest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| {
        if name.eq_ignore_ascii_case(wrong) { 0 } else { strsim::damerau_levenshtein(wrong, name) }
    };
    names
        .map(|name| (distance(name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().max(wrong.len()) / 3)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Job;

    #[test]
    fn what_is_expected_is_said_in_the_words_of_a_job() {
        for (text, expected) in [
            ("[workers]\ncount = -1", "expected a whole number, 0 or more"),
            ("[retry]\nretries = 1.5", "expected a whole number, 0 or more"),
            ("[output]\nparts = 0", "expected a whole number, 1 or more"),
            (
                "[send]\ntimeout = 30",
                "line 2: invalid type: integer `30`, expected a duration in quotes, such as \"30s\"",
            ),
            ("[send]\ntimeout = \"soon\"", "expected a duration in quotes, such as \"30s\""),
            ("[send]\nmax-body = \"10 apples\"", "expected a size in quotes, such as \"10MiB\""),
            (
                "[step]\nrequest.url = \"http://h/\"",
                "line 1: there may be several of these: write its name in two brackets, [[ ]]",
            ),
            ("[[refusal]]\nstatus = 429", "expected a list in brackets, [ ]"),
            ("[request]\nheaders = 1", "expected a table"),
            ("retry = 3", "invalid type: integer `3`, expected a table"),
            ("[limit]\nguard = 7", "line 2: expected a text in quotes"),
            ("[input]\nfile = 1", "expected a text in quotes"),
        ] {
            let error = Job::parse("j.toml", text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_same_in_other_letters_is_the_closest() {
        let names = ["IT", "id"];
        assert_eq!(closest("ID", names.into_iter()), Some("id"));
        assert_eq!(closest("symbol", names.into_iter()), None);
    }
}
