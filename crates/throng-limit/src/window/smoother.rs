//! How fast a window's units may go out where the server's program is to keep up with
//! them. Pure.
//!
//! What the network stack has acknowledged, the program reads later: by little, unless
//! much comes at once. Then what came last waits for all the rest, and a slot that is
//! free one period and a margin after its acknowledgement is free too early. So the
//! units of a window don't go out at once but over a given time. A program that takes
//! them in one after the other, and all of them in no more than that, is never
//! behind by more than a small part of it.
//!
//! It costs that time once, not once in each window: slots that were taken one after the
//! other come back one after the other.

use std::time::Duration;

use crate::kinds::Availability;
use crate::time::Time;

/// Such a part of the time may go out at once: timers don't ring for every request.
const AT_ONCE: u32 = 20;

/// Lets units out one after the other.
#[derive(Debug, Default)]
pub struct Smoother {
    /// By when the program has taken in what went out, if it is as slow as may be.
    done: Time,
}

impl Smoother {
    /// When the next may go out, if all units take the program `over`.
    pub fn earliest(&self, now: Time, over: Duration) -> Availability {
        let next = self.done.before(over / AT_ONCE);
        if next > now {
            Availability::At(next)
        } else {
            Availability::Now
        }
    }

    /// Such a share of all units goes out.
    pub fn take(&mut self, now: Time, share: (u64, u64), over: Duration) {
        self.done = self.done.max(now).after(takes(share, over));
    }

    /// They did not go out after all.
    pub fn give_back(&mut self, share: (u64, u64), over: Duration) {
        self.done = self.done.before(takes(share, over));
    }
}

/// How long so many of all units take the program.
fn takes((units, all): (u64, u64), over: Duration) -> Duration {
    let nanos = over.as_nanos() * u128::from(units) / u128::from(all.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
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
                pace.take(now, (1, all), OVER);
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
        let seldom = goes_out(
            &mut Smoother::default(),
            1_000,
            (0..20).map(|look| look * 5),
        );
        assert_eq!(seldom, [&[51][..], &[50; 19]].concat());
    }

    #[test]
    fn what_costs_more_takes_longer_and_a_pause_saves_nothing_up() {
        let mut pace = Smoother::default();
        pace.take(Time::ZERO, (500, 1_000_000), OVER);
        assert_eq!(pace.done, Time::from_nanos(50_000));
        pace.take(Time::from_nanos(1_000_000_000), (1, 1), OVER);
        assert_eq!(pace.done, Time::from_nanos(1_100_000_000));
    }
}
