//! The reader: a thread that reads the input ahead of the workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_channel::{Sender, TrySendError};

use super::context::RunContext;
use super::panics::caught;
use crate::error::Error;
use crate::plan::Plan;
use crate::row::Row;
use crate::shutdown::ShutdownReason;
use crate::sink::{CompletedRows, KeyCheck, LaterRows};
use crate::source::Rows;
use crate::threads;

/// Progress of the reader: the rows handed over to the workers.
#[derive(Clone, Default)]
pub struct ReaderProgress(Arc<ReaderCounts>);

#[derive(Default)]
struct ReaderCounts {
    rows: AtomicU64,
    is_all: AtomicBool,
}

impl ReaderProgress {
    /// Whether the input has no more rows.
    pub fn is_all(&self) -> bool {
        self.0.is_all.load(Ordering::Acquire)
    }

    /// Number of rows so far.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Ordering::Acquire)
    }

    /// Number of records of these rows, where each row has one.
    pub fn expected(&self, plan: &Plan) -> Option<u64> {
        (!plan.columns.items).then_some(self.rows())
    }

    fn one_more(&self) {
        self.0.rows.fetch_add(1, Ordering::AcqRel);
    }
}

/// Pause of the reader when it is ahead: much less than the waiting rows last.
const REST: Duration = Duration::from_millis(2);

/// The rows that begin at a later stage, and the ways to the stages after each.
#[derive(Default)]
pub struct LaterInput {
    pub rows: Option<LaterRows>,
    pub to_stages: Vec<Option<Sender<Row>>>,
}

/// Starts the thread, or asks the run to stop. The thread is not joined: it may hang in a
/// read that never ends, which must not keep a run from ending.
pub fn start(
    rows: Rows,
    later: LaterInput,
    to_workers: Sender<Row>,
    context: Arc<RunContext>,
) -> ReaderProgress {
    let progress = ReaderProgress::default();
    let of_reader = progress.clone();
    let shutdown = context.shutdown.clone();
    let started = threads::spawn(move || {
        caught(&context.shutdown, "the reader of the input", || {
            if read_later(later, &context, &of_reader).is_some() {
                read(rows, &to_workers, &context, &of_reader);
            }
        });
    });
    if let Err(error) = started {
        let why = format!("the input can't be read: {error}");
        shutdown.request(ShutdownReason::Error(Error::stopped(why)));
    }
    progress
}

/// Hands the rows of later stages over; none if no worker wants more.
fn read_later(later: LaterInput, context: &RunContext, progress: &ReaderProgress) -> Option<()> {
    for row in later.rows.into_iter().flatten() {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                let why = format!("the log of pages cannot be read: {error}");
                context.shutdown.request(ShutdownReason::Error(Error::stopped(why)));
                return None;
            }
        };
        let before = row.stage.checked_sub(1)?;
        let to_stage = later.to_stages.get(before)?.as_ref()?;
        progress.one_more();
        if let Some(room) = &context.room {
            room.take_anyway(1);
        }
        hand_over(row.row(), to_stage)?;
    }
    Some(())
}

/// Hands rows over until none is left, or no worker wants more.
fn read(rows: Rows, to_workers: &Sender<Row>, context: &RunContext, progress: &ReaderProgress) {
    let rows = NewRows { skips_later: true, ..NewRows::new(rows, context, progress) };
    for row in rows {
        if hand_over(row, to_workers).is_none() || context.shutdown.is_requested() {
            return;
        }
    }
}

/// Hands rows over as a task of the workers' own event loop.
pub async fn read_as_task(rows: Rows, to_workers: Sender<Row>, context: Arc<RunContext>) {
    for row in NewRows::new(rows, &context, &ReaderProgress::default()) {
        if to_workers.send(row).await.is_err() || context.shutdown.is_requested() {
            return;
        }
        // The worker that runs first would take all rows otherwise.
        tokio::task::yield_now().await;
    }
}

/// The rows without a record, up to the end of the input or its first error, which ends
/// the run.
struct NewRows<'a> {
    rows: Rows,
    context: &'a RunContext,
    progress: &'a ReaderProgress,
    /// Where rows are known by a key, and the input could not be looked at before.
    keys: Option<KeyCheck>,
    /// The rows that have a record already, if any do.
    done: Option<&'a CompletedRows>,
    /// Whether rows of which all is asked for at later stages are left out.
    skips_later: bool,
    /// Number of rows that the input has had so far.
    read: u64,
}

impl Iterator for NewRows<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        while let Some(row) = self.rows.next() {
            self.read += 1;
            match row.and_then(|row| self.without_record(row)) {
                Ok(None) => {}
                Ok(Some(row)) => {
                    self.progress.one_more();
                    return Some(row);
                }
                Err(error) => {
                    self.context.shutdown.request(ShutdownReason::Error(error));
                    return None;
                }
            }
        }
        self.progress.0.is_all.store(true, Ordering::Release);
        let plan = &self.context.plan;
        if let Err(error) = check(self.read, plan.survey.rows, &plan.source.name()) {
            let error = Error::input(Some(self.read), error);
            self.context.shutdown.request(ShutdownReason::Error(error));
        }
        None
    }
}

impl NewRows<'_> {
    fn new<'a>(rows: Rows, context: &'a RunContext, progress: &'a ReaderProgress) -> NewRows<'a> {
        let plan = &context.plan;
        NewRows {
            rows,
            context,
            progress,
            keys: plan.output.keys().filter(|_| plan.survey.rows.is_none()),
            done: Some(plan.output.done()).filter(|done| !done.is_empty()),
            skips_later: false,
            read: 0,
        }
    }

    /// The row, unless it has a record. Those of a pipe may stand anywhere in it, so
    /// that new rows get numbers that no record has.
    fn without_record(&mut self, mut row: Row) -> Result<Option<Row>, Error> {
        let plan = &self.context.plan;
        if let Some(keys) = &mut self.keys {
            let taken = keys.take(&row, &plan.source.name());
            taken.map_err(Error::stopped)?;
        }
        if self.done.is_some_and(|done| done.has(&row))
            || (self.skips_later && plan.output.begins_later(&row))
        {
            return Ok(None);
        }
        if self.keys.is_some() {
            row.number += plan.output.done().end();
        }
        Ok(Some(row))
    }
}

/// An input that has become shorter than the plan has seen it lacks rows.
fn check(read: u64, surveyed: Option<u64>, name: &str) -> Result<(), String> {
    match surveyed {
        Some(rows) if read < rows => Err(format!(
            "{name} had {rows} rows when it was checked, and {read} when it was read: it has \
             changed meanwhile; mend that and run again with --resume"
        )),
        _ => Ok(()),
    }
}

/// Hands a row to a worker; none if no worker is left.
fn hand_over(row: Row, to_workers: &Sender<Row>) -> Option<()> {
    match to_workers.try_send(row) {
        Ok(()) => Some(()),
        Err(TrySendError::Full(row)) => {
            // The channel is full, so no worker needs this row yet. To be woken for each row
            // that is taken would cost the workers more than the row.
            std::thread::sleep(REST);
            to_workers.send_blocking(row).ok()
        }
        Err(TrySendError::Closed(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_has_become_shorter_is_noticed() {
        assert!(check(5, Some(5), "a.csv").is_ok() && check(6, Some(5), "a.csv").is_ok());
        assert!(check(5, None, "a.csv").is_ok());
        let error = check(4, Some(5), "a.csv").unwrap_err();
        assert!(error.starts_with("a.csv had 5 rows when it was checked, and 4"), "{error}");
    }
}
