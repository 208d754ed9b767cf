//! What limits have to say of themselves, for reports.

use std::time::Duration;

use crate::config::Guard;
use crate::kinds::Limiter;

/// What one limit's arithmetic has to say, or the same limit's for many keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimiterStats {
    /// The most units that can have fallen into one window.
    pub most: u64,
    /// What is kept between periods or attempts, where that was learnt.
    pub margin: Option<Duration>,
    /// The fewest units that it allows, where those are not what the job says.
    pub learnt: Option<u64>,
}

impl LimiterStats {
    /// Adds what one more has to say.
    pub fn add(&mut self, kind: &dyn Limiter) {
        self.most = self.most.max(kind.peak());
        self.margin = self.margin.max(kind.margin());
        self.learnt = match (self.learnt, kind.learnt()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// A limit's own account of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// As the job writes it: `22/5s`.
    pub name: String,
    /// What it was proven against.
    pub guard: Guard,
    /// What it counts: `requests`, `tokens`.
    pub unit: String,
    /// The most units that it allows in a window, in flight, or in all.
    pub units: u64,
    /// The length of its windows, if it has any.
    pub period: Option<Duration>,
    /// The most units that can have been in one window.
    pub most: u64,
    /// Attempts that were never answered.
    pub lost: u64,
    /// How long a lost attempt was taken to be able to arrive.
    pub linger: Duration,
    /// What was kept between periods, where that was learnt.
    pub margin: Option<Duration>,
    /// The units that it allowed in the end, where the server has shown that those
    /// are not what the job says.
    pub learnt: Option<u64>,
    /// The least time between two sendings, if that is what it keeps.
    pub spacing: Option<Duration>,
    /// How many keys had it, if it holds for each key.
    pub keys: Option<u64>,
}
