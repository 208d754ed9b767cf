//! What a run is doing now: counters for whoever looks on.

pub mod wait_time;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter::Sum;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::metrics::wait_time::{TimeByReason, WaitReason, WaitingRow, WorkerTime};

/// Counters of a run in progress. They may be read at any time from anywhere.
#[derive(Debug)]
pub struct Metrics {
    workers: Vec<Counters>,
    ok: Counter,
    failed: Counter,
    doubts: Mutex<BTreeMap<String, String>>,
    warnings: Mutex<Vec<Warning>>,
    /// When the run began.
    begun: OnceLock<Instant>,
    /// When the writer had the last record.
    written_by: OnceLock<Duration>,
}

/// Something odd that the server did, which failed no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// What it is.
    pub what: Cow<'static, str>,
    /// How often it was seen.
    pub count: u64,
    /// Where it was seen first.
    pub example: String,
}

/// More headers than this are not doubted at once.
const MOST_DOUBTS: usize = 20;

/// What one worker does. Two workers never write to one line of a processor's cache.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    sent: Counter,
    answered: Counter,
    refused: Counter,
    retried: Counter,
    in_flight: Counter,
    watch: WorkerTime,
}

/// What the counters of one worker, or of all, said at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sending {
    /// Requests sent, retries included.
    pub sent: u64,
    /// Answers whose head came.
    pub answered: u64,
    /// Answers that said that the limit was hit.
    pub refused: u64,
    /// Attempts after a failed one; refusals don't count.
    pub retried: u64,
    /// Requests that wait for their answer.
    pub in_flight: u64,
}

/// Only one thread writes to it, so nothing is lost between reading and writing.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

/// A request in flight, as long as it lives.
pub(crate) struct InFlight<'a>(&'a Counters, #[expect(dead_code)] WaitingRow<'a>);

impl Metrics {
    pub(crate) fn new(workers: usize) -> Metrics {
        Metrics {
            workers: (0..workers).map(|_| Counters::default()).collect(),
            ok: Counter::default(),
            failed: Counter::default(),
            doubts: Mutex::default(),
            warnings: Mutex::default(),
            begun: OnceLock::new(),
            written_by: OnceLock::new(),
        }
    }

    /// The run begins now: what its time goes to is counted from then on.
    pub(crate) fn begin(&self) -> Instant {
        *self.begun.get_or_init(Instant::now)
    }

    /// How long it has been going on.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// What the time of each worker went to, up to this time of the run.
    pub(crate) fn spent(&self, now: Duration) -> Vec<TimeByReason> {
        self.workers.iter().map(|it| it.watch.spent(now)).collect()
    }

    /// This worker's thread goes to rest.
    pub(crate) fn rest(&self, worker: usize) {
        self.worker(worker).watch.rest(self.elapsed());
    }

    /// It goes on.
    pub(crate) fn wake(&self, worker: usize) {
        self.worker(worker).watch.wake(self.elapsed());
    }

    /// It has no more rows to do.
    pub(crate) fn end(&self, worker: usize) {
        self.worker(worker)
            .watch
            .turn(WaitReason::Input, self.elapsed());
    }

    /// All records are with the writer, who has yet to finish them.
    pub(crate) fn all_written(&self) {
        self.written_by.get_or_init(|| self.elapsed());
    }

    /// No worker's thread is left: from when the writer had all, they waited for it.
    pub(crate) fn all_ended(&self) {
        if let Some(&since) = self.written_by.get() {
            let watches = self.workers.iter().map(|worker| &worker.watch);
            watches.for_each(|watch| watch.turn(WaitReason::Output, since));
        }
    }

    /// Headers that said what can't be, and the first thing that was wrong with each.
    #[must_use]
    pub fn header_warnings(&self) -> BTreeMap<String, String> {
        self.known_doubts().clone()
    }

    /// Something that the server says can't be: it is noted once for each header.
    pub(crate) fn doubt(&self, header: &str, why: &str) {
        let mut doubts = self.known_doubts();
        if doubts.len() < MOST_DOUBTS && !doubts.contains_key(header) {
            doubts.insert(header.to_owned(), why.to_owned());
        }
    }

    /// What was odd so far, in the order in which it was first seen.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        self.known_warnings().clone()
    }

    /// Something is odd: it was seen so often once more, here for example.
    pub(crate) fn warn(&self, what: &'static str, count: u64, example: impl FnOnce() -> String) {
        let mut warnings = self.known_warnings();
        match warnings.iter_mut().find(|warning| warning.what == what) {
            Some(warning) => warning.count += count,
            None => warnings.push(Warning {
                what: what.into(),
                count,
                example: example(),
            }),
        }
    }

    fn known_warnings(&self) -> MutexGuard<'_, Vec<Warning>> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_doubts(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all workers together have sent and heard.
    #[must_use]
    pub fn sending(&self) -> Sending {
        self.by_worker().sum()
    }

    /// The same for each worker.
    pub fn by_worker(&self) -> impl Iterator<Item = Sending> {
        self.workers.iter().map(Counters::now)
    }

    /// Rows written with a result.
    #[must_use]
    pub fn ok(&self) -> u64 {
        self.ok.get()
    }

    /// Rows written with a failure.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.get()
    }

    pub(crate) fn worker(&self, index: usize) -> &Counters {
        &self.workers[index]
    }

    pub(crate) fn written(&self, ok: u64, failed: u64) {
        self.ok.add(ok);
        self.failed.add(failed);
    }
}

impl Counters {
    pub fn sent(&self) -> InFlight<'_> {
        self.sent.add(1);
        self.in_flight.add(1);
        InFlight(self, self.waits(WaitReason::Server))
    }

    /// A row of this worker waits as long as this is kept.
    pub fn waits(&self, cause: WaitReason) -> WaitingRow<'_> {
        self.watch.waits(cause)
    }

    pub fn unsent(&self) {
        self.sent.subtract(1);
    }

    pub fn answered(&self) {
        self.answered.add(1);
    }

    pub fn refused(&self) {
        self.refused.add(1);
    }

    pub fn retried(&self) {
        self.retried.add(1);
    }

    fn now(&self) -> Sending {
        Sending {
            sent: self.sent.get(),
            answered: self.answered.get(),
            refused: self.refused.get(),
            retried: self.retried.get(),
            in_flight: self.in_flight.get(),
        }
    }
}

impl Sum for Sending {
    fn sum<I: Iterator<Item = Sending>>(all: I) -> Sending {
        all.fold(Sending::default(), Sending::add)
    }
}

impl Add for Sending {
    type Output = Sending;

    fn add(self, other: Sending) -> Sending {
        Sending {
            sent: self.sent + other.sent,
            answered: self.answered + other.answered,
            refused: self.refused + other.refused,
            retried: self.retried + other.retried,
            in_flight: self.in_flight + other.in_flight,
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.subtract(1);
    }
}

impl Counter {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, n: u64) {
        self.0.store(self.get() + n, Ordering::Relaxed);
    }

    fn subtract(&self, n: u64) {
        self.0.store(self.get() - n, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_flight_until_it_is_dropped() {
        let live = Metrics::new(2);
        let first = live.worker(0).sent();
        let second = live.worker(1).sent();
        assert_eq!((live.sending().sent, live.sending().in_flight), (2, 2));
        drop((first, second));
        assert_eq!((live.sending().sent, live.sending().in_flight), (2, 0));
    }
}
