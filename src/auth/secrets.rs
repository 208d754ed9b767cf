//! The values that nobody may see: where a text holds one, `***` stands instead. Pure.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Shorter values are not hidden: they would blank out half of every text.
const SHORTEST: usize = 4;

/// The secret values of a job. It can't be printed.
#[derive(Clone, Default)]
pub struct Secrets {
    hidden: Vec<String>,
}

impl Secrets {
    /// These values, also in the form that a URL gives them.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a String>) -> Secrets {
        let mut hidden: Vec<String> = values
            .into_iter()
            .filter(|value| value.len() >= SHORTEST)
            .flat_map(|value| {
                [
                    value.clone(),
                    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
                ]
            })
            .collect();
        // The longest first, so that one secret within another leaves nothing behind.
        hidden.sort_by_key(|value| std::cmp::Reverse(value.len()));
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
    fn a_secret_is_hidden_as_it_is_and_as_a_url_has_it() {
        let secrets = Secrets::new(&[
            "s3cr&t".to_owned(),
            "s3cr&tlonger".to_owned(),
            "us".to_owned(),
        ]);
        let text = "key=s3cr%26t us s3cr&tlonger, s3cr&t".to_owned();
        assert_eq!(secrets.hide(text), "key=*** us ***, ***");
        assert_eq!(format!("{secrets:?}"), "Secrets(4)");
    }
}
