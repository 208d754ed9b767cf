//! A cap on what is in flight, as the server sees it. Pure.
//!
//! **Guarantee.** The server works on no more than C attempts at once: a slot is
//! taken before sending, and comes back when the answer has been read to its
//! end. One that was given up may still be worked on, so its slot comes back
//! after linger.

use std::time::Duration;

use crate::kinds::pattern::RatePattern;
use crate::kinds::spec::{Form, Spec};
use crate::limiter::{Availability, Event, Limiter, LimiterStats, Reservation};
use crate::quota::SharedTerms;
use crate::time::Time;
use crate::window::slots::Slots;

/// A number of units that may be in flight.
#[derive(Debug)]
pub struct Concurrency {
    slots: Slots,
    linger: Duration,
}

impl Concurrency {
    /// At most `units` at once.
    #[must_use]
    pub fn new(units: u64, linger: Duration) -> Concurrency {
        Concurrency { slots: Slots::new(units, linger), linger }
    }
}

impl Limiter for Concurrency {
    fn earliest(&mut self, now: Time, units: u64) -> Availability {
        self.slots.earliest(now, units)
    }

    fn take(&mut self, now: Time, units: u64) -> Reservation {
        self.slots.take(now, units)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) -> Availability {
        match event {
            Event::Lost => {
                let latest = now.after(self.linger);
                self.slots.count_late(latest, latest, self.linger, hold);
            }
            Event::Returned => self.slots.give_back(hold),
            Event::Finished if hold.is_in_flight() => self.slots.give_back(hold),
            _ => return Availability::Never,
        }
        Availability::Now
    }

    fn stats(&self) -> LimiterStats {
        LimiterStats {
            peak: self.slots.peak(),
            used: Some(self.slots.used()),
            lingering: self.slots.lingering(),
            entries: self.slots.entries(),
            ..LimiterStats::default()
        }
    }

    fn is_idle(&mut self, now: Time) -> bool {
        self.slots.is_idle(now)
    }
}

/// `in-flight = 5`.
pub(crate) const CONCURRENCY: Spec = Spec {
    rate_pattern: Some(|terms| RatePattern::AtOnce { amount: terms.units }),
    shared: Some(|terms| SharedTerms::in_flight(terms.units)),
    ..Spec::new(Form::Setting, |terms| Box::new(Concurrency::new(terms.units, terms.linger)))
};

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_slot_comes_back_with_the_end_of_the_body() {
        let mut cap = Concurrency::new(1, Duration::from_secs(30));
        let mut hold = cap.take(at(0), 1);
        cap.on(at(10), &mut hold, Event::Answered);
        assert_eq!(cap.earliest(at(10), 1), Availability::AfterAnAnswer);
        cap.on(at(20), &mut hold, Event::Finished);
        assert_eq!(cap.earliest(at(20), 1), Availability::Now);
        let mut hold = cap.take(at(20), 1);
        cap.on(at(50), &mut hold, Event::Lost);
        cap.on(at(50), &mut hold, Event::Finished);
        assert_eq!(cap.earliest(at(60), 1), Availability::At(at(30_050)));
    }
}
