//! A limit and its text form, and all limits of a server by their partition.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hyper::header::HeaderName;

use crate::{LimitKind, ParseError, Partition, parse};

/// A number of units per period. From text: `22/5s`, `fixed:300/m`, `bucket:10/1s:40`,
/// `90000 tokens/1m`, `in-flight:5`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimit {
    /// The counting rule.
    pub kind: LimitKind,
    /// The counted unit.
    pub unit: ServerUnit,
    /// Number of units that are admitted in one period, or at once.
    pub units: u32,
    /// The period; zero for requests in flight.
    pub period: Duration,
    /// Capacity of a bucket, if not the units of a period; of GCRA, the requests that may
    /// come early, if any.
    pub burst: Option<u32>,
    /// If set, each value of this has the limit for itself; else the settings' partition counts.
    pub partition: Option<Partition>,
    /// The time between a whole period of the calendar and the begin of a window.
    pub later: Duration,
}

impl ServerLimit {
    /// A limit on the requests of all clients.
    #[must_use]
    pub fn new(kind: LimitKind, units: u32, period: Duration) -> ServerLimit {
        ServerLimit {
            kind,
            unit: ServerUnit::Requests,
            units,
            period,
            burst: None,
            partition: None,
            later: Duration::ZERO,
        }
    }

    /// Maximum number of units that are admitted at once.
    #[must_use]
    pub fn most_at_once(&self) -> u32 {
        self.kind.at_once(self.units, self.burst)
    }
}

/// The unit that a limit counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ServerUnit {
    /// Requests.
    #[default]
    Requests,
    /// Tokens that a request uses: see `/v1/chat/completions`.
    Tokens,
    /// The number in this header of the request; 1 without it.
    Header(HeaderName),
}

impl FromStr for ServerLimit {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<ServerLimit, ParseError> {
        let (kind, counts) = match (text.split_once(':'), text.split_once('@')) {
            (Some((kind, counts)), _) => (kind.parse()?, counts),
            (_, Some((counts, "clock"))) => (LimitKind::CLOCK, counts),
            (_, Some((counts, "first"))) => (LimitKind::FIXED, counts),
            _ => (LimitKind::SLIDING, text),
        };
        let is_in_flight = kind == LimitKind::IN_FLIGHT;
        let limit = if is_in_flight { at_once(counts) } else { in_period(kind, counts) };
        limit.ok_or_else(|| ParseError::new("a limit is N/PERIOD such as 22/5s", text))
    }
}

fn at_once(units: &str) -> Option<ServerLimit> {
    let units = units.trim().parse().ok().filter(|units| *units > 0)?;
    Some(ServerLimit::new(LimitKind::IN_FLIGHT, units, Duration::ZERO))
}

fn in_period(kind: LimitKind, text: &str) -> Option<ServerLimit> {
    let (counts, burst) = match text.split_once(':') {
        Some((counts, burst)) if kind.has_burst() => {
            (counts, Some(burst.trim().parse().ok().filter(|burst| *burst > 0)?))
        }
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
    Some(ServerLimit { unit, burst, ..ServerLimit::new(kind, units, period) })
}

/// Writes the form that is parsed, always with its kind.
impl fmt::Display for ServerLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.kind, self.units)?;
        match &self.unit {
            ServerUnit::Requests => {}
            ServerUnit::Tokens => f.write_str(" tokens")?,
            ServerUnit::Header(name) => write!(f, " {name}")?,
        }
        if self.kind != LimitKind::IN_FLIGHT {
            write!(f, "/{}", humantime::format_duration(self.period))?;
        }
        match self.burst {
            Some(burst) => write!(f, ":{burst}"),
            None => Ok(()),
        }
    }
}

/// All limits of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerLimits {
    /// In the order in which they are counted and reported.
    pub all: Vec<ServerLimit>,
    /// The first group is that of the settings' partition, even if it is empty.
    pub shared: Vec<SharedLimits>,
    /// Whether refused requests count as well.
    pub refusals_count: bool,
    /// An account of the first group with more refusals is banned.
    pub ban: Option<ServerLimit>,
}

/// Limits with the same partition.
#[derive(Debug, Clone)]
pub(crate) struct SharedLimits {
    /// The partition; none if all clients share the limits.
    pub partition: Option<Partition>,
    /// The indices of the limits among all.
    pub indices: Vec<usize>,
}

impl ServerLimits {
    /// These limits, by their own partition or else by this one.
    pub(crate) fn new(all: Vec<ServerLimit>, partition: Option<&Partition>) -> ServerLimits {
        let mut shared = vec![SharedLimits { partition: partition.cloned(), indices: Vec::new() }];
        for (index, limit) in all.iter().enumerate() {
            let partition = limit.partition.as_ref().or(partition);
            match shared.iter_mut().find(|shared| shared.partition.as_ref() == partition) {
                Some(shared) => shared.indices.push(index),
                None => shared
                    .push(SharedLimits { partition: partition.cloned(), indices: vec![index] }),
            }
        }
        ServerLimits { all, shared, refusals_count: false, ban: None }
    }
}

impl From<Vec<ServerLimit>> for ServerLimits {
    fn from(all: Vec<ServerLimit>) -> ServerLimits {
        ServerLimits::new(all, None)
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
        let plain = ServerLimit::new(LimitKind::SLIDING, 22, Duration::from_secs(5));
        assert_eq!(limit("22/5s"), plain);
        assert_eq!(limit("sliding:22/5s"), plain);
        assert_eq!(limit("fixed:22/5s").kind, LimitKind::FIXED);
        assert_eq!(limit("22/5s@first"), limit("fixed:22/5s"));
        assert_eq!(limit("22/5s@clock"), limit("clock:22/5s"));
        assert_eq!(limit("bucket:300/m").period, Duration::from_secs(60));
    }

    #[test]
    fn a_written_limit_is_read_back() {
        for text in [
            "sliding:22/5s",
            "fixed:1/1m 30s",
            "clock:5/1m",
            "bucket:300/250ms",
            "bucket:10/1s:40",
            "gcra:30/1m:15",
            "counter:300/1m",
            "sliding:90000 tokens/1m",
            "in-flight:5",
        ] {
            assert_eq!(limit(text).to_string(), text);
        }
    }

    #[test]
    fn text_that_is_not_a_limit_is_an_error() {
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
            assert_eq!(error, format!("a limit is N/PERIOD such as 22/5s, not {text:?}"));
        }
        let error = "leaky:22/5s".parse::<ServerLimit>().unwrap_err().to_string();
        assert!(error.contains("sliding, fixed, clock, bucket"), "{error}");
    }
}
