//! Ending a run early: whoever has a reason asks, and everyone else hears it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Asks a run to end: no new rows, the answers in flight are waited for.
///
/// Cheap to clone; all clones mean the same run.
#[derive(Debug, Clone)]
pub struct Stop {
    asked: watch::Sender<bool>,
    reason: Arc<Mutex<Option<Reason>>>,
}

/// Why a run ended before its last row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Someone asked for it, such as by Ctrl-C.
    Interrupted,
    /// Nobody reads the output any more.
    Unread,
    /// It could not go on: what happened, and what to do.
    Trouble(String),
}

impl Default for Stop {
    fn default() -> Stop {
        Stop {
            asked: watch::Sender::new(false),
            reason: Arc::default(),
        }
    }
}

impl Stop {
    /// Asks the run to end. The first reason is the one that is reported.
    pub fn ask(&self, reason: Reason) {
        let mut first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(reason);
        self.asked.send_replace(true);
    }

    /// Whether anyone has asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// The first reason, if anyone has asked.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        let first = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        first.clone()
    }

    /// Waits until someone asks.
    pub async fn asked(&self) {
        let mut asked = self.asked.subscribe();
        // An error would mean that the sender is gone, but we are it.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_is_kept_and_everyone_hears() {
        let stop = Stop::default();
        let other = stop.clone();
        assert!(!other.is_asked());
        stop.ask(Reason::Trouble("the disk is full".into()));
        stop.ask(Reason::Interrupted);
        other.asked().await;
        assert_eq!(
            other.reason(),
            Some(Reason::Trouble("the disk is full".into()))
        );
    }
}
