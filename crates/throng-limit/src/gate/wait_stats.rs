//! What blocks the waiters of a limiter, and for how long so far. Pure.

use std::time::Duration;

use crate::limiter::Availability;
use crate::outcome::{Blocked, Blocker};
use crate::time::Time;

/// What has blocked the first waiter, over time.
#[derive(Debug, Default)]
pub struct WaitStats {
    now: Option<Blocked>,
    /// What blocked the first waiter when there last was one.
    last: Option<Blocked>,
    since: Time,
    by_rule: Vec<Duration>,
    by_server: Duration,
}

impl WaitStats {
    /// From now on this blocks the first waiter, or there is no waiter.
    pub fn turn(&mut self, now: Time, by: Option<Blocked>) {
        if let Some(before) = self.now {
            let more = now.since(self.since);
            *self.time_of(before.by) += more;
        }
        (self.now, self.last, self.since) = (by, by.or(self.last), now);
    }

    /// When the first waiter may go on, or could have, as far as is known.
    #[must_use]
    pub fn until(&self) -> Option<Time> {
        let blocked = self.last?;
        blocked.back.or(match blocked.when {
            Availability::At(time) => Some(time),
            _ => None,
        })
    }

    /// For how long each rule, and the server, has blocked the first waiter.
    pub fn so_far(&mut self, now: Time) -> impl Iterator<Item = (Blocker, Duration)> {
        self.turn(now, self.now);
        let rules = self.by_rule.iter().copied().enumerate();
        rules
            .map(|(rule, time)| (Blocker::Rule(rule), time))
            .chain([(Blocker::Server, self.by_server)])
    }

    fn time_of(&mut self, by: Blocker) -> &mut Duration {
        match by {
            Blocker::Server => &mut self.by_server,
            Blocker::Rule(rule) => {
                if self.by_rule.len() <= rule {
                    self.by_rule.resize(rule + 1, Duration::ZERO);
                }
                &mut self.by_rule[rule]
            }
        }
    }
}
