//! What all walks of a run have in common.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::engine::jitter::Jitter;
use crate::limit::{RateLimiter, Time};
use crate::metrics::Metrics;
use crate::metrics::wait_time::{self, TimeBreakdown, TimeShare};
use crate::plan::Plan;
use crate::shutdown::Shutdown;

/// What all walks of a run have in common.
pub struct RunContext {
    pub plan: Plan,
    pub gate: RateLimiter,
    /// Those of the later steps, where they have their own.
    pub later: Vec<Option<RateLimiter>>,
    /// What the calendar said when the gate's clock was at its zero: one answer
    /// for the whole run, so that its times are consistent.
    pub calendar_at_zero: Timestamp,
    pub live: Metrics,
    pub stop: Shutdown,
    pub chance: Jitter,
}

impl RunContext {
    /// What the calendar says, by the gate's clock.
    pub(super) fn calendar_now(&self) -> SystemTime {
        SystemTime::from(self.calendar_at_zero) + self.gate.now().since(Time::ZERO)
    }

    /// All gates.
    pub fn gates(&self) -> impl Iterator<Item = &RateLimiter> {
        std::iter::once(&self.gate).chain(self.later.iter().flatten())
    }

    /// What the time of the workers went to, up to this time of the run.
    pub fn balance(&self, now: Duration) -> TimeBreakdown {
        TimeBreakdown {
            spent: self.live.spent(now),
            held: self.gates().flat_map(RateLimiter::wait_stats).collect(),
        }
    }

    /// What would help against what binds.
    pub fn advice(&self, shares: &[TimeShare]) -> Option<String> {
        let crew = self.plan.workers;
        let setup = wait_time::Setup {
            workers: crew.count,
            in_flight: crew.in_flight,
            cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            keys: self.plan.step.policy.keys().len(),
        };
        wait_time::advice(shares, &setup)
    }

    /// The one that the requests of the step at this place pass.
    pub(super) fn gate_at(&self, place: usize) -> &RateLimiter {
        let own = place.checked_sub(1).and_then(|place| self.later.get(place));
        own.and_then(Option::as_ref).unwrap_or(&self.gate)
    }
}
