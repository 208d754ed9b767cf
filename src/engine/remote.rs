//! Workers of other processes in place of the run's own: rows go to a queue in chunks, and
//! records come back. One thread submits, another one collects.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender, TryRecvError};

use super::channels::OutboxBatch;
use super::context::RunContext;
use super::ending;
use super::panics::caught;
use crate::error::{Error, StopCause};
use crate::metrics::{ReportedTime, TimeBreakdown, WaitReason, WorkerReport};
use crate::queue::chunk_rows::{bare_rows, is_place, rows_of};
use crate::queue::chunks::ChunkBuilder;
use crate::queue::outstanding::Outstanding;
use crate::queue::{
    Batch, BatchContent, Collecting, JobState, Outcome, Queue, QueueError, QueueTerms, RedisStore,
    WaitingChunk, wire,
};
use crate::row::Row;
use crate::shutdown::ShutdownReason;
use crate::source::{RowPlaces, SharedInput};
use crate::threads;

/// Maximum time for which a row waits for its chunk to become full.
const CHUNK_WAIT: Duration = Duration::from_millis(200);

/// Pause before another look at a channel or a full queue.
const REST: Duration = Duration::from_millis(5);

/// Pause before the store is tried again after an error.
const RETRY: Duration = Duration::from_millis(200);

/// Maximum time for which the collector waits for a batch before it looks at the run.
const BATCH_WAIT: Duration = Duration::from_millis(500);

/// Time between two looks at the state of the job.
const CHECK: Duration = Duration::from_millis(500);

/// The time without a word from a collector after which another one may take over.
const COLLECTOR_LEASE: Duration = Duration::from_secs(10);

/// Time for which the requests in flight of a worker are known by its last report.
const RECENT: Duration = Duration::from_secs(5);

/// Time without a batch after which chunks are looked for that the store may have lost.
const SILENCE: Duration = Duration::from_secs(60);

/// The queue by which other processes take the rows of a run.
pub(crate) struct RemoteWorkers {
    pub store: RedisStore,
    /// The name of the job.
    pub job: String,
    /// The name of this collector.
    pub collector: String,
    pub terms: QueueTerms,
    /// Number of rows of a chunk.
    pub chunk_rows: usize,
    /// The number of the job's last chunk, if an earlier run has begun it.
    pub continues: Option<u64>,
    /// Whether a command that has left has submitted the rows: this run collects their records
    /// alone, and the workers go on without it.
    pub is_detached: bool,
    /// The input of which chunks name the places of rows, if workers reach it.
    pub input: Option<SharedInput>,
    /// The places of rows that the reader notes, if chunks name them.
    pub places: Option<Arc<RowPlaces>>,
    state: RemoteState,
}

/// The state that the submitter, the collector and the writer share.
#[derive(Default)]
struct RemoteState {
    outstanding: Mutex<Outstanding>,
    /// Number of records that are safe.
    safe: AtomicU64,
    /// Whether the collector knows which rows an earlier run has submitted.
    has_taken_over: AtomicBool,
    /// Whether all rows were submitted.
    is_all_submitted: AtomicBool,
    /// Number of workers.
    workers: AtomicU64,
    /// How they have spent their time.
    time: Mutex<ReportedTime>,
}

impl RemoteWorkers {
    /// The queue of a job, in chunks of this number of rows.
    pub fn new(
        store: RedisStore,
        job: String,
        collector: String,
        terms: QueueTerms,
        chunk_rows: usize,
    ) -> RemoteWorkers {
        RemoteWorkers {
            store,
            job,
            collector,
            terms,
            chunk_rows,
            continues: None,
            is_detached: false,
            input: None,
            places: None,
            state: RemoteState::default(),
        }
    }

    /// Notes that this number of records is safe.
    pub fn set_safe(&self, records: u64) {
        self.state.safe.store(records, Ordering::Release);
    }

    /// Number of workers, as the store has it.
    pub fn workers(&self) -> u64 {
        self.state.workers.load(Ordering::Relaxed)
    }

    /// How the workers have spent their time, as shares of the run's time so far.
    pub fn time_breakdown(&self, now: Duration) -> TimeBreakdown {
        self.time().breakdown(now)
    }

    fn time(&self) -> MutexGuard<'_, ReportedTime> {
        self.state.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outstanding(&self) -> MutexGuard<'_, Outstanding> {
        self.state.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> Box<dyn Queue> {
        let lease = COLLECTOR_LEASE;
        self.store.queue(&self.job, &self.collector, QueueTerms { lease, ..self.terms })
    }

    /// Ends the job after its last record was written.
    pub fn end(&self, context: &RunContext) {
        if context.shutdown.is_requested() {
            return;
        }
        if let Err(error) = self.store.close(&self.job, &JobState::Done) {
            context.metrics.warn("the job could not be removed from the store", 1, || error.text);
        }
    }
}

/// Starts the threads, of which the collector's ends the run.
pub fn start(
    context: &Arc<RunContext>,
    rows: &Receiver<Row>,
    to_writer: &Sender<OutboxBatch>,
) -> Vec<JoinHandle<Duration>> {
    let (of_submitter, of_collector) = (context.clone(), context.clone());
    let (rows, to_writer) = (rows.clone(), to_writer.clone());
    let submitter = threads::spawn(move || {
        let started = Instant::now();
        caught(&of_submitter.shutdown, "the submitter of rows", || submit(&of_submitter, &rows));
        started.elapsed()
    });
    let collector = threads::spawn(move || {
        let started = Instant::now();
        let _waits = of_collector.metrics.worker(0).row_waits(WaitReason::Server);
        of_collector.metrics.idle(0);
        caught(&of_collector.shutdown, "the collector of records", || {
            if let Some(remote) = of_collector.remote.get() {
                Collector::new(&of_collector, remote, to_writer).collect();
            }
        });
        of_collector.metrics.end(0);
        started.elapsed()
    });
    [submitter, collector]
        .into_iter()
        .filter_map(|started| {
            started
                .map_err(|error| {
                    context
                        .shutdown
                        .request(ShutdownReason::Error(Error::stopped(error.to_string())))
                })
                .ok()
        })
        .collect()
}

/// Submits rows in chunks until none is left, and chunks that the store has lost, until the run
/// ends.
fn submit(context: &RunContext, rows: &Receiver<Row>) {
    let Some(remote) = context.remote.get() else { return };
    let mut submitter = Submitter {
        context,
        remote,
        queue: remote.queue(),
        rows: ChunkBuilder::new(remote.chunk_rows, remote.places.clone()),
        since: Instant::now(),
    };
    while !remote.state.has_taken_over.load(Ordering::Acquire) {
        if context.shutdown.is_requested() {
            return;
        }
        sleep(REST);
    }
    loop {
        if context.shutdown.is_requested() || !submitter.submit_all() {
            return;
        }
        match rows.try_recv() {
            Ok(row) => submitter.take(row),
            Err(TryRecvError::Empty) => {
                submitter.close_chunk(CHUNK_WAIT);
                sleep(REST);
            }
            Err(TryRecvError::Closed) => {
                submitter.close_chunk(Duration::ZERO);
                if !submitter.submit_all() {
                    return;
                }
                // Rows may have to be submitted again until the last record is here.
                if remote.state.is_all_submitted.swap(true, Ordering::AcqRel)
                    && remote.outstanding().rows() == 0
                {
                    return;
                }
                sleep(REST);
            }
        }
    }
}

/// Puts rows into chunks, and chunks into the queue.
struct Submitter<'a> {
    context: &'a RunContext,
    remote: &'a RemoteWorkers,
    queue: Box<dyn Queue>,
    /// The rows that have no chunk yet.
    rows: ChunkBuilder,
    /// When the first of them came.
    since: Instant,
}

impl Submitter<'_> {
    /// Takes a row, unless an earlier run or another command has submitted it.
    fn take(&mut self, row: Row) {
        if self.remote.is_detached {
            self.remote.outstanding().expect(row.number);
            return;
        }
        if self.remote.outstanding().knows(row.number) {
            return;
        }
        if self.rows.is_empty() {
            self.since = Instant::now();
        }
        if let Some(chunk) = self.rows.add(&row) {
            self.remote.outstanding().add(chunk);
        }
    }

    /// Closes the chunk, if it is of this age.
    fn close_chunk(&mut self, age: Duration) {
        if self.since.elapsed() >= age
            && let Some(chunk) = self.rows.take()
        {
            self.remote.outstanding().add(chunk);
        }
    }

    /// Submits all closed chunks; false if the run is to end.
    fn submit_all(&mut self) -> bool {
        loop {
            // The collector may give a chunk another number meanwhile.
            let next = {
                let outstanding = self.remote.outstanding();
                let chunk = outstanding.next_to_submit();
                chunk.and_then(|chunk| Some((chunk, outstanding.chunk(chunk)?.clone())))
            };
            let Some((chunk, new)) = next else { return true };
            match self.queue.submit(chunk, &new) {
                Ok(Outcome::Done) => self.remote.outstanding().set_submitted(chunk),
                Ok(Outcome::Full | Outcome::Lost) => sleep(10 * REST),
                Ok(Outcome::State(_)) => sleep(RETRY),
                Err(error) if error.may_pass => sleep(RETRY),
                Err(error) => {
                    self.context.shutdown.request(ShutdownReason::Error(error.into_error()));
                }
            }
            if self.context.shutdown.is_requested() {
                return false;
            }
        }
    }
}

/// Takes records from the queue to the writer.
struct Collector<'a> {
    context: &'a RunContext,
    remote: &'a RemoteWorkers,
    to_writer: Sender<OutboxBatch>,
    queue: Box<dyn Queue>,
    /// The place of the last batch that was read.
    after: String,
    /// The batches that may go.
    safe: Vec<String>,
    checked: Instant,
    heard: Instant,
    /// Chunks that waited when the store was reached again, and the last one that was submitted
    /// before: of the others the records wait, or they are lost.
    listing: Option<(Vec<WaitingChunk>, u64)>,
    must_list: bool,
    /// The requests in flight of each worker that has reported lately, and when it did.
    in_flight: HashMap<String, (u64, Instant)>,
    /// Whether the chunks of a detached job were listed once all of its rows are known.
    has_listed: bool,
    /// Number of rows of a detached job that the store had lost when its chunks were listed.
    lost: u64,
    state: JobState,
    /// When the run was asked to end.
    ending: Option<Instant>,
}

/// The place before all batches.
const FIRST: &str = "0";

impl<'a> Collector<'a> {
    fn new(
        context: &'a RunContext,
        remote: &'a RemoteWorkers,
        to_writer: Sender<OutboxBatch>,
    ) -> Collector<'a> {
        let now = Instant::now();
        Collector {
            context,
            remote,
            to_writer,
            queue: remote.queue(),
            after: FIRST.to_owned(),
            safe: Vec::new(),
            checked: now,
            heard: now,
            listing: None,
            must_list: false,
            in_flight: HashMap::new(),
            has_listed: false,
            lost: 0,
            state: JobState::Running,
            ending: None,
        }
    }

    /// Collects until all rows have a record, or the run is to end.
    fn collect(&mut self) {
        if let Some(error) = self.take_over().err() {
            self.context.shutdown.request(ShutdownReason::Error(error.into_error()));
        }
        while !self.is_over() {
            if let Err(error) = self.step() {
                if error.may_pass {
                    self.unreachable(&error);
                } else {
                    self.context.shutdown.request(ShutdownReason::Error(error.into_error()));
                    return;
                }
            }
        }
        self.context.metrics.worker(0).set_in_flight(0);
        self.forget_safe();
    }

    /// Learns which rows an earlier run has submitted, and takes the records that wait.
    fn take_over(&mut self) -> Result<(), QueueError> {
        self.become_collector()?;
        if let Some(last) = self.remote.continues {
            let waiting = self.queue.waiting(true)?;
            self.remote
                .outstanding()
                .take_over(last, waiting)
                .map_err(|text| QueueError { may_pass: false, text })?;
            while self.read(Duration::from_millis(1))? > 0 {}
        }
        self.remote.state.has_taken_over.store(true, Ordering::Release);
        Ok(())
    }

    /// Waits until no other collector is there.
    fn become_collector(&mut self) -> Result<(), QueueError> {
        let deadline = Instant::now() + COLLECTOR_LEASE + CHECK;
        loop {
            match self.queue.collected(&[])? {
                Collecting::Holds { .. } => return Ok(()),
                Collecting::Other(other) if Instant::now() >= deadline => {
                    let text = format!(
                        "the job {} in {} has another collector, {other}: there can be one",
                        self.remote.job, self.remote.store
                    );
                    return Err(QueueError { may_pass: false, text });
                }
                Collecting::Other(_) => sleep(RETRY),
            }
        }
    }

    /// Reads what waits, and looks at the job now and then.
    fn step(&mut self) -> Result<(), QueueError> {
        let is_all = self.remote.state.is_all_submitted.load(Ordering::Acquire);
        if self.remote.is_detached && is_all && !std::mem::replace(&mut self.has_listed, true) {
            // The store may have lost rows since they were submitted.
            self.must_list = true;
        }
        if self.must_list {
            let upto = self.remote.outstanding().submitted();
            self.listing = Some((self.queue.waiting(false)?, upto));
            self.must_list = false;
            self.after = FIRST.to_owned();
        }
        let wait = if self.listing.is_some() { Duration::from_millis(1) } else { BATCH_WAIT };
        let batches = self.read(wait)?;
        if batches > 0 {
            self.heard = Instant::now();
        } else if let Some((waiting, upto)) = self.listing.take() {
            self.find_lost(&waiting, upto)?;
        } else if let JobState::Stopped(reason) = &self.state {
            // All that was done before is collected.
            let why = format!(
                "{reason}; `throng resume {} {}` goes on, and the same command collects the rest",
                self.remote.store, self.remote.job
            );
            self.context.shutdown.request(ShutdownReason::Error(Error::stopped(why)));
        } else if self.heard.elapsed() >= SILENCE {
            self.heard = Instant::now();
            self.must_list = true;
        }
        self.check_lost()?;
        if self.checked.elapsed() >= CHECK {
            self.checked = Instant::now();
            self.check()?;
        }
        Ok(())
    }

    /// Has chunks submitted again that the store has lost. Another command has submitted the rows
    /// of a detached job: those that are lost are counted.
    fn find_lost(&mut self, waiting: &[WaitingChunk], upto: u64) -> Result<(), QueueError> {
        let remote = self.remote;
        if !remote.is_detached {
            remote.outstanding().find_lost(waiting, upto);
            return Ok(());
        }
        if !remote.state.is_all_submitted.load(Ordering::Acquire) {
            return Ok(());
        }
        let unusable = |text| QueueError { may_pass: false, text };
        self.lost = remote.outstanding().count_lost(waiting).map_err(unusable)?;
        Ok(())
    }

    /// Ends a detached job once no other rows than those that the store has lost are left: the
    /// records of the others are paid for, and come still.
    fn check_lost(&self) -> Result<(), QueueError> {
        let (lost, left) = (self.lost, self.remote.outstanding().rows());
        if lost == 0 || left != lost {
            return Ok(());
        }
        let (job, store) = (&self.remote.job, &self.remote.store);
        let text = format!(
            "{lost} rows of the job {job} are neither in {store} nor among the records: the store has lost them; end it by `throng cancel {store} {job}`, and `throng run` with this output and --resume asks for the rows that are left"
        );
        Err(QueueError { may_pass: false, text })
    }

    /// Hands the records of waiting batches to the writer; gives the number of batches.
    fn read(&mut self, wait: Duration) -> Result<usize, QueueError> {
        let batches = self.queue.batches(&self.after, wait)?;
        for batch in &batches {
            self.take(batch)?;
            self.after.clone_from(&batch.id);
        }
        Ok(batches.len())
    }

    fn take(&mut self, batch: &Batch) -> Result<(), QueueError> {
        let (remote, output) = (self.remote, &self.context.plan.output);
        // All that waits is read again to find what the store has lost.
        if self.listing.is_some() && remote.outstanding().has_accepted(&batch.id) {
            return Ok(());
        }
        let batch = &*self.with_rows(batch);
        let accepted = remote.outstanding().accept(batch, |records| output.rest_of(records));
        let records = accepted.map_err(|why| QueueError {
            may_pass: false,
            text: format!("records of the job {} can't be read: {why}", remote.job),
        })?;
        let counters = self.context.metrics.worker(0);
        if let Ok(report) = serde_json::from_str::<WorkerReport>(&batch.about) {
            counters.add(&report.sending);
            remote.time().add(&report.time);
            if let Some(spending) = &self.context.spending {
                spending.add(&report.bill);
            }
            self.in_flight.insert(report.worker, (report.in_flight, Instant::now()));
        }
        for latency in records.iter().filter_map(|record| record.latency) {
            counters.latency(latency);
        }
        if !records.is_empty() {
            // Without a writer the run is ending.
            let _ = self.to_writer.send_blocking(records);
        }
        Ok(())
    }

    /// A batch with its rows. Those of a chunk that was given up, and that names their place, are
    /// read there; where this machine does not reach it, they are known by their numbers alone.
    fn with_rows<'b>(&self, batch: &'b Batch) -> Cow<'b, Batch> {
        let BatchContent::Dead { rows: place, done, sent } = &batch.content else {
            return Cow::Borrowed(batch);
        };
        if !is_place(place) {
            return Cow::Borrowed(batch);
        }
        let read = rows_of(place, self.remote.input.as_ref()).unwrap_or_else(|error| {
            let what = "the rows of a chunk that was given up could not be read";
            self.context.metrics.warn(what, 1, || error.to_string());
            bare_rows(place)
        });
        let mut rows = Vec::new();
        read.iter().for_each(|row| wire::put_row(row, &mut rows));
        let content = BatchContent::Dead { rows, done: done.clone(), sent: sent.clone() };
        Cow::Owned(Batch { content, ..batch.clone() })
    }

    /// Lets batches go whose records are safe, and follows the state of the job.
    fn check(&mut self) -> Result<(), QueueError> {
        self.in_flight.retain(|_, (_, heard)| heard.elapsed() < RECENT);
        let in_flight = self.in_flight.values().map(|(requests, _)| requests).sum();
        self.context.metrics.worker(0).set_in_flight(in_flight);
        let safe = self.remote.state.safe.load(Ordering::Acquire);
        self.safe.extend(self.remote.outstanding().safe(safe));
        match self.queue.collected(&self.safe)? {
            Collecting::Holds { state, workers } => {
                self.safe.clear();
                self.remote.state.workers.store(workers, Ordering::Relaxed);
                self.follow(state);
            }
            Collecting::Other(other) => {
                let text = format!("another collector has taken over the job: {other}");
                return Err(QueueError { may_pass: false, text });
            }
        }
        if let Some(deadline) = self.context.plan.workers.deadline
            && self.context.time_left().is_some_and(|left| left.is_zero())
        {
            let why = ending::deadline(self.context, deadline);
            self.context.shutdown.request(ShutdownReason::Error(why));
        }
        if self.context.shutdown.is_requested() && self.ending.is_none() {
            self.ending = Some(Instant::now());
            self.stop_workers()?;
        }
        Ok(())
    }

    /// Takes in the state of the job, which others may set.
    fn follow(&mut self, state: JobState) {
        let reason = match &state {
            JobState::Running | JobState::Paused | JobState::Done => None,
            // It is collected before.
            JobState::Stopped(_) if self.remote.is_detached => None,
            JobState::Stopped(reason) => Some(reason.clone()),
            JobState::Cancelled => Some("the job was cancelled (throng cancel)".to_owned()),
            JobState::Gone => Some(format!(
                "the job {} is not in {} any more; --resume submits the rows that are left",
                self.remote.job, self.remote.store
            )),
        };
        if let Some(reason) = reason {
            self.context.shutdown.request(ShutdownReason::Error(Error::stopped(reason)));
        }
        self.state = state;
    }

    /// Has the workers finish what is in flight, and leave. Those of a detached job go on, unless
    /// too many of its rows have failed.
    fn stop_workers(&mut self) -> Result<(), QueueError> {
        let reason = self.context.shutdown.reason();
        let is_failing = matches!(
            reason,
            Some(ShutdownReason::Error(Error::Stopped { cause: StopCause::TooManyFailures, .. }))
        );
        if self.remote.is_detached && !is_failing {
            return Ok(());
        }
        let reason = match reason {
            Some(ShutdownReason::Error(why)) => why.to_string(),
            _ => "its collector was ended; --resume goes on".to_owned(),
        };
        let (store, job) = (&self.remote.store, &self.remote.job);
        store.set_state(job, &JobState::Stopped(reason), &["running", "paused"]).map(drop)
    }

    /// Whether no further record is waited for.
    fn is_over(&self) -> bool {
        let remote = self.remote;
        if let Some(since) = self.ending {
            if remote.is_detached {
                return true;
            }
            let grace = self.context.plan.workers.shutdown_grace;
            let has_workers = remote.workers() > 0 && self.state != JobState::Gone;
            return self.context.shutdown.is_aborted()
                || since.elapsed() >= grace
                || (!has_workers && since.elapsed() >= 2 * CHECK);
        }
        let is_all = remote.state.is_all_submitted.load(Ordering::Acquire);
        is_all && remote.outstanding().rows() == 0 && !self.context.shutdown.is_requested()
    }

    /// The store can't be reached: it is tried again, and may have lost what it was given last.
    fn unreachable(&mut self, error: &QueueError) {
        let metrics = &self.context.metrics;
        metrics.warn("the store could not be reached", 1, || error.text.clone());
        self.must_list = true;
        self.listing = None;
        if self.context.shutdown.is_requested() && self.ending.is_none() {
            self.ending = Some(Instant::now());
        }
        sleep(RETRY);
    }

    /// Lets batches go that are safe by now: those that stay are dropped with the job, or
    /// found double by the next collector.
    fn forget_safe(&mut self) {
        let safe = self.remote.state.safe.load(Ordering::Acquire);
        self.safe.extend(self.remote.outstanding().safe(safe));
        // The next collector takes over anyway, a little later.
        let _ = self.queue.collected(&self.safe);
    }
}
