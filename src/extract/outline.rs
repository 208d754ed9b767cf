//! The paths of a JSON document, each with a value, for people who look for one. Pure.

use serde_json::{Map, Value};

use super::AnswerContext;
use super::document::value_of;

/// A path of a document, and the beginning of its value.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlineEntry {
    /// As jq has it: `.items[0].name`.
    pub path: String,
    /// The value as JSON, or what a list or an object holds.
    pub value: String,
}

/// Maximum nesting of an outline.
const MAX_DEPTH: usize = 8;

/// The paths to all values of a body, of a list those of its first item; at most this number
/// of them, and the number of those that are left out. None if the body is not JSON.
#[must_use]
pub fn outline(
    body: &[u8],
    context: &AnswerContext<'_>,
    max: usize,
) -> Option<(Vec<OutlineEntry>, usize)> {
    let body = value_of(body, context)?;
    let mut all = Vec::new();
    add("", &body, MAX_DEPTH, &mut all);
    let more = all.len().saturating_sub(max);
    all.truncate(max);
    Some((all, more))
}

fn add(path: &str, value: &Value, depth: usize, all: &mut Vec<OutlineEntry>) {
    let shown = match value {
        Value::Object(fields) if !fields.is_empty() && depth > 0 => {
            return add_fields(path, fields, depth, all);
        }
        Value::Array(items) if depth > 0 && !items.is_empty() => {
            if items.len() > 1 {
                let value = format!("a list of {}; its first item is", items.len());
                all.push(OutlineEntry { path: named(path), value });
            }
            let first = format!("{}[0]", if path.is_empty() { "." } else { path });
            return add(&first, &items[0], depth - 1, all);
        }
        Value::Object(fields) if !fields.is_empty() => format!("{} keys", fields.len()),
        other => other.to_string(),
    };
    all.push(OutlineEntry { path: named(path), value: shown });
}

fn add_fields(path: &str, fields: &Map<String, Value>, depth: usize, all: &mut Vec<OutlineEntry>) {
    for (name, value) in fields {
        add(&format!("{path}{}", key(path, name)), value, depth - 1, all);
    }
}

/// The step to a key; a name that is no identifier stands in quotes.
fn key(path: &str, name: &str) -> String {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.chars().all(is_of_name) {
        format!(".{name}")
    } else {
        let dot = if path.is_empty() { "." } else { "" };
        format!("{dot}[{}]", Value::from(name))
    }
}

fn named(path: &str) -> String {
    if path.is_empty() { ".".to_owned() } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::Program;
    use crate::extract::document::to_jq;

    #[test]
    fn every_path_of_an_outline_leads_to_its_value() {
        let body = r#"{"a": {"b c": [1, 2], "d": null}, "list": [{"id": "x"}, {"id": "y"}], "e": [], "f": {}}"#;
        let (entries, more) = outline(body.as_bytes(), &AnswerContext::default(), 100).unwrap();
        let shown: Vec<(&str, &str)> =
            entries.iter().map(|entry| (&*entry.path, &*entry.value)).collect();
        assert_eq!(
            shown,
            [
                (".a[\"b c\"]", "a list of 2; its first item is"),
                (".a[\"b c\"][0]", "1"),
                (".a.d", "null"),
                (".list", "a list of 2; its first item is"),
                (".list[0].id", "\"x\""),
                (".e", "[]"),
                (".f", "{}"),
            ]
        );
        assert_eq!(more, 0);
        let input = to_jq(serde_json::from_str(body).unwrap());
        for (path, value) in shown.into_iter().filter(|(_, value)| !value.starts_with("a list")) {
            let found = Program::new(path).unwrap().run(&input).unwrap();
            assert_eq!(found.to_string(), value, "{path}");
        }
    }

    #[test]
    fn an_outline_is_bounded_and_only_of_json() {
        assert_eq!(outline(b"[1, 2]", &AnswerContext::default(), 1).unwrap().1, 1);
        assert_eq!(outline(b"7", &AnswerContext::default(), 9).unwrap().0[0].path, ".");
        assert!(outline(b"<html>", &AnswerContext::default(), 9).is_none());
        let deep = format!("{}1{}", "{\"a\":".repeat(50), "}".repeat(50));
        assert_eq!(
            outline(deep.as_bytes(), &AnswerContext::default(), 9).unwrap().0[0].value,
            "1 keys"
        );
        let lists = outline(b"[[7]]", &AnswerContext::default(), 9).unwrap().0;
        assert_eq!(lists[0].path, ".[0][0]");
    }
}
