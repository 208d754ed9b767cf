//! GCRA, as redis-cell and nginx count: requests are due one emission interval apart, and
//! the burst is the number of requests that may come early.

use super::rule::{CountingRule, KindEntry, RuleSettings};

pub(super) static KIND: KindEntry = KindEntry {
    name: "gcra",
    at_once: Some(|_, burst| burst.unwrap_or(0).saturating_add(1)),
    rule: |RuleSettings { units, period, at_once, .. }| {
        let interval = period.div_ceil(units.max(1));
        let tolerance = interval.saturating_mul(at_once.saturating_sub(1));
        Box::new(GcraRule { interval, tolerance, due: 0 })
    },
};

#[derive(Debug)]
struct GcraRule {
    /// Nanoseconds between two requests that are due.
    interval: u64,
    /// How early a request may come.
    tolerance: u64,
    /// When the next request is due.
    due: u64,
}

impl CountingRule for GcraRule {
    fn wait(&mut self, now: u64, cost: u64) -> u64 {
        let others = self.interval.saturating_mul(cost.saturating_sub(1));
        let due = self.due.max(now).saturating_add(others);
        due.saturating_sub(now.saturating_add(self.tolerance))
    }

    fn take(&mut self, now: u64, cost: u64) {
        let taken = self.interval.saturating_mul(cost);
        self.due = self.due.max(now).saturating_add(taken);
    }

    fn left(&mut self, now: u64) -> (u64, u64) {
        let reset = self.due.saturating_sub(now);
        let free = (self.tolerance + self.interval).saturating_sub(reset);
        (free / self.interval.max(1), reset)
    }
}

#[cfg(test)]
mod tests {
    use crate::counters::tests::{admit, counters, ms};

    #[test]
    fn without_a_burst_requests_are_an_interval_apart() {
        let mut counters = counters(&["gcra:4/1s"]);
        for interval in 0..5 {
            assert_eq!(admit(&mut counters, ms(interval * 250)), Ok(()));
            assert_eq!(admit(&mut counters, ms(interval * 250)), Err(ms(250)));
            assert!(admit(&mut counters, ms(interval * 250 + 249)).is_err());
        }
    }

    #[test]
    fn the_burst_comes_beside_the_request_that_is_due() {
        let mut counters = counters(&["gcra:30/1m:15"]);
        let taken = (0..100).filter(|_| admit(&mut counters, ms(0)).is_ok());
        assert_eq!(taken.count(), 16);
        assert_eq!(admit(&mut counters, ms(0)), Err(ms(2_000)));
        assert_eq!(admit(&mut counters, ms(2_000)), Ok(()));
        assert!(admit(&mut counters, ms(2_000)).is_err());
    }
}
