//! How many arrivals *can* have fallen into one window, whatever happened on
//! the way: each attempt may have arrived at any time from its sending to its
//! answer. Pure.
//!
//! It follows from what happened, not from what a limit made of it, so it also shows what
//! a guard without a proof has risked.

use std::time::Duration;

use crate::time::Time;
use crate::window::timeline::Timeline;

/// The worst case over all windows of one length.
#[derive(Debug)]
pub struct WorstCase {
    period: Duration,
    resolution: Duration,
    /// Units whose arrival has no end yet.
    open: u64,
    /// Units by the latest time at which they can have arrived.
    ended: Timeline,
    peak: u64,
}

/// Number of times that are exact.
const EXACT: usize = 1_024;
/// Parts of the period to which further times are rounded: less than what periods are
/// taken longer by, so that it hides no limit that was kept.
const PARTS: u32 = 2_048;
/// Parts of linger to which the times of lost attempts are rounded.
const LATE_PARTS: u32 = 1_024;

impl WorstCase {
    /// The worst case for windows of this length.
    #[must_use]
    pub fn new(period: Duration) -> WorstCase {
        let resolution = period / PARTS;
        WorstCase { period, resolution, open: 0, ended: Timeline::new(EXACT, resolution), peak: 0 }
    }

    /// The unit that arrived first does not count: it arrived earlier than was told.
    pub fn forget_first(&mut self) {
        self.ended.remove_first();
    }

    /// The attempt may arrive from now on. The window that ends now is the one
    /// into which it can fall together with the most that came before.
    pub fn taken(&mut self, now: Time, units: u64) {
        self.ended.forget(now, self.period);
        self.open += units;
        self.peak = self.peak.max(self.open + self.ended.units());
    }

    /// An attempt that arrived at the latest of the known times up to `latest` has cost
    /// `after` units, not `before`.
    pub fn settled(&mut self, now: Time, latest: Time, before: u64, after: u64) {
        self.ended.forget(now, self.period);
        self.ended.settle(latest, before, after);
        self.peak = self.peak.max(self.open + self.ended.units());
    }

    /// The attempt arrived no later than `latest`.
    pub fn arrived(&mut self, latest: Time, units: u64) {
        self.open = self.open.saturating_sub(units);
        self.ended.add(latest, units);
    }

    /// The attempt may arrive until `latest`, for as long as `linger`.
    pub fn lost(&mut self, latest: Time, linger: Duration, units: u64) {
        self.open = self.open.saturating_sub(units);
        let resolution = self.resolution.max(linger / LATE_PARTS);
        self.ended.add_within(latest, resolution, units);
    }

    /// The attempt was never sent, or doesn't count.
    pub fn returned(&mut self, units: u64) {
        self.open = self.open.saturating_sub(units);
    }

    /// The most units in any window so far.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// Number of times that it remembers.
    pub fn entries(&self) -> usize {
        self.ended.entries()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    /// Every window that begins at an end or just after a beginning is tried.
    fn brute_force(attempts: &[(u64, u64)], period: u64) -> u64 {
        let touched = |start: u64| {
            let touches = |&&(from, to): &&(u64, u64)| from < start + period && to >= start;
            attempts.iter().filter(touches).count() as u64
        };
        let starts =
            attempts.iter().flat_map(|&(from, to)| [to, (from + 1).saturating_sub(period)]);
        starts.map(touched).max().unwrap_or(0)
    }

    #[test]
    fn it_counts_what_brute_force_counts() {
        for seed in 0..300 {
            let mut random = StdRng::seed_from_u64(seed);
            let period = random.random_range(5..400);
            let attempts: Vec<(u64, u64)> = (0..random.random_range(1..60))
                .map(|_| {
                    let from = random.random_range(0..2_000);
                    (from, from + random.random_range(0..500))
                })
                .collect();
            let mut events: Vec<(u64, bool)> =
                attempts.iter().flat_map(|&(from, to)| [(from, true), (to, false)]).collect();
            events.sort_by_key(|&(time, begins)| (time, !begins));
            let mut worst = WorstCase::new(Duration::from_millis(period));
            for (time, begins) in events {
                if begins { worst.taken(at(time), 1) } else { worst.arrived(at(time), 1) }
            }
            assert_eq!(worst.peak(), brute_force(&attempts, period), "seed {seed}");
        }
    }

    #[test]
    fn what_has_cost_less_or_more_counts_so_from_then_on() {
        let mut worst = WorstCase::new(Duration::from_secs(1));
        worst.taken(at(0), 10);
        worst.arrived(at(100), 10);
        worst.settled(at(100), at(100), 10, 4);
        worst.taken(at(200), 5);
        assert_eq!(worst.peak(), 10, "it might have cost that");
        worst.taken(at(300), 2);
        assert_eq!(worst.peak(), 11);
        worst.settled(at(400), at(100), 4, 9);
        assert_eq!(worst.peak(), 16);
        worst.settled(at(2_000), at(100), 9, 99);
        assert_eq!(worst.peak(), 16, "no window holds it any more");
    }

    #[test]
    fn what_was_not_sent_does_not_count_any_longer() {
        let mut worst = WorstCase::new(Duration::from_secs(1));
        worst.taken(at(0), 3);
        worst.returned(3);
        worst.taken(at(0), 1);
        worst.arrived(at(30_000), 1);
        worst.taken(at(31_000), 2);
        assert_eq!(worst.peak(), 3);
    }
}
