//! Wakes the writer once a second, so that records are synced in time even when
//! no more come. [door: threads, clock]

use std::time::Duration;

use async_channel::Sender;

use super::outbox::Batch;
use crate::stop::{Reason, Stop};
use crate::threads;

const EVERY: Duration = Duration::from_secs(1);

/// Starts the thread, or asks the run to stop. Nobody joins it: it ends when the workers
/// have.
pub fn start(to_writer: &Sender<Batch>, stop: &Stop) {
    let to_writer = to_writer.downgrade();
    let started = threads::start(move || {
        loop {
            std::thread::sleep(EVERY);
            let Some(to_writer) = to_writer.upgrade() else {
                return;
            };
            if to_writer.send_blocking(Batch::new()).is_err() {
                return;
            }
        }
    });
    if let Err(error) = started {
        stop.ask(Reason::Trouble(format!(
            "records can't be synced in time: {error}"
        )));
    }
}
