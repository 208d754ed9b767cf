//! Flags with a name and a value.

use serde_json::{Map, Value, json};

/// A name and its value.
pub type Pair = (String, String);

/// The pairs as an object; the values of a repeated name are a list.
pub fn map(pairs: &[Pair]) -> Value {
    let mut map = Map::new();
    for (name, value) in pairs {
        let all = pairs.iter().filter(|(other, _)| other == name);
        let value = match all.clone().count() {
            1 => json!(value),
            _ => json!(all.map(|(_, value)| value).collect::<Vec<_>>()),
        };
        map.insert(name.clone(), value);
    }
    Value::Object(map)
}

/// `NAME=VALUE`.
pub fn assignment(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}
