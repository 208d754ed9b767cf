//! A sliding-window *counter*, as Cloudflare, Kong, Upstash and HAProxy keep it: with a
//! share e of the current fixed window gone, the server takes an attempt while
//! previous · (1 - e) + current ≤ N. A full window late in one period and
//! another early in the next are refused, though no window holds more than N. Pure.
//!
//! **Guarantee.** Let W(t) be the units that were answered less than t ago, or are in flight. An
//! attempt is sent while (1 - e) · W((1 + e)X) + e · W(eX) ≤ N for each e from 0 to 1, with
//! itself in W. This is the [largest estimate](crate::window::two_windows) of all windows, in
//! which each attempt counts from its answer, and until then as if it arrived now.
//!
//! *Proof.* Suppose that the server judges an arrival at a, with a share e of its window gone,
//! and let c ≤ a be the last sending until then. The P + C units of both its windows arrived in
//! the span of length (1 + e)X that ends at a, the C units in that of length eX. A unit that
//! arrived less than t before a was sent by c, and not answered by a - t ≤ a, so at c it was
//! in flight or answered less than t before c. So P + C ≤ W((1 + e)X) and C ≤ W(eX) at c, and the
//! estimate P(1 - e) + C = (1 - e)(P + C) + eC was at most N when the attempt was sent at c,
//! wherever the server's windows begin. ∎
//!
//! *Nothing can do better* that knows only sendings and answers. Suppose a policy sends an attempt
//! although the sum is larger than N for some e. Latencies and windows that agree with all it has
//! seen: each answered attempt arrived when it was answered, each other one arrives now, and the
//! server's window began a time eX ago. Then the server refuses it.
//!
//! So there is no burst to choose. At latency L the pace becomes (N - 1)/(X + L), one unit less
//! than that of a sliding window, and N may go at once after a pause of two periods. As the
//! argument is about all units of the account, it holds for several runs, too, whose units in
//! flight are those that they lease ([`state`](crate::quota::state)).
//!
//! **Least time.** Let each answer take L. With e = 0 no more than N are sent in a span of length
//! X + L, and P + C ≤ N + eP ≤ N(1 + e) in one of length (1 + e)X + L. Let unit n, counted
//! from 0, be the last of N(q + f), with q ≥ 1 and 0 < f ≤ 1. If it were sent at q(X + L) + eX with
//! e < f, the last (1 + e)X + L and the q - 1 spans of X + L before would hold all units until
//! then, and these would be N(q + e) at most. So it is sent at q(X + L) + fX, or later.
//!
//! **Burst.** If a job states a burst b, the run keeps a [bucket](crate::kinds::bucket) of b
//! tokens and a rate r with b + rX = N beside what it shares. Then a span t holds at most b + rt
//! arrivals, so the estimate is at most (1 - e)(b + (1 + e)rX) + e(b + erX) = b + rX = N. ∎
//!
//! A server that reads its clock late, by up to `skew`, takes what arrived up to `skew` longer
//! ago for as recent: so each unit counts from `skew` after its answer. With a bucket, e is
//! smaller by skew/X, and the estimate is larger by no more than P · skew/X ≤ N · skew/X: r is
//! smaller by that.

use std::time::Duration;

use crate::kinds::bucket::Bucket;
use crate::kinds::pattern::RatePattern;
use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::limiter::Availability;
use crate::quota::SharedTerms;
use crate::time::Time;
use crate::window::WindowKind;
use crate::window::estimated::Estimate;
use crate::window::slots::Slots;
use crate::window::two_windows::TwoWindows;

/// Number of units beyond which times of arrival are rounded up.
const EXACT: u64 = 256;
/// Parts of the period to which they are rounded.
const PARTS: u32 = 256;
/// Largest resolution to which times are rounded up at which units come free. As arrivals are
/// rounded up as well, this costs nothing where all units of such a time are answered by the next
/// one; and a run that waits wakes for many units instead of for each.
const RELEASE: Duration = Duration::from_millis(4);

/// A unit counts in the window of its arrival and in the next one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter {
    period: Duration,
    skew: Duration,
    /// The resolution of the times of arrival.
    resolution: Duration,
    /// The resolution of the times at which units come free.
    release: Duration,
}

/// An estimate by two windows, of units whose times are later by the longest time for which they
/// count.
struct ByTwoWindows {
    counter: Counter,
    now: Time,
}

impl Estimate for ByTwoWindows {
    fn of(&self, ends: &[(Time, u64)]) -> u64 {
        let Counter { period, .. } = self.counter;
        TwoWindows::new(ends, period).estimate(self.now.after(self.counter.longest()))
    }

    fn at_most(&self, ends: &[(Time, u64)], most: u64) -> Time {
        let Counter { period, .. } = self.counter;
        TwoWindows::new(ends, period).at_most(most).before(self.counter.longest())
    }

    fn release_resolution(&self) -> Duration {
        self.counter.release
    }
}

impl Counter {
    /// Windows of the period of a limit, longer by what clocks may differ by.
    fn of(terms: &Terms) -> Counter {
        let period = terms.period + terms.period / 2_000;
        let resolution = if terms.units > EXACT { period / PARTS } else { Duration::ZERO };
        Counter { period, skew: terms.skew, resolution, release: resolution.min(RELEASE) }
    }

    /// The longest time for which a unit counts after its arrival.
    fn longest(&self) -> Duration {
        self.period * 2
    }
}

impl WindowKind for Counter {
    fn end(&self, arrived: Time) -> Time {
        arrived.after(self.skew).round_up(self.resolution).after(self.longest())
    }

    /// It counts less than one in flight as soon as the window of its arrival may be over.
    fn relief(&self, end: Time) -> Time {
        end.before(self.longest())
    }

    fn arrived_by(&self, end: Time) -> Time {
        end.before(self.longest()).before(self.skew)
    }

    fn earliest(&self, slots: &mut Slots, now: Time, units: u64) -> Availability {
        slots.earliest_by(now, units, &ByTwoWindows { counter: *self, now })
    }

    fn free(&self, slots: &mut Slots, now: Time) -> u64 {
        let (all, in_flight) = (slots.units(), slots.in_flight());
        let used = ByTwoWindows { counter: *self, now }.of(slots.counted(now));
        all.saturating_sub(in_flight + used)
    }
}

/// `counter:300/1m`.
pub(crate) const COUNTER: Spec = Spec {
    rate_pattern: Some(|terms| match bucket_of(terms) {
        Some((burst, paced)) => RatePattern::paced(burst, paced.units, paced.period),
        // One in a period means that the window before must be over, too.
        None if terms.units == 1 => RatePattern::Windows { amount: 1, period: terms.period * 2 },
        None => RatePattern::TwoWindows { amount: terms.units, period: terms.period },
    }),
    most_at_once: |terms| bucket_of(terms).map_or(terms.units, |(burst, _)| burst),
    shared: Some(|terms| SharedTerms::two_windows(terms, Counter::of(terms).period)),
    measure: Some(|_, _| Measure::Counter),
    model: Some("counter"),
    ..Spec::new(Form::Prefix("counter"), |terms| match bucket_of(terms) {
        Some((burst, paced)) => Box::new(Bucket::new(&paced, burst, paced.units)),
        None => Box::new(terms.window(Counter::of(terms)).certified()),
    })
};

/// The bucket that keeps a counter whose burst is stated: its burst, and terms of which the
/// units leak in each period.
fn bucket_of(terms: &Terms) -> Option<(u64, Terms)> {
    let burst = terms.burst?.clamp(1, terms.units.saturating_sub(1).max(1));
    let units = terms.units.saturating_sub(burst).max(1);
    let period = if terms.units == 1 { terms.period * 2 } else { terms.period };
    let late = terms.skew.mul_f64(terms.units as f64 / units as f64);
    Some((burst, Terms { units, period: period + late, ..terms.clone() }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::limiter::Event;
    use crate::schedules::{self, Rule};

    #[test]
    fn a_stated_burst_leaves_the_rest_as_the_rate() {
        let minute = Duration::from_secs(60);
        for (units, burst, expected) in [(100, 10, (10, 90)), (100, 190, (99, 1)), (3, 1, (1, 2))] {
            let terms = Terms { burst: Some(burst), ..Terms::strict(units, minute) };
            let (burst, paced) = bucket_of(&terms).unwrap();
            assert_eq!((burst, paced.units), expected, "{units}");
            assert_eq!(paced.period, minute);
        }
    }

    #[test]
    fn what_the_server_reads_late_makes_the_rate_smaller() {
        let skew = Duration::from_millis(100);
        let terms = Terms { skew, burst: Some(7), ..Terms::strict(30, Duration::from_secs(1)) };
        // 23 of 30, less 30 · 0.1 s.
        let (_, paced) = bucket_of(&terms).unwrap();
        assert!(paced.units as f64 / paced.period.as_secs_f64() < 20.5);
    }

    /// Two at once, and when more may go.
    #[test]
    fn units_of_the_window_before_come_back_one_after_the_other() {
        let second = Duration::from_secs(1);
        let skew = Duration::from_millis(10);
        let mut counter = (COUNTER.build)(&Terms { skew, ..Terms::strict(2, second) });
        let at = |micros: u64| Time::from_nanos(micros * 1_000);
        let mut holds = [0; 2].map(|_| counter.take(at(0), 1));
        assert_eq!(counter.earliest(at(0), 1), Availability::AfterAnAnswer);
        assert_eq!(counter.earliest(at(0), 3), Availability::Never);
        for hold in &mut holds {
            counter.on(at(40_000), hold, Event::Answered);
        }
        // Both count from 50 ms on, as 2(1 - e) in the next window of 1.0005 s.
        assert_eq!(counter.earliest(at(40_000), 1), Availability::At(at(1_550_750)));
        assert_eq!(counter.earliest(at(1_550_750), 1), Availability::Now);
        assert_eq!(counter.earliest(at(40_000), 2), Availability::At(at(2_051_000)));
        assert!(!counter.is_idle(at(2_050_999)));
        assert!(counter.is_idle(at(2_051_000)));
    }

    /// Latencies, losses and refusals of all kinds; any burst, and windows that begin at any
    /// time.
    #[test]
    fn a_counter_refuses_nothing_whatever_the_world_does() {
        for seed in 600_000..604_000 {
            // Of many units, times are rounded.
            let units = if seed % 100 == 0 { 300 } else { seed % 38 + 1 };
            let millis = seed % 1_700 + 200;
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
