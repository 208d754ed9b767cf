//! Stand-ins: a row that waits to know whether its server is out gives its place to others.

use std::future::pending;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};

/// A task that takes other rows to their records in the place of a row that waits.
pub struct StandIn {
    stop: Rc<Notify>,
    task: JoinHandle<()>,
    is_over: bool,
}

impl StandIn {
    /// Starts a stand-in, which ends between two rows once it is notified, or without a row.
    pub fn start<F: Future<Output = ()> + 'static>(work: impl FnOnce(Rc<Notify>) -> F) -> StandIn {
        let stop = Rc::<Notify>::default();
        StandIn { task: spawn_local(work(stop.clone())), stop, is_over: false }
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Waits for its end, which comes once.
    pub async fn ended(&mut self) {
        if self.is_over {
            return pending().await;
        }
        let ended = (&mut self.task).await;
        self.is_over = true;
        if let Some(panic) = ended.err().and_then(|error| error.try_into_panic().ok()) {
            std::panic::resume_unwind(panic);
        }
    }

    /// Ends it after its row.
    pub async fn end(mut self) {
        self.stop.notify_one();
        if !self.is_over {
            self.ended().await;
        }
    }
}
