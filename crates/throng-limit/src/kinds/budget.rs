//! A total for the whole run, of which nothing ever comes back. Pure.
//!
//! **Guarantee.** No more than N units are sent in this run. What may have
//! arrived counts; what was certainly not sent is given back.

use crate::kinds::spec::{Form, Measure, Spec};
use crate::limiter::{Availability, Event, Limiter, LimiterStats, Reservation, UnitsState};
use crate::time::Time;

/// A total of units.
#[derive(Debug)]
pub struct Budget {
    units: u64,
    spent: u64,
    /// Taken, and still able to come back.
    open: u64,
}

impl Budget {
    /// At most `units` in all.
    #[must_use]
    pub fn new(units: u64) -> Budget {
        Budget { units, spent: 0, open: 0 }
    }

    fn spend(&mut self, hold: &mut Reservation) {
        if hold.is_in_flight() {
            self.open -= hold.units;
            self.spent += hold.units;
            hold.place = UnitsState::Free;
        }
    }
}

impl Limiter for Budget {
    fn earliest(&mut self, _now: Time, units: u64) -> Availability {
        match (self.spent + units, self.spent + self.open + units) {
            (spent, _) if spent > self.units => Availability::Never,
            (_, all) if all > self.units => Availability::AfterAnAnswer,
            _ => Availability::Now,
        }
    }

    fn take(&mut self, _now: Time, units: u64) -> Reservation {
        self.open += units;
        Reservation::new(units)
    }

    fn on(&mut self, _now: Time, hold: &mut Reservation, event: Event) -> Availability {
        match event {
            Event::Answered | Event::Refused { .. } | Event::Lost => self.spend(hold),
            Event::Returned if hold.is_in_flight() => {
                self.open -= hold.units;
                hold.place = UnitsState::Free;
            }
            Event::Settled(units) => {
                self.spend(hold);
                self.spent = (self.spent + units).saturating_sub(hold.units);
                hold.units = units;
            }
            Event::Sent | Event::Acked | Event::Returned | Event::Finished => {
                return Availability::Never;
            }
        }
        // What is spent may leave too little for those that wait, who are to know.
        Availability::Now
    }

    fn stats(&self) -> LimiterStats {
        let used = self.spent + self.open;
        LimiterStats { peak: used, used: Some(used), ..LimiterStats::default() }
    }

    fn is_idle(&mut self, _now: Time) -> bool {
        self.spent + self.open == 0
    }
}

/// `5000/run`.
pub(crate) const BUDGET: Spec = Spec {
    measure: Some(|_, _| Measure::Total),
    ..Spec::new(Form::Total, |terms| Box::new(Budget::new(terms.units)))
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_gone() {
        let now = Time::ZERO;
        let mut budget = Budget::new(2);
        let mut first = budget.take(now, 1);
        let mut second = budget.take(now, 1);
        assert_eq!(budget.earliest(now, 1), Availability::AfterAnAnswer);
        budget.on(now, &mut second, Event::Returned);
        assert_eq!(budget.earliest(now, 1), Availability::Now);
        budget.on(now, &mut first, Event::Answered);
        let mut third = budget.take(now, 1);
        budget.on(now, &mut third, Event::Lost);
        assert_eq!(budget.earliest(now, 1), Availability::Never);
        budget.on(now, &mut third, Event::Settled(0));
        assert_eq!(budget.earliest(now, 1), Availability::Now);
        assert_eq!(budget.stats().peak, 1);
    }
}
