//! Reads the input ahead of the workers. [door: threads]

use std::sync::Arc;

use async_channel::{Sender, TrySendError};

use super::inbox::Chunk;
use crate::attempt::Shared;
use crate::source::Rows;
use crate::stop::Reason;

/// Starts the thread. Nobody joins it: it may hang in a read that never ends,
/// which must not keep a run from ending.
pub fn start(rows: Rows, to_workers: Sender<Chunk>, shared: Arc<Shared>) {
    std::thread::spawn(move || read(rows, &to_workers, &shared));
}

/// Ends with the input, with its first error, or when nobody wants more rows.
fn read(rows: Rows, to_workers: &Sender<Chunk>, shared: &Shared) {
    let done = shared.plan.output.done();
    let most = shared.plan.workers.chunk;
    let whole = shared.plan.step.batch.is_some();
    let mut chunk = Chunk::new();
    for row in rows {
        match row {
            Ok(row) if done.has(&row) => continue,
            Ok(row) => chunk.push(row),
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
    if !chunk.is_empty() {
        // Without workers the run has ended already.
        let _ = to_workers.send_blocking(chunk);
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
