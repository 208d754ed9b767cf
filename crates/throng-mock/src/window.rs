//! The exact number of units in the fullest window of a given length.

use std::collections::VecDeque;
use std::time::Duration;

/// A window that slides along with the arrivals and keeps its highest count.
///
/// The window is half-open: two arrivals exactly one length apart are never both
/// in it. It keeps 24 bytes for each arrival of the last window.
#[derive(Debug)]
pub(crate) struct WindowMeter {
    length: Duration,
    recent: VecDeque<(Duration, u64)>,
    now: u64,
    most: u64,
}

impl WindowMeter {
    pub(crate) fn new(length: Duration) -> WindowMeter {
        WindowMeter { length, recent: VecDeque::new(), now: 0, most: 0 }
    }

    /// Counts an arrival of these units at `now`, a time since any fixed start
    /// that does not go backwards.
    ///
    /// Windows that end with an arrival are enough: any other can be moved back
    /// to one without losing an arrival.
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

    /// The most units that were ever in the window.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::rng;
    use rand::RngExt;

    fn most(length: u64, arrivals: &[u64]) -> u64 {
        let mut window = WindowMeter::new(Duration::from_millis(length));
        for &ms in arrivals {
            window.add(Duration::from_millis(ms), 1);
        }
        window.most()
    }

    /// The fullest window, counted for each arrival as its begin.
    fn brute(length: u64, arrivals: &[u64]) -> u64 {
        let within = |from: u64| arrivals.iter().filter(move |t| (from..from + length).contains(t));
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
            let mut rng = rng(seed, "window", 0);
            let length = rng.random_range(1..40);
            let mut arrivals: Vec<u64> = (0..60).map(|_| rng.random_range(0..300)).collect();
            arrivals.sort_unstable();
            assert_eq!(most(length, &arrivals), brute(length, &arrivals), "seed {seed}");
        }
    }
}
