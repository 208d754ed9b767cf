//! What a limit is, and how it is written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::ParseError;
use crate::parse;

/// So many requests in so much time. From text: `22/5s`, `fixed:300/m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How the requests are counted.
    pub kind: LimitKind,
    /// How many requests are admitted in one period.
    pub units: u32,
    /// The time over which they are counted.
    pub period: Duration,
}

/// How a limit counts. Only requests that it admitted count against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitKind {
    /// Any half-open window of the period's length holds at most the units.
    #[default]
    Sliding,
    /// Windows follow one another from the first arrival on; each begins empty.
    Fixed,
    /// A token bucket: the units at once, then one every period / units.
    Bucket,
}

impl LimitKind {
    fn name(self) -> &'static str {
        match self {
            LimitKind::Sliding => "sliding",
            LimitKind::Fixed => "fixed",
            LimitKind::Bucket => "bucket",
        }
    }
}

impl FromStr for LimitKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<LimitKind, ParseError> {
        match text.trim() {
            "sliding" => Ok(LimitKind::Sliding),
            "fixed" => Ok(LimitKind::Fixed),
            "bucket" => Ok(LimitKind::Bucket),
            _ => Err(ParseError::new(
                "a limit is of the kind sliding, fixed or bucket",
                text,
            )),
        }
    }
}

impl FromStr for Limit {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Limit, ParseError> {
        let (kind, counts) = match text.split_once(':') {
            Some((kind, counts)) => (kind.parse()?, counts),
            None => (LimitKind::Sliding, text),
        };
        let (units, period) = counts
            .split_once('/')
            .and_then(|(units, period)| {
                Some((units.trim().parse().ok()?, parse::duration(period)?))
            })
            .filter(|(units, period)| *units > 0 && !period.is_zero())
            .ok_or_else(|| ParseError::new("a limit is N/PERIOD such as 22/5s", text))?;
        Ok(Limit {
            kind,
            units,
            period,
        })
    }
}

/// In the form in which it is parsed, always with its kind.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = humantime::format_duration(self.period);
        write!(f, "{}:{}/{period}", self.kind.name(), self.units)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Limit {
        text.parse().unwrap()
    }

    #[test]
    fn limits_are_read() {
        let plain = Limit {
            kind: LimitKind::Sliding,
            units: 22,
            period: Duration::from_secs(5),
        };
        assert_eq!(limit("22/5s"), plain);
        assert_eq!(limit("sliding:22/5s"), plain);
        assert_eq!(limit("fixed:22/5s").kind, LimitKind::Fixed);
        assert_eq!(limit("bucket:300/m").period, Duration::from_secs(60));
    }

    #[test]
    fn a_limit_reads_what_it_writes() {
        for text in ["sliding:22/5s", "fixed:1/1m 30s", "bucket:300/250ms"] {
            assert_eq!(limit(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in ["abc", "0/5s", "22/0s", "22/5", "-1/s", "22", "/s", ""] {
            let error = text.parse::<Limit>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("a limit is N/PERIOD such as 22/5s, not {text:?}")
            );
        }
        let error = "leaky:22/5s".parse::<Limit>().unwrap_err().to_string();
        assert!(error.contains("sliding, fixed or bucket"), "{error}");
    }
}
