//! The events of a run, as far as a display shows them.

use std::collections::VecDeque;

use crate::engine::Run;
use crate::events::{EventKind, RowFailed, Snapshot, Subscription};

/// Number of failed rows that are kept.
const LAST_FAILURES: usize = 50;

/// The last snapshot of a run's events, and the last rows that failed.
#[derive(Default)]
pub struct News {
    events: Option<Subscription>,
    /// The last snapshot; an empty one before the first.
    pub snapshot: Snapshot,
    /// The last rows that failed, the latest first.
    pub failures: VecDeque<RowFailed>,
}

impl News {
    /// Takes the events of a run from now on. Without them, a display shows less.
    pub fn subscribe(&mut self, run: &Run) {
        if self.events.is_none() {
            self.events = run.subscribe().ok();
        }
    }

    /// Takes the events that wait.
    pub fn update(&mut self) {
        while let Some(event) = self.events.as_ref().and_then(Subscription::try_recv) {
            match &event.kind {
                EventKind::Snapshot(snapshot) => self.snapshot = (**snapshot).clone(),
                EventKind::RowFailed(failed) => {
                    self.failures.truncate(LAST_FAILURES - 1);
                    self.failures.push_front((**failed).clone());
                }
                _ => {}
            }
        }
    }
}
