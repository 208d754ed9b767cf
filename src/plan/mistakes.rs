//! Where a job file is wrong, and what was probably meant. Pure.

pub(super) fn by_json(error: serde_json::Error) -> String {
    let text = error.to_string();
    let what = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(what, _)| what);
    format!(
        "line {}, column {}: {}",
        error.line(),
        error.column(),
        helpful(what)
    )
}

pub(super) fn by_toml(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.get(..start).unwrap_or_default().matches('\n').count() + 1;
    format!("line {line}: {}", helpful(error.message().trim()))
}

/// Adds to "unknown field" what was probably meant.
fn helpful(what: &str) -> String {
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

/// The name that is most like `wrong`, if any is.
pub(super) fn closest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len().max(wrong.len()) / 3)
        .min()
        .map(|(_, name)| name)
}
