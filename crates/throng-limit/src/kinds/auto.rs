//! A limit that is found out while working: more is sent until the server
//! refuses, then less, and more again. Pure.
//!
//! It begins with a tenth of its ceiling. Each period in which that was not enough and
//! nothing was refused adds a fiftieth of the ceiling, or one where it was refused
//! before; a refusal takes it down to 85 % of what it allowed itself then. So it is refused
//! now and then: that is how it works.

use crate::kinds::sliding::Sliding;
use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::quota::SharedTerms;

/// `auto:500/1m`.
pub(crate) const AUTO: Spec = Spec {
    rate_pattern: Some(Terms::in_windows),
    shared: Some(|terms| SharedTerms::window(terms, Sliding::of(terms))),
    measure: Some(|_, _| Measure::AnyWindow),
    model_differs: Some(|limit| {
        format!(
            "the model doesn't refuse what {limit} would find out: say with --server what it does"
        )
    }),
    is_found_out: true,
    ..Spec::new(Form::Prefix("auto"), |terms| {
        Box::new(terms.window(Sliding::of(terms)).certified().searching())
    })
};

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Guard;
    use crate::limiter::{Availability, Event, Limiter, Reservation};
    use crate::time::Time;
    use crate::window::Window;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn auto() -> Window<Sliding> {
        let second = Duration::from_secs(1);
        let span = Sliding::new(second, Duration::ZERO);
        Window::new(100, second, span, Guard::Strict, second).searching()
    }

    /// Sends all that may be sent now.
    fn burst(auto: &mut Window<Sliding>, now: Time) -> Vec<Reservation> {
        let mut holds = Vec::new();
        while auto.earliest(now, 1) == Availability::Now {
            holds.push(auto.take(now, 1));
        }
        holds
    }

    #[test]
    fn it_is_raised_where_it_binds_and_taken_down_by_a_refusal() {
        let mut auto = auto();
        let mut bursts = Vec::new();
        for second in 0..4 {
            let now = at(second * 1_100);
            let mut holds = burst(&mut auto, now);
            bursts.push(holds.len());
            holds.iter_mut().for_each(|hold| auto.on(now, hold, Event::Answered));
        }
        assert_eq!(bursts, [10, 12, 14, 16]);
        let mut holds = burst(&mut auto, at(6_000));
        for (place, hold) in holds.iter_mut().enumerate() {
            auto.on(at(6_010), hold, Event::Refused { explained: place > 0 });
        }
        assert_eq!(auto.stats().learnt, Some(14), "once, however many were in flight");
    }

    #[test]
    fn where_nobody_waits_it_stays() {
        let mut auto = auto();
        for second in 0..50 {
            let now = at(second * 1_100);
            let mut hold = auto.take(now, 1);
            auto.on(now, &mut hold, Event::Answered);
        }
        assert_eq!(auto.stats().learnt, Some(10));
    }
}
