//! A sliding window: no half-open window of length X, wherever it begins, holds
//! more than N arrivals. Pure.
//!
//! **Guarantee (strict).** A limit of N units has N slots. An attempt holds its
//! slots from when it is sent until X after its answer is first seen. Of N+1
//! arrivals two share a slot, say a before b; a arrived before its answer was
//! seen, b was sent X after that and arrived later still: so they lie at least
//! X apart, and no half-open window of length X holds more than N arrivals,
//! whatever the latencies. Nothing that knows only when it sent and when
//! answers came can be safe and send earlier.
//!
//! A client that keeps a sliding window also keeps a fixed one of the same length whose
//! edges are unknown, such as one that begins with the first use: that is some
//! window of length X, too.

use std::time::Duration;

use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::quota::SharedTerms;
use crate::time::{Time, nanos};
use crate::window::{WindowFigures, WindowKind};

/// A unit counts for X after it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Sliding {
    hold: Duration,
}

impl Sliding {
    /// X, made longer by what clocks may differ by: 500 parts in a million,
    /// and `skew` for what the server rounds.
    #[must_use]
    pub fn new(period: Duration, skew: Duration) -> Sliding {
        Sliding { hold: period + period / 2_000 + skew }
    }

    /// A window in which a unit counts for this time.
    pub(crate) fn holding(hold: Duration) -> Sliding {
        Sliding { hold }
    }

    /// The time for which a unit counts.
    pub(crate) fn hold(&self) -> Duration {
        self.hold
    }

    /// The period and the skew of a limit.
    pub(crate) fn of(terms: &Terms) -> Sliding {
        Sliding::new(terms.period, terms.skew)
    }
}

impl WindowKind for Sliding {
    fn figures(&self) -> Option<WindowFigures> {
        Some(WindowFigures::Sliding { hold: nanos(self.hold) })
    }

    fn end(&self, arrived: Time) -> Time {
        arrived.after(self.hold)
    }

    fn arrived_by(&self, end: Time) -> Time {
        end.before(self.hold)
    }
}

/// `22/5s`.
pub(crate) const SLIDING: Spec = Spec {
    rate_pattern: Some(Terms::in_windows),
    shared: Some(|terms| SharedTerms::window(terms, Sliding::of(terms))),
    measure: Some(|_, _| Measure::AnyWindow),
    model: Some("sliding"),
    is_window: true,
    is_spreadable: true,
    ..Spec::new(Form::Plain, |terms| {
        let window = terms.window(Sliding::of(terms)).certified();
        if terms.may_spread { Box::new(window.spreading()) } else { Box::new(window) }
    })
};

/// `100/1h@first`: a window that begins with the first use after the last one. That is
/// some window of its length, and so kept by a sliding one.
pub(crate) const FIRST_USE: Spec =
    Spec { form: Form::Edge("first"), model: Some("fixed"), is_spreadable: false, ..SLIDING };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Guard;
    use crate::limiter::{Availability, Event, Limiter, RateLimitInfo, Reservation};
    use crate::window::Window;

    const LINGER: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);
    const SKEW: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn window(units: u64, guard: Guard) -> Window<Sliding> {
        Window::new(units, SECOND, Sliding::new(SECOND, SKEW), guard, LINGER)
    }

    /// 1 s, 500 parts in a million and 1 ms later.
    fn freed(from: Time) -> Time {
        from.after(Duration::from_micros(1_001_500))
    }

    #[test]
    fn strict_frees_a_slot_one_period_after_the_answer() {
        let mut window = window(2, Guard::Strict);
        let mut first = window.take(at(0), 1);
        window.take(at(0), 1);
        window.on(at(0), &mut first, Event::Sent);
        window.on(at(10), &mut first, Event::Acked);
        assert_eq!(window.earliest(at(500), 1), Availability::AfterAnAnswer);
        window.on(at(700), &mut first, Event::Answered);
        assert_eq!(window.earliest(at(800), 1), Availability::At(freed(at(700))));
        assert_eq!(window.earliest(freed(at(700)), 1), Availability::Now);
        assert_eq!(window.earliest(freed(at(700)), 2), Availability::AfterAnAnswer);
    }

    #[test]
    fn acked_frees_a_slot_one_period_and_a_margin_after_the_acknowledgement() {
        let mut window = window(1, Guard::Acked);
        let mut hold = window.take(at(0), 1);
        window.on(at(0), &mut hold, Event::Sent);
        window.on(at(30), &mut hold, Event::Acked);
        assert_eq!(window.earliest(at(40), 1), Availability::At(freed(at(50))));
        // The answer proves the arrival without one.
        window.on(at(35), &mut hold, Event::Answered);
        assert_eq!(window.earliest(at(35), 1), Availability::At(freed(at(35))));
        let mut hold = window.take(at(2_000), 1);
        window.on(at(2_000), &mut hold, Event::Acked);
        window.on(at(2_500), &mut hold, Event::Refused { explained: false });
        assert_eq!(window.stats().margin, Some(Duration::from_millis(40)));
        let mut hold = window.take(at(4_000), 1);
        window.on(at(4_000), &mut hold, Event::Acked);
        assert_eq!(window.earliest(at(4_000), 1), Availability::At(freed(at(4_040))));
        window.on(at(9_000), &mut hold, Event::Answered);
        assert!(window.is_idle(at(9_000)));
        // Without an acknowledgement it is strict.
        let mut hold = window.take(at(9_000), 1);
        window.on(at(9_500), &mut hold, Event::Answered);
        assert_eq!(window.earliest(at(9_600), 1), Availability::At(freed(at(9_500))));
        assert_eq!(window.stats().peak, 1);
    }

    #[test]
    fn acked_that_is_refused_again_and_again_waits_for_answers() {
        let mut window = window(1, Guard::Acked);
        for second in [0, 10, 20, 30] {
            assert!(!window.stats().gave_up_acked, "{second}");
            let mut hold = window.take(at(second * 1_000), 1);
            window.on(at(second * 1_000), &mut hold, Event::Acked);
            let refused = Event::Refused { explained: false };
            window.on(at(second * 1_000 + 500), &mut hold, refused);
        }
        let stats = window.stats();
        assert_eq!((stats.gave_up_acked, stats.margin, stats.learnt), (true, None, None));
        let mut hold = window.take(at(40_000), 1);
        window.on(at(40_000), &mut hold, Event::Acked);
        assert_eq!(window.earliest(at(45_000), 1), Availability::AfterAnAnswer);
        window.on(at(45_000), &mut hold, Event::Answered);
        assert_eq!(window.earliest(at(45_000), 1), Availability::At(freed(at(45_000))));
    }

    #[test]
    fn sent_frees_a_slot_a_margin_after_the_period() {
        let mut window = window(1, Guard::Sent);
        let mut hold = window.take(at(0), 1);
        assert_eq!(window.earliest(at(0), 1), Availability::AfterAnAnswer);
        window.on(at(10), &mut hold, Event::Sent);
        assert_eq!(window.earliest(at(700), 1), Availability::At(freed(at(30))));
        window.on(at(700), &mut hold, Event::Refused { explained: false });
        let mut hold = window.take(freed(at(30)), 1);
        window.on(at(2_000), &mut hold, Event::Sent);
        assert_eq!(window.earliest(at(2_000), 1), Availability::At(freed(at(2_040))));
    }

    #[test]
    fn a_refusal_shows_how_much_the_server_takes() {
        let mut window = window(24, Guard::Strict);
        let mut holds: Vec<Reservation> = (0..24).map(|_| window.take(at(0), 1)).collect();
        for hold in &mut holds[..20] {
            window.on(at(50), hold, Event::Answered);
        }
        for (place, hold) in holds[20..].iter_mut().enumerate() {
            window.on(at(60), hold, Event::Refused { explained: place > 0 });
        }
        assert_eq!(window.stats().learnt, Some(20));
        // One that comes when little was taken in has another reason.
        let mut hold = window.take(at(5_000), 1);
        window.on(at(5_050), &mut hold, Event::Refused { explained: false });
        assert_eq!(window.stats().learnt, Some(18));
        assert_eq!(window.earliest(at(9_000), 18), Availability::Now);
    }

    /// Twenty of which the server takes half, in the end as of second 0.
    fn refused_half() -> Window<Sliding> {
        let mut window = window(20, Guard::Strict);
        let mut holds: Vec<Reservation> = (0..20).map(|_| window.take(at(0), 1)).collect();
        for hold in &mut holds[..10] {
            window.on(at(50), hold, Event::Answered);
        }
        for (place, hold) in holds[10..].iter_mut().enumerate() {
            window.on(at(60), hold, Event::Refused { explained: place > 0 });
        }
        assert_eq!(window.stats().learnt, Some(10));
        window
    }

    /// As much as may be is sent in each of so many seconds.
    fn use_all(window: &mut Window<Sliding>, seconds: std::ops::Range<u64>) -> Vec<usize> {
        let second = |second: u64| {
            let now = at(second * 1_100);
            let mut holds = Vec::new();
            while window.earliest(now, 1) == Availability::Now {
                holds.push(window.take(now, 1));
            }
            for hold in &mut holds {
                window.on(now, hold, Event::Answered);
            }
            holds.len()
        };
        seconds.map(second).collect()
    }

    #[test]
    fn what_was_learnt_is_forgotten_with_time() {
        let mut window = refused_half();
        let all = use_all(&mut window, 1..25);
        assert_eq!(all[..9], [10, 10, 10, 11, 11, 13, 13, 17, 17]);
        assert_eq!(all[9..], [20; 15]);
        assert_eq!(window.stats().learnt, None);
    }

    #[test]
    fn no_more_comes_back_than_the_server_says() {
        let mut window = refused_half();
        window.allow(12);
        assert_eq!(use_all(&mut window, 1..30).last(), Some(&12));
        window.allow(8);
        assert_eq!(use_all(&mut window, 30..60).last(), Some(&8));
    }

    #[test]
    fn what_costs_more_than_was_learnt_goes_alone() {
        let mut window = refused_half();
        let mut hold = window.take(at(2_000), 1);
        assert_eq!(window.earliest(at(2_000), 15), Availability::AfterAnAnswer);
        window.on(at(2_000), &mut hold, Event::Answered);
        assert_eq!(window.earliest(at(2_000), 15), Availability::At(freed(at(2_000))));
        assert_eq!(window.earliest(at(4_000), 15), Availability::Now);
        assert_eq!(window.earliest(at(4_000), 21), Availability::Never);
    }

    #[test]
    fn a_lost_attempt_keeps_its_slot_for_linger() {
        for guard in Guard::ALL {
            let mut window = window(1, guard);
            let mut hold = window.take(at(0), 1);
            window.on(at(0), &mut hold, Event::Sent);
            window.on(at(500), &mut hold, Event::Lost);
            let until = Availability::At(freed(at(30_500)));
            assert_eq!(window.earliest(at(20_000), 1), until, "{guard:?}");
        }
    }

    #[test]
    fn what_was_not_sent_comes_back_at_once() {
        for guard in Guard::ALL {
            let mut window = window(1, guard);
            let mut hold = window.take(at(0), 1);
            window.on(at(0), &mut hold, Event::Sent);
            window.on(at(0), &mut hold, Event::Returned);
            assert_eq!(window.earliest(at(0), 1), Availability::Now, "{guard:?}");
        }
    }

    #[test]
    fn what_the_server_says_is_no_news_if_it_counts_as_we_do() {
        let mut window = window(5, Guard::Strict);
        let mut hold = window.take(at(0), 1);
        window.on(at(100), &mut hold, Event::Answered);
        for (limit, remaining, reset, agrees) in [
            (5, 4, 700, true),
            (9, 8, 700, true),
            (5, 3, 700, false),
            (4, 4, 700, false),
            (5, 4, 60_000, false),
        ] {
            let info = RateLimitInfo {
                limit: Some(limit),
                remaining: Some(remaining),
                reset: Some(Duration::from_millis(reset - 100)),
                window: None,
            };
            assert_eq!(window.inform(at(100), info), agrees, "{info:?}");
        }
    }
}
