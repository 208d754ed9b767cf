//! What an estimate of the free slots has found, as long as it holds: to estimate takes long. Pure.

use std::time::Duration;

use crate::limiter::Availability;
use crate::time::Time;

/// What is known of the free slots without another estimate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Estimated {
    /// Units that are free; perhaps more are by now.
    free: u64,
    /// The time of the look at which all were taken that were free.
    used_up: Option<Time>,
    /// When so many units are free, or their number is worth another look.
    blocked: Option<(u64, Time)>,
}

/// How the units that count are estimated.
pub trait Estimate {
    /// The estimate of all that are counted now.
    fn of(&self, counted: &[(Time, u64)]) -> u64;

    /// When the estimate is no larger than `most`.
    fn at_most(&self, counted: &[(Time, u64)], most: u64) -> Time;

    /// The resolution to which times are rounded up at which units come free, so that many do at
    /// once.
    fn release_resolution(&self) -> Duration;
}

impl Estimated {
    /// When so many units are free, by what is counted now. With them, the estimate may be `most`
    /// without those in flight. Nothing is estimated that is known.
    pub fn earliest(
        &mut self,
        now: Time,
        units: u64,
        most: u64,
        counted: &[(Time, u64)],
        by: &impl Estimate,
    ) -> Availability {
        if units <= self.free {
            return Availability::Now;
        }
        if let Some((known, time)) = self.blocked
            && known == units
            && now < time
        {
            return Availability::At(time);
        }
        let is_used_up = self.used_up == Some(now);
        if is_used_up && !by.release_resolution().is_zero() {
            // What comes free next does so at the next such time, or later, which is seen then.
            let next = now.after(Duration::from_nanos(1)).round_up(by.release_resolution());
            self.blocked = Some((units, next));
            return Availability::At(next);
        }
        let used = (!is_used_up).then(|| by.of(counted));
        if let Some(used) = used.filter(|used| *used <= most) {
            *self = Estimated { free: most - used + units, ..Estimated::default() };
            return Availability::Now;
        }
        let time = by.at_most(counted, most);
        if time <= now {
            return Availability::Now;
        }
        let time = time.round_up(by.release_resolution());
        self.blocked = Some((units, time));
        Availability::At(time)
    }

    /// So many units were taken.
    pub fn taken(&mut self, now: Time, units: u64) {
        let free = self.free.saturating_sub(units);
        *self = Estimated { free, used_up: (free == 0).then_some(now), blocked: None };
    }

    /// A unit that was in flight may count for less from this time on.
    pub fn relieved_at(&mut self, time: Time) {
        self.used_up = None;
        if let Some((_, until)) = &mut self.blocked {
            *until = time.min(*until);
        }
    }
}
