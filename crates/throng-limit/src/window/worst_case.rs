//! How many arrivals *can* have fallen into one window, whatever happened on
//! the way: each attempt may have arrived at any time from its sending to its
//! answer. Pure.
//!
//! It is told what happened, not what a limit made of it, so it also shows what
//! a guard without a proof has risked.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Time;

/// The worst case over all windows of one length.
#[derive(Debug)]
pub struct WorstCase {
    period: Duration,
    grain: Duration,
    /// Units whose arrival has no end yet.
    open: u64,
    /// Units by the latest time at which they can have arrived, in order.
    ended: VecDeque<(Time, u64)>,
    ended_units: u64,
    most: u64,
}

/// Up to so many times are told apart exactly. Where there are more, those that
/// lie closer together than a small part of the period, or of linger for what was
/// lost, are taken for the latest.
const EXACT: usize = 1_024;
/// So small a part is less than what periods are taken longer by: it hides no limit
/// that was kept.
const GRAINS: u32 = 2_048;
const LATE_GRAINS: u32 = 1_024;

impl WorstCase {
    /// For windows of this length.
    #[must_use]
    pub fn new(period: Duration) -> WorstCase {
        WorstCase {
            period,
            grain: period / GRAINS,
            open: 0,
            ended: VecDeque::new(),
            ended_units: 0,
            most: 0,
        }
    }

    /// What arrived first does not count: it was earlier than was told.
    pub fn forget_first(&mut self) {
        if let Some((_, units)) = self.ended.front_mut() {
            let one = 1.min(*units);
            *units -= one;
            self.ended_units -= one;
            if *units == 0 {
                self.ended.pop_front();
            }
        }
    }

    /// The attempt may arrive from now on. The window that ends now is the one
    /// into which it can fall together with the most that came before.
    pub fn taken(&mut self, now: Time, units: u64) {
        self.forget(now);
        self.open += units;
        self.most = self.most.max(self.open + self.ended_units);
    }

    /// What arrived no later than `latest`, at the latest of such times, has cost
    /// other units than it was taken for.
    pub fn settled(&mut self, now: Time, latest: Time, (before, after): (u64, u64)) {
        self.forget(now);
        let place = self.ended.partition_point(|(time, _)| *time <= latest);
        let Some((_, units)) = place.checked_sub(1).and_then(|at| self.ended.get_mut(at)) else {
            return;
        };
        // Units of others are never taken for its own.
        let less = before.saturating_sub(after).min(*units);
        let more = after.saturating_sub(before);
        *units = *units - less + more;
        self.ended_units = self.ended_units - less + more;
        self.most = self.most.max(self.open + self.ended_units);
    }

    fn forget(&mut self, now: Time) {
        while let Some(&(latest, ended)) = self.ended.front() {
            if now.since(latest) < self.period {
                break;
            }
            self.ended_units -= ended;
            self.ended.pop_front();
        }
    }

    /// The attempt arrived no later than `latest`.
    pub fn arrived(&mut self, latest: Time, units: u64) {
        self.ends(latest, self.grain, units);
    }

    /// The same for one that may still arrive for as long as `linger`.
    pub fn lost(&mut self, latest: Time, linger: Duration, units: u64) {
        self.ends(latest, self.grain.max(linger / LATE_GRAINS), units);
    }

    /// How many times it remembers.
    pub fn entries(&self) -> usize {
        self.ended.len()
    }

    fn ends(&mut self, latest: Time, grain: Duration, units: u64) {
        self.open = self.open.saturating_sub(units);
        self.ended_units += units;
        let latest = if self.ended.len() < EXACT {
            latest
        } else {
            latest.round_up(grain)
        };
        let place = self.ended.partition_point(|(time, _)| *time < latest);
        match self.ended.get_mut(place) {
            Some((time, there)) if *time == latest => *there += units,
            _ => self.ended.insert(place, (latest, units)),
        }
    }

    /// It was never sent, or doesn't count.
    pub fn returned(&mut self, units: u64) {
        self.open = self.open.saturating_sub(units);
    }

    /// The most units in any window so far.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
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
        let starts = attempts
            .iter()
            .flat_map(|&(from, to)| [to, (from + 1).saturating_sub(period)]);
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
            let mut events: Vec<(u64, bool)> = attempts
                .iter()
                .flat_map(|&(from, to)| [(from, true), (to, false)])
                .collect();
            events.sort_by_key(|&(time, begins)| (time, !begins));
            let mut certificate = WorstCase::new(Duration::from_millis(period));
            for (time, begins) in events {
                if begins {
                    certificate.taken(at(time), 1)
                } else {
                    certificate.arrived(at(time), 1)
                }
            }
            assert_eq!(
                certificate.most(),
                brute_force(&attempts, period),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn what_has_cost_less_or_more_counts_so_from_then_on() {
        let mut certificate = WorstCase::new(Duration::from_secs(1));
        certificate.taken(at(0), 10);
        certificate.arrived(at(100), 10);
        certificate.settled(at(100), at(100), (10, 4));
        certificate.taken(at(200), 5);
        assert_eq!(certificate.most(), 10, "it might have cost that");
        certificate.taken(at(300), 2);
        assert_eq!(certificate.most(), 11);
        certificate.settled(at(400), at(100), (4, 9));
        assert_eq!(certificate.most(), 16);
        certificate.settled(at(2_000), at(100), (9, 99));
        assert_eq!(certificate.most(), 16, "no window holds it any more");
    }

    #[test]
    fn what_was_not_sent_does_not_count_any_longer() {
        let mut certificate = WorstCase::new(Duration::from_secs(1));
        certificate.taken(at(0), 3);
        certificate.returned(3);
        certificate.taken(at(0), 1);
        certificate.arrived(at(30_000), 1);
        certificate.taken(at(31_000), 2);
        assert_eq!(certificate.most(), 3);
    }
}
