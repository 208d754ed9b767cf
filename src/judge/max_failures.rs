//! The bound on failed rows.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Number of rows that must have ended before their share of failures counts.
const ENOUGH: u64 = 100;

/// Maximum number of rows that may fail; more stop the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxFailures {
    /// This number.
    Rows(u64),
    /// This share in percent of the rows that have ended, as soon as 100 have.
    Percent(f64),
}

impl MaxFailures {
    /// Whether more rows have failed than may.
    #[must_use]
    pub fn is_exceeded(self, failed: u64, ended: u64) -> bool {
        match self {
            MaxFailures::Rows(rows) => failed > rows,
            MaxFailures::Percent(percent) => {
                ended >= ENOUGH && failed as f64 * 100.0 > percent * ended as f64
            }
        }
    }
}

impl FromStr for MaxFailures {
    type Err = String;

    fn from_str(text: &str) -> Result<MaxFailures, String> {
        let parsed = match text.trim().strip_suffix('%') {
            None => text.trim().parse().ok().map(MaxFailures::Rows),
            Some(percent) => {
                let percent = percent.trim_end().parse().ok();
                percent.filter(|it| (0.0..=100.0).contains(it)).map(MaxFailures::Percent)
            }
        };
        parsed.ok_or_else(|| {
            format!("{text:?} is neither a number of rows, such as 100, nor a share, such as 5%")
        })
    }
}

impl fmt::Display for MaxFailures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxFailures::Rows(rows) => write!(f, "{rows}"),
            MaxFailures::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for MaxFailures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MaxFailures {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<MaxFailures, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "write a number of rows, or a share such as \"5%\"")]
        enum Written {
            Rows(u64),
            Text(String),
        }
        match Written::deserialize(value)? {
            Written::Rows(rows) => Ok(MaxFailures::Rows(rows)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_a_number_or_a_share() {
        assert_eq!("7".parse(), Ok(MaxFailures::Rows(7)));
        assert_eq!(" 2.5 % ".parse(), Ok(MaxFailures::Percent(2.5)));
        for text in ["", "-1", "101%", "x%", "NaN%", "5 rows"] {
            assert!(text.parse::<MaxFailures>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_counts_once_there_are_rows_enough() {
        let (rows, share) = (MaxFailures::Rows(2), MaxFailures::Percent(5.0));
        assert_eq!([2, 3].map(|failed| rows.is_exceeded(failed, 3)), [false, true]);
        assert!(!share.is_exceeded(99, 99));
        assert_eq!([5, 6].map(|failed| share.is_exceeded(failed, 100)), [false, true]);
    }
}
