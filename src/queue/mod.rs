//! The queue between machines: a job's rows go out in chunks, and their records come back.
//!
//! A [`Queue`] is a store that workers on many machines reach. The submitter puts in chunks of
//! rows, workers claim them, keep them by heartbeats and hand over records, and the collector
//! takes the records out.
//!
//! - `wire`: rows and records as bytes
//! - `numbers`: sets of row numbers as a text
//! - `row_bits`: which rows of a chunk, as bits
//! - `held`: the chunks that a worker holds; `begun_row`: the records of a row that has not ended
//! - `chunks`: rows on their way into chunks; `chunk_rows`: the rows that a chunk has, or names
//! - `outstanding`: the rows whose records the collector waits for
//! - `redis`: the queue in Redis

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use chunks::NewChunk;

use crate::error::Error;
use crate::source::SharedInput;

mod begun_row;
pub(crate) mod chunk_rows;
pub(crate) mod chunks;
pub(crate) mod held;
pub(crate) mod numbers;
pub(crate) mod outstanding;
#[cfg_attr(not(feature = "redis"), path = "redis/disabled.rs")]
mod redis;
mod row_bits;
#[cfg(test)]
mod schedules;
pub(crate) mod wire;

pub(crate) use redis::{RedisStore, ServerSync};

/// The chunks and records of one job, as one thread reaches them.
pub(crate) trait Queue: Send {
    /// Submits a chunk under this number, unless one of it or of a higher one was.
    fn submit(&mut self, chunk: u64, new: &NewChunk) -> Result<Outcome, QueueError>;

    /// Claims a chunk, for a worker that holds these.
    fn claim(&mut self, held: &[u64]) -> Result<Claimed, QueueError>;

    /// Keeps the leases of a worker, which says this of itself. Gives the state of the job, and
    /// the chunks that the worker has lost.
    fn beat(&mut self, about: &str, held: &[Lease]) -> Result<(JobState, Vec<u64>), QueueError>;

    /// Hands over records of a chunk; with the last ones the chunk is finished. Both are one
    /// step, which another worker's lease refuses.
    fn finish(&mut self, commit: &Commit) -> Result<Outcome, QueueError>;

    /// Notes the rows of a chunk that are about to be sent, as bits.
    fn announce(&mut self, lease: Lease, sent: &[u8]) -> Result<Outcome, QueueError>;

    /// Hands chunks back, which others may claim at once; the worker leaves.
    fn release(&mut self, held: &[Lease]) -> Result<(), QueueError>;

    /// The batches after this place, of which the first one is waited for.
    fn batches(&mut self, after: &str, wait: Duration) -> Result<Vec<Batch>, QueueError>;

    /// Removes batches whose records are safe, and keeps other collectors away.
    fn collected(&mut self, batches: &[String]) -> Result<Collecting, QueueError>;

    /// The chunks that are not finished, with their rows or without.
    fn waiting(&mut self, with_rows: bool) -> Result<Vec<WaitingChunk>, QueueError>;
}

/// A worker's right to a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The number of the chunk.
    pub chunk: u64,
    /// The number that tells this claim from others of the chunk.
    pub token: u64,
}

/// A chunk that a worker has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub lease: Lease,
    /// The rows, as they were submitted.
    pub rows: Vec<u8>,
    /// The rows that are out already, as bits.
    pub done: Vec<u8>,
    /// The rows that were about to be sent, as bits.
    pub sent: Vec<u8>,
    /// Time since the first of them was.
    pub sent_for: Duration,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claimed {
    Chunk(Box<Claim>),
    /// No chunk waits.
    None,
    /// Too many records wait for the collector.
    Full,
    /// The job is not running.
    State(JobState),
}

/// Records of a chunk that are handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    pub lease: Lease,
    /// The rows of the chunk that are out afterwards, as bits.
    pub done: Vec<u8>,
    /// Whether that is all of the chunk.
    pub is_last: bool,
    pub records: Vec<u8>,
    /// The worker's counters since the commit before, as JSON.
    pub about: String,
    /// Number of rows of which all records are ok.
    pub ok: u64,
    /// Number of rows of which a record is a failure.
    pub failed: u64,
}

/// The outcome of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// There is no room for it now.
    Full,
    /// Another worker has the lease.
    Lost,
    /// The state of the job does not allow it.
    State(JobState),
}

/// A batch that waits for the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Its place among all batches.
    pub id: String,
    /// The number of its chunk.
    pub chunk: u64,
    /// For records the worker's counters as JSON, for a chunk that is given up its last worker.
    pub about: String,
    pub content: BatchContent,
}

/// The content of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BatchContent {
    Records(Vec<u8>),
    /// The rows of a chunk that is given up: its workers have all ended.
    Dead {
        rows: Vec<u8>,
        /// Those of them that are out, as bits.
        done: Vec<u8>,
        /// Those of them that were about to be sent, as bits.
        sent: Vec<u8>,
    },
}

/// The answer to a collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Collecting {
    /// It is the only one.
    Holds { state: JobState, workers: u64 },
    /// Another one collects.
    Other(String),
}

/// A chunk that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingChunk {
    pub chunk: u64,
    /// The numbers of its rows.
    pub numbers: String,
    pub rows: Vec<u8>,
}

/// How a queue is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueTerms {
    /// The time without a heartbeat after which another worker may claim a chunk.
    pub lease: Duration,
    /// Size of the records that may wait for the collector before workers claim no more, in bytes.
    pub record_bytes: u64,
    /// Number of leases of a chunk that may lapse without a record; then it is given up.
    pub tries: u64,
    /// Number of chunks that may wait for each worker.
    pub each: u64,
    /// Number of chunks that may wait in any case.
    pub least: u64,
    /// Size of the rows that may wait, in bytes.
    pub row_bytes: u64,
}

/// The field of a job with the input that its workers reach.
pub(crate) const SHARED_INPUT: &str = "shared-input";

/// Size of the rows of a job that may wait, in bytes, and of its records.
pub(crate) const ROOM: u64 = 256 * 1024 * 1024;

impl Default for QueueTerms {
    fn default() -> QueueTerms {
        let lease = Duration::from_secs(30);
        QueueTerms { lease, record_bytes: ROOM / 4, tries: 5, each: 4, least: 256, row_bytes: ROOM }
    }
}

/// The facts of a job that workers and collectors need, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JobFields(pub HashMap<String, String>);

impl JobFields {
    /// A field; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name).parse().ok()
    }

    /// The state of the job.
    pub fn state(&self) -> JobState {
        JobState::parse(self.get("state"), self.get("reason"))
    }

    /// Whether the rows were submitted by a command that has left, and the records are collected
    /// by another one.
    pub fn is_detached(&self) -> bool {
        !self.get("collect").is_empty()
    }

    /// The input of which chunks name the places of rows, if the workers reach it.
    ///
    /// # Errors
    /// It is of another version.
    pub fn shared_input(&self) -> Result<Option<SharedInput>, Error> {
        let text = self.get(SHARED_INPUT);
        if text.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(text).map(Some).map_err(|error| {
            Error::plan(format!("the job is of another version of throng: {error}"))
        })
    }

    /// How its queue is used.
    pub fn terms(&self) -> QueueTerms {
        let lease = self.number("lease").map(Duration::from_millis);
        let usual = QueueTerms::default();
        let usual = QueueTerms { lease: lease.unwrap_or(usual.lease), ..usual };
        if self.is_detached() {
            // No process holds the rows, or waits for the records.
            QueueTerms { record_bytes: ROOM, least: u64::from(u32::MAX), ..usual }
        } else {
            usual
        }
    }
}

/// The facts of a job for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobFacts {
    pub fields: JobFields,
    /// Number of chunks that are not finished.
    pub chunks: u64,
    /// Number of batches that wait for the collector.
    pub batches: u64,
    /// Number of chunks that were given up.
    pub dead: u64,
    /// The workers, and what each said of itself last, with the seconds since 1970 before it.
    pub workers: Vec<(String, String)>,
}

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobState {
    /// Workers take its rows.
    Running,
    /// Workers wait.
    Paused,
    /// Workers leave it, for this reason; it can be resumed.
    Stopped(String),
    /// Workers leave it, and it is not resumed.
    Cancelled,
    /// All of its rows have their record.
    Done,
    /// There is no such job.
    Gone,
}

impl JobState {
    /// The state with this name and reason.
    pub fn parse(name: &str, reason: &str) -> JobState {
        match name {
            "running" => JobState::Running,
            "paused" => JobState::Paused,
            "stopped" => JobState::Stopped(reason.to_owned()),
            "cancelled" => JobState::Cancelled,
            "done" => JobState::Done,
            _ => JobState::Gone,
        }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Paused => "paused",
            JobState::Stopped(_) => "stopped",
            JobState::Cancelled => "cancelled",
            JobState::Done => "done",
            JobState::Gone => "gone",
        }
    }
}

/// An error of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueError {
    /// Whether the same may succeed later.
    pub may_pass: bool,
    /// What happened, where, and what to do.
    pub text: String,
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl QueueError {
    /// The error of a command that can't go on.
    pub fn into_error(self) -> Error {
        if self.may_pass { Error::stopped(self.text) } else { Error::plan(self.text) }
    }
}
