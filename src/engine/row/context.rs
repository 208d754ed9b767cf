//! The state that all rows of a run share.

use std::num::NonZeroUsize;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::engine::world::World;
use crate::limit::{RateLimiter, Time};
use crate::metrics::{self, Metrics, TimeBreakdown, TimeShare};
use crate::plan::Plan;
use crate::shutdown::Shutdown;

/// The state that all rows of a run share.
pub struct RunContext {
    pub plan: Plan,
    /// One for each stage with limits of its own.
    pub limiters: Vec<RateLimiter>,
    /// The calendar's time at the zero of the limiters' clock: one for the whole run, so
    /// that its times are consistent.
    pub calendar_at_zero: Timestamp,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    pub world: Box<dyn World>,
}

impl RunContext {
    /// Of a plan that is carried out in this world.
    pub fn new(mut plan: Plan, world: Box<dyn World>) -> RunContext {
        for stage in &mut plan.stages {
            world.connect(stage);
        }
        let limited = plan.limited_stages();
        RunContext {
            limiters: limited.map(|stage| world.limiter(&stage.policy)).collect(),
            calendar_at_zero: world.calendar_at_zero(),
            metrics: Metrics::new(plan.workers.count),
            shutdown: Shutdown::default(),
            plan,
            world,
        }
    }

    /// The calendar's time now, by the limiters' clock.
    pub fn calendar_now(&self) -> SystemTime {
        SystemTime::from(self.calendar_at_zero) + self.limiters[0].now().since(Time::ZERO)
    }

    /// How the workers have spent their time, up to this time of the run.
    pub fn time_breakdown(&self, now: Duration) -> TimeBreakdown {
        TimeBreakdown {
            spent: self.metrics.spent(now),
            blocked: self.limiters.iter().flat_map(RateLimiter::wait_stats).collect(),
        }
    }

    /// Advice against the largest share of the time.
    pub fn advice(&self, shares: &[TimeShare]) -> Option<String> {
        let setup = metrics::RunSetup {
            workers: self.plan.workers.count,
            in_flight: self.plan.first().in_flight,
            cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            keys: self.plan.first().policy.keys().len(),
        };
        metrics::advice(shares, &setup)
    }

    /// The limiter that the requests of this stage pass.
    pub fn limiter(&self, stage_index: usize) -> &RateLimiter {
        &self.limiters[self.plan.stages[stage_index].limiter]
    }
}
