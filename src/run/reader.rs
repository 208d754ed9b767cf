//! Reads the input ahead of the workers. [door: threads]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_channel::{Sender, TrySendError};

use super::inbox::Chunk;
use super::panics::caught;
use crate::attempt::Shared;
use crate::plan::Plan;
use crate::source::Rows;
use crate::stop::Reason;

/// How many rows were handed over to the workers.
#[derive(Clone, Default)]
pub struct Taken(Arc<AtomicU64>);

impl Taken {
    /// How many records must come of them, where each row has one.
    pub fn expected(&self, plan: &Plan) -> Option<u64> {
        let taken = self.0.load(Ordering::Acquire);
        (!plan.columns.items).then_some(taken)
    }

    fn one_more(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Starts the thread. Nobody joins it: it may hang in a read that never ends,
/// which must not keep a run from ending.
pub fn start(rows: Rows, to_workers: Sender<Chunk>, shared: Arc<Shared>) -> Taken {
    let taken = Taken::default();
    let told = taken.clone();
    std::thread::spawn(move || {
        caught(&shared.stop, "the reader of the input", || {
            read(rows, &to_workers, &shared, &taken);
        });
    });
    told
}

/// Ends with the input, with its first error, or when nobody wants more rows.
fn read(rows: Rows, to_workers: &Sender<Chunk>, shared: &Shared, taken: &Taken) {
    let done = shared.plan.output.done();
    let most = shared.plan.workers.chunk;
    let whole = shared.plan.step.batch.is_some();
    let (mut chunk, mut read) = (Chunk::new(), 0);
    for row in rows {
        read += 1;
        match row {
            Ok(row) if done.has(&row) => continue,
            Ok(row) => {
                taken.one_more();
                chunk.push(row);
            }
            Err(error) => return shared.stop.ask(Reason::Trouble(error.to_string())),
        }
        if whole && chunk.len() < most {
            continue;
        }
        match hand_over(chunk, most, to_workers) {
            Some(rest) if !shared.stop.is_asked() => chunk = rest,
            _ => return,
        }
    }
    if let Err(error) = check(read, shared.plan.survey.rows, &shared.plan.source.name()) {
        shared.stop.ask(Reason::Trouble(error));
    }
    if !chunk.is_empty() {
        // Without workers the run has ended already.
        let _ = to_workers.send_blocking(chunk);
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

/// Gives away a chunk that is full, or that somebody may be waiting for; gives
/// back the rows that are not given away, or nothing if nobody wants any.
fn hand_over(chunk: Chunk, most: usize, to_workers: &Sender<Chunk>) -> Option<Chunk> {
    match to_workers.try_send(chunk) {
        Ok(()) => Some(Chunk::with_capacity(most)),
        Err(TrySendError::Full(chunk)) if chunk.len() < most => Some(chunk),
        Err(TrySendError::Full(chunk)) => {
            to_workers.send_blocking(chunk).ok()?;
            Some(Chunk::with_capacity(most))
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
        assert!(
            error.starts_with("a.csv had 5 rows when it was checked, and 4"),
            "{error}"
        );
    }
}
