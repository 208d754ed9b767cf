//! What a row ends as: the one line that a results file has for it.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::limit::{ArrivalInterval, Time};
use crate::source::Row;

/// One finished row: a result, or a failure that says why.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The row as it came in.
    pub row: Row,
    /// The extracted values, in the order of the job's `extract`, or why there are none.
    pub outcome: Result<Vec<Value>, Failure>,
    /// Of a row that failed at one of its pages, the values of those before it.
    pub kept: Vec<Value>,
    /// The answer's body as text, where the job keeps it.
    pub body: Option<String>,
    /// The status of the last answer, if one came.
    pub status: Option<u16>,
    /// How many times the request was sent, or tried to be sent.
    pub attempts: u32,
    /// From sending the last attempt to having its whole answer.
    pub latency: Option<Duration>,
    /// When each request that was sent for it can have reached the server.
    pub arrived: Vec<Arrived>,
}

/// From when to when one request can have reached the server: from its sending to
/// its answer. Both in microseconds since 1970, rounded so that the time only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The earliest time.
    pub from: i64,
    /// The latest time.
    pub to: i64,
}

impl Arrived {
    /// As the calendar has it, when `zero` is the time at which the gate's clock
    /// was at its zero. What was given up may come for `linger` longer.
    #[must_use]
    pub fn new(arrival: ArrivalInterval, linger: Duration, zero: Timestamp) -> Arrived {
        let since_1970 = |time: Time| {
            let since_zero = i128::try_from(time.since(Time::ZERO).as_nanos());
            zero.as_nanosecond() + since_zero.unwrap_or(0)
        };
        let latest = if arrival.lost {
            arrival.latest.after(linger)
        } else {
            arrival.latest
        };
        let micros = |nanos: i128| i64::try_from(nanos.div_euclid(1_000)).unwrap_or(i64::MAX);
        Arrived {
            from: micros(since_1970(arrival.earliest)),
            to: micros(since_1970(latest) + 999),
        }
    }
}

/// `[from, to]`, in seconds.
impl Serialize for Arrived {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.from, self.to]
            .map(|micros| micros as f64 / 1e6)
            .serialize(serializer)
    }
}

impl Record {
    /// The values that it has, in the order of the job's `extract`.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        self.outcome.as_deref().unwrap_or(&self.kept)
    }
}

/// Why a row has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A short name that is worth counting by: `timeout`, `status 500`, `missing price`.
    pub kind: Cow<'static, str>,
    /// The particulars of this one, for people.
    pub detail: String,
}

impl Failure {
    /// A failure of this kind, with these particulars.
    pub fn new(kind: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Failure {
        Failure {
            kind: kind.into(),
            detail: detail.into(),
        }
    }
}

/// How an answer begins: so many characters, and a `…` where it goes on. By that mark a
/// secret is known of which only the beginning is left.
#[must_use]
pub fn beginning(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(lost: bool) -> Arrived {
        let at = |nanos: u64| Time::from_nanos(5_000_000_000 + nanos);
        let arrival = ArrivalInterval {
            earliest: at(1_999),
            latest: at(3_001),
            lost,
        };
        let zero = Timestamp::from_second(1_700_000_000).unwrap();
        Arrived::new(arrival, Duration::from_secs(30), zero)
    }

    #[test]
    fn rounding_only_widens_and_what_is_lost_may_come_later() {
        let second = 1_700_000_005_000_000;
        for (lost, linger) in [(false, 0), (true, 30_000_000)] {
            let Arrived { from, to } = arrived(lost);
            assert_eq!((from - second, to - second), (1, 4 + linger));
        }
    }

    #[test]
    fn it_is_written_to_the_microsecond() {
        let text = serde_json::to_string(&arrived(false)).unwrap();
        assert_eq!(text, "[1700000005.000001,1700000005.000004]");
    }
}
