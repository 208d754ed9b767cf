//! The values that nobody may see: where a text holds one, `***` stands instead. Pure.

use std::fmt;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Shorter values are not hidden: they would blank out half of every text.
const SHORTEST: usize = 4;

/// What RFC 3986 reserves, and what a strict encoder leaves alone.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The secret values of a job. It can't be printed.
#[derive(Clone, Default)]
pub struct Secrets {
    hidden: Vec<String>,
}

impl Secrets {
    /// These values, also in the forms that URLs and JSON give them.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a String>) -> Secrets {
        let values = values.into_iter().filter(|value| value.len() >= SHORTEST);
        let mut hidden: Vec<String> = values.flat_map(|value| forms(value)).collect();
        // The longest first, so that one secret within another leaves nothing behind.
        hidden.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        hidden.dedup();
        Secrets { hidden }
    }

    /// The text without them.
    #[must_use]
    pub fn hide(&self, text: String) -> String {
        self.hidden
            .iter()
            .fold(text, |text, secret| match text.contains(secret.as_str()) {
                true => text.replace(secret.as_str(), "***"),
                false => text,
            })
    }

    /// The body of an answer without them.
    #[must_use]
    pub fn hide_in(&self, body: Bytes) -> Bytes {
        if self.hidden.is_empty() {
            return body;
        }
        let text = String::from_utf8_lossy(&body);
        match self
            .hidden
            .iter()
            .any(|secret| text.contains(secret.as_str()))
        {
            true => self.hide(text.into_owned()).into(),
            false => body,
        }
    }
}

fn forms(value: &str) -> [String; 4] {
    let json = serde_json::Value::from(value).to_string();
    [
        value.to_owned(),
        utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(value, RESERVED).to_string(),
        json[1..json.len() - 1].to_owned(),
    ]
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.hidden.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let secrets = Secrets::new(&[
            "s3cr&t_".to_owned(),
            "s3cr&t_longer".to_owned(),
            "pass\"word".to_owned(),
            "us".to_owned(),
        ]);
        let text = "s3cr%26t%5F s3cr%26t_ us s3cr&t_longer, s3cr&t_ pass\\\"word pass%22word";
        assert_eq!(secrets.hide(text.to_owned()), "*** *** us ***, *** *** ***");
        let body = Bytes::from_static(b"\xff {\"key\":\"s3cr&t_\"}");
        assert_eq!(secrets.hide_in(body), "\u{fffd} {\"key\":\"***\"}");
        assert!(!format!("{secrets:?}").contains("s3cr"));
    }
}
