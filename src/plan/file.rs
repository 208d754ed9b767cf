//! Reads the settings of a job file; an error names the line and the key.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::diagnostics::{Mistake, by_json, by_toml, helpful};
use super::{Job, Layers, legacy};
use crate::error::Error;
use crate::format::json;

impl Job {
    /// Reads a job file: TOML, JSON with the same keys, or the older JSON form.
    ///
    /// # Errors
    /// That the file can't be read, or the line and the key that are wrong.
    pub fn read(path: &str) -> Result<Job, Error> {
        Layers::read(path)?.job()
    }

    /// Parses the text of a job file; `name` decides on the syntax, and is named in errors.
    ///
    /// # Errors
    /// The line and the key that are wrong, and what was meant if that can be guessed.
    pub fn parse(name: &str, text: &str) -> Result<Job, Error> {
        Layers::parse(name, text)?.job()
    }
}

impl Layers {
    /// Reads the settings of a job file.
    ///
    /// # Errors
    /// As for [`Job::read`].
    pub fn read(path: &str) -> Result<Layers, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let text = format!("the job file {path} can't be read: {error}");
            Error::job_file(path, None, text).caused_by(error)
        })?;
        Layers::parse(path, &text)
    }

    /// Parses the settings of a job file.
    ///
    /// # Errors
    /// As for [`Job::parse`].
    pub fn parse(name: &str, text: &str) -> Result<Layers, Error> {
        let is_json = Path::new(name).extension().is_some_and(|end| end == "json")
            || text.trim_start().starts_with('{');
        let tree = if is_json {
            legacy::parse(text).unwrap_or_else(|| parse_json(text))
        } else {
            parse_toml(text)
        };
        let tree = tree.map_err(|Mistake { line, text }| {
            Error::job_file(name, Some(line), format!("{name}, {text}"))
        })?;
        Ok(Layers::of(tree))
    }
}

impl Layers {
    /// The settings of a tree that a program has made, with `name` in errors.
    ///
    /// # Errors
    /// The key that is wrong, and what was meant if that can be guessed.
    pub fn of_program(name: &str, tree: Value) -> Result<Layers, Error> {
        check(name, &tree)?;
        Ok(Layers::of(tree))
    }

    /// Checks the settings that a program has made, with `name` in errors.
    ///
    /// # Errors
    /// As for [`Layers::of_program`].
    pub(crate) fn check(&self, name: &str) -> Result<(), Error> {
        check(name, self.tree())
    }
}

fn check(name: &str, tree: &Value) -> Result<(), Error> {
    let mut path = serde_path_to_error::Track::new();
    let job = Job::deserialize(serde_path_to_error::Deserializer::new(tree, &mut path));
    job.map_err(|error| {
        let place = match path.path().to_string() {
            path if path == "." => String::new(),
            path => format!(", {path}"),
        };
        Error::plan(format!("{name}{place}: {}", helpful(&error.to_string())))
    })?;
    Ok(())
}

/// A job is read from the text itself, so that an error has a line; only its tree is kept,
/// which tells what is written out from what is the default.
fn parse_json(text: &str) -> Result<Value, Mistake> {
    let exact = json::with_long_numbers(text.as_bytes()).and_then(|it| String::from_utf8(it).ok());
    let text = exact.as_deref().unwrap_or(text);
    serde_json::from_str::<Job>(text).map_err(by_json)?;
    serde_json::from_str(text).map_err(by_json)
}

fn parse_toml(text: &str) -> Result<Value, Mistake> {
    let wrong = |error| by_toml(text, &error);
    toml::from_str::<Job>(text).map_err(wrong)?;
    toml::from_str(text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, text: &str) -> String {
        Job::parse(name, text).unwrap_err().to_string()
    }

    #[test]
    fn toml_and_json_have_the_same_keys() {
        let toml =
            "[request]\nurl = \"http://h/\"\n[limit]\nrate = \"3/1s\"\n[extract]\n\"a?\" = \".a\"";
        let json = r#"{"request": {"url": "http://h/"}, "limit": {"rate": ["3/1s"]}, "extract": {"a?": ".a"}}"#;
        assert_eq!(Job::parse("j.toml", toml).unwrap(), Job::parse("j.json", json).unwrap());
    }

    #[test]
    fn a_wrong_key_is_shown_with_its_line_and_what_was_meant() {
        let toml = error("job.toml", "[input]\nfile = \"a.csv\"\n\n[limits]\nrate = \"3/1s\"");
        assert!(toml.starts_with("job.toml, line 4: unknown field `limits`"), "{toml}");
        assert!(toml.ends_with("did you mean `limit`?"), "{toml}");
        let json = error("job.json", "{\"input\":\n{\"fiel\": \"a.csv\"}}");
        assert!(json.starts_with("job.json, line 2, column 7: unknown field `fiel`"), "{json}");
        assert!(json.ends_with("did you mean `file`?"), "{json}");
    }

    #[test]
    fn a_wrong_value_is_shown_with_its_line() {
        for (text, what) in [
            (
                "[limit]\nrate = \"0/5s\"",
                "line 2: \"0/5s\" is not a rate: a rate of 0 would never send",
            ),
            ("[limit]\nrate = 22", "line 2: rate is a text such as \"22/5s\""),
            ("[limit]\nguard = \"strickt\"", "line 2: unknown variant `strickt`, expected"),
            ("[input]\nfile = a.csv", "line 2: "),
            ("[send]\n\ntimeout = \"soon\"", "line 3: "),
        ] {
            let error = error("j.toml", text);
            assert!(error.starts_with(&format!("j.toml, {what}")), "{error}");
        }
    }
}
