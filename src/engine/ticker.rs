//! Wakes the writer once a second, so that records are synced in time even when
//! no more come; and ends a run whose workers are all too busy to see how late it is.
//! [door: threads, clock]

use std::time::Duration;

use async_channel::Sender;

use super::outbox::OutboxBatch;
use crate::shutdown::{Shutdown, ShutdownReason};
use crate::threads;

const EVERY: Duration = Duration::from_secs(1);

/// Starts the thread, or asks the run to stop. Nobody joins it: it ends when the workers
/// have.
pub fn start(to_writer: &Sender<OutboxBatch>, stop: &Shutdown, grace: Duration) {
    let to_writer = to_writer.downgrade();
    // It may still sleep when the process ends: it holds nothing that has an end of its own.
    let run = stop.clone();
    let started = threads::spawn(move || {
        let mut stopping = Duration::ZERO;
        loop {
            std::thread::sleep(EVERY);
            if run.is_requested() {
                stopping += EVERY;
            }
            // A worker lets go by itself, unless programs over answers keep it.
            if stopping > grace + EVERY {
                run.abort();
            }
            let Some(to_writer) = to_writer.upgrade() else {
                return;
            };
            if to_writer.send_blocking(OutboxBatch::new()).is_err() {
                return;
            }
        }
    });
    if let Err(error) = started {
        stop.request(ShutdownReason::Error(format!(
            "records can't be synced in time: {error}"
        )));
    }
}
