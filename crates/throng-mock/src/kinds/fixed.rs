//! Consecutive windows, each of which begins empty.

use super::rule::{CountingRule, KindEntry, RuleSettings};

/// Windows of which the first begins with the first request.
pub(super) static KIND: KindEntry = KindEntry {
    name: "fixed",
    at_once: None,
    rule: |RuleSettings { units, period, .. }| {
        Box::new(FixedRule { units, period, end: None, used: 0 })
    },
};

/// Windows that begin at whole periods of the calendar.
pub(super) static CLOCK: KindEntry = KindEntry {
    name: "clock",
    at_once: None,
    rule: |RuleSettings { units, period, offset, .. }| {
        Box::new(FixedRule { units, period, end: Some(period - offset), used: 0 })
    },
};

#[derive(Debug)]
struct FixedRule {
    units: u64,
    period: u64,
    /// The end of the current window; unknown before the first request.
    end: Option<u64>,
    used: u64,
}

impl CountingRule for FixedRule {
    /// Moves on to the window that contains `now`, then checks its count.
    fn wait(&mut self, now: u64, cost: u64) -> u64 {
        let end = self.end.get_or_insert(now.saturating_add(self.period));
        if now >= *end {
            let late = (now - *end) % self.period;
            *end = (now - late).saturating_add(self.period);
            self.used = 0;
        }
        if self.used + cost <= self.units { 0 } else { *end - now }
    }

    fn take(&mut self, _now: u64, cost: u64) {
        self.used += cost;
    }

    fn left(&mut self, now: u64) -> (u64, u64) {
        self.wait(now, 0);
        let end = self.end.unwrap_or(now);
        (self.units.saturating_sub(self.used), end - now)
    }
}

#[cfg(test)]
mod tests {
    use crate::counters::tests::{admit, counters, ms};
    use crate::counters::{LimitCounter, admit as admit_any};
    use crate::{LimitKind, ServerLimit};
    use std::time::Duration;

    #[test]
    fn windows_begin_with_the_first_arrival() {
        let mut counters = counters(&["fixed:2/5s"]);
        assert_eq!(admit(&mut counters, ms(1000)), Ok(()));
        assert_eq!(admit(&mut counters, ms(5999)), Ok(()));
        assert_eq!(admit(&mut counters, ms(5999)), Err(ms(1)));
        assert_eq!(admit(&mut counters, ms(6000)), Ok(()));
        assert_eq!(admit(&mut counters, ms(6000)), Ok(()));
        // Windows stay where they are, even if one passed unused: 16 to 21 s.
        assert_eq!(admit(&mut counters, ms(18_000)), Ok(()));
        assert_eq!(admit(&mut counters, ms(18_000)), Ok(()));
        assert_eq!(admit(&mut counters, ms(18_000)), Err(ms(3000)));
    }

    #[test]
    fn windows_begin_at_whole_periods_of_the_clock() {
        let clock = ms(1_700_000_003_000);
        let mut counter = LimitCounter::new(&"clock:1/5s".parse().unwrap(), clock);
        let mut admit = |at| admit_any([(&mut counter, 1)].into_iter(), ms(at), false);
        assert_eq!(admit(0), Ok(()));
        assert_eq!(admit(0), Err(ms(2000)));
        assert_eq!(admit(2000), Ok(()));
        assert_eq!(admit(6000), Err(ms(1000)));
    }

    #[test]
    fn days_may_begin_later_than_by_the_clock() {
        let day = Duration::from_secs(86_400);
        let hours = |hours: u64| Duration::from_secs(3_600 * hours);
        let limit = ServerLimit { later: hours(8), ..ServerLimit::new(LimitKind::CLOCK, 1, day) };
        let mut counter = LimitCounter::new(&limit, 20_000 * day + hours(3));
        let mut admit = |at| admit_any([(&mut counter, 1)].into_iter(), at, false);
        assert_eq!(admit(hours(0)), Ok(()));
        assert_eq!(admit(hours(1)), Err(hours(4)));
        assert_eq!([admit(hours(5)), admit(day)], [Ok(()), Err(hours(5))]);
    }
}
