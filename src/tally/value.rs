//! JSON values as numbers and as texts.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The place of a value in a record.
#[derive(Debug, Clone)]
pub(super) enum ValuePath {
    /// Among the extracted values.
    Extracted(usize),
    /// Among the fields of the input.
    Field(String),
}

impl ValuePath {
    /// Looks among the extracted values first.
    pub(super) fn of(name: &str, values: &[String]) -> ValuePath {
        match values.iter().position(|value| value == name) {
            Some(index) => ValuePath::Extracted(index),
            None => ValuePath::Field(name.to_owned()),
        }
    }

    /// The value at this place; none if it is absent or null.
    pub(super) fn get<'a>(
        &self,
        values: &'a [Value],
        fields: &'a Map<String, Value>,
    ) -> Option<&'a Value> {
        let found = match self {
            ValuePath::Extracted(index) => values.get(*index),
            ValuePath::Field(name) => fields.get(name),
        };
        found.filter(|value| !value.is_null())
    }
}

/// The value as a number, also if it is a text with a number, as in CSV cells.
pub(crate) fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

/// A text unchanged, and other values as JSON, written into `scratch`.
pub(crate) fn text<'a>(value: &'a Value, scratch: &'a mut String) -> &'a str {
    if let Value::String(text) = value {
        return text;
    }
    scratch.clear();
    // Writing to a String cannot fail.
    let _ = write!(scratch, "{value}");
    scratch
}

/// The first characters of a text.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    let end = text.char_indices().nth(max);
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_with_a_number_is_a_number() {
        for (value, expected) in [
            (json!(1.5), Some(1.5)),
            (json!(" 1.5 "), Some(1.5)),
            (json!("1e3"), Some(1000.0)),
            (json!(""), None),
            (json!("NaN"), None),
            (json!("inf"), None),
            (json!(true), None),
            (json!([1]), None),
        ] {
            assert_eq!(number(&value), expected, "{value}");
        }
    }

    #[test]
    fn extracted_values_come_before_fields() {
        let mut fields = Map::new();
        fields.insert("a".into(), json!("field"));
        fields.insert("b".into(), json!("field"));
        let names = ["a".to_owned()];
        let get = |name| ValuePath::of(name, &names).get(&[json!(1)], &fields).cloned();
        assert_eq!(get("a"), Some(json!(1)));
        assert_eq!(get("b"), Some(json!("field")));
        assert_eq!(get("c"), None);
    }

    #[test]
    fn any_value_has_a_text() {
        let mut scratch = String::new();
        for (value, expected) in [(json!("a"), "a"), (json!(1), "1"), (json!(["a"]), "[\"a\"]")] {
            assert_eq!(text(&value, &mut scratch), expected);
        }
    }
}
