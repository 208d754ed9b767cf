//! How much a server has taken in within a period: what a refusal that our count
//! can't explain is measured by. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// Units that the server took in, by when it said so.
#[derive(Debug)]
pub struct ObservedRate {
    period: Duration,
    grain: Duration,
    entries: VecDeque<(Time, u64)>,
    units: u64,
    most: u64,
}

/// Where more times are known, those that lie closer together than a small part of
/// the period are taken for the earliest.
const EXACT: usize = 1_024;
const GRAINS: u32 = 1_024;

impl ObservedRate {
    /// Nothing yet.
    #[must_use]
    pub fn new(period: Duration) -> ObservedRate {
        ObservedRate {
            period,
            grain: period / GRAINS,
            entries: VecDeque::new(),
            units: 0,
            most: 0,
        }
    }

    /// The server took these in, as it says now.
    pub fn add(&mut self, now: Time, units: u64) {
        self.forget(now);
        self.units += units;
        let many = self.entries.len() >= EXACT;
        match self.entries.back_mut() {
            Some((time, there)) if *time == now || many && now.since(*time) < self.grain => {
                *there += units;
            }
            _ => self.entries.push_back((now, units)),
        }
        self.most = self.most.max(self.units);
    }

    /// It refused one more, although as many of ours as are `open` are all that it can
    /// have beside these. Gives how much it takes in a period, by that.
    ///
    /// It has taken in more before, perhaps, and refuses for another reason; the
    /// more often it does, the less that is believed.
    pub fn refused(&mut self, now: Time, open: u64, explained: bool) -> u64 {
        self.forget(now);
        self.most = self.most.saturating_sub(u64::from(!explained));
        self.most.max(self.units + open)
    }

    /// How many times it remembers.
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    fn forget(&mut self, now: Time) {
        while let Some(&(time, units)) = self.entries.front() {
            if now.since(time) < self.period {
                break;
            }
            self.units -= units;
            self.entries.pop_front();
        }
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
        assert_eq!(taken.most, 1_000_000);
    }
}
