//! What a limit is, and how it is written.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hyper::header::HeaderName;

use crate::parse;
use crate::{ParseError, Partition};

/// So much in so much time. From text: `22/5s`, `fixed:300/m`, `bucket:10/1s:40`,
/// `90000 tokens/1m`, `in-flight:5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimit {
    /// How it is counted.
    pub kind: LimitKind,
    /// What is counted.
    pub unit: ServerUnit,
    /// How much is admitted in one period, or at once.
    pub units: u32,
    /// The time over which it is counted; none if it is counted at once.
    pub period: Duration,
    /// How much a bucket holds, if not as much as comes back in a period.
    pub burst: Option<u32>,
    /// If set, each value of this has the limit for itself; else it is as the settings say.
    pub per: Option<Partition>,
    /// How much later than whole periods of the calendar its windows begin.
    pub later: Duration,
}

impl ServerLimit {
    /// So many requests, for all.
    #[must_use]
    pub fn new(kind: LimitKind, units: u32, period: Duration) -> ServerLimit {
        ServerLimit {
            kind,
            unit: ServerUnit::Requests,
            units,
            period,
            burst: None,
            per: None,
            later: Duration::ZERO,
        }
    }
}

/// How a limit counts. Only requests that it admitted count against it, unless
/// refusals do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitKind {
    /// Any half-open window of the period's length holds at most the units.
    #[default]
    Sliding,
    /// Windows follow one another from the first arrival on; each begins empty.
    Fixed,
    /// Windows begin at whole periods of the calendar, UTC.
    Clock,
    /// A token bucket: the burst at once, then one every period / units.
    Bucket,
    /// An estimate from two windows of the clock, as some gateways make it.
    Counter,
    /// So many may be admitted and not answered yet.
    InFlight,
}

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServerUnit {
    /// Requests, whatever they ask for.
    #[default]
    Requests,
    /// What they use: see `/v1/chat/completions`.
    Tokens,
    /// What they say in this header that they use; 1 if they don't say it.
    Said(HeaderName),
}

/// The kinds by name.
const KINDS: [(LimitKind, &str); 6] = [
    (LimitKind::Sliding, "sliding"),
    (LimitKind::Fixed, "fixed"),
    (LimitKind::Clock, "clock"),
    (LimitKind::Bucket, "bucket"),
    (LimitKind::Counter, "counter"),
    (LimitKind::InFlight, "in-flight"),
];

impl LimitKind {
    fn name(self) -> &'static str {
        let mut kinds = KINDS.iter();
        kinds
            .find(|(kind, _)| *kind == self)
            .map_or("", |kind| kind.1)
    }
}

impl FromStr for LimitKind {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<LimitKind, ParseError> {
        let mut kinds = KINDS.iter();
        let known = kinds.find(|(_, name)| *name == text.trim());
        known.map(|(kind, _)| *kind).ok_or_else(|| {
            let names = KINDS.map(|(_, name)| name).join(", ");
            ParseError::new(&format!("a limit's kind is one of {names}"), text)
        })
    }
}

impl FromStr for ServerLimit {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<ServerLimit, ParseError> {
        let (kind, counts) = match (text.split_once(':'), text.split_once('@')) {
            (Some((kind, counts)), _) => (kind.parse()?, counts),
            (_, Some((counts, "clock"))) => (LimitKind::Clock, counts),
            (_, Some((counts, "first"))) => (LimitKind::Fixed, counts),
            _ => (LimitKind::Sliding, text),
        };
        let limit = match kind {
            LimitKind::InFlight => at_once(counts),
            _ => in_period(kind, counts),
        };
        limit.ok_or_else(|| ParseError::new("a limit is N/PERIOD such as 22/5s", text))
    }
}

fn at_once(units: &str) -> Option<ServerLimit> {
    let units = units.trim().parse().ok().filter(|units| *units > 0)?;
    Some(ServerLimit::new(LimitKind::InFlight, units, Duration::ZERO))
}

fn in_period(kind: LimitKind, text: &str) -> Option<ServerLimit> {
    let (counts, burst) = match text.split_once(':') {
        Some((counts, burst)) if kind == LimitKind::Bucket => (
            counts,
            Some(burst.trim().parse().ok().filter(|burst| *burst > 0)?),
        ),
        Some(_) => return None,
        None => (text, None),
    };
    let (units, period) = counts.split_once('/')?;
    let (units, unit) = match units.trim().strip_suffix("tokens") {
        Some(units) => (units, ServerUnit::Tokens),
        None => (units, ServerUnit::Requests),
    };
    let units = units.trim().parse().ok().filter(|units| *units > 0)?;
    let period = parse::duration(period).filter(|period| !period.is_zero())?;
    Some(ServerLimit {
        unit,
        burst,
        ..ServerLimit::new(kind, units, period)
    })
}

/// In the form in which it is parsed, always with its kind.
impl fmt::Display for ServerLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.units)?;
        match &self.unit {
            ServerUnit::Requests => {}
            ServerUnit::Tokens => f.write_str(" tokens")?,
            ServerUnit::Said(name) => write!(f, " {name}")?,
        }
        if self.kind != LimitKind::InFlight {
            write!(f, "/{}", humantime::format_duration(self.period))?;
        }
        match self.burst {
            Some(burst) => write!(f, ":{burst}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> ServerLimit {
        text.parse().unwrap()
    }

    #[test]
    fn limits_are_read() {
        let plain = ServerLimit::new(LimitKind::Sliding, 22, Duration::from_secs(5));
        assert_eq!(limit("22/5s"), plain);
        assert_eq!(limit("sliding:22/5s"), plain);
        assert_eq!(limit("fixed:22/5s").kind, LimitKind::Fixed);
        assert_eq!(limit("22/5s@first"), limit("fixed:22/5s"));
        assert_eq!(limit("22/5s@clock"), limit("clock:22/5s"));
        assert_eq!(limit("bucket:300/m").period, Duration::from_secs(60));
    }

    #[test]
    fn a_limit_reads_what_it_writes() {
        for text in [
            "sliding:22/5s",
            "fixed:1/1m 30s",
            "clock:5/1m",
            "bucket:300/250ms",
            "bucket:10/1s:40",
            "counter:300/1m",
            "sliding:90000 tokens/1m",
            "in-flight:5",
        ] {
            assert_eq!(limit(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "abc",
            "0/5s",
            "22/0s",
            "22/5",
            "-1/s",
            "22",
            "/s",
            "",
            "fixed:1/1s:2",
            "bucket:1/1s:0",
            "in-flight:0",
        ] {
            let error = text.parse::<ServerLimit>().unwrap_err().to_string();
            assert_eq!(
                error,
                format!("a limit is N/PERIOD such as 22/5s, not {text:?}")
            );
        }
        let error = "leaky:22/5s"
            .parse::<ServerLimit>()
            .unwrap_err()
            .to_string();
        assert!(error.contains("sliding, fixed, clock, bucket"), "{error}");
    }
}
