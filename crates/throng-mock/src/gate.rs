//! Limits at work: who is admitted, and how long the others should wait.
//!
//! All of it is pure: the instant is an argument, given as the time since any
//! fixed start, and must not go backwards.

use std::collections::VecDeque;
use std::time::Duration;

use crate::{Limit, LimitKind};

/// Admits a request if every gate does; otherwise says how long to wait until
/// all would. A refused request leaves no trace in any of them.
pub(crate) fn admit(gates: &mut [Gate], now: Duration) -> Result<(), Duration> {
    let now = nanos(now);
    let wait = gates.iter_mut().map(|gate| gate.wait(now)).max();
    match wait {
        None | Some(0) => {
            gates.iter_mut().for_each(|gate| gate.take(now));
            Ok(())
        }
        Some(wait) => Err(Duration::from_nanos(wait)),
    }
}

/// One limit and what it remembers. Times are nanoseconds since the start.
#[derive(Debug)]
pub(crate) struct Gate {
    units: u32,
    period: u64,
    memory: Memory,
}

/// What each kind has to remember in order to count.
#[derive(Debug)]
enum Memory {
    /// When the requests of the last period were admitted, oldest first.
    Sliding(VecDeque<u64>),
    /// Where the current window ends, and how many it admitted.
    Fixed { end: Option<u64>, used: u32 },
    /// When the bucket would be full again, in nanoseconds times units, so
    /// that one token is worth a whole number (the period) and nothing is
    /// ever rounded.
    Bucket { full: u128 },
}

impl Gate {
    pub(crate) fn new(limit: &Limit) -> Gate {
        let memory = match limit.kind {
            LimitKind::Sliding => Memory::Sliding(VecDeque::new()),
            LimitKind::Fixed => Memory::Fixed { end: None, used: 0 },
            LimitKind::Bucket => Memory::Bucket { full: 0 },
        };
        Gate {
            units: limit.units,
            period: nanos(limit.period).max(1),
            memory,
        }
    }

    /// How long until a request would be admitted; 0 if one is now.
    fn wait(&mut self, now: u64) -> u64 {
        let (units, period) = (self.units, self.period);
        if units == 0 {
            return period;
        }
        match &mut self.memory {
            Memory::Sliding(log) => wait_sliding(log, units, period, now),
            Memory::Fixed { end, used } => wait_fixed(end, used, units, period, now),
            Memory::Bucket { full } => wait_bucket(*full, units, period, now),
        }
    }

    /// Counts a request that all gates admit.
    fn take(&mut self, now: u64) {
        match &mut self.memory {
            Memory::Sliding(log) => log.push_back(now),
            Memory::Fixed { end, used } => {
                end.get_or_insert(now.saturating_add(self.period));
                *used += 1;
            }
            Memory::Bucket { full } => {
                *full = scaled(now, self.units).max(*full) + u128::from(self.period);
            }
        }
    }
}

/// A request counts for less than one period: at its end it is forgotten.
fn wait_sliding(log: &mut VecDeque<u64>, units: u32, period: u64, now: u64) -> u64 {
    while log.front().is_some_and(|then| now - then >= period) {
        log.pop_front();
    }
    match log.front() {
        Some(oldest) if log.len() >= units as usize => period - (now - oldest),
        _ => 0,
    }
}

/// Moves on to the window that holds `now`, then looks for room in it.
fn wait_fixed(end: &mut Option<u64>, used: &mut u32, units: u32, period: u64, now: u64) -> u64 {
    let Some(end) = end else { return 0 };
    if now >= *end {
        let late = (now - *end) % period;
        *end = (now - late).saturating_add(period);
        *used = 0;
    }
    if *used < units { 0 } else { *end - now }
}

/// One token more must still fit: the bucket is full again within the period.
fn wait_bucket(full: u128, units: u32, period: u64, now: u64) -> u64 {
    let now = scaled(now, units);
    let taken = full.max(now) + u128::from(period);
    let excess = taken.saturating_sub(now + scaled(period, units));
    u64::try_from(excess.div_ceil(u128::from(units))).unwrap_or(u64::MAX)
}

fn scaled(time: u64, units: u32) -> u128 {
    u128::from(time) * u128::from(units)
}

/// Enough for 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(limits: &[&str]) -> Vec<Gate> {
        limits
            .iter()
            .map(|text| Gate::new(&text.parse().unwrap()))
            .collect()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn sliding_forgets_exactly_one_period_later() {
        let mut gates = gates(&["2/5s"]);
        assert_eq!(admit(&mut gates, ms(0)), Ok(()));
        assert_eq!(admit(&mut gates, ms(1000)), Ok(()));
        let almost = ms(5000) - Duration::from_nanos(1);
        assert_eq!(admit(&mut gates, almost), Err(Duration::from_nanos(1)));
        assert_eq!(admit(&mut gates, ms(5000)), Ok(()));
        assert_eq!(admit(&mut gates, ms(5000)), Err(ms(1000)));
        assert_eq!(admit(&mut gates, ms(6000)), Ok(()));
    }

    #[test]
    fn fixed_windows_follow_from_the_first_arrival() {
        let mut gates = gates(&["fixed:2/5s"]);
        assert_eq!(admit(&mut gates, ms(1000)), Ok(()));
        assert_eq!(admit(&mut gates, ms(5999)), Ok(()));
        assert_eq!(admit(&mut gates, ms(5999)), Err(ms(1)));
        assert_eq!(admit(&mut gates, ms(6000)), Ok(()));
        assert_eq!(admit(&mut gates, ms(6000)), Ok(()));
        // Windows stay where they are, even if one passed unused: 16 to 21 s.
        assert_eq!(admit(&mut gates, ms(18_000)), Ok(()));
        assert_eq!(admit(&mut gates, ms(18_000)), Ok(()));
        assert_eq!(admit(&mut gates, ms(18_000)), Err(ms(3000)));
    }

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut gates = gates(&["bucket:3/1s"]);
        for _ in 0..3 {
            assert_eq!(admit(&mut gates, ms(0)), Ok(()));
        }
        let third = Duration::from_nanos(333_333_334);
        assert_eq!(admit(&mut gates, ms(0)), Err(third));
        assert_eq!(admit(&mut gates, third), Ok(()));
        assert!(admit(&mut gates, ms(666)).is_err());
        // Never more than the burst, however long it rested.
        for _ in 0..3 {
            assert_eq!(admit(&mut gates, ms(60_000)), Ok(()));
        }
        assert!(admit(&mut gates, ms(60_000)).is_err());
    }

    #[test]
    fn a_refusal_leaves_no_trace_in_any_gate() {
        let mut gates = gates(&["1/1s", "bucket:2/1h"]);
        assert_eq!(admit(&mut gates, ms(0)), Ok(()));
        for _ in 0..10 {
            assert_eq!(admit(&mut gates, ms(500)), Err(ms(500)));
        }
        assert_eq!(admit(&mut gates, ms(1000)), Ok(()));
        assert!(admit(&mut gates, ms(2000)).unwrap_err() > ms(1000));
    }

    #[test]
    fn limits_that_no_text_can_give_do_no_harm() {
        let nothing = Limit {
            kind: LimitKind::Bucket,
            units: 0,
            period: ms(7),
        };
        assert_eq!(admit(&mut [Gate::new(&nothing)], ms(0)), Err(ms(7)));
        let timeless = Limit {
            kind: LimitKind::Fixed,
            units: 1,
            period: Duration::ZERO,
        };
        assert_eq!(admit(&mut [Gate::new(&timeless)], ms(0)), Ok(()));
    }
}
