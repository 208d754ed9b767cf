//! GCRA, as redis-cell (`CL.THROTTLE key BURST N PERIOD`) and nginx (`limit_req rate=…
//! burst=…`) spell it: N requests in a period are due one emission interval apart, and a
//! burst of them may come early. Pure.
//!
//! With the interval T and the burst β, the server keeps the time at which the next
//! request is due. It takes a request that arrives at t if that is due by t + βT, and
//! then the next is due T after the later of both.
//!
//! **Guarantee.** Keep a [bucket](crate::kinds::bucket) of β + 1 tokens and the rate 1/T:
//! then no span t holds more than β + 1 + t/T arrivals, whatever the latencies. Suppose
//! that the server refuses an arrival at t. Let a be the last arrival that was due by
//! then, and n the number of arrivals from a on, with the refused one. Each of the others
//! made the next one due T later, so the refused one is due at a + (n - 1)T, which is
//! after t + βT. So n > β + 1 + (t - a)/T arrivals lie in the span from a to t. ∎
//!
//! Without a burst, one request at a time is in flight, and each waits T after the answer
//! of the one before: the rate is 1/(T + latency).

use crate::kinds::bucket::Bucket;
use crate::kinds::pattern::RatePattern;
use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::quota::SharedTerms;

/// `gcra:30/1m`, with the requests that may come early as its burst.
pub(crate) const GCRA: Spec = Spec {
    rate_pattern: Some(|terms| RatePattern::paced(at_once(terms), terms.units, terms.period)),
    most_at_once: at_once,
    shared: Some(|terms| SharedTerms::bucket(terms, at_once(terms), terms.units)),
    measure: Some(|_, burst| Measure::Bucket { burst: tokens(burst) }),
    model: Some("gcra"),
    divided: |terms, shard| {
        // The requests that are due at once are the burst and one more, in each shard.
        let at_once = Terms { burst: Some(at_once(terms)), ..terms.clone() }.divided(shard)?;
        Some(Terms { burst: at_once.burst.map(|units| units - 1), ..at_once })
    },
    ..Spec::new(Form::Prefix("gcra"), |terms| {
        Box::new(Bucket::new(terms, at_once(terms), terms.units))
    })
};

fn at_once(terms: &Terms) -> u64 {
    tokens(terms.burst)
}

/// The request that is due, and those that may come early.
fn tokens(burst: Option<u64>) -> u64 {
    burst.unwrap_or(0).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::limiter::{Availability, Event};
    use crate::schedules::{self, Rule};
    use crate::time::Time;

    fn terms(burst: Option<u64>) -> Terms {
        Terms { burst, ..Terms::strict(30, Duration::from_secs(60)) }
    }

    #[test]
    fn the_burst_is_beside_the_request_that_is_due() {
        for (burst, at_once) in [(None, 1), (Some(0), 1), (Some(15), 16)] {
            let mut limiter = (GCRA.build)(&terms(burst));
            let mut taken = Vec::new();
            while limiter.earliest(Time::ZERO, 1) == Availability::Now {
                taken.push(limiter.take(Time::ZERO, 1));
            }
            assert_eq!(taken.len(), at_once);
            for hold in &mut taken {
                limiter.on(Time::ZERO, hold, Event::Answered);
            }
            // An interval of 2 s, and 500 parts in a million.
            let due = Time::ZERO.after(Duration::from_millis(2_001));
            assert_eq!(limiter.earliest(Time::ZERO, 1), Availability::At(due));
            assert_eq!(limiter.earliest(due, 1), Availability::Now);
        }
    }

    #[test]
    fn estimates_and_proofs_know_the_request_that_is_due() {
        let terms = terms(Some(15));
        assert_eq!((GCRA.most_at_once)(&terms), 16);
        let burst = 16;
        let pattern = GCRA.rate_pattern.map(|pattern| pattern(&terms));
        let per_second = 0.5;
        assert_eq!(pattern, Some(RatePattern::Paced { burst, per_second }));
        let measure = GCRA.measure.map(|measure| measure(30, Some(15)));
        assert_eq!(measure, Some(Measure::Bucket { burst }));
    }

    /// Latencies, losses and refusals of all kinds.
    #[test]
    fn a_server_that_counts_so_refuses_nothing_whatever_the_world_does() {
        for seed in 500_000..504_000 {
            let (units, burst) = (seed % 41 + 1, seed % 13);
            let rate = json!({"rate": format!("gcra:{units}/1s"), "burst": burst});
            let interval = 1_000_000_000 / units;
            schedules::assert_holds(seed, &rate, Rule::Gcra { burst, interval });
        }
    }
}
