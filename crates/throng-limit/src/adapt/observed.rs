//! How much a server has taken in within a period: what a refusal that our count
//! can't explain is measured by. Pure.

use std::time::Duration;

use crate::time::Time;
use crate::window::timeline::Timeline;

/// Units that the server took in, by the time of its answer.
#[derive(Debug)]
pub struct ObservedRate {
    period: Duration,
    accepted: Timeline,
    peak: u64,
}

/// Number of times that are exact.
const EXACT: usize = 1_024;
/// Parts of the period to which further times are rounded.
const PARTS: u32 = 1_024;

impl ObservedRate {
    /// Nothing yet.
    #[must_use]
    pub fn new(period: Duration) -> ObservedRate {
        ObservedRate {
            period,
            accepted: Timeline::new(EXACT, period / PARTS),
            peak: 0,
        }
    }

    /// The server took these units in, by an answer of now.
    pub fn add(&mut self, now: Time, units: u64) {
        self.accepted.forget(now, self.period);
        self.accepted.add(now, units);
        self.peak = self.peak.max(self.accepted.units());
    }

    /// It refused one more, although as many of ours as are `open` are all that it can
    /// have beside these. Gives how much it takes in a period, by that.
    ///
    /// It has taken in more before, perhaps, and refuses for another reason; the
    /// more often it does, the less that is believed.
    pub fn refused(&mut self, now: Time, open: u64, explained: bool) -> u64 {
        self.accepted.forget(now, self.period);
        self.peak = self.peak.saturating_sub(u64::from(!explained));
        self.peak.max(self.accepted.units() + open)
    }

    /// How many times it remembers.
    pub fn entries(&self) -> usize {
        self.accepted.entries()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn what_was_taken_in_within_a_period_is_what_the_server_takes() {
        let mut taken = ObservedRate::new(Duration::from_secs(1));
        for i in 0..100 {
            taken.add(at(i), 1);
        }
        // Twenty more are open, all of which are refused.
        let open = (0..20).rev();
        let most: Vec<u64> = open
            .map(|open| taken.refused(at(110), open, open < 19))
            .collect();
        assert_eq!((most[0], most[19]), (119, 100));
    }

    #[test]
    fn what_it_took_in_before_it_takes_again() {
        let mut taken = ObservedRate::new(Duration::from_secs(1));
        taken.add(at(0), 100);
        taken.add(at(5_000), 60);
        assert_eq!(taken.refused(at(5_100), 0, false), 99);
        assert_eq!(taken.refused(at(5_200), 0, false), 98);
    }

    #[test]
    fn memory_is_bounded() {
        let mut taken = ObservedRate::new(Duration::from_secs(86_400));
        for i in 0..1_000_000 {
            taken.add(at(i * 80), 1);
        }
        assert!(taken.entries() <= 2_049, "{}", taken.entries());
        assert_eq!(taken.peak, 1_000_000);
    }
}
