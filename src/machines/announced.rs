//! Announcements of requests that must not be sent twice: the store knows of each before it is
//! sent.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use async_channel::{Receiver, Sender};

use super::claimed::Work;
use crate::error::Error;
use crate::queue::{Lease, Outcome, Queue};
use crate::shutdown::ShutdownReason;
use crate::sink::QueueIntent;
use crate::threads;

/// Time in which announcements gather, so that the store is asked once for all of them.
const GATHER: Duration = Duration::from_millis(10);

/// Pause before the store is tried again after an error.
const RETRY: Duration = Duration::from_millis(200);

/// Announcements on their way to the thread that makes them.
pub(super) fn channel() -> (Sender<QueueIntent>, Receiver<QueueIntent>) {
    async_channel::unbounded()
}

/// Starts the thread. It ends with the last log that announces.
pub(super) fn start(
    work: Arc<Work>,
    queue: Box<dyn Queue>,
    intents: Receiver<QueueIntent>,
) -> Result<(), Error> {
    let announcer = Announcer { work, queue, intents };
    let started = threads::spawn(move || announcer.run());
    started.map(drop).map_err(|error| Error::stopped(error.to_string()))
}

struct Announcer {
    work: Arc<Work>,
    queue: Box<dyn Queue>,
    intents: Receiver<QueueIntent>,
}

impl Announcer {
    fn run(mut self) {
        while let Ok(first) = self.intents.recv_blocking() {
            sleep(GATHER);
            let mut all = vec![first];
            while let Ok(more) = self.intents.try_recv() {
                all.push(more);
            }
            let rows: Vec<(u64, bool)> = all.iter().map(|it| (it.row, it.is_sent)).collect();
            let changed = self.work.held().announce(&rows);
            if !changed.is_some_and(|chunks| chunks.iter().all(|it| self.announce(it))) {
                // Rows that wait are not sent. What is in flight comes in, and the worker
                // begins anew.
                self.end();
                return;
            }
            for waits in all.into_iter().filter_map(|it| it.waits) {
                // One that does not wait any more was let go with its run.
                let _ = waits.send(());
            }
        }
    }

    /// Announces rows of a chunk; false if another worker has it.
    fn announce(&mut self, (lease, sent): &(Lease, Vec<u8>)) -> bool {
        loop {
            match self.queue.announce(*lease, sent) {
                Ok(outcome) => return outcome == Outcome::Done,
                Err(error) if error.may_pass && !self.is_aborted() => sleep(RETRY),
                Err(_) => return false,
            }
        }
    }

    fn is_aborted(&self) -> bool {
        self.work.run().is_none_or(|run| run.shutdown().is_aborted())
    }

    fn end(&self) {
        self.intents.close();
        while self.intents.try_recv().is_ok() {}
        self.work.leave();
        if let Some(run) = self.work.run() {
            run.shutdown().request(ShutdownReason::Cancelled);
        }
    }
}
