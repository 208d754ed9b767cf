//! The values that nobody may see: where a text holds one, `***` stands instead. Pure.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
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

/// The secret values of a job, which may grow while it runs. Clones share them.
/// It can't be printed.
#[derive(Clone, Default)]
pub struct Secrets {
    hidden: Arc<RwLock<Arc<[String]>>>,
}

impl Secrets {
    /// One more value, also in the forms that URLs, JSON and base64 give it.
    pub fn add(&self, value: &str) {
        if value.len() < SHORTEST {
            return;
        }
        let mut hidden = self.hidden.write().unwrap_or_else(PoisonError::into_inner);
        let mut all = hidden.to_vec();
        all.extend(forms(value));
        // The longest first, so that one secret within another leaves nothing behind.
        all.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        all.dedup();
        *hidden = all.into();
    }

    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// The text without them.
    #[must_use]
    pub fn hide(&self, text: String) -> String {
        hide(&self.all(), text)
    }

    /// The body of an answer without them.
    #[must_use]
    pub fn hide_in(&self, body: Bytes) -> Bytes {
        let all = self.all();
        if all.is_empty() {
            return body;
        }
        let text = String::from_utf8_lossy(&body);
        match all.iter().any(|secret| text.contains(secret.as_str())) {
            true => hide(&all, text.into_owned()).into(),
            false => body,
        }
    }

    fn all(&self) -> Arc<[String]> {
        let hidden = self.hidden.read().unwrap_or_else(PoisonError::into_inner);
        hidden.clone()
    }
}

fn hide(all: &[String], text: String) -> String {
    all.iter()
        .fold(text, |text, secret| match text.contains(secret.as_str()) {
            true => text.replace(secret.as_str(), "***"),
            false => text,
        })
}

fn forms(value: &str) -> [String; 7] {
    let json = serde_json::Value::from(value).to_string();
    [
        value.to_owned(),
        utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(value, RESERVED).to_string(),
        json[1..json.len() - 1].to_owned(),
        BASE64_STANDARD.encode(value),
        BASE64_STANDARD_NO_PAD.encode(value),
        BASE64_URL_SAFE_NO_PAD.encode(value),
    ]
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.all().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        let secrets = Secrets::default();
        for value in ["s3cr&t_", "s3cr&t_longer", "pass\"word", "us"] {
            secrets.clone().add(value);
        }
        let text = "s3cr%26t%5F s3cr%26t_ us s3cr&t_longer, s3cr&t_ pass\\\"word pass%22word";
        assert_eq!(secrets.hide(text.to_owned()), "*** *** us ***, *** *** ***");
        let basic = format!("Basic {}", BASE64_STANDARD.encode("s3cr&t_longer"));
        assert_eq!(secrets.hide(basic), "Basic ***");
        let body = Bytes::from_static(b"\xff {\"key\":\"s3cr&t_\"}");
        assert_eq!(secrets.hide_in(body), "\u{fffd} {\"key\":\"***\"}");
        assert!(!format!("{secrets:?}").contains("s3cr"));
    }
}
