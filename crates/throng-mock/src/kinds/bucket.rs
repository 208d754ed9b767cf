//! A token bucket: the burst at once, then the units of a period one by one.

use super::rule::{CountingRule, KindEntry, RuleSettings};

pub(super) static KIND: KindEntry = KindEntry {
    name: "bucket",
    at_once: Some(|units, burst| burst.unwrap_or(units)),
    rule: |RuleSettings { units, period, at_once, .. }| {
        Box::new(BucketRule { units, period, burst: at_once, full: 0 })
    },
};

#[derive(Debug)]
struct BucketRule {
    units: u64,
    period: u64,
    burst: u64,
    /// When the bucket would be full again, in nanoseconds times units, so that
    /// one token is worth a whole number (the period) and nothing is ever rounded.
    full: u128,
}

impl BucketRule {
    fn scaled(&self, now: u64) -> u128 {
        u128::from(now) * u128::from(self.units)
    }

    fn worth(&self, tokens: u64) -> u128 {
        u128::from(tokens) * u128::from(self.period)
    }
}

impl CountingRule for BucketRule {
    /// The tokens taken never exceed the burst.
    fn wait(&mut self, now: u64, cost: u64) -> u64 {
        let now = self.scaled(now);
        let taken = self.full.max(now) + self.worth(cost);
        let excess = taken.saturating_sub(now + self.worth(self.burst));
        match self.units {
            0 => self.period,
            units => u64::try_from(excess.div_ceil(u128::from(units))).unwrap_or(u64::MAX),
        }
    }

    fn take(&mut self, now: u64, cost: u64) {
        self.full = self.scaled(now).max(self.full) + self.worth(cost);
    }

    fn left(&mut self, now: u64) -> (u64, u64) {
        let missing = self.full.saturating_sub(self.scaled(now));
        let gone = missing.div_ceil(u128::from(self.period.max(1)));
        let reset = missing.div_ceil(u128::from(self.units.max(1)));
        let left = u128::from(self.burst).saturating_sub(gone);
        (left as u64, u64::try_from(reset).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use crate::counters::tests::{admit, counters, ms};
    use std::time::Duration;

    #[test]
    fn it_gives_its_burst_then_its_rate() {
        let mut counters = counters(&["bucket:3/1s"]);
        for _ in 0..3 {
            assert_eq!(admit(&mut counters, ms(0)), Ok(()));
        }
        let third = Duration::from_nanos(333_333_334);
        assert_eq!(admit(&mut counters, ms(0)), Err(third));
        assert_eq!(admit(&mut counters, third), Ok(()));
        assert!(admit(&mut counters, ms(666)).is_err());
        // Never more than the burst, however long the pause.
        for _ in 0..3 {
            assert_eq!(admit(&mut counters, ms(60_000)), Ok(()));
        }
        assert!(admit(&mut counters, ms(60_000)).is_err());
    }

    #[test]
    fn its_burst_may_be_smaller_or_larger_than_its_rate() {
        for (limit, burst) in [("bucket:10/1s:2", 2), ("bucket:10/1s:40", 40)] {
            let mut counters = counters(&[limit]);
            let taken = (0..100).filter(|_| admit(&mut counters, ms(0)).is_ok());
            assert_eq!(taken.count(), burst);
            assert_eq!(admit(&mut counters, ms(0)), Err(ms(100)));
        }
    }
}
