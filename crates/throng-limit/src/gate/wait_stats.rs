//! Who holds up those that wait at a gate, and for how long so far. Pure.

use std::time::Duration;

use crate::kinds::Availability;
use crate::outcome::{Blocked, Blocker};
use crate::time::Time;

/// What whoever waits first has been waiting for, over time.
#[derive(Debug, Default)]
pub struct WaitStats {
    now: Option<Blocked>,
    /// The same, when somebody last waited.
    last: Option<Blocked>,
    since: Time,
    by_part: Vec<Duration>,
    by_server: Duration,
}

impl WaitStats {
    /// From now on it is this, or nobody waits.
    pub fn turn(&mut self, now: Time, by: Option<Blocked>) {
        if let Some(before) = self.now {
            let more = now.since(self.since);
            *self.time_of(before.by) += more;
        }
        (self.now, self.last, self.since) = (by, by.or(self.last), now);
    }

    /// When whoever waits first may go on, or could have, as far as is known.
    #[must_use]
    pub fn until(&self) -> Option<Time> {
        let blocked = self.last?;
        blocked.back.or(match blocked.when {
            Availability::At(time) => Some(time),
            _ => None,
        })
    }

    /// For how long each held them up.
    pub fn so_far(&mut self, now: Time) -> impl Iterator<Item = (Blocker, Duration)> {
        self.turn(now, self.now);
        let parts = self.by_part.iter().copied().enumerate();
        parts
            .map(|(part, time)| (Blocker::Part(part), time))
            .chain([(Blocker::Server, self.by_server)])
    }

    fn time_of(&mut self, by: Blocker) -> &mut Duration {
        match by {
            Blocker::Server => &mut self.by_server,
            Blocker::Part(part) => {
                if self.by_part.len() <= part {
                    self.by_part.resize(part + 1, Duration::ZERO);
                }
                &mut self.by_part[part]
            }
        }
    }
}
