//! The keys that an answer has, near a path that leads to nothing. Pure.

use serde_json::Value;

use super::document::value_of;
use super::paths::{Path, kind};
use super::{AnswerContext, ExtractionMethod, Extractor};

/// Maximum number of keys that are named.
const MAX_KEYS: usize = 60;

impl Extractor {
    /// The keys that this answer has where the path of a value leads to nothing; of a value
    /// with another program, those of the whole answer. None if the answer is not JSON.
    #[must_use]
    pub fn keys_near(
        &self,
        name: &str,
        body: &[u8],
        context: &AnswerContext<'_>,
    ) -> Option<String> {
        let body = value_of(body, context)?;
        let index = self.wanted.iter().position(|wanted| wanted.name == name)?;
        let (place, found) = match &self.method {
            ExtractionMethod::Paths(scanner) => scanner.path(index)?.deepest(&body),
            ExtractionMethod::Jq(_) => (Path::default().to_string(), &body),
        };
        Some(describe(&place, found))
    }
}

/// The keys of a whole answer. None if it is not JSON.
pub fn keys_of(body: &[u8], context: &AnswerContext<'_>) -> Option<String> {
    let body = value_of(body, context)?;
    Some(describe(&Path::default().to_string(), &body))
}

/// The keys of the value at this place.
fn describe(place: &str, value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => format!("{place} has no keys"),
        Value::Object(fields) => {
            let names: Vec<&str> = fields.keys().map(String::as_str).take(MAX_KEYS).collect();
            let more = match fields.len().saturating_sub(MAX_KEYS) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{place} has the keys {}{more}", names.join(", "))
        }
        Value::Array(items) => match items.first() {
            None => format!("{place} is an empty list"),
            Some(first @ Value::Object(_)) => {
                let place = if place == "." { ".[0]".to_owned() } else { format!("{place}[0]") };
                format!("a list of {} stands there: {}", items.len(), describe(&place, first))
            }
            Some(first) => format!("{place} is a list, of {}, and so on", kind(first)),
        },
        other => format!("{place} is {}", kind(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(program: &str, body: &str) -> Option<String> {
        Extractor::of_one("x", program).unwrap().keys_near(
            "x",
            body.as_bytes(),
            &AnswerContext::default(),
        )
    }

    #[test]
    fn the_keys_are_those_where_the_path_ends() {
        let body = r#"{"quotes": [{"price": 1, "name": "a"}], "error": null, "none": []}"#;
        for (program, expected) in [
            (".quotes[0].prize", ".quotes[0] has the keys price, name"),
            (".quote[0].price", ". has the keys quotes, error, none"),
            (".quotes.price", "a list of 1 stands there: .quotes[0] has the keys price, name"),
            (".quotes[0].price.x", ".quotes[0].price is a number"),
            (".none[0].x", ".none is an empty list"),
            (".error.x", ". has the keys quotes, error, none"),
            (".quotes | .[0].prize", ". has the keys quotes, error, none"),
        ] {
            assert_eq!(keys(program, body).as_deref(), Some(expected), "{program}");
        }
        assert_eq!(
            keys(".x", "[{\"y\": 1}]").unwrap(),
            "a list of 1 stands there: .[0] has the keys y"
        );
        assert_eq!(keys(".x", "<html>"), None);
    }
}
