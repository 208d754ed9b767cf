//! How fast the units of a window go out. Pure.
//!
//! A server's program reads requests later than its network stack acknowledges them: by
//! little, unless many come at once. Then the last one waits for all the others, and a slot
//! that is free one period and a margin after its acknowledgement is free too early. So
//! the units of a window go out over a given time. A program that takes them in one after
//! the other, and all of them within that time, is never behind by more than a small part
//! of it.
//!
//! That costs the time once, not once in each window: slots that were taken one after the
//! other come back one after the other. In the same way requests are spread where
//! refusals call for it.

use std::time::Duration;

use crate::limiter::Availability;
use crate::time::Time;

/// Parts of the time one of which may go out at once: timers don't ring for every request.
const AT_ONCE: u32 = 20;

/// Lets units out one after the other.
#[derive(Debug, Default)]
pub struct Smoother {
    /// By when the program has taken in all units, if it is as slow as may be.
    done: Time,
}

impl Smoother {
    /// When the next unit may go out, if all units take the program `over`.
    #[must_use]
    pub fn earliest(&self, now: Time, over: Duration) -> Availability {
        let next = self.done.before(over / AT_ONCE);
        if next > now { Availability::At(next) } else { Availability::Now }
    }

    /// Units go out that take the program this long.
    pub fn take(&mut self, now: Time, time: Duration) {
        self.done = self.done.max(now).after(time);
    }

    /// Units that take the program this long did not go out after all.
    pub fn give_back(&mut self, time: Duration) {
        self.done = self.done.before(time);
    }
}

/// How long so many of all units take, if all take `over`.
#[must_use]
pub fn share(over: Duration, units: u64, all: u64) -> Duration {
    let nanos = over.as_nanos() * u128::from(units) / u128::from(all.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The gap that spreads a limit's requests over its period. X/(N-2) keeps most servers from
/// refusing that count otherwise than by windows. Where fewer than half of the units are
/// used, the gap is nearly even, a little shorter lest latency cost rate twice.
#[must_use]
pub fn spread_gap(units: u64, limit: u64, period: Duration) -> Duration {
    let parts = if units < limit.div_ceil(2) {
        units + units / 8 + 1
    } else {
        limit.saturating_sub(2).max(1)
    };
    period / u32::try_from(parts).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: Duration = Duration::from_millis(100);

    /// Takes what may go out at each of these milliseconds, and gives how much that was.
    fn goes_out(pace: &mut Smoother, all: u64, millis: impl Iterator<Item = u64>) -> Vec<u64> {
        let at = |millis: u64| Time::from_nanos(millis * 1_000_000);
        let burst = |now| {
            let mut units = 0;
            while pace.earliest(now, OVER) == Availability::Now {
                pace.take(now, share(OVER, 1, all));
                units += 1;
            }
            units
        };
        millis.map(at).map(burst).collect()
    }

    #[test]
    fn all_go_out_over_the_time_however_seldom_somebody_looks() {
        let every = goes_out(&mut Smoother::default(), 1_000, 0..96);
        assert_eq!((every[0], every[1], every[95]), (51, 10, 10));
        assert_eq!(every.iter().sum::<u64>(), 1_001);
        let seldom = goes_out(&mut Smoother::default(), 1_000, (0..20).map(|look| look * 5));
        assert_eq!(seldom, [&[51][..], &[50; 19]].concat());
    }

    #[test]
    fn what_costs_more_takes_longer_and_a_pause_saves_nothing_up() {
        let mut pace = Smoother::default();
        pace.take(Time::ZERO, share(OVER, 500, 1_000_000));
        assert_eq!(pace.done, Time::from_nanos(50_000));
        pace.take(Time::from_nanos(1_000_000_000), OVER);
        assert_eq!(pace.done, Time::from_nanos(1_100_000_000));
    }
}
