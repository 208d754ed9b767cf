//! Flags that give a name and a value each.

use serde_json::{Map, Value, json};

/// A name and what it stands for.
pub type Pair = (String, String);

/// The pairs as an object.
pub fn map(pairs: &[Pair]) -> Value {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)));
    Value::Object(pairs.collect::<Map<_, _>>())
}

/// `NAME=VALUE`.
pub fn assignment(text: &str) -> Result<Pair, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().into(), value.into())),
        _ => Err("write NAME=VALUE".into()),
    }
}
