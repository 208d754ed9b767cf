//! The events of a run: one typed stream that drives progress displays, logs, reports and
//! metrics.
//!
//! Events of rows and requests are emitted where they happen, and only those of failures,
//! retries and refusals: a request that succeeds emits none. Twice a second a [`Snapshot`] has
//! the counters. While no subscriber listens, an emission is the reading of one flag.

mod bus;
mod snapshot;
mod times;

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use bus::Subscription;
pub(crate) use bus::{EventBus, Message, Subscribers};
pub use snapshot::{
    AggregateSnapshot, BillSnapshot, FailureCount, GroupValue, LatencySnapshot, LimitSnapshot,
    OutageSnapshot, PaceSnapshot, RequestCounts, RowCounts, Snapshot, TimeSpent, UnknownUse,
    WaitSnapshot, WorkerSnapshot,
};

/// The version of the events' form. A field that is added does not change it.
pub const VERSION: u32 = 1;

/// Something that happened in a run, or its state at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// The time by the calendar.
    #[serde(with = "times::rfc3339")]
    pub time: SystemTime,
    /// The time since the run began, in seconds.
    #[serde(rename = "elapsed_seconds", with = "times::seconds")]
    pub elapsed: Duration,
    /// The event.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kinds of events. The text of servers in them is without secrets, and not escaped for a
/// terminal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The run began.
    RunStarted(Box<RunStarted>),
    /// The counters and the state of the run, twice a second and at its end.
    Snapshot(Box<Snapshot>),
    /// A row ended as a failure.
    RowFailed(Box<RowFailed>),
    /// An attempt failed, and the request is sent again after a pause.
    RequestRetried(Box<RequestRetried>),
    /// The server refused a request because of a limit. The row waits and goes again.
    RequestRefused(RequestRefused),
    /// The server has asked for a pause, or said that nothing is left until its reset.
    PauseStarted(PauseStarted),
    /// The server's pause is over.
    PauseEnded,
    /// A server is out: no request is sent to it but one probe at a time.
    BreakerOpened(Box<BreakerOpened>),
    /// A server that was out has answered again.
    BreakerClosed(Box<BreakerClosed>),
    /// An anomaly that failed no row, at its first occurrence.
    Warning(Box<WarningEvent>),
    /// No row has ended for some time.
    Stalled(Box<Stalled>),
    /// After a stall, a row has ended.
    StallEnded,
    /// The end of the run was requested: no new rows begin.
    StopRequested(StopRequested),
    /// Events were lost, since the subscriber did not take them in time.
    EventsLost(EventsLost),
    /// The run ended. It is the last event.
    RunEnded(Box<RunEnded>),
}

/// The setting of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RunStarted {
    /// The version of the events' form.
    pub version: u32,
    /// The version of throng.
    pub throng: String,
    /// The process of the run.
    pub pid: u32,
    /// The file of the rows; none if they come from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// The file of the records; none if they go to standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The server of the first step.
    pub server: String,
    /// Number of records that the run will write, if it is known.
    pub rows_to_do: Option<u64>,
    /// Number of rows that an earlier run has finished.
    pub rows_skipped: u64,
    /// Number of workers.
    pub workers: usize,
    /// Maximum number of requests in flight.
    pub max_in_flight: usize,
    /// The limits.
    pub limits: Vec<LimitSnapshot>,
}

/// A row that ended as a failure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RowFailed {
    /// The row number, from 0.
    pub row: u64,
    /// The row's first field, shortened.
    pub label: String,
    /// The reason in short, as `_error` has it.
    pub kind: String,
    /// The details, shortened.
    pub detail: String,
    /// The status of the last answer.
    pub status: Option<u16>,
    /// Number of attempts.
    pub attempts: u32,
}

/// An attempt that failed, and is followed by another one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RequestRetried {
    /// The row number, from 0; none for a request of several rows or of no row.
    pub row: Option<u64>,
    /// Number of attempts so far.
    pub attempts: u32,
    /// The reason in short.
    pub kind: String,
    /// The details, shortened.
    pub detail: String,
    /// The pause before the next attempt, in seconds.
    #[serde(rename = "pause_seconds", with = "times::seconds")]
    pub pause: Duration,
}

/// A request that the server refused because of a limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RequestRefused {
    /// The status of the answer.
    pub status: u16,
    /// The pause that the server asks for, in seconds.
    #[serde(rename = "pause_seconds", with = "times::some_seconds")]
    pub pause: Option<Duration>,
}

/// A pause that the server asks for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PauseStarted {
    /// The time until its end, in seconds.
    #[serde(rename = "pause_seconds", with = "times::seconds")]
    pub pause: Duration,
}

/// A server that is out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BreakerOpened {
    /// The host and port.
    pub server: String,
    /// The latest failure.
    pub cause: String,
    /// The time since the first failure, in seconds.
    #[serde(rename = "out_seconds", with = "times::seconds")]
    pub out: Duration,
}

/// A server that was out, and answers again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BreakerClosed {
    /// The host and port.
    pub server: String,
    /// The time for which it was out, in seconds.
    #[serde(rename = "out_seconds", with = "times::seconds")]
    pub out: Duration,
}

/// An anomaly that failed no row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WarningEvent {
    /// The kind of anomaly.
    pub message: String,
    /// Its first occurrence.
    pub example: String,
}

/// A run in which no row has ended for some time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stalled {
    /// The time since a row has ended, in seconds.
    #[serde(rename = "stalled_seconds", with = "times::seconds")]
    pub stalled: Duration,
    /// What the rows wait for.
    pub waits_for: Option<WaitSnapshot>,
}

/// The request to end the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct StopRequested {
    /// The reason.
    pub reason: String,
}

/// Events that a subscriber has lost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct EventsLost {
    /// Their number.
    pub count: u64,
}

/// The end of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RunEnded {
    /// The outcome.
    pub outcome: Outcome,
    /// Why it ended before its last row, or could not begin.
    pub reason: Option<String>,
    /// Rows with a result.
    pub ok: u64,
    /// Rows with a failure.
    pub failed: u64,
    /// The time that the run took, in seconds.
    #[serde(with = "times::seconds")]
    pub seconds: Duration,
    /// The summary, as `--summary-json` has it; none if the run could not begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Value>,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Every row has its record.
    #[default]
    Finished,
    /// A signal has ended it.
    Interrupted,
    /// An error has ended it, or it could not begin.
    Stopped,
    /// The reader of the output has closed it.
    Unread,
}

impl Event {
    /// An event of this moment.
    pub(crate) fn now(elapsed: Duration, kind: EventKind) -> Event {
        Event { time: SystemTime::now(), elapsed, kind }
    }
}
