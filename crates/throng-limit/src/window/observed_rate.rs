//! How much a server accepts within a period. Pure.

use std::time::Duration;

use crate::time::Time;
use crate::window::slots::Timeline;

/// How much a server accepts within a period, by its answers.
#[derive(Debug)]
pub struct ObservedRate {
    period: Duration,
    accepted: Timeline,
    /// Units that the server may have before it besides.
    open: u64,
    /// The most units that it took in within a period, as far as that is believed.
    peak: u64,
}

/// Number of times that are exact.
const OBSERVED_EXACT: usize = 1_024;
/// Parts of the period to which further times are rounded.
const OBSERVED_PARTS: u32 = 1_024;

impl ObservedRate {
    /// Nothing yet.
    #[must_use]
    pub fn new(period: Duration) -> ObservedRate {
        ObservedRate {
            period,
            accepted: Timeline::new(OBSERVED_EXACT, period / OBSERVED_PARTS),
            open: 0,
            peak: 0,
        }
    }

    /// Units are on their way to the server.
    pub fn taken(&mut self, units: u64) {
        self.open += units;
    }

    /// The server has these units before it no longer, as far as is known.
    pub fn ended(&mut self, units: u64) {
        self.open = self.open.saturating_sub(units);
    }

    /// The server took these units in, by an answer of now.
    pub fn accepted(&mut self, now: Time, units: u64) {
        self.accepted.forget(now, self.period);
        self.accepted.add(now, units);
        self.peak = self.peak.max(self.accepted.units());
    }

    /// The server refused one more, although the open units are all that it can have
    /// beside those that it took in. Gives how many it takes in a period, by that.
    ///
    /// Perhaps it took in more before, and refuses for another reason: that is believed by
    /// `less` units less.
    pub fn refused(&mut self, now: Time, less: u64) -> u64 {
        self.accepted.forget(now, self.period);
        self.peak = self.peak.saturating_sub(less);
        self.peak.max(self.accepted.units() + self.open)
    }

    /// Number of times that it remembers.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.accepted.entries()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_millis(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn what_was_taken_in_within_a_period_is_what_the_server_takes() {
        let mut observed = ObservedRate::new(Duration::from_secs(1));
        observed.taken(120);
        for i in 0..100 {
            observed.ended(1);
            observed.accepted(at_millis(i), 1);
        }
        // Twenty more are open, all of which are refused.
        let takes: Vec<u64> = (0..20)
            .map(|place| {
                observed.ended(1);
                observed.refused(at_millis(110), u64::from(place == 0))
            })
            .collect();
        assert_eq!((takes[0], takes[19]), (119, 100));
    }

    #[test]
    fn what_it_took_in_before_it_takes_again() {
        let mut observed = ObservedRate::new(Duration::from_secs(1));
        observed.accepted(at_millis(0), 100);
        observed.accepted(at_millis(5_000), 60);
        assert_eq!(observed.refused(at_millis(5_100), 1), 99);
        assert_eq!(observed.refused(at_millis(5_200), 2), 97);
        assert_eq!(observed.refused(at_millis(5_300), 64), 60);
    }

    #[test]
    fn memory_is_bounded() {
        let mut observed = ObservedRate::new(Duration::from_secs(86_400));
        for i in 0..1_000_000 {
            observed.accepted(at_millis(i * 80), 1);
        }
        assert!(observed.entries() <= 2_049, "{}", observed.entries());
        assert_eq!(observed.peak, 1_000_000);
    }
}
