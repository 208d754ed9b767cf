//! The brake: ends a run whose first answers all fail alike, before more is asked.
//!
//! Each stage begins on trial: few of its rows are begun until one of them has a result. Then
//! the brake lets go of the stage for good, unless a later stage is still on trial: a stage
//! runs only a little ahead of that one.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::plan::{Plan, Stage};
use crate::record::{Failure, FailureKind, Record};

/// Number of requests that fail alike after which the run ends.
const ENOUGH: usize = 30;
/// Minimum of that number where each request has many rows.
const ENOUGH_BATCHES: usize = 5;
/// Number of rows that are `missing`, of as many requests, after which a trial is over. Fewer
/// say nothing of the others: ids have gaps.
const ENOUGH_MISSING: usize = 400;

/// Tries each stage of a run.
pub struct Brake {
    stages: Vec<StageTrial>,
    fails_again: bool,
    failure: OnceLock<UniformFailure>,
}

/// The failure that the first requests of a run have in common.
#[derive(Debug, Clone)]
pub struct UniformFailure {
    /// Number of requests that failed alike.
    pub alike: usize,
    /// Number of all requests of the stage that were answered before the run was ended; rows that
    /// are `missing` count among them.
    pub answered: usize,
    /// The stage that failed.
    pub stage_index: usize,
    /// The first record that failed so.
    pub example: Record,
}

/// The trial of one stage.
struct StageTrial {
    is_open: AtomicBool,
    state: Mutex<TrialState>,
    changed: Notify,
    /// Number of requests that fail alike after which the run ends.
    enough: usize,
    /// Maximum number of requests that are begun before one has a result.
    slots: usize,
    /// Maximum number of rows that are ahead of a later stage that is on trial.
    ahead: usize,
}

#[derive(Default)]
struct TrialState {
    /// Number of slots in use: requests in flight, those that failed, and rows that wait for
    /// the next stage.
    taken: usize,
    /// Whether the stage has had a result, or its failures are not alike.
    is_over: bool,
    /// Number of requests that failed, by kind.
    failed: Vec<(FailureKind, usize, Record)>,
    /// Number of requests that failed.
    answered: usize,
    /// Number of rows that are `missing`.
    missing: usize,
}

/// A row, or the rows of one request, on trial.
pub struct RowOnTrial<'a> {
    brake: &'a Brake,
    stage_index: usize,
    /// Called when the run is to end.
    stop: &'a dyn Fn(&UniformFailure),
    /// Whether a record of it is a row of the next stage.
    goes_on: Cell<bool>,
    failure: RefCell<Option<Record>>,
}

impl Brake {
    /// The brake of a run of this plan.
    pub fn new(plan: &Plan) -> Brake {
        let rows = plan.rows().map(|rows| rows.saturating_sub(plan.output.done().len()));
        let trial = |(index, stage): (usize, &Stage)| {
            let later = plan.stages[index + 1..].iter().map(Stage::batch_size).max();
            let trial = StageTrial::new(stage.batch_size(), later.unwrap_or(0));
            // Fewer rows than it takes end by themselves.
            let is_short = index == 0 && rows.is_some_and(|rows| rows < trial.enough as u64);
            trial.is_open.store(!plan.brakes || is_short, Ordering::Release);
            trial
        };
        Brake {
            stages: plan.stages.iter().enumerate().map(trial).collect(),
            fails_again: plan.output.settings().retry_failed.is_any(),
            failure: OnceLock::new(),
        }
    }

    /// Whether the stage is not on trial any more.
    pub fn is_open(&self, stage_index: usize) -> bool {
        self.stages[stage_index].is_open.load(Ordering::Acquire)
    }

    /// Whether no stage is on trial any more.
    pub fn is_over(&self) -> bool {
        (0..self.stages.len()).all(|stage_index| self.is_open(stage_index))
    }

    /// The failure for which the brake ended the run, if it did.
    pub fn failure(&self) -> Option<&UniformFailure> {
        self.failure.get()
    }

    /// Begins a request of this number of rows, as soon as the trial allows it; none once the
    /// trial is over. `stop` ends the run.
    pub async fn begin<'a>(
        &'a self,
        stage_index: usize,
        rows: usize,
        stop: &'a dyn Fn(&UniformFailure),
    ) -> Option<RowOnTrial<'a>> {
        let stage = &self.stages[stage_index];
        loop {
            let mut changed = pin!(stage.changed.notified());
            changed.as_mut().enable();
            if self.is_open(stage_index) {
                return None;
            }
            if stage.state().take_slot(stage) {
                break;
            }
            changed.await;
        }
        if let Some(before) = stage_index.checked_sub(1) {
            self.stages[before].give_back(rows);
        }
        let (goes_on, failure) = (Cell::new(false), RefCell::new(None));
        Some(RowOnTrial { brake: self, stage_index, stop, goes_on, failure })
    }

    /// Ends the trial of a stage, and lets go of the stages whose later ones are free.
    fn end_trial(&self, stage_index: usize) {
        let mut state = self.stages[stage_index].state();
        if !std::mem::replace(&mut state.is_over, true) {
            state.taken = state.taken.saturating_sub(state.answered);
        }
        drop(state);
        for index in (0..self.stages.len()).rev() {
            let is_last = index + 1 == self.stages.len();
            let stage = &self.stages[index];
            if stage.state().is_over && (is_last || self.is_open(index + 1)) {
                stage.is_open.store(true, Ordering::Release);
            }
            stage.changed.notify_waiters();
        }
    }

    /// Whether a failure says something of the job: an answer came, and it is not one that
    /// may be another one soon. A row that failed before may fail again for good, unless the
    /// server wants other credentials.
    fn counts(&self, failure: &Failure) -> bool {
        if self.fails_again {
            matches!(failure.kind, FailureKind::Status(401 | 402 | 403 | 407))
        } else {
            failure.kind.is_of_answer()
        }
    }

    /// Counts a row that is `missing`, which gives its slot to another.
    fn count_missing(&self, stage_index: usize) {
        let missing = {
            let mut state = self.stages[stage_index].state();
            state.missing += 1;
            state.missing
        };
        if missing >= ENOUGH_MISSING {
            self.end_trial(stage_index);
        }
    }

    /// Counts a failed request; gives the failure that all have in common, once.
    fn count(&self, stage_index: usize, record: Record) -> Option<&UniformFailure> {
        let stage = &self.stages[stage_index];
        let (uniform, is_mixed) = {
            let mut state = stage.state();
            if state.is_over {
                state.taken = state.taken.saturating_sub(1);
                stage.changed.notify_waiters();
                return None;
            }
            let alike = state.add(record);
            let uniform = (alike.0 >= stage.enough).then(|| UniformFailure {
                alike: alike.0,
                answered: state.answered + state.missing,
                stage_index,
                example: alike.1,
            });
            let is_mixed = uniform.is_none() && state.answered >= stage.slots;
            (uniform, is_mixed)
        };
        if is_mixed {
            self.end_trial(stage_index);
        }
        let uniform = uniform?;
        self.failure.set(uniform).ok()?;
        self.failure.get()
    }
}

impl StageTrial {
    fn new(batch_size: usize, later_batch: usize) -> StageTrial {
        let enough =
            if batch_size > 1 { ENOUGH.div_ceil(batch_size).max(ENOUGH_BATCHES) } else { ENOUGH };
        let slots = enough + enough.div_ceil(3);
        StageTrial {
            is_open: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Notify::new(),
            enough,
            slots,
            // A batch that waits to become full must get its rows.
            ahead: slots.max(2 * later_batch),
        }
    }

    fn state(&self) -> MutexGuard<'_, TrialState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, slots: usize) {
        let mut state = self.state();
        state.taken = state.taken.saturating_sub(slots);
        drop(state);
        self.changed.notify_waiters();
    }
}

impl TrialState {
    fn take_slot(&mut self, stage: &StageTrial) -> bool {
        let slots = if self.is_over { stage.ahead } else { stage.slots };
        let is_free = self.taken < slots;
        self.taken += usize::from(is_free);
        is_free
    }

    /// Adds a failure. Gives the number of those of its kind, and the first of them.
    fn add(&mut self, record: Record) -> (usize, Record) {
        self.answered += 1;
        let kind = record.outcome.as_ref().err().map(|failure| failure.kind.clone());
        let kind = kind.unwrap_or(FailureKind::Other(String::new()));
        let index = self.failed.iter().position(|(known, ..)| *known == kind);
        let index = index.unwrap_or_else(|| {
            self.failed.push((kind, 0, record));
            self.failed.len() - 1
        });
        let (_, count, first) = &mut self.failed[index];
        *count += 1;
        (*count, first.clone())
    }
}

impl RowOnTrial<'_> {
    /// Takes note of a record, which has no secrets, and of whether it is a row of the next
    /// stage.
    pub fn note(&self, record: &Record, goes_on: bool) {
        self.goes_on.set(self.goes_on.get() || goes_on);
        match &record.outcome {
            Ok(_) => self.brake.end_trial(self.stage_index),
            Err(_) if record.is_missing() => self.brake.count_missing(self.stage_index),
            Err(failure) if record.attempts > 0 && self.brake.counts(failure) => {
                self.failure.borrow_mut().get_or_insert_with(|| record.clone());
            }
            Err(_) => {}
        }
    }
}

impl Drop for RowOnTrial<'_> {
    fn drop(&mut self) {
        // A row that goes on has its slot until the next stage begins it.
        if self.goes_on.get() {
            return;
        }
        match self.failure.take() {
            None => self.brake.stages[self.stage_index].give_back(1),
            Some(record) => {
                if let Some(uniform) = self.brake.count(self.stage_index, record) {
                    (self.stop)(uniform);
                }
            }
        }
    }
}
