//! A run as its events tell it: of this process, or of another one by its socket.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Error;
use crate::engine::Run;
use crate::events::{Event, EventKind, RowFailed, RunStarted, Snapshot, Subscription};

use super::facts::Facts;

/// Number of failed rows that are kept.
pub const LAST_FAILURES: usize = 50;

/// A run at one moment.
#[derive(Debug, Clone, Default)]
pub struct RunView {
    /// The setting of the run.
    pub started: RunStarted,
    /// The time since its start.
    pub elapsed: Duration,
    /// The last snapshot; an empty one before the first.
    pub now: Snapshot,
    /// The last rows that failed, the latest first.
    pub failures: VecDeque<RowFailed>,
    /// Whether the viewer may pause the run, change its rate and stop it.
    pub may_control: bool,
    /// What the viewer has asked for since the last snapshot: whether it is paused, and its share
    /// of the rate.
    pub asked_paused: Option<bool>,
    pub asked_rate_share: Option<f64>,
}

/// A run of this process that is viewed.
pub struct Follower {
    events: Subscription,
    pub view: RunView,
}

impl RunView {
    /// Takes the next event of the run.
    pub fn take(&mut self, event: &Event) {
        self.elapsed = event.elapsed;
        match &event.kind {
            EventKind::RunStarted(started) => {
                self.now.rows.to_do = started.rows_to_do;
                self.started = (**started).clone();
            }
            EventKind::Snapshot(snapshot) => {
                self.now = (**snapshot).clone();
                (self.asked_paused, self.asked_rate_share) = (None, None);
            }
            EventKind::RowFailed(failed) => {
                self.failures.truncate(LAST_FAILURES - 1);
                self.failures.push_front((**failed).clone());
            }
            _ => {}
        }
    }

    /// What the two lines show.
    pub fn facts(&self) -> Facts {
        Facts::of(self.elapsed, &self.now)
    }

    /// The file of the records, or else the server.
    pub fn name(&self) -> &str {
        self.started.output.as_ref().unwrap_or(&self.started.server)
    }

    /// Whether the run is paused, or the viewer has asked for that.
    pub fn is_paused(&self) -> bool {
        self.asked_paused.unwrap_or(self.now.paused)
    }

    /// The share of each limit's rate that is taken, or that the viewer has asked for.
    pub fn rate_share(&self) -> f64 {
        self.asked_rate_share.or(self.now.rate_share).unwrap_or(1.0)
    }
}

impl Follower {
    /// Follows a run that is about to begin.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(run: &Run) -> Result<Follower, Error> {
        let view = RunView { may_control: true, ..RunView::default() };
        Ok(Follower { events: run.subscribe()?, view })
    }

    /// Takes the events that wait.
    pub fn update(&mut self) -> &RunView {
        while let Some(event) = self.events.try_recv() {
            self.view.take(&event);
        }
        &self.view
    }
}
