//! A sliding-window counter: the count of the current clock window plus that of the
//! previous one, weighted with the share of the current window that is still to come.

use super::rule::{CountingRule, KindEntry, RuleSettings};

pub(super) static KIND: KindEntry = KindEntry {
    name: "counter",
    at_once: None,
    rule: |RuleSettings { units, period, offset, .. }| {
        Box::new(CounterRule { units, period, offset, window: 0, previous: 0, current: 0 })
    },
};

#[derive(Debug)]
struct CounterRule {
    units: u64,
    period: u64,
    /// The time between the begin of a window and the server's start.
    offset: u64,
    /// Number of the current window.
    window: u64,
    previous: u64,
    current: u64,
}

impl CounterRule {
    /// Moves on to the window that contains `now`, and returns how much of it is over.
    fn enter(&mut self, now: u64) -> u64 {
        let now = now.saturating_add(self.offset);
        let passed = now / self.period - self.window;
        if passed > 0 {
            self.window += passed;
            self.previous = if passed == 1 { self.current } else { 0 };
            self.current = 0;
        }
        now % self.period
    }

    /// The time in a window from which the cost fits, given both windows' counts.
    fn room(&self, previous: u64, current: u64, cost: u64) -> Option<u64> {
        let left = u128::from(self.units.checked_sub(current + cost)?);
        let (previous, period) = (u128::from(previous), u128::from(self.period));
        if previous <= left {
            return Some(0);
        }
        // previous * (period - over) <= left * period
        let over = ((previous - left) * period).div_ceil(previous);
        u64::try_from(over).ok().filter(|over| *over < self.period)
    }
}

impl CountingRule for CounterRule {
    fn wait(&mut self, now: u64, cost: u64) -> u64 {
        let over = self.enter(now);
        match self.room(self.previous, self.current, cost) {
            Some(room) => room.saturating_sub(over),
            None => {
                let next = self.room(self.current, 0, cost).unwrap_or(self.period);
                self.period - over + next
            }
        }
    }

    fn take(&mut self, now: u64, cost: u64) {
        self.enter(now);
        self.current += cost;
    }

    fn left(&mut self, now: u64) -> (u64, u64) {
        let over = self.enter(now);
        let faded = u128::from(self.previous) * u128::from(self.period - over);
        let previous = faded.div_ceil(u128::from(self.period)) as u64;
        let left = self.units.saturating_sub(previous + self.current);
        (left, self.period - over)
    }
}

#[cfg(test)]
mod tests {
    use crate::counters::tests::{admit, counters, ms};

    #[test]
    fn the_count_of_the_previous_window_fades_away() {
        let mut counters = counters(&["counter:4/1s"]);
        for _ in 0..4 {
            assert_eq!(admit(&mut counters, ms(900)), Ok(()));
        }
        // Three quarters of four are still counted until a quarter is over.
        assert_eq!(admit(&mut counters, ms(900)), Err(ms(350)));
        assert_eq!(admit(&mut counters, ms(1000)), Err(ms(250)));
        assert_eq!(admit(&mut counters, ms(1250)), Ok(()));
        assert_eq!(admit(&mut counters, ms(1499)), Err(ms(1)));
        assert_eq!(admit(&mut counters, ms(1500)), Ok(()));
        // An empty previous window counts for nothing.
        for _ in 0..4 {
            assert_eq!(admit(&mut counters, ms(5000)), Ok(()));
        }
        assert!(admit(&mut counters, ms(5000)).is_err());
    }
}
