//! YAML as JSON. Pure.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads YAML. Numbers that are too large for JSON become floats, since descriptions
/// use them only as bounds.
pub fn parse(text: &str) -> Result<Value, String> {
    let read: Result<Loose, _> = serde_yaml_ng::from_str(text);
    read.map(|Loose(value)| value).map_err(|error| error.to_string())
}

struct Loose(Value);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Loose, D::Error> {
        from.deserialize_any(Any).map(Loose)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok((value as f64).into())
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok((value as f64).into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Loose(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((Loose(key), Loose(value))) = entries.next_entry()? {
            // Statuses are often numbers.
            let key = match key {
                Value::String(key) => key,
                // As a text, nested maps would double with each level.
                Value::Object(_) | Value::Array(_) => {
                    return Err(A::Error::custom("a map or a list is the key of a map"));
                }
                other => other.to_string(),
            };
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_without_an_equivalent_in_json_is_read() {
        let text = "200: {a: [1, -2, 1.5, yes, ~, true]}\nleast: -9223372036854776000\n";
        let read = parse(text).unwrap();
        assert_eq!(read["200"], json!({"a": [1, -2, 1.5, "yes", null, true]}));
        assert_eq!(read["least"], json!(-9_223_372_036_854_776_000_f64));
        assert!(parse("a: [").is_err());
        let maps = format!("{}a{}", "{".repeat(40), "}".repeat(40));
        assert!(parse(&maps).unwrap_err().contains("the key of a map"));
    }
}
