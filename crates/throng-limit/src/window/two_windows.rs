//! The estimate of a counter that knows the units of two fixed windows, the current one and the
//! one before it, wherever they begin. Pure.
//!
//! With a share e of the current window gone, P units in the window before and C in the current
//! one, the estimate is P(1 - e) + C. Until the next arrival only e changes, so the estimate
//! never grows.
//!
//! As long as the current window begins between two times at which P or C changes, both stay the
//! same, and the estimate is the larger the later the window begins. C changes behind the time of
//! an arrival, P there and a period later. So the largest estimate is that of a window that
//! begins at an arrival, a period after one, or now.

use std::time::Duration;

use crate::time::{Time, nanos};

/// Arrivals that a counter estimates from two windows.
#[derive(Debug, Clone, Copy)]
pub struct TwoWindows<'a> {
    arrived: &'a [(Time, u64)],
    /// The length of a window in nanoseconds.
    period: u64,
}

/// The current window, and what is in both.
struct Windows {
    /// The time at which the current window begins, in nanoseconds.
    begin: u64,
    previous: u64,
    current: u64,
}

impl<'a> TwoWindows<'a> {
    /// Units by the time of their arrival, in the order of that; windows of a period.
    #[must_use]
    pub fn new(arrived: &'a [(Time, u64)], period: Duration) -> TwoWindows<'a> {
        TwoWindows { arrived, period: nanos(period) }
    }

    /// The largest estimate now, rounded up. Units that arrive later count as arrived.
    #[must_use]
    pub fn estimate(&self, now: Time) -> u64 {
        let (now, period) = (now.as_nanos(), self.period);
        let from = now.saturating_sub(period);
        let recent = self.arrived.iter().filter(|(time, _)| time.as_nanos() >= from);
        let mut largest: u64 = recent.map(|(_, units)| units).sum();
        self.for_each(|windows| {
            let gone = now.saturating_sub(windows.begin);
            if windows.begin > now || gone >= period {
                return;
            }
            let left = product(period - gone, windows.previous);
            // Few are larger than all before: a division for each would take most of the time.
            let room = largest.checked_sub(windows.current);
            if room.is_none_or(|room| left > product(room, period)) {
                let left = u64::try_from(left.div_ceil(u128::from(period))).unwrap_or(u64::MAX);
                largest = left.saturating_add(windows.current);
            }
        });
        largest
    }

    /// The time from which on no estimate is larger than `most`.
    #[must_use]
    pub fn at_most(&self, most: u64) -> Time {
        let (mut time, period) = (0, self.period);
        self.for_each(|windows| {
            let end = windows.begin.saturating_add(period);
            let room = most.saturating_sub(windows.current);
            let is_over = windows.current > most || windows.previous > room;
            if end <= time || !is_over {
                return;
            }
            // Few are later than all before, as above.
            let left = product(end - time, windows.previous);
            if windows.current > most || left > product(period, room) {
                let early = product(period, room).checked_div(u128::from(windows.previous));
                let early = u64::try_from(early.unwrap_or(0)).unwrap_or(period);
                time = time.max(end.saturating_sub(early));
            }
        });
        Time::from_nanos(time)
    }

    /// Visits all windows that begin at an arrival, or a period after one.
    fn for_each(&self, mut visit: impl FnMut(Windows)) {
        let all: u64 = self.arrived.iter().map(|(_, units)| units).sum();
        let (mut before, mut past, mut next) = (0, Sum::default(), Sum::default());
        for (time, units) in self.arrived {
            let time = time.as_nanos();
            past.add_until(self.arrived, |other| other.saturating_add(self.period) < time);
            visit(Windows { begin: time, previous: before - past.units, current: all - before });
            let begin = time.saturating_add(self.period);
            next.add_until(self.arrived, |other| other < begin);
            visit(Windows { begin, previous: next.units - before, current: all - next.units });
            before += units;
        }
    }
}

/// A product that does not overflow.
fn product(time: u64, units: u64) -> u128 {
    u128::from(time) * u128::from(units)
}

/// The sum of the first units.
#[derive(Default)]
struct Sum {
    entries: usize,
    units: u64,
}

impl Sum {
    /// Adds the units of further times, as long as these are earlier.
    fn add_until(&mut self, arrived: &[(Time, u64)], is_earlier: impl Fn(u64) -> bool) {
        while let Some((time, units)) = arrived.get(self.entries) {
            if !is_earlier(time.as_nanos()) {
                break;
            }
            self.entries += 1;
            self.units += units;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const PERIOD: u64 = 10;

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    /// The largest estimate, rounded up, by trying each time at which the window can begin.
    fn tried(arrived: &[(Time, u64)], now: u64) -> u64 {
        let units = |from: u64, to: u64| -> u64 {
            let within = arrived.iter().filter(|(time, _)| (at(from)..at(to)).contains(time));
            within.map(|(_, units)| units).sum()
        };
        let estimate = |begin: u64| {
            let previous = units(begin - PERIOD, begin);
            (previous * (PERIOD - (now - begin))).div_ceil(PERIOD) + units(begin, u64::MAX)
        };
        (now + 1 - PERIOD..=now).map(estimate).max().unwrap()
    }

    #[test]
    fn the_estimate_is_the_largest_of_all_windows_and_never_grows() {
        for seed in 0..2_000 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut arrived: Vec<(Time, u64)> = Vec::new();
            for time in 20..60 {
                if random.random_bool(0.3) {
                    arrived.push((at(time), random.random_range(1..4)));
                }
            }
            let windows = TwoWindows::new(&arrived, Duration::from_nanos(PERIOD));
            let mut before = u64::MAX;
            for now in 20..90 {
                let estimate = windows.estimate(at(now));
                assert_eq!(estimate, tried(&arrived, now), "seed {seed}, {now}: {arrived:?}");
                assert!(estimate <= before, "seed {seed}, {now}: {arrived:?}");
                before = estimate;
            }
            let most = random.random_range(0..10);
            let earliest = (20..).find(|now| windows.estimate(at(*now)) <= most).unwrap();
            let time = windows.at_most(most).max(at(20));
            assert_eq!(time, at(earliest), "seed {seed}, {most}: {arrived:?}");
        }
    }
}
