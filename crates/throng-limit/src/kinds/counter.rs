//! A sliding-window *counter*, as Cloudflare, Kong, Upstash and HAProxy keep it: with a
//! share e of the current fixed window gone, the server takes an attempt while
//! previous · (1 - e) + current ≤ N. A full window late in one period and
//! another early in the next are refused, though no window holds more than N. Pure.
//!
//! **Guarantee.** Keep a [bucket](crate::kinds::bucket) of b tokens and rate r with
//! b + rX ≤ N: then any span of time t holds at most b + rt arrivals, whatever the
//! latencies. Let P have arrived in the previous window and C in the current one. The
//! estimate is P(1 - e) + C = (1 - e)(P + C) + eC. The P + C lie in one span of length
//! (1 + e)X, and the C in one of length eX. So the estimate is at most
//! (1 - e)(b + (1 + e)rX) + e(b + erX) = b + (1 - e² + e²)rX = b + rX ≤ N, wherever the
//! server's windows begin. ∎
//!
//! A server that reads its clock late, by up to `skew`, takes e for smaller by skew/X, and
//! the estimate is larger by no more than P · skew/X ≤ N · skew/X. So r is smaller by that.
//!
//! **The burst.** With latency L, an attempt occupies a token for L, and until it has
//! leaked: the rate is the smaller one of r and b/(L + 1/r). Both are the same near
//! b = (X + NL)/(X + L), where the rate is (N - 1)/(X + L): no more than one unit less than
//! that of a sliding window. Unless a job states its `burst`, it is the best one for
//! L = 0.25 s, or N/100 where that is more: costs in other units than requests can be large.
//! Shorter latencies gain nothing then and lose nothing; where longer ones bind,
//! a larger burst is faster.

use std::time::Duration;

use crate::kinds::bucket::Bucket;
use crate::kinds::pattern::RatePattern;
use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::quota::SharedTerms;

/// Latency that the burst is the best for, unless a job states it.
const LATENCY: Duration = Duration::from_millis(250);

/// `counter:300/1m`.
pub(crate) const COUNTER: Spec = Spec {
    rate_pattern: Some(|terms| {
        let (burst, paced) = bucket_of(terms);
        RatePattern::paced(burst, paced.units, paced.period)
    }),
    most_at_once: |terms| bucket_of(terms).0,
    shared: Some(|terms| {
        let (burst, paced) = bucket_of(terms);
        SharedTerms::bucket(&paced, burst, paced.units)
    }),
    measure: Some(|_, _| Measure::Counter),
    model: Some("counter"),
    ..Spec::new(Form::Prefix("counter"), |terms| {
        let (burst, paced) = bucket_of(terms);
        Box::new(Bucket::new(&paced, burst, paced.units))
    })
};

/// The bucket that keeps a counter: its burst, and terms of which the units leak in each
/// period.
fn bucket_of(terms: &Terms) -> (u64, Terms) {
    let burst = terms.burst.unwrap_or_else(|| best_burst(terms.units, terms.period));
    let burst = burst.clamp(1, terms.units.saturating_sub(1).max(1));
    let units = terms.units.saturating_sub(burst).max(1);
    // One in a period means that the previous window must be over, too.
    let period = if terms.units == 1 { terms.period * 2 } else { terms.period };
    let late = terms.skew.mul_f64(terms.units as f64 / units as f64);
    (burst, Terms { units, period: period + late, ..terms.clone() })
}

/// The burst at which the rate is the highest; of many units, at least a hundredth.
fn best_burst(units: u64, period: Duration) -> u64 {
    let (all, period, latency) = (units as f64, period.as_secs_f64(), LATENCY.as_secs_f64());
    let near = ((period + all * latency) / (period + latency)) as u64;
    let rate = |burst: u64| {
        let leaks = all - burst as f64;
        leaks.min(burst as f64 / (latency / period + 1.0 / leaks))
    };
    let most = units.saturating_sub(1).max(1);
    let bursts = near.clamp(1, most)..=(near + 1).clamp(1, most);
    let best = bursts.max_by(|a, b| rate(*a).total_cmp(&rate(*b))).unwrap_or(1);
    best.max(units / 100)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schedules::{self, Rule};

    #[test]
    fn burst_and_rate_are_the_best_for_a_quarter_of_a_second() {
        let second = Duration::from_secs(1);
        for (units, period, burst, expected) in [
            (22, 5 * second, None, (2, 20)),
            (300, 60 * second, None, (3, 297)),
            (30, second, None, (7, 23)),
            (1_000, second, None, (201, 799)),
            (100, 60 * second, Some(10), (10, 90)),
            (100, 60 * second, Some(190), (99, 1)),
            (3, second, None, (1, 2)),
            (90_000, 60 * second, None, (900, 89_100)),
        ] {
            let terms = Terms { burst, ..Terms::strict(units, period) };
            let (burst, paced) = bucket_of(&terms);
            assert_eq!((burst, paced.units), expected, "{units}");
            assert_eq!(paced.period, period);
        }
    }

    #[test]
    fn what_the_server_reads_late_makes_the_rate_smaller() {
        let skew = Duration::from_millis(100);
        let terms = Terms { skew, ..Terms::strict(30, Duration::from_secs(1)) };
        // 23 of 30, less 30 · 0.1 s.
        let (_, paced) = bucket_of(&terms);
        assert!(paced.units as f64 / paced.period.as_secs_f64() < 20.5);
    }

    /// Latencies, losses and refusals of all kinds; any burst, and windows that begin at any
    /// time.
    #[test]
    fn a_counter_refuses_nothing_whatever_the_world_does() {
        for seed in 600_000..604_000 {
            let (units, millis) = (seed % 38 + 1, seed % 1_700 + 200);
            let (period, phase) = (millis * 1_000_000, seed * 7_919 % (millis * 1_000_000));
            let rate = format!("counter:{units}/{millis}ms");
            let rate = match seed % 3 {
                0 => json!({ "rate": rate }),
                _ => json!({ "rate": rate, "burst": seed % units + 1 }),
            };
            schedules::assert_holds(seed, &rate, Rule::Counter { most: units, period, phase });
        }
    }
}
