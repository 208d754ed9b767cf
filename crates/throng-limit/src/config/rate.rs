//! What a limit says: so many units in each period.

use std::fmt;
use std::num::IntErrorKind;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration;
use crate::error::LimitError;

/// At most `units` in every half-open window of `period`, as `22/5s` says it.
///
/// ```
/// use std::time::Duration;
/// use throng_limit::Rate;
///
/// let rate: Rate = "300/1m".parse()?;
/// assert_eq!((rate.units, rate.period), (300, Duration::from_secs(60)));
/// assert!("0/5s".parse::<Rate>().is_err());
/// # Ok::<(), throng_limit::LimitError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// The most units in a window; at least 1.
    pub units: u64,
    /// The length of the window; at least a millisecond, at most 400 days.
    pub period: Duration,
}

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);

impl Rate {
    /// A rate within the bounds that the fields state.
    ///
    /// # Errors
    /// The bound that is broken.
    pub fn new(units: u64, period: Duration) -> Result<Rate, LimitError> {
        if units == 0 {
            return Err(LimitError::ZeroRate);
        }
        if !(SHORTEST..=LONGEST).contains(&period) {
            return Err(LimitError::PeriodOutOfRange);
        }
        Ok(Rate { units, period })
    }

    pub(crate) fn parse(units: &str, period: &str) -> Result<Rate, String> {
        let units = units.replace('_', "");
        let units = units.parse::<u64>().map_err(|error| match error.kind() {
            IntErrorKind::PosOverflow => format!("\"{units}\" is more than {}", u64::MAX),
            _ => format!("\"{units}\" is not a whole number"),
        })?;
        Rate::new(units, parse_period(period)?).map_err(|error| error.to_string())
    }

    pub(crate) fn written_period(&self) -> String {
        duration::exact(self.period)
    }
}

impl FromStr for Rate {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Rate, LimitError> {
        parse(text).map_err(|problem| LimitError::InvalidRate {
            text: text.to_owned(),
            problem,
            such_as: "22/5s, 300/1m or 100000/1d",
        })
    }
}

fn parse(text: &str) -> Result<Rate, String> {
    let (units, period) = text.split_once('/').ok_or("it has no \"/\"")?;
    Rate::parse(units.trim(), period.trim())
}

/// `5s`, `1m30s`, or a unit alone: `300/m` is `300/1m`.
fn parse_period(text: &str) -> Result<Duration, String> {
    let counted = if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        format!("1{text}")
    } else {
        text.to_owned()
    };
    if let Some((_, days)) = VARIABLE.iter().find(|(unit, _)| has_unit(&counted, unit)) {
        let minutes = text.replace('M', "m");
        let question = if minutes == text {
            String::new()
        } else {
            format!("did you mean minutes, \"{minutes}\"? ")
        };
        return Err(format!(
            "{question}\"{text}\" has months or years, which differ in length: write the longest one in days, {days}"
        ));
    }
    humantime::parse_duration(&counted).map_err(|_| format!("\"{text}\" is not a period"))
}

/// Units whose length the calendar decides, and the longest in days: a fixed period that is
/// shorter would let two of a server's periods into one.
const VARIABLE: [(&str, &str); 6] = [
    ("M", "31d"),
    ("month", "31d"),
    ("months", "31d"),
    ("y", "366d"),
    ("year", "366d"),
    ("years", "366d"),
];

fn has_unit(text: &str, unit: &str) -> bool {
    text.split(|letter: char| !letter.is_ascii_alphabetic()).any(|word| word == unit)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.units, self.written_period())
    }
}

impl TryFrom<String> for Rate {
    type Error = LimitError;

    fn try_from(text: String) -> Result<Rate, LimitError> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> String {
        rate.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, units, millis) in [
            ("22/5s", 22, 5_000),
            ("300/m", 300, 60_000),
            ("1_000 / 1h", 1_000, 3_600_000),
            ("100/500ms", 100, 500),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.units, rate.period.as_millis()), (units, millis));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, why) in [
            ("fast", "it has no \"/\""),
            ("0/5s", "a rate of 0 would never send anything"),
            ("-3/5s", "\"-3\" is not a whole number"),
            ("22/5 parsecs", "\"5 parsecs\" is not a period"),
            ("22/0s", "a period lies between"),
            ("300/1M", "did you mean minutes, \"1m\"?"),
            ("300/month", "write the longest one in days, 31d"),
            ("300/1y", "write the longest one in days, 366d"),
            ("99999999999999999999/1s", "is more than 18446744073709551615"),
        ] {
            let error = text.parse::<Rate>().unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
            assert!(error.to_string().contains("such as 22/5s"), "{error}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["22/5s", "300/1m", "1/1h30m", "25/1d", "9/30d"] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string(), text);
        }
    }
}
