//! Any half-open window of the period's length holds at most the units.

use std::collections::VecDeque;

use super::rule::{CountingRule, KindEntry, RuleSettings};

pub(super) static KIND: KindEntry = KindEntry {
    name: "sliding",
    at_once: None,
    rule: |RuleSettings { units, period, .. }| {
        Box::new(SlidingRule { units, period, log: VecDeque::new(), used: 0 })
    },
};

#[derive(Debug)]
struct SlidingRule {
    units: u64,
    period: u64,
    /// The times of the last period's requests, oldest first, and their costs.
    log: VecDeque<(u64, u64)>,
    used: u64,
}

impl CountingRule for SlidingRule {
    /// A request counts for one period and not at its end.
    fn wait(&mut self, now: u64, cost: u64) -> u64 {
        while let Some(&(then, cost)) = self.log.front() {
            if now - then < self.period {
                break;
            }
            self.used -= cost;
            self.log.pop_front();
        }
        let mut used = self.used;
        for (then, freed) in &self.log {
            if used + cost <= self.units {
                return 0;
            }
            used -= freed;
            if used + cost <= self.units {
                return self.period - (now - then);
            }
        }
        0
    }

    fn take(&mut self, now: u64, cost: u64) {
        self.used += cost;
        self.log.push_back((now, cost));
    }

    fn left(&mut self, now: u64) -> (u64, u64) {
        self.wait(now, 0);
        let last = self.log.back().map(|(then, _)| then + self.period - now);
        (self.units.saturating_sub(self.used), last.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use crate::counters::tests::{admit, admit_for, counters, ms};
    use std::time::Duration;

    #[test]
    fn it_forgets_exactly_one_period_later() {
        let mut counters = counters(&["2/5s"]);
        assert_eq!(admit(&mut counters, ms(0)), Ok(()));
        assert_eq!(admit(&mut counters, ms(1000)), Ok(()));
        let almost = ms(5000) - Duration::from_nanos(1);
        assert_eq!(admit(&mut counters, almost), Err(Duration::from_nanos(1)));
        assert_eq!(admit(&mut counters, ms(5000)), Ok(()));
        assert_eq!(admit(&mut counters, ms(5000)), Err(ms(1000)));
        assert_eq!(admit(&mut counters, ms(6000)), Ok(()));
    }

    #[test]
    fn a_large_cost_waits_for_several() {
        let mut counters = counters(&["10 tokens/1s"]);
        for at in [0, 100, 200] {
            assert_eq!(admit_for(&mut counters, ms(at), 3), Ok(()));
        }
        assert_eq!(admit_for(&mut counters, ms(300), 1), Ok(()));
        assert_eq!(admit_for(&mut counters, ms(400), 6), Err(ms(700)));
        assert_eq!(admit_for(&mut counters, ms(400), 11), Err(ms(1000)));
    }
}
