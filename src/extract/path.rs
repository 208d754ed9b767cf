//! A plain path such as `.quotes[0].price`, followed without jq. Pure.

use serde_json::Value;

/// The steps of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    steps: Vec<PathStep>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum PathStep {
    /// The field of this name.
    Key(String),
    /// The item at this index, from the end if negative.
    Index(i64),
}

impl Path {
    /// The path, if the program is one of names and whole numbers alone.
    pub fn parse(program: &str) -> Option<Path> {
        let mut rest = program.trim();
        let mut steps = Vec::new();
        if !rest.starts_with('.') {
            return None;
        }
        if rest == "." {
            return Some(Path { steps });
        }
        while !rest.is_empty() {
            let (step, after) = next_step(rest, steps.is_empty())?;
            steps.push(step);
            rest = after;
        }
        Some(Path { steps })
    }

    /// The first step, and the path from there.
    pub fn split_first(&self) -> Option<(&PathStep, Path)> {
        let (first, rest) = self.steps.split_first()?;
        let steps = rest.to_vec();
        Some((first, Path { steps }))
    }

    /// The value at the path; null where jq gives null, an error where jq gives one.
    pub fn walk<'a>(&self, body: &'a Value) -> Result<&'a Value, String> {
        self.steps.iter().try_fold(body, |value, step| match step {
            PathStep::Key(key) => by_key(value, key),
            PathStep::Index(index) => by_index(value, *index),
        })
    }
}

/// The step of `.name`, `[3]`, or `.[3]`, and the text after it.
fn next_step(text: &str, first: bool) -> Option<(PathStep, &str)> {
    let dotted = text.strip_prefix('.');
    if first && dotted.is_none() {
        return None;
    }
    if let Some(inside) = dotted.unwrap_or(text).strip_prefix('[') {
        let (index, after) = inside.split_once(']')?;
        return Some((PathStep::Index(index.parse().ok()?), after));
    }
    let name = dotted?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    let (name, after) = name.split_at(end);
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_name.then(|| (PathStep::Key(name.to_owned()), after))
}

fn by_key<'a>(value: &'a Value, key: &str) -> Result<&'a Value, String> {
    match value {
        Value::Object(fields) => Ok(fields.get(key).unwrap_or(&Value::Null)),
        Value::Null => Ok(value),
        _ => Err(not_an_object(key, kind(value))),
    }
}

fn by_index(value: &Value, index: i64) -> Result<&Value, String> {
    match value {
        Value::Array(items) => {
            let from_start = match index {
                0.. => usize::try_from(index).ok(),
                _ => usize::try_from(-index).ok().and_then(|back| items.len().checked_sub(back)),
            };
            Ok(from_start.and_then(|at| items.get(at)).unwrap_or(&Value::Null))
        }
        // In jq an object may have a number as a key, so this is no error.
        Value::Null | Value::Object(_) => Ok(&Value::Null),
        _ => Err(not_a_list(index, kind(value))),
    }
}

/// The error of a field of a value that is no object.
pub fn not_an_object(key: &str, kind: &str) -> String {
    format!("cannot take .{key} of {kind}")
}

/// The error of an item of a value that is no list.
pub fn not_a_list(index: i64, kind: &str) -> String {
    format!("cannot take [{index}] of {kind}")
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::super::jq::{JqInput, Program};
    use super::*;

    #[test]
    fn a_path_gives_what_jq_gives() {
        let body = json!({"a": {"b": [1, {"c": "x"}, null]}, "_": 3, "n": 1.50});
        for path in [
            ".",
            ".a",
            ".a.b",
            ".a.b[0]",
            ".a.b.[1]",
            ".a.b[1].c",
            ".a.b[-1]",
            ".a.b[-9]",
            ".a.b[7]",
            ".a.b[2].x[0]",
            "._",
            ".none",
            ".none.more",
            ".n",
            ".a[0]",
            "._.x",
            ".a.b.c",
        ] {
            let direct = Path::parse(path).unwrap().walk(&body).cloned();
            let by_jq = Program::new(path).unwrap().run(&JqInput::deserialize(&body).unwrap());
            assert_eq!(direct.ok(), by_jq.ok(), "{path}");
        }
    }

    #[test]
    fn what_is_more_than_a_path_is_left_to_jq() {
        for program in [
            "", "a", ".a | .b", ".[]", ".a?", ".\"a b\"", "..", ".a-b", ".[0:2]", ".a.", ".0a",
            "[0]",
        ] {
            assert_eq!(Path::parse(program), None, "{program}");
        }
    }
}
