//! Which rows of an input are asked for, where an earlier results file or the store says what is
//! known of them. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

/// A reason for which a row is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Only {
    /// Nothing is known of it.
    New,
    /// One of its fields is another one now.
    Changed,
    /// What is known of it came longer ago than this.
    OlderThan(Duration),
    /// It failed.
    Failed,
}

/// What is known of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownRow {
    /// Whether one of its fields is another one now.
    pub is_changed: bool,
    /// Whether it failed.
    pub is_failed: bool,
    /// When it was asked for, in milliseconds since 1970.
    pub asked: u64,
}

impl Only {
    /// Whether a row of which this is known is asked for at this time, in milliseconds since 1970.
    pub fn takes(self, known: Option<KnownRow>, now: u64) -> bool {
        match (self, known) {
            (Only::New, known) => known.is_none(),
            (_, None) => false,
            (Only::Changed, Some(known)) => known.is_changed,
            (Only::Failed, Some(known)) => known.is_failed,
            (Only::OlderThan(age), Some(known)) => {
                u128::from(now.saturating_sub(known.asked)) > age.as_millis()
            }
        }
    }
}

impl FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> Result<Only, String> {
        let text = text.trim();
        let wrong = || {
            format!(
                "{text:?} is no reason to ask for a row: write new, changed, failed, or older-than with a time, such as \"older-than 30d\""
            )
        };
        match text {
            "new" => return Ok(Only::New),
            "changed" => return Ok(Only::Changed),
            "failed" => return Ok(Only::Failed),
            _ => {}
        }
        let age = text.strip_prefix("older-than").ok_or_else(wrong)?;
        let age = age.trim_start_matches([' ', '=', ':']);
        humantime::parse_duration(age).map(Only::OlderThan).map_err(|_| wrong())
    }
}

impl fmt::Display for Only {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Only::New => f.write_str("new"),
            Only::Changed => f.write_str("changed"),
            Only::Failed => f.write_str("failed"),
            Only::OlderThan(age) => {
                write!(f, "older-than {}", humantime::format_duration(*age))
            }
        }
    }
}

impl From<Only> for String {
    fn from(only: Only) -> String {
        only.to_string()
    }
}

impl TryFrom<String> for Only {
    type Error = String;

    fn try_from(text: String) -> Result<Only, String> {
        text.parse()
    }
}

/// One reason, or a list of them.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Only>, D::Error> {
    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "write new, changed, failed or \"older-than 30d\", or a list of them"
    )]
    enum Written {
        One(String),
        Many(Vec<String>),
    }
    let texts = match Written::deserialize(deserializer)? {
        Written::One(text) => vec![text],
        Written::Many(texts) => texts,
    };
    let all = texts.iter().map(|text| text.parse::<Only>());
    all.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_as_they_are_written() {
        let days = |days: u64| Only::OlderThan(Duration::from_secs(days * 86_400));
        for (text, only) in [
            ("new", Only::New),
            (" changed ", Only::Changed),
            ("failed", Only::Failed),
            ("older-than 30d", days(30)),
            ("older-than=1day", days(1)),
        ] {
            assert_eq!(text.parse(), Ok(only));
            assert_eq!(only.to_string().parse(), Ok(only));
        }
        for wrong in ["", "old", "older-than", "older-than x", "newer"] {
            assert!(wrong.parse::<Only>().unwrap_err().contains("no reason"), "{wrong}");
        }
    }

    #[test]
    fn a_row_is_taken_for_what_is_known_of_it() {
        let known = KnownRow { is_changed: false, is_failed: false, asked: 1_000 };
        let age = Only::OlderThan(Duration::from_millis(500));
        assert!(Only::New.takes(None, 0) && !Only::New.takes(Some(known), 0));
        assert!(!age.takes(Some(known), 1_500) && age.takes(Some(known), 1_501));
        assert!(!age.takes(None, 9_999) && !Only::Failed.takes(Some(known), 0));
        assert!(Only::Failed.takes(Some(KnownRow { is_failed: true, ..known }), 0));
        assert!(Only::Changed.takes(Some(KnownRow { is_changed: true, ..known }), 0));
    }
}
