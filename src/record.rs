//! The record of a row: its one line in a results file.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

pub use crate::failure::{Failure, FailureKind};
use crate::limit::{ArrivalInterval, Time};
use crate::row::{Fields, Row};

/// One finished row: a result, or a failure with its reason.
///
/// ```
/// use throng::{Failure, FailureKind, Record, Row};
///
/// let record = Record {
///     row: Row::default(),
///     outcome: Err(Failure::new(FailureKind::Timeout, "no answer within 30 s")),
///     kept: Vec::new(),
///     body: None,
///     status: None,
///     attempts: 5,
///     latency: None,
///     arrived: Vec::new(),
///     warning: None,
///     saved: None,
///     origin: None,
///     target: None,
/// };
/// assert!(record.values().is_empty());
/// assert_eq!(FailureKind::Timeout.text(), "timeout");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The input row.
    pub row: Row,
    /// The extracted values, in the order of the job's `extract`, or the failure.
    pub outcome: Result<Vec<Value>, Failure>,
    /// If the row failed at one of its pages, the values of the pages before it.
    pub kept: Vec<Value>,
    /// The answer's body as text, if the job keeps it.
    pub body: Option<String>,
    /// The status of the last answer, if there was one.
    pub status: Option<u16>,
    /// Number of attempts to send the request.
    pub attempts: u32,
    /// The time from sending the last attempt to the end of its answer.
    pub latency: Option<Duration>,
    /// For each attempt, and each token that was fetched, the interval in which the request
    /// reached the server; none if nothing was sent, or if another record of its batch has it.
    pub arrived: Vec<Option<Arrived>>,
    /// A doubt about a result, such as that the pages of its list repeat.
    pub warning: Option<String>,
    /// The file that has the answer's body, if the job saves it.
    pub saved: Option<Box<SavedFile>>,
    /// Where the answer was found, if the row did not ask for it.
    pub origin: Option<AnswerOrigin>,
    /// The name of the target that answered, or that was asked last, where the job has fallbacks.
    pub target: Option<Arc<str>>,
}

/// Where an answer was found for which its row did not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerOrigin {
    /// In the job's store.
    Store,
    /// At the row of this number, whose request is the same.
    Row(u64),
}

/// Whether a record with these fields says that its row is ok; none if it does not say.
pub(crate) fn is_ok(fields: &Fields) -> Option<bool> {
    match fields.get("_ok")? {
        Value::Bool(ok) => Some(*ok),
        // A spreadsheet writes `TRUE`.
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// A file with the body of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedFile {
    /// Its path, as the job's template gives it.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// The answer's `content-type`, if it has one.
    pub content_type: Option<String>,
}

/// The interval in which a request reached the server, from its sending to its
/// answer, in microseconds since 1970. Rounding only widens it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrived {
    /// The earliest time.
    pub from: i64,
    /// The latest time.
    pub to: i64,
    /// Costs in other units than requests, by the unit; keys of the limits, of which the row's
    /// fields do not tell, by the template, and the pool's key as `_key`.
    pub counted: Map<String, Value>,
}

/// The unit of limits that name no other one.
pub(crate) const REQUESTS: &str = "requests";

/// The name of the pool's key among what is counted.
pub(crate) const POOL_KEY: &str = "_key";

/// The name of the target among what is counted, of a request that went to another one than its
/// record names.
pub(crate) const TARGET: &str = "_target";

/// Whether a template of keys uses the request, so that the row's fields do not tell its value.
pub(crate) fn is_of_request(template: &str) -> bool {
    template.contains("request.")
}

impl Arrived {
    /// The arrival in calendar time; `zero` is the time at which the limiter's clock
    /// was zero. A lost request can arrive for `linger` longer.
    #[must_use]
    pub(crate) fn new(arrival: ArrivalInterval, linger: Duration, zero: Timestamp) -> Arrived {
        let since_1970 = |time: Time| {
            let since_zero = i128::try_from(time.since(Time::ZERO).as_nanos());
            zero.as_nanosecond() + since_zero.unwrap_or(0)
        };
        let latest = if arrival.lost { arrival.latest.after(linger) } else { arrival.latest };
        let micros = |nanos: i128| i64::try_from(nanos.div_euclid(1_000)).unwrap_or(i64::MAX);
        Arrived {
            from: micros(since_1970(arrival.earliest)),
            to: micros(since_1970(latest) + 999),
            counted: Map::new(),
        }
    }

    /// Sets the cost in a unit; one request needs no entry.
    pub(crate) fn set_cost(&mut self, unit: &str, cost: u64) {
        if unit == REQUESTS && cost == 1 {
            self.counted.shift_remove(unit);
        } else {
            self.counted.insert(unit.to_owned(), cost.into());
        }
    }
}

/// `[from, to]`, in seconds, or `[from, to, {...}]` where more is counted than requests.
impl Serialize for Arrived {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [from, to] = [self.from, self.to].map(|micros| micros as f64 / 1e6);
        if self.counted.is_empty() {
            [from, to].serialize(serializer)
        } else {
            (from, to, &self.counted).serialize(serializer)
        }
    }
}

/// The intervals of a record as it has them: `[]` for an attempt without one.
pub(crate) struct WrittenArrivals<'a>(pub &'a [Option<Arrived>]);

impl Serialize for WrittenArrivals<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let none: [f64; 0] = [];
        let mut entries = serializer.serialize_seq(Some(self.0.len()))?;
        for arrived in self.0 {
            match arrived {
                Some(arrived) => entries.serialize_element(arrived)?,
                None => entries.serialize_element(&none)?,
            }
        }
        entries.end()
    }
}

impl Record {
    /// The particulars of its failure, or the doubt about its result.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        let failure = self.outcome.as_ref().err();
        failure.map(|failure| failure.detail.as_str()).or(self.warning.as_deref())
    }

    /// The record's values, in the order of the job's `extract`.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        self.outcome.as_deref().unwrap_or(&self.kept)
    }

    /// Whether the row is done: it has its values, or the job's rules say that there are none.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.outcome.is_ok() || self.is_missing()
    }

    /// Whether its answer was in the job's store.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.origin == Some(AnswerOrigin::Store)
    }

    /// The number of the row that asked for the answer in its place, if one did.
    #[must_use]
    pub fn same_as(&self) -> Option<u64> {
        match self.origin {
            Some(AnswerOrigin::Row(row)) => Some(row),
            _ => None,
        }
    }

    /// Whether the row is done without values, as a rule of the job says of the answer.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        self.outcome.as_ref().is_err_and(|failure| failure.kind == FailureKind::Missing)
    }

    /// The record as one object: the fields of its row, and then throng's own by the names that
    /// a results file has for them. Values stand among the fields in a
    /// [sink](crate::Sink) and in a [stream](crate::RecordStream).
    ///
    /// ```
    /// use throng::{Failure, FailureKind, Record, Row};
    ///
    /// # let record = Record {
    /// #     row: Row::default(), outcome: Ok(Vec::new()), kept: Vec::new(), body: None,
    /// #     status: Some(200), attempts: 1, latency: None, arrived: Vec::new(), warning: None,
    /// #     saved: None, origin: None, target: None,
    /// # };
    /// let object = record.to_object();
    /// assert_eq!((&object["_ok"], &object["_status"]), (&true.into(), &200.into()));
    /// ```
    #[must_use]
    pub fn to_object(&self) -> Map<String, Value> {
        let failure = self.outcome.as_ref().err();
        let mut object = self.row.fields.clone();
        let mut set = |name: &str, value: Value| {
            object.insert(name.to_owned(), value);
        };
        set("_row", self.row.number.into());
        if let Some(item) = self.row.item {
            set("_item", item.number.into());
            set("_last", item.last.into());
        }
        set("_ok", self.is_ok().into());
        set("_status", self.status.into());
        set("_error", failure.map(|failure| failure.kind.text().into_owned()).into());
        set("_detail", self.detail().into());
        set("_attempts", self.attempts.into());
        set("_ms", self.milliseconds().into());
        if self.is_stored() {
            set("_stored", true.into());
        }
        if let Some(row) = self.same_as() {
            set("_same_as", row.into());
        }
        if let Some(target) = &self.target {
            set("_target", (&**target).into());
        }
        if let Some(body) = &self.body {
            set("_body", body.as_str().into());
        }
        object
    }

    /// The latency as records have it: in milliseconds, to the microsecond.
    pub(crate) fn milliseconds(&self) -> Option<f64> {
        self.latency.map(|latency| latency.as_micros() as f64 / 1000.0)
    }
}

/// The first characters of a text, with a `…` if it goes on. By that mark a truncated
/// secret is recognised.
#[must_use]
pub fn excerpt(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(lost: bool) -> Arrived {
        let at = |nanos: u64| Time::from_nanos(5_000_000_000 + nanos);
        let arrival = ArrivalInterval { earliest: at(1_999), latest: at(3_001), lost };
        let zero = Timestamp::from_second(1_700_000_000).unwrap();
        Arrived::new(arrival, Duration::from_secs(30), zero)
    }

    #[test]
    fn rounding_only_widens_and_lost_requests_can_arrive_later() {
        let second = 1_700_000_005_000_000;
        for (lost, linger) in [(false, 0), (true, 30_000_000)] {
            let Arrived { from, to, .. } = arrived(lost);
            assert_eq!((from - second, to - second), (1, 4 + linger));
        }
    }

    #[test]
    fn an_arrival_is_written_to_the_microsecond() {
        let text = serde_json::to_string(&arrived(false)).unwrap();
        assert_eq!(text, "[1700000005.000001,1700000005.000004]");
        let mut costly = arrived(false);
        costly.counted.insert("tokens".into(), 7.into());
        let text = serde_json::to_string(&WrittenArrivals(&[None, Some(costly)])).unwrap();
        assert_eq!(text, "[[],[1700000005.000001,1700000005.000004,{\"tokens\":7}]]");
    }
}
