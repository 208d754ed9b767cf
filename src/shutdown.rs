//! Ending a run early: whoever has a reason asks, and everyone else hears it.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, spawn_local};

use crate::send::deadline;

/// Asks a run to end: no new rows, the answers in flight are waited for; and
/// then, if that takes too long, to end at once.
///
/// Cheap to clone; all clones mean the same run.
#[derive(Debug, Clone)]
pub struct Shutdown {
    stage: watch::Sender<ShutdownStage>,
    /// What every request looks at, without a lock.
    asked: Arc<AtomicBool>,
    reason: Arc<Mutex<Option<Reason>>>,
}

/// How far a run is on its way to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum ShutdownStage {
    #[default]
    GoingOn,
    /// Nothing new is begun.
    Asked,
    /// Nothing is waited for.
    Cut,
}

/// Why a run ended before its last row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Someone asked for it, such as by Ctrl-C.
    Interrupted(Interrupt),
    /// Nobody reads the output any more.
    Unread,
    /// It could not go on: what happened, and what to do.
    Trouble(String),
}

/// How someone asked a run to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// SIGINT, Ctrl-C.
    Int,
    /// SIGTERM.
    Term,
    /// SIGHUP: the terminal is gone.
    Hup,
}

/// One thread's own ear: hearing by it takes nothing from other threads, so that
/// every request can afford it.
#[derive(Debug)]
pub(crate) struct ShutdownListener {
    stop: Shutdown,
    /// Passes it on to those who wait on this thread.
    asked: Rc<Notify>,
    listener: AbortHandle,
}

impl ShutdownListener {
    /// For this run; on a thread with a set of local tasks, of which one listens, and
    /// does this when nothing is waited for any more.
    pub fn new(stop: Shutdown, when_cut: impl FnOnce() + 'static) -> ShutdownListener {
        let asked = Rc::<Notify>::default();
        let listener = spawn_local(listen(stop.clone(), asked.clone(), when_cut));
        ShutdownListener {
            stop,
            asked,
            listener: listener.abort_handle(),
        }
    }

    /// The work's result, unless the run is asked to end before that. The work is
    /// pinned where it is, since moving it costs more than hearing.
    pub async fn unless_asked<F: Future>(&self, work: Pin<&mut F>) -> Option<F::Output> {
        // Work that is ready at once would never look up.
        if self.stop.is_asked() {
            return None;
        }
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.asked.notified() => None,
        }
    }
}

async fn listen(stop: Shutdown, asked: Rc<Notify>, when_cut: impl FnOnce()) {
    stop.asked().await;
    asked.notify_waiters();
    stop.when_aborted().await;
    // The time may be over only because nothing ran.
    deadline::turns().await;
    when_cut();
}

impl Drop for ShutdownListener {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown {
            stage: watch::Sender::new(ShutdownStage::GoingOn),
            asked: Arc::default(),
            reason: Arc::default(),
        }
    }
}

impl Shutdown {
    /// Asks the run to end. The first reason is the one that is reported.
    pub fn ask(&self, reason: Reason) {
        let mut first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(reason);
        self.reach(ShutdownStage::Asked);
    }

    /// Lets go what is in flight, once the run was asked to end.
    pub fn abort(&self) {
        self.reach(ShutdownStage::Cut);
    }

    fn reach(&self, stage: ShutdownStage) {
        self.asked.store(true, Ordering::Release);
        self.stage.send_if_modified(|now| {
            let is_further = stage > *now;
            *now = stage.max(*now);
            is_further
        });
    }

    /// Whether anyone has asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether nothing is waited for any more.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.is_asked() && *self.stage.borrow() >= ShutdownStage::Cut
    }

    /// The first reason, if anyone has asked.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        first.clone()
    }

    /// Waits until someone asks.
    pub async fn asked(&self) {
        self.at(ShutdownStage::Asked).await;
    }

    /// Waits until nothing is to be waited for any more.
    pub async fn when_aborted(&self) {
        self.at(ShutdownStage::Cut).await;
    }

    async fn at(&self, stage: ShutdownStage) {
        let mut now = self.stage.subscribe();
        // An error would mean that the sender is gone, but we are it.
        let _ = now.wait_for(|now| *now >= stage).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_is_kept_and_everyone_hears() {
        let stop = Shutdown::default();
        let other = stop.clone();
        assert!(!other.is_asked());
        stop.ask(Reason::Trouble("the disk is full".into()));
        stop.ask(Reason::Interrupted(Interrupt::Int));
        other.asked().await;
        assert!(!other.is_aborted());
        assert_eq!(
            other.reason(),
            Some(Reason::Trouble("the disk is full".into()))
        );
    }

    #[tokio::test]
    async fn what_is_cut_stays_cut() {
        let stop = Shutdown::default();
        stop.abort();
        stop.ask(Reason::Unread);
        stop.when_aborted().await;
        assert!(stop.is_aborted() && stop.is_asked());
    }
}
