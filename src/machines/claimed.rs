//! The rows and records of a worker, by way of the chunks that it holds: rows come from claimed
//! chunks, and records wait in them to be handed over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::engine::Run;
use crate::error::{BoxError, Error};
use crate::queue::chunk_rows::rows_of;
use crate::queue::held::HeldChunks;
use crate::queue::{Claimed, JobState, Queue};
use crate::record::Record;
use crate::row::Row;
use crate::sink::Sink;
use crate::source::SharedInput;

/// Size of the records that may wait to be handed over, in bytes: no further row is begun then.
const MAX_WAITING: usize = 16 * 1024 * 1024;

/// Pause before another look at whether rows are needed.
const REST: Duration = Duration::from_millis(5);

/// Pauses before another claim, where nothing could be claimed.
const MIN_PAUSE: Duration = Duration::from_millis(20);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// A limit is what rows wait for if more than this part of the begun rows wait for one.
const WAITING_PART: u64 = 8;

/// The work of a worker on one job, which its threads share.
pub(super) struct Work {
    held: Mutex<HeldChunks>,
    /// Signalled when records came, or went.
    changed: Condvar,
    started: Instant,
    /// Whether no further chunk is claimed.
    is_leaving: AtomicBool,
    /// The run, once it is there.
    run: OnceLock<Run>,
}

impl Work {
    pub fn new() -> Work {
        Work {
            held: Mutex::default(),
            changed: Condvar::new(),
            started: Instant::now(),
            is_leaving: AtomicBool::new(false),
            run: OnceLock::new(),
        }
    }

    pub fn held(&self) -> MutexGuard<'_, HeldChunks> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time by which records wait.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sets the run that does the rows.
    pub fn set_run(&self, run: Run) {
        self.run.get_or_init(|| run);
    }

    pub fn run(&self) -> Option<&Run> {
        self.run.get()
    }

    /// Claims no further chunk.
    pub fn leave(&self) {
        self.is_leaving.store(true, Ordering::Release);
    }

    /// Whether rows whose first one was sent this long ago, by a worker that is gone, may be sent
    /// again.
    fn resends(&self, sent_for: Duration) -> bool {
        let Some(first) = self.run().map(|run| run.plan().first()) else { return false };
        first.resends() && first.judge.key_ttl().is_none_or(|ttl| sent_for < ttl)
    }

    fn is_leaving(&self) -> bool {
        let is_ending = self.run().is_some_and(|run| run.shutdown().is_requested());
        is_ending || self.is_leaving.load(Ordering::Acquire)
    }

    /// Wakes the threads that wait for a change.
    pub fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change, for this time at most.
    pub fn wait(&self, most: Duration) {
        let held = self.held();
        // A wake-up without a change only makes the caller look again.
        drop(self.changed.wait_timeout(held, most).unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether more rows could be sent now: the workers have room for them, and those that they
    /// have do not wait for a limit.
    fn is_hungry(&self) -> bool {
        let begun = self.held().begun() as u64;
        let Some(run) = self.run() else { return false };
        let first = run.plan().first();
        let room = run.plan().workers.count * first.in_flight * first.batch_size();
        let waiting = run.metrics().sending().waiting;
        begun == 0 || (begun < room as u64 && waiting * WAITING_PART <= begun && !run.is_paused())
    }
}

/// The rows of the chunks that a worker claims.
pub(super) struct ClaimedRows {
    work: Arc<Work>,
    queue: Box<dyn Queue>,
    /// The input of which chunks name the places of rows, if they do.
    input: Option<SharedInput>,
    pause: Duration,
}

impl ClaimedRows {
    pub fn new(work: Arc<Work>, queue: Box<dyn Queue>, input: Option<SharedInput>) -> ClaimedRows {
        ClaimedRows { work, queue, input, pause: MIN_PAUSE }
    }

    /// Claims a chunk, or waits for a while.
    fn claim(&mut self) -> Result<(), Error> {
        let held: Vec<u64> = self.work.held().leases().iter().map(|lease| lease.chunk).collect();
        match self.queue.claim(&held) {
            Ok(Claimed::Chunk(claim)) => {
                let rows = rows_of(&claim.rows, self.input.as_ref())?;
                let resends = self.work.resends(claim.sent_for);
                self.work.held().add(*claim, rows, resends, self.work.now());
                self.work.notify();
                self.pause = MIN_PAUSE;
                return Ok(());
            }
            Ok(
                Claimed::State(JobState::Running | JobState::Paused)
                | Claimed::None
                | Claimed::Full,
            ) => {}
            Ok(Claimed::State(_)) => self.work.leave(),
            Err(error) if error.may_pass => {}
            Err(error) => return Err(error.into_error()),
        }
        sleep(self.pause);
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        Ok(())
    }
}

impl Iterator for ClaimedRows {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.work.is_leaving() {
                return None;
            }
            let row = self.work.held().next_row();
            if let Some(row) = row {
                return Some(Ok(row));
            }
            if !self.work.is_hungry() {
                sleep(REST);
            } else if let Err(error) = self.claim() {
                return Some(Err(error));
            }
        }
    }
}

/// Takes the records of a worker.
pub(super) struct HeldRecords(pub Arc<Work>);

impl Sink for HeldRecords {
    fn write(&mut self, records: Vec<Record>) -> Result<(), BoxError> {
        let now = self.0.now();
        {
            let mut held = self.0.held();
            records.iter().for_each(|record| held.record(record, now));
        }
        self.0.notify();
        while self.0.held().waiting() > MAX_WAITING && !self.is_aborted() {
            self.0.wait(MAX_PAUSE);
        }
        Ok(())
    }
}

impl HeldRecords {
    fn is_aborted(&self) -> bool {
        self.0.run().is_some_and(|run| run.shutdown().is_aborted())
    }
}
