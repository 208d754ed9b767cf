//! A limit that nobody knows, found while working: more is sent until the server
//! refuses, then less, and more again. Pure.
//!
//! It begins with a tenth of its ceiling. Each period in which that was not enough and
//! nothing was refused adds a fiftieth of the ceiling, or one where it was refused
//! before; a refusal takes it down to 85 % of what it allowed itself then. So it is refused
//! now and then: that is how it works.

use std::time::Duration;

use crate::config::Guard;
use crate::kinds::pattern::RatePattern;
use crate::kinds::sliding::Sliding;
use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::kinds::{Availability, Event, Limiter, LimiterStats, RateLimitInfo, Reservation};
use crate::time::Time;
use crate::window::Window;

/// A window whose units are found out.
#[derive(Debug)]
pub struct Auto {
    window: Window<Sliding>,
    ceiling: u64,
    period: Duration,
    units: u64,
    /// Where it was refused last.
    top: u64,
    /// Whether somebody had to wait since it was raised.
    binds: bool,
    raise_at: Time,
}

impl Auto {
    /// At most `ceiling` in a period.
    #[must_use]
    pub fn new(
        ceiling: u64,
        period: Duration,
        skew: Duration,
        guard: Guard,
        linger: Duration,
    ) -> Auto {
        let span = Sliding::new(period, skew);
        let mut auto = Auto {
            window: Window::new(ceiling, period, span, guard, linger).certified(),
            ceiling,
            period,
            units: 0,
            top: ceiling,
            binds: false,
            raise_at: Time::ZERO,
        };
        auto.set(ceiling / 10);
        auto
    }

    fn set(&mut self, units: u64) {
        self.units = units.clamp(1, self.ceiling);
        self.window.allow(self.units);
    }

    fn refused(&mut self, now: Time) {
        self.top = self.units.saturating_sub(1).max(1);
        self.set(self.top * 17 / 20);
        self.raise_at = now.after(self.period * 2);
        self.binds = false;
    }

    fn raise(&mut self, now: Time) {
        if !self.binds || now < self.raise_at {
            return;
        }
        let step = if self.units < self.top * 17 / 20 {
            (self.ceiling / 50).max(1)
        } else {
            1
        };
        self.set(self.units + step);
        self.binds = false;
        self.raise_at = now.after(self.period);
    }
}

impl Limiter for Auto {
    fn earliest(&mut self, now: Time, units: u64) -> Availability {
        let when = self.window.earliest(now, units);
        self.binds |= when != Availability::Now;
        when
    }

    fn take(&mut self, now: Time, units: u64) -> Reservation {
        self.window.take(now, units)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) {
        self.window.on(now, hold, event);
        match event {
            Event::Answered => self.raise(now),
            Event::Refused { explained } => {
                if !explained {
                    self.refused(now);
                }
                // The window has drawn its own conclusions.
                self.window.allow(self.units);
            }
            _ => {}
        }
    }

    fn inform(&mut self, now: Time, info: RateLimitInfo) -> bool {
        self.window.inform(now, info)
    }

    fn allow(&mut self, amount: u64) {
        self.ceiling = amount;
        self.top = self.top.min(amount);
        self.set(self.units);
    }

    fn stats(&self) -> LimiterStats {
        LimiterStats {
            amount: Some(self.ceiling),
            learnt: Some(self.units),
            ..self.window.stats()
        }
    }

    fn remember(&mut self, then: Time, lost: bool) {
        self.window.remember(then, lost);
    }

    fn is_idle(&mut self, now: Time) -> bool {
        self.window.is_idle(now)
    }
}

/// `auto:500/1m`.
#[derive(Debug)]
pub(crate) struct AutoSpec;

impl Spec for AutoSpec {
    fn form(&self) -> Form {
        Form::Prefix("auto")
    }

    fn build(&self, terms: &Terms) -> Box<dyn Limiter> {
        Box::new(Auto::new(
            terms.units,
            terms.period,
            terms.skew,
            terms.guard,
            terms.linger,
        ))
    }

    fn rate_pattern(&self, terms: &Terms) -> Option<RatePattern> {
        Some(terms.in_windows())
    }

    fn measure(&self, _units: u64, _burst: Option<u64>) -> Option<Measure> {
        Some(Measure::AnyWindow)
    }

    fn model_differs(&self, limit: &str) -> Option<String> {
        Some(format!(
            "the model doesn't refuse what {limit} would find out: say with --server what it does"
        ))
    }

    fn is_found_out(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn auto() -> Auto {
        let second = Duration::from_secs(1);
        Auto::new(100, second, Duration::ZERO, Guard::Strict, second)
    }

    /// Sends all that may be sent now.
    fn burst(auto: &mut Auto, now: Time) -> Vec<Reservation> {
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
            holds
                .iter_mut()
                .for_each(|hold| auto.on(now, hold, Event::Answered));
        }
        assert_eq!(bursts, [10, 12, 14, 16]);
        let mut holds = burst(&mut auto, at(6_000));
        for (place, hold) in holds.iter_mut().enumerate() {
            auto.on(
                at(6_010),
                hold,
                Event::Refused {
                    explained: place > 0,
                },
            );
        }
        assert_eq!(
            auto.stats().learnt,
            Some(14),
            "once, however many were in flight"
        );
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
