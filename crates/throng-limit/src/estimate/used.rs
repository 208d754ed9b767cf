//! The units that requests of a moment ago still use. Pure.

use std::time::Duration;

use super::workload::{SentRequests, UsedBefore, UsedUnits};
use crate::config::{Guard, LimitScope, Policy, Rule};
use crate::kinds::RatePattern;
use crate::time::Time;

impl Policy {
    /// The units that are used up now by requests which were sent at these times, in order, of
    /// limits on requests that hold for the whole run or for each key of a pool.
    #[must_use]
    pub fn used_by(&self, sent: &[SentRequests], latency: Duration, now: Time) -> UsedBefore {
        let rules = self.rules().iter().filter(|rule| rule.unit == 0);
        let rules = rules.filter(|rule| !matches!(rule.scope, LimitScope::Scope(_)));
        let used = |rule: &Rule| {
            let units = match rule.rate_pattern()? {
                RatePattern::Paced { per_second, .. } => in_bucket(sent, per_second, now),
                RatePattern::AtOnce { .. } => return None,
                pattern => in_windows(rule, pattern.period()?, sent, latency, now),
            };
            Some((rule.name.clone(), vec![UsedUnits { units, wanted: Vec::new() }]))
        };
        rules.filter_map(used).collect()
    }
}

/// The units of requests that still count in windows of this period.
fn in_windows(
    rule: &Rule,
    period: Duration,
    sent: &[SentRequests],
    latency: Duration,
    now: Time,
) -> Vec<(Duration, u64)> {
    let waits = if rule.guard() == Guard::Strict { latency } else { Duration::ZERO };
    let wait = |sent: &SentRequests| {
        let free = rule.free_again(sent.at, waits);
        free.unwrap_or_else(|| sent.at.after(period + waits)).since(now)
    };
    let units = sent.iter().map(|sent| (wait(sent), sent.requests));
    units.filter(|(wait, units)| !wait.is_zero() && *units > 0).collect()
}

/// The units of requests that have not leaked yet from a bucket.
fn in_bucket(sent: &[SentRequests], per_second: f64, now: Time) -> Vec<(Duration, u64)> {
    let mut level = 0.0_f64;
    let mut at = Time::ZERO;
    for SentRequests { at: sent, requests } in sent {
        level = (level - sent.since(at).as_secs_f64() * per_second).max(0.0) + *requests as f64;
        at = *sent;
    }
    level -= now.since(at).as_secs_f64() * per_second;
    let wait = Duration::try_from_secs_f64(level / per_second).unwrap_or_default();
    if wait.is_zero() { Vec::new() } else { vec![(wait, level.ceil() as u64)] }
}
