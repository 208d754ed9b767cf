//! Counts and times of a run, which its workers write and any thread may read.
//!
//! A worker is a thread with an event loop and many rows. At any moment its time has exactly
//! one [`WaitReason`]: work while the thread runs; while it is idle, the first reason that
//! applies to one of its rows. Rows only count themselves. The clock is read when the thread
//! becomes idle and when it wakes, so the times add up to the elapsed time, and a request
//! reads no clock.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::latency::LatencyHistogram;

/// Maximum number of headers with a warning.
const MAX_HEADER_WARNINGS: usize = 20;

/// Counters of a run in progress, readable at any time from any thread.
#[derive(Debug, Default)]
pub struct Metrics {
    workers: Vec<Counters>,
    ok: Counter,
    failed: Counter,
    invalid_headers: Mutex<BTreeMap<String, String>>,
    warnings: Mutex<Vec<Warning>>,
    batches: BatchCounters,
    /// By unit.
    settled: Mutex<BTreeMap<usize, SettledCost>>,
    /// The start of the run.
    started: OnceLock<Instant>,
    /// The time at which the writer had the last record.
    all_written_at: OnceLock<Duration>,
}

/// The batches at a provider.
#[derive(Debug, Default)]
struct BatchCounters {
    submitted: AtomicU64,
    begun: AtomicU64,
    completed: AtomicU64,
}

/// A snapshot of the batches at a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct BatchProgress {
    /// Batches that the run has submitted.
    pub submitted: u64,
    /// Batches that it waits for, those of earlier runs too.
    pub in_progress: u64,
    /// Batches whose results it has collected.
    pub completed: u64,
}

/// The cost of requests whose answers have told it.
#[derive(Debug, Clone, Copy, Default)]
struct SettledCost {
    /// Units that were reserved for them.
    reserved: u64,
    /// Units that they have cost.
    used: u64,
}

/// An anomaly that failed no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Warning {
    /// The kind of anomaly.
    #[serde(rename = "what")]
    pub message: Cow<'static, str>,
    /// Number of occurrences.
    pub count: u64,
    /// The first occurrence.
    pub example: String,
}

/// The counters of one worker, in cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    sent: Counter,
    answered: Counter,
    refused: Counter,
    refused_otherwise: Counter,
    retried: Counter,
    redirected: Counter,
    in_flight: Counter,
    /// Answers by status.
    statuses: StatusCounts,
    latency: LatencyHistogram,
    time: WorkerTime,
}

/// Number of answers by status, which is the index.
#[derive(Debug)]
struct StatusCounts(Vec<Counter>);

/// A snapshot of the counters of one worker or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sending {
    /// Requests sent, retries included.
    pub sent: u64,
    /// Answers whose head was received.
    pub answered: u64,
    /// Answers that refused a request because of a limit.
    pub refused: u64,
    /// Those of them with another status than 429.
    pub refused_otherwise: u64,
    /// Attempts after a failure that was not a refusal.
    pub retried: u64,
    /// Requests to which a redirect led.
    pub redirected: u64,
    /// Requests that wait for their answer.
    pub in_flight: u64,
    /// Rows that wait for a limit, or for a server that is out.
    pub waiting: u64,
}

impl Sending {
    /// Adds the counts of events of another snapshot.
    pub(crate) fn add(&mut self, more: &Sending) {
        self.sent += more.sent;
        self.answered += more.answered;
        self.refused += more.refused;
        self.refused_otherwise += more.refused_otherwise;
        self.retried += more.retried;
        self.redirected += more.redirected;
    }
}

/// The reason of a moment of a worker's time: the first one that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// The thread runs.
    Work,
    /// A row's server is out.
    Outage,
    /// A limit or a pause holds a row back.
    Limit,
    /// A row waits for its answer or its connection.
    Server,
    /// A row waits for its job, which is polled.
    Jobs,
    /// A row has failed and waits for its next attempt.
    Backoff,
    /// A record waits for the writer.
    Output,
    /// The worker waits for a row.
    Input,
    /// No row is left for the worker, while another has some.
    NoRows,
}

/// Time by reason, in the order of [`WaitReason::ALL`].
pub type TimeByReason = [Duration; 9];

/// One worker's time by reason. Only its own thread writes to it until it has ended.
#[derive(Debug, Default)]
struct WorkerTime {
    /// Number of rows by reason.
    rows: [AtomicU32; 9],
    /// Nanoseconds by reason, up to `since`.
    spent: [AtomicU64; 9],
    /// The reason now.
    now: AtomicU32,
    /// Nanoseconds at which the reason began.
    since: AtomicU64,
}

/// A waiting row, counted until it is dropped.
#[must_use]
pub struct WaitingRow<'a>(&'a AtomicU32);

/// A request in flight, counted until it is dropped.
pub struct InFlight<'a>(&'a Counters, #[expect(dead_code)] WaitingRow<'a>);

/// A counter with a single writing thread, so reading and writing need no lock.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Metrics {
    pub(crate) fn new(workers: usize) -> Metrics {
        Metrics {
            workers: (0..workers).map(|_| Counters::default()).collect(),
            ..Metrics::default()
        }
    }

    /// Starts the clock of the run. Later calls return the first start.
    pub(crate) fn start(&self) -> Instant {
        *self.started.get_or_init(Instant::now)
    }

    /// Whether the clock of the run has been started.
    pub(crate) fn has_started(&self) -> bool {
        self.started.get().is_some()
    }

    /// The time since the start of the run.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Each worker's time by reason, up to this time of the run.
    pub(crate) fn spent(&self, now: Duration) -> Vec<TimeByReason> {
        self.workers.iter().map(|it| it.time.spent(now)).collect()
    }

    /// The thread of all workers has nothing to run.
    pub(crate) fn all_idle(&self) {
        (0..self.workers.len()).for_each(|worker| self.idle(worker));
    }

    /// The thread of all workers runs again.
    pub(crate) fn all_wake(&self) {
        (0..self.workers.len()).for_each(|worker| self.wake(worker));
    }

    /// The worker's thread has nothing to run.
    pub(crate) fn idle(&self, worker: usize) {
        self.worker(worker).time.idle(self.elapsed());
    }

    /// The worker's thread runs again.
    pub(crate) fn wake(&self, worker: usize) {
        self.worker(worker).time.switch_to(WaitReason::Work, self.elapsed());
    }

    /// The worker has no more rows.
    pub(crate) fn end(&self, worker: usize) {
        self.worker(worker).time.switch_to(WaitReason::NoRows, self.elapsed());
    }

    /// The writer has received all records.
    pub(crate) fn all_written(&self) {
        self.all_written_at.get_or_init(|| self.elapsed());
    }

    /// Whether the writer has received all records.
    pub(crate) fn is_all_written(&self) -> bool {
        self.all_written_at.get().is_some()
    }

    /// All workers have ended: their time since the last record was spent on output.
    pub(crate) fn all_ended(&self) {
        if let Some(&since) = self.all_written_at.get() {
            let times = self.workers.iter().map(|worker| &worker.time);
            times.for_each(|time| time.switch_to(WaitReason::Output, since));
        }
    }

    /// Headers with invalid values, and the first problem of each.
    #[must_use]
    pub fn header_warnings(&self) -> BTreeMap<String, String> {
        lock(&self.invalid_headers).clone()
    }

    /// Adds a header with an invalid value, once for each header.
    pub(crate) fn warn_of_header(&self, header: &str, why: &str) {
        let mut warnings = lock(&self.invalid_headers);
        if warnings.len() < MAX_HEADER_WARNINGS && !warnings.contains_key(header) {
            warnings.insert(header.to_owned(), why.to_owned());
        }
    }

    /// The anomalies so far, in the order of their first occurrence.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        lock(&self.warnings).clone()
    }

    /// Adds occurrences of an anomaly; the example is kept for the first one.
    pub(crate) fn warn(&self, what: &'static str, count: u64, example: impl FnOnce() -> String) {
        let mut warnings = lock(&self.warnings);
        match warnings.iter_mut().find(|warning| warning.message == what) {
            Some(warning) => warning.count += count,
            None => warnings.push(Warning { message: what.into(), count, example: example() }),
        }
    }

    /// The run has submitted a batch.
    pub(crate) fn batch_submitted(&self) {
        self.batches.submitted.fetch_add(1, Ordering::Relaxed);
        self.batch_begins();
    }

    /// The run waits for a batch.
    pub(crate) fn batch_begins(&self) {
        self.batches.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// The run has collected a batch.
    pub(crate) fn batch_ends(&self) {
        self.batches.completed.fetch_add(1, Ordering::Relaxed);
    }

    /// The batches at a provider; none if the run has not had any.
    #[must_use]
    pub fn batches(&self) -> Option<BatchProgress> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (completed, begun) = (get(&self.batches.completed), get(&self.batches.begun));
        let submitted = get(&self.batches.submitted);
        let in_progress = begun.saturating_sub(completed);
        (begun > 0).then_some(BatchProgress { submitted, in_progress, completed })
    }

    /// Adds a request's cost in a unit as its answer has told it.
    pub(crate) fn settled(&self, unit: usize, reserved: u64, used: u64) {
        let mut settled = lock(&self.settled);
        let cost = settled.entry(unit).or_default();
        cost.reserved = cost.reserved.saturating_add(reserved);
        cost.used = cost.used.saturating_add(used);
    }

    /// For each unit whose costs answers have told, the costs divided by what was reserved
    /// for them.
    pub(crate) fn cost_factors(&self) -> Vec<(usize, f64)> {
        let settled = lock(&self.settled);
        let known = settled.iter().filter(|(_, cost)| cost.reserved > 0);
        known.map(|(unit, cost)| (*unit, cost.used as f64 / cost.reserved as f64)).collect()
    }

    /// For each unit whose costs answers have told, the sum of the costs.
    pub(crate) fn settled_costs(&self) -> Vec<(usize, u64)> {
        lock(&self.settled).iter().map(|(unit, cost)| (*unit, cost.used)).collect()
    }

    /// The counts of events since an earlier snapshot; nothing waits or is in flight.
    pub(crate) fn since(&self, earlier: &Sending) -> Sending {
        let now = self.sending();
        Sending {
            sent: now.sent.saturating_sub(earlier.sent),
            answered: now.answered.saturating_sub(earlier.answered),
            refused: now.refused.saturating_sub(earlier.refused),
            refused_otherwise: now.refused_otherwise.saturating_sub(earlier.refused_otherwise),
            retried: now.retried.saturating_sub(earlier.retried),
            redirected: now.redirected.saturating_sub(earlier.redirected),
            in_flight: 0,
            waiting: 0,
        }
    }

    /// The sum of all workers' counters.
    #[must_use]
    pub fn sending(&self) -> Sending {
        self.by_worker().fold(Sending::default(), |sum, worker| Sending {
            sent: sum.sent + worker.sent,
            answered: sum.answered + worker.answered,
            refused: sum.refused + worker.refused,
            refused_otherwise: sum.refused_otherwise + worker.refused_otherwise,
            retried: sum.retried + worker.retried,
            redirected: sum.redirected + worker.redirected,
            in_flight: sum.in_flight + worker.in_flight,
            waiting: sum.waiting + worker.waiting,
        })
    }

    /// Number of answers by status.
    pub(crate) fn statuses(&self) -> BTreeMap<u16, u64> {
        let mut sums = BTreeMap::new();
        for worker in &self.workers {
            for (status, count) in (0..).zip(&worker.statuses.0) {
                if count.get() > 0 {
                    *sums.entry(status).or_default() += count.get();
                }
            }
        }
        sums
    }

    /// Number of latencies in each bucket, and the sum of all latencies.
    pub(crate) fn latencies(&self) -> (Vec<u64>, Duration) {
        let mut counts = Vec::new();
        self.workers.iter().for_each(|worker| worker.latency.add_to(&mut counts));
        (counts, self.workers.iter().map(|worker| worker.latency.sum()).sum())
    }

    /// A snapshot of each worker's counters.
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

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counters {
    pub fn sent(&self) -> InFlight<'_> {
        self.sent.add(1);
        self.in_flight.add(1);
        InFlight(self, self.row_waits(WaitReason::Server))
    }

    /// A row of this worker waits for this reason until the result is dropped.
    pub fn row_waits(&self, reason: WaitReason) -> WaitingRow<'_> {
        self.time.row_waits(reason)
    }

    pub fn unsent(&self) {
        self.sent.subtract(1);
    }

    /// An answer came, of this status if it could be read.
    pub fn answered(&self, status: Option<StatusCode>) {
        self.answered.add(1);
        let status = status.map(|status| usize::from(status.as_u16()));
        if let Some(count) = status.and_then(|status| self.statuses.0.get(status)) {
            count.add(1);
        }
    }

    /// An answer has been read to its end, this time after its request was sent.
    pub fn latency(&self, latency: Duration) {
        self.latency.add(latency);
    }

    pub fn refused(&self, status: StatusCode) {
        self.refused.add(1);
        if status != StatusCode::TOO_MANY_REQUESTS {
            self.refused_otherwise.add(1);
        }
    }

    pub fn retried(&self) {
        self.retried.add(1);
    }

    /// Adds the counts of a worker of another process.
    pub fn add(&self, more: &Sending) {
        self.sent.add(more.sent);
        self.answered.add(more.answered);
        self.refused.add(more.refused);
        self.refused_otherwise.add(more.refused_otherwise);
        self.retried.add(more.retried);
        self.redirected.add(more.redirected);
    }

    pub fn redirected(&self) {
        self.redirected.add(1);
    }

    /// Sets the number of requests that wait for their answer at workers of other processes.
    pub fn set_in_flight(&self, requests: u64) {
        self.in_flight.0.store(requests, Ordering::Relaxed);
    }

    fn now(&self) -> Sending {
        Sending {
            sent: self.sent.get(),
            answered: self.answered.get(),
            refused: self.refused.get(),
            refused_otherwise: self.refused_otherwise.get(),
            retried: self.retried.get(),
            redirected: self.redirected.get(),
            in_flight: self.in_flight.get(),
            waiting: self.time.waiting(),
        }
    }
}

/// Number of statuses.
const STATUSES: usize = 1_000;

impl Default for StatusCounts {
    fn default() -> StatusCounts {
        StatusCounts((0..STATUSES).map(|_| Counter::default()).collect())
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

impl WaitReason {
    /// All reasons in their order.
    pub const ALL: [WaitReason; 9] = [
        WaitReason::Work,
        WaitReason::Outage,
        WaitReason::Limit,
        WaitReason::Server,
        WaitReason::Jobs,
        WaitReason::Backoff,
        WaitReason::Output,
        WaitReason::Input,
        WaitReason::NoRows,
    ];
}

impl WorkerTime {
    /// A row waits for this reason until the result is dropped.
    fn row_waits(&self, reason: WaitReason) -> WaitingRow<'_> {
        let rows = &self.rows[reason as usize];
        rows.store(get(rows) + 1, Ordering::Relaxed);
        WaitingRow(rows)
    }

    /// Number of rows that wait for a limit, or for a server that is out.
    fn waiting(&self) -> u64 {
        let rows = [WaitReason::Limit, WaitReason::Outage].map(|it| get(&self.rows[it as usize]));
        rows.into_iter().map(u64::from).sum()
    }

    /// The thread has nothing to run.
    fn idle(&self, now: Duration) {
        let waits = |reason: &&WaitReason| get(&self.rows[**reason as usize]) > 0;
        let reason = WaitReason::ALL.iter().find(waits);
        self.switch_to(*reason.unwrap_or(&WaitReason::Input), now);
    }

    /// Ends the current reason and begins this one.
    fn switch_to(&self, reason: WaitReason, now: Duration) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let since = self.since.load(Ordering::Relaxed);
        let spent = &self.spent[get(&self.now) as usize];
        let more = spent.load(Ordering::Relaxed) + now.saturating_sub(since);
        spent.store(more, Ordering::Relaxed);
        self.now.store(reason as u32, Ordering::Relaxed);
        self.since.store(now.max(since), Ordering::Relaxed);
    }

    /// The time by reason up to now.
    fn spent(&self, now: Duration) -> TimeByReason {
        let nanos = |at: &AtomicU64| Duration::from_nanos(at.load(Ordering::Relaxed));
        let mut all = self.spent.each_ref().map(nanos);
        all[get(&self.now) as usize] += now.saturating_sub(nanos(&self.since));
        all
    }
}

impl Drop for WaitingRow<'_> {
    fn drop(&mut self) {
        self.0.store(get(self.0).saturating_sub(1), Ordering::Relaxed);
    }
}

fn get(number: &AtomicU32) -> u32 {
    number.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_request_is_in_flight_until_it_is_dropped() {
        let metrics = Metrics::new(2);
        let first = metrics.worker(0).sent();
        let second = metrics.worker(1).sent();
        assert_eq!((metrics.sending().sent, metrics.sending().in_flight), (2, 2));
        drop((first, second));
        assert_eq!((metrics.sending().sent, metrics.sending().in_flight), (2, 0));
    }

    #[test]
    fn rows_wait_for_limits_and_for_servers_that_are_out() {
        let metrics = Metrics::new(2);
        let limited = metrics.worker(0).row_waits(WaitReason::Limit);
        let out = metrics.worker(1).row_waits(WaitReason::Outage);
        let _sent = metrics.worker(1).sent();
        assert_eq!(metrics.sending().waiting, 2);
        drop((limited, out));
        assert_eq!(metrics.sending().waiting, 0);
    }

    #[test]
    fn each_moment_has_the_first_reason_that_applies() {
        let worker = WorkerTime::default();
        let wake = |now| worker.switch_to(WaitReason::Work, now);
        worker.idle(ms(10));
        wake(ms(15));
        let server = worker.row_waits(WaitReason::Server);
        let pause = worker.row_waits(WaitReason::Backoff);
        worker.idle(ms(16));
        wake(ms(36));
        let limited = worker.row_waits(WaitReason::Limit);
        worker.idle(ms(37));
        wake(ms(137));
        drop((limited, server));
        worker.idle(ms(138));
        wake(ms(140));
        drop(pause);
        let _record = worker.row_waits(WaitReason::Output);
        worker.idle(ms(140));
        let spent = worker.spent(ms(150)).map(|time| time.as_millis());
        assert_eq!(spent, [10 + 1 + 1 + 1, 0, 100, 20, 0, 2, 10, 5, 0]);
        assert_eq!(spent.iter().sum::<u128>(), 150);
    }

    #[test]
    fn the_times_add_up_to_the_elapsed_time() {
        let worker = WorkerTime::default();
        let mut now = 0;
        for step in 0..10_000_u64 {
            now += step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let time = Duration::from_nanos(now);
            match step % 3 {
                0 => worker.idle(time),
                1 => worker.switch_to(WaitReason::Work, time),
                _ => drop(worker.row_waits(WaitReason::ALL[step as usize % 8])),
            }
            assert_eq!(worker.spent(time).iter().sum::<Duration>(), time);
        }
    }
}
