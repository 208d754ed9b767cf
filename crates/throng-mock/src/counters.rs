//! The counters of limits, which admit a request or say how long it should wait.
//!
//! They are pure: the instant is an argument, the time since any fixed start, and
//! must not go backwards.

use std::time::Duration;

use crate::ServerLimit;
use crate::kinds::{CountingRule, RuleSettings};

/// A limit and its count.
#[derive(Debug)]
pub(crate) struct LimitCounter {
    /// Maximum number of units at once.
    at_once: u64,
    period: u64,
    rule: Box<dyn CountingRule>,
}

/// Admits a request if every counter does; otherwise returns the time until all
/// would. Each counter comes with the request's cost in its units. A refused request
/// is not counted, unless refusals count.
pub(crate) fn admit<'a>(
    counters: impl Iterator<Item = (&'a mut LimitCounter, u64)>,
    now: Duration,
    refusals_count: bool,
) -> Result<(), Duration> {
    let now = nanos(now);
    let mut counters: Vec<_> = counters.collect();
    let waits = counters.iter_mut().map(|(counter, cost)| counter.wait(now, *cost));
    let wait = waits.max().unwrap_or(0);
    if wait == 0 || refusals_count {
        for (counter, cost) in &mut counters {
            counter.rule.take(now, *cost);
        }
    }
    match wait {
        0 => Ok(()),
        wait => Err(Duration::from_nanos(wait)),
    }
}

impl LimitCounter {
    /// A counter of this limit. `clock` is the time on the server's clock at the
    /// start, since 1970.
    pub(crate) fn new(limit: &ServerLimit, clock: Duration) -> LimitCounter {
        let period = nanos(limit.period).max(1);
        let at_once = u64::from(limit.most_at_once());
        let later = u128::from(nanos(limit.later) % period);
        let offset = (clock.as_nanos() + u128::from(period) - later) % u128::from(period);
        let (units, offset) = (u64::from(limit.units), offset as u64);
        let rule = limit.kind.rule(RuleSettings { units, period, at_once, offset });
        LimitCounter { at_once, period, rule }
    }

    /// The units left, and the time until all are.
    pub(crate) fn left(&mut self, now: Duration) -> (u64, Duration) {
        let (left, reset) = self.rule.left(nanos(now));
        (left, Duration::from_nanos(reset))
    }

    /// The time until a request of this cost would be admitted.
    pub(crate) fn wait_from(&mut self, now: Duration, cost: u64) -> Duration {
        Duration::from_nanos(self.wait(nanos(now), cost))
    }

    fn wait(&mut self, now: u64, cost: u64) -> u64 {
        if cost > self.at_once { self.period } else { self.rule.wait(now, cost) }
    }
}

/// The time in nanoseconds, at most 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn counters(limits: &[&str]) -> Vec<LimitCounter> {
        let counter = |text: &&str| LimitCounter::new(&text.parse().unwrap(), Duration::ZERO);
        limits.iter().map(counter).collect()
    }

    pub(crate) fn admit(counters: &mut [LimitCounter], now: Duration) -> Result<(), Duration> {
        admit_for(counters, now, 1)
    }

    pub(crate) fn admit_for(
        counters: &mut [LimitCounter],
        now: Duration,
        cost: u64,
    ) -> Result<(), Duration> {
        super::admit(counters.iter_mut().map(|counter| (counter, cost)), now, false)
    }

    pub(crate) fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_refusal_is_counted_by_no_limit() {
        let mut counters = counters(&["1/1s", "bucket:2/1h"]);
        assert_eq!(admit(&mut counters, ms(0)), Ok(()));
        for _ in 0..10 {
            assert_eq!(admit(&mut counters, ms(500)), Err(ms(500)));
        }
        assert_eq!(admit(&mut counters, ms(1000)), Ok(()));
        assert!(admit(&mut counters, ms(2000)).unwrap_err() > ms(1000));
    }

    #[test]
    fn refusals_that_count_lead_to_more_refusals() {
        for limit in ["1/1s", "fixed:1/1s", "bucket:1/1s", "counter:1/1s"] {
            let mut counters = counters(&[limit]);
            let mut ask =
                |at| super::admit(counters.iter_mut().map(|g| (g, 1)), ms(at), true).is_ok();
            assert!(ask(0) && !ask(900), "{limit}");
            assert_eq!(ask(1500), limit.starts_with("fixed"), "{limit}");
        }
    }

    #[test]
    fn limits_that_no_text_can_give_do_no_harm() {
        let mut nothing: ServerLimit = "bucket:1/7ms".parse().unwrap();
        nothing.units = 0;
        assert_eq!(admit(&mut [LimitCounter::new(&nothing, ms(0))], ms(0)), Err(ms(7)));
        let mut timeless: ServerLimit = "fixed:1/7ms".parse().unwrap();
        timeless.period = Duration::ZERO;
        assert_eq!(admit(&mut [LimitCounter::new(&timeless, ms(0))], ms(0)), Ok(()));
    }
}
