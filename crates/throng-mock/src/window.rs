//! The most that arrived in any window of a given length, exactly.

use std::collections::VecDeque;
use std::time::Duration;

/// Slides along with the arrivals and remembers how full it ever was.
///
/// The window is half-open: two arrivals exactly one length apart are never
/// in it together. Memory grows with the arrivals of one length, 24 bytes each.
#[derive(Debug)]
pub(crate) struct WindowMeter {
    length: Duration,
    recent: VecDeque<(Duration, u64)>,
    now: u64,
    most: u64,
}

impl WindowMeter {
    pub(crate) fn new(length: Duration) -> WindowMeter {
        WindowMeter {
            length,
            recent: VecDeque::new(),
            now: 0,
            most: 0,
        }
    }

    /// Counts an arrival of so many units at `now`, a time since any fixed start
    /// that does not go backwards.
    ///
    /// It is enough to look at windows that end with an arrival: any other
    /// can be moved back to one without losing any.
    pub(crate) fn add(&mut self, now: Duration, units: u64) {
        while let Some(&(then, units)) = self.recent.front() {
            if now - then < self.length {
                break;
            }
            self.now -= units;
            self.recent.pop_front();
        }
        self.now += units;
        self.recent.push_back((now, units));
        self.most = self.most.max(self.now);
    }

    /// The most units that were ever in the window together.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::dice;
    use rand::RngExt;

    fn most(length: u64, arrivals: &[u64]) -> u64 {
        let mut window = WindowMeter::new(Duration::from_millis(length));
        for &ms in arrivals {
            window.add(Duration::from_millis(ms), 1);
        }
        window.most()
    }

    /// Every window that begins with an arrival, counted one by one.
    fn brute(length: u64, arrivals: &[u64]) -> u64 {
        let within = |from: u64| {
            arrivals
                .iter()
                .filter(move |t| (from..from + length).contains(t))
        };
        let counts = arrivals.iter().map(|&from| within(from).count() as u64);
        counts.max().unwrap_or(0)
    }

    #[test]
    fn one_length_apart_is_not_together() {
        assert_eq!(most(5, &[]), 0);
        assert_eq!(most(5, &[0, 5, 10]), 1);
        assert_eq!(most(5, &[0, 4, 5, 9]), 2);
        assert_eq!(most(5, &[3, 3, 3]), 3);
    }

    #[test]
    fn it_agrees_with_brute_force() {
        for seed in 0..200 {
            let mut dice = dice(seed, "window", 0);
            let length = dice.random_range(1..40);
            let mut arrivals: Vec<u64> = (0..60).map(|_| dice.random_range(0..300)).collect();
            arrivals.sort_unstable();
            assert_eq!(
                most(length, &arrivals),
                brute(length, &arrivals),
                "seed {seed}"
            );
        }
    }
}
