//! The early end of a run: a request for it, and its listeners.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, spawn_local};

use crate::error::Error;
use crate::send::deadline;

/// Requests the end of a run: no new rows begin, and answers in flight are awaited.
/// [`abort`](Shutdown::abort) then drops the requests in flight, too.
///
/// Cheap to clone; all clones belong to the same run.
///
/// ```
/// use throng::{Interrupt, Shutdown, ShutdownReason};
///
/// let shutdown = Shutdown::default();
/// let handle = shutdown.clone();           // for a signal handler, or another thread
/// handle.request(ShutdownReason::Interrupted(Interrupt::Int));
/// assert!(shutdown.is_requested());
/// ```
#[derive(Debug, Clone)]
pub struct Shutdown {
    stage: watch::Sender<ShutdownStage>,
    /// Read by every request, without a lock.
    requested: Arc<AtomicBool>,
    reason: Arc<Mutex<Option<ShutdownReason>>>,
}

/// The stages of a run's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum ShutdownStage {
    #[default]
    Running,
    /// No new rows begin.
    Requested,
    /// Nothing is awaited.
    Aborted,
}

/// The reason for which a run ended before its last row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownReason {
    /// A signal, such as that of Ctrl-C.
    Interrupted(Interrupt),
    /// The reader of the output has closed it.
    Unread,
    /// The program has cancelled the run.
    Cancelled,
    /// An error that ends the run.
    Error(Error),
}

/// The signal that requested the end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interrupt {
    /// SIGINT, Ctrl-C.
    Int,
    /// SIGTERM.
    Term,
    /// SIGHUP: the terminal was closed.
    Hup,
}

/// The listener of one thread. It shares no state with other threads, so every
/// request can use it cheaply.
#[derive(Debug)]
pub(crate) struct ShutdownListener {
    shutdown: Shutdown,
    /// Notifies the tasks of this thread.
    requested: Rc<Notify>,
    listener: AbortHandle,
}

impl ShutdownListener {
    /// Spawns a local task that listens on this thread and calls `on_abort` when the
    /// run is aborted.
    pub fn new(shutdown: Shutdown, on_abort: impl FnOnce() + 'static) -> ShutdownListener {
        let requested = Rc::<Notify>::default();
        let listener = spawn_local(listen(shutdown.clone(), requested.clone(), on_abort));
        ShutdownListener { shutdown, requested, listener: listener.abort_handle() }
    }

    /// The work's result; none if the end of the run is requested first. The work is
    /// pinned by the caller, because moving it would cost more than listening.
    pub async fn unless_requested<F: Future>(&self, work: Pin<&mut F>) -> Option<F::Output> {
        // Work that is ready at once would never notice the request.
        if self.shutdown.is_requested() {
            return None;
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.requested.notified() => None,
        }
    }
}

async fn listen(shutdown: Shutdown, requested: Rc<Notify>, on_abort: impl FnOnce()) {
    shutdown.requested().await;
    requested.notify_waiters();
    shutdown.aborted().await;
    // The time may have passed only because no task ran.
    deadline::turns().await;
    on_abort();
}

impl Drop for ShutdownListener {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown {
            stage: watch::Sender::new(ShutdownStage::Running),
            requested: Arc::default(),
            reason: Arc::default(),
        }
    }
}

impl Shutdown {
    /// Requests the end of the run. The first reason is the one that is reported.
    pub fn request(&self, reason: ShutdownReason) {
        let mut first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(reason);
        self.reach(ShutdownStage::Requested);
    }

    /// Drops the requests in flight and ends the run.
    pub fn abort(&self) {
        self.reach(ShutdownStage::Aborted);
    }

    fn reach(&self, stage: ShutdownStage) {
        self.requested.store(true, Ordering::Release);
        self.stage.send_if_modified(|now| {
            let is_further = stage > *now;
            *now = stage.max(*now);
            is_further
        });
    }

    /// Whether the end of the run is requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Whether the run is aborted.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.is_requested() && *self.stage.borrow() >= ShutdownStage::Aborted
    }

    /// The first reason of the request.
    #[must_use]
    pub fn reason(&self) -> Option<ShutdownReason> {
        let first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        first.clone()
    }

    /// Waits until the end of the run is requested.
    pub async fn requested(&self) {
        self.at(ShutdownStage::Requested).await;
    }

    /// Waits until the run is aborted.
    pub async fn aborted(&self) {
        self.at(ShutdownStage::Aborted).await;
    }

    async fn at(&self, stage: ShutdownStage) {
        let mut now = self.stage.subscribe();
        // An error would mean that the sender is gone, but `self` holds it.
        let _ = now.wait_for(|now| *now >= stage).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_is_kept_and_every_clone_is_notified() {
        let shutdown = Shutdown::default();
        let other = shutdown.clone();
        assert!(!other.is_requested());
        shutdown.request(ShutdownReason::Error(Error::stopped("the disk is full")));
        shutdown.request(ShutdownReason::Interrupted(Interrupt::Int));
        other.requested().await;
        assert!(!other.is_aborted());
        assert_eq!(other.reason(), Some(ShutdownReason::Error(Error::stopped("the disk is full"))));
    }

    #[tokio::test]
    async fn an_aborted_run_stays_aborted() {
        let shutdown = Shutdown::default();
        shutdown.abort();
        shutdown.request(ShutdownReason::Unread);
        shutdown.aborted().await;
        assert!(shutdown.is_aborted() && shutdown.is_requested());
    }
}
