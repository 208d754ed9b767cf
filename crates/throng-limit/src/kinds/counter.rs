//! A sliding-window *counter*, as Cloudflare, Kong and Upstash keep it: with a
//! share e of the current fixed window gone, the server takes an attempt while
//! previous · (1 - e) + current ≤ N. A full window late in one period and
//! another early in the next are refused, though no window holds more than N. Pure.
//!
//! **Guarantee.** Keep a [bucket](crate::kinds::bucket) of b tokens and rate r with
//! 2b + rX ≤ N. Then a span t holds at most b + rt arrivals, and the estimate is
//! at most (b + rX)(1 - e) + b + reX ≤ 2b + rX ≤ N, wherever the server's
//! windows begin, and whatever the latencies. ∎
//!
//! The price is 2b/N of the rate, and one X at the start, when others could
//! burst. b must be one more than what is in flight at that rate, or else latency
//! binds: unless told otherwise it has room for half a second of latency, but
//! for no more than an eighth of N.

use std::time::Duration;

use crate::kinds::bucket::Bucket;
use crate::kinds::pattern::RatePattern;
use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::quota::SharedTerms;

/// `counter:300/1m`.
pub(crate) const COUNTER: Spec = Spec {
    rate_pattern: Some(|terms| {
        let (burst, units) = bucket_of(terms);
        RatePattern::paced(burst, units, terms.period)
    }),
    most_at_once: |terms| bucket_of(terms).0,
    shared: Some(|terms| {
        let (burst, units) = bucket_of(terms);
        SharedTerms::bucket(terms, burst, units)
    }),
    measure: Some(|_, _| Measure::Counter),
    model: Some("counter"),
    ..Spec::new(Form::Prefix("counter"), |terms| {
        let (burst, units) = bucket_of(terms);
        Box::new(Bucket::new(terms, burst, units))
    })
};

fn bucket_of(terms: &Terms) -> (u64, u64) {
    bucket(terms.units, terms.period, terms.burst)
}

/// The bucket that keeps a counter of N per X: its burst, and its units per X.
fn bucket(units: u64, period: Duration, burst: Option<u64>) -> (u64, u64) {
    // 2b + rX ≤ N leaves at least one unit to r.
    let most = (units.saturating_sub(1) / 2).max(1);
    let in_flight = (units as f64 / period.as_secs_f64() / 2.0).ceil() as u64;
    let usual = (in_flight + 1).min((units / 8).max(2));
    let burst = burst.unwrap_or(usual).clamp(1, most);
    (burst, units.saturating_sub(2 * burst).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_and_rate_leave_room_for_two_windows() {
        let second = Duration::from_secs(1);
        for (units, period, burst, expected) in [
            (22, 5 * second, None, (2, 18)),
            (300, 60 * second, None, (4, 292)),
            (1_000, second, None, (125, 750)),
            (100, 60 * second, Some(10), (10, 80)),
            (100, 60 * second, Some(90), (49, 2)),
            (3, second, None, (1, 1)),
        ] {
            assert_eq!(bucket(units, period, burst), expected, "{units}");
        }
    }
}
