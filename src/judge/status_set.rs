//! A set of HTTP statuses as people write it: `404`, `5xx`, `500-504`, `408,429`. Pure.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use http::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The word for all statuses.
const ANY: &str = "any";
/// All statuses.
const ALL: RangeInclusive<u16> = 100..=599;

/// A set of HTTP statuses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

impl StatusSet {
    /// Whether it has no status.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has this status; `any` has every one.
    #[must_use]
    pub fn has(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| *range == ALL || range.contains(&status.as_u16()))
    }
}

impl From<&[u16]> for StatusSet {
    fn from(statuses: &[u16]) -> StatusSet {
        StatusSet(statuses.iter().map(|status| *status..=*status).collect())
    }
}

impl FromStr for StatusSet {
    type Err = String;

    fn from_str(text: &str) -> Result<StatusSet, String> {
        text.split(',').map(|part| range(part.trim())).collect::<Result<_, _>>().map(StatusSet)
    }
}

/// The statuses of one part.
fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let status = |text: &str| text.parse().ok().filter(|status| ALL.contains(status));
    let lower = text.to_ascii_lowercase();
    let is_class = lower.len() == 3 && lower.ends_with('x');
    let found = if lower == ANY {
        Some(ALL)
    } else if is_class {
        status(&lower.replace('x', "0")).zip(status(&lower.replace('x', "9"))).map(|(a, b)| a..=b)
    } else if let Some((from, to)) = lower.split_once('-') {
        status(from.trim()).zip(status(to.trim())).map(|(from, to)| from..=to)
    } else {
        status(&lower).map(|status| status..=status)
    };
    found.filter(|range| !range.is_empty()).ok_or_else(|| {
        format!("{text:?} is no HTTP status: write 404, 5xx, 500-504, 408,429 or any")
    })
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let (from, to) = (range.start(), range.end());
            f.write_str(if index == 0 { "" } else { "," })?;
            if *range == ALL {
                f.write_str(ANY)?;
            } else if from == to {
                write!(f, "{from}")?;
            } else if from % 100 == 0 && *to == from + 99 {
                write!(f, "{}xx", from / 100)?;
            } else {
                write!(f, "{from}-{to}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for StatusSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A number, a text, or a list of them.
impl<'de> Deserialize<'de> for StatusSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StatusSet, D::Error> {
        let parts = match Value::deserialize(deserializer)? {
            Value::Array(parts) => parts,
            part => vec![part],
        };
        let texts: Vec<String> = parts
            .into_iter()
            .map(|part| match part {
                Value::String(text) => text,
                other => other.to_string(),
            })
            .collect();
        if texts.is_empty() {
            return Err(D::Error::custom("an empty list has no status: leave it out, or name one"));
        }
        texts.join(",").parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn has(set: &StatusSet, status: u16) -> bool {
        set.has(StatusCode::from_u16(status).unwrap())
    }

    #[test]
    fn statuses_are_read_as_people_write_them() {
        for (written, shown, inside, outside) in [
            (json!(404), "404", 404, 405),
            (json!("404"), "404", 404, 403),
            (json!("5XX"), "5xx", 599, 499),
            (json!("50x"), "500-509", 509, 510),
            (json!("500-504"), "500-504", 504, 505),
            (json!([500, "503"]), "500,503", 503, 502),
            (json!("408, 429"), "408,429", 429, 428),
        ] {
            let set: StatusSet = serde_json::from_value(written).unwrap();
            assert_eq!(set.to_string(), shown);
            assert!(has(&set, inside) && !has(&set, outside), "{shown}");
            assert_eq!(serde_json::from_value::<StatusSet>(json!(set)).unwrap(), set);
        }
        assert!(has(&"any".parse().unwrap(), 999));
    }

    #[test]
    fn what_is_no_status_is_named() {
        for text in ["", "7", "600", "6xx", "504-500", "4x", "ok", "404;405"] {
            assert!(text.parse::<StatusSet>().unwrap_err().contains("is no HTTP status"), "{text}");
        }
    }
}
