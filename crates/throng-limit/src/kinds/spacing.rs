//! The least time between two sendings. Pure.
//!
//! **Guarantee.** Any two attempts leave at least the gap apart, by our clock.
//! They may come closer on the way, by as much as its delay varies. Who must
//! not have two arrivals closer than g, whatever the way does, states `1/g` as a
//! rate: that is kept as the server counts.

use std::time::Duration;

use crate::kinds::pattern::RatePattern;
use crate::kinds::spec::{Form, Spec, Terms};
use crate::limiter::{Availability, Event, Limiter, LimiterStats, Reservation, UnitsState};
use crate::quota::SharedTerms;
use crate::time::Time;
use crate::window::smoother::spread_gap;

/// Attempts leave a gap apart.
#[derive(Debug)]
pub struct Spacing {
    gap: Duration,
    /// Whether the gap after an attempt is as many times as long as it takes units.
    by_units: bool,
    /// When the next may leave, after the latest.
    next: Time,
    /// Taken, and not on the way yet.
    leaving: u64,
}

impl Spacing {
    /// Attempts this far apart, from the start.
    #[must_use]
    pub fn new(gap: Duration) -> Spacing {
        Spacing { gap, by_units: false, next: Time::ZERO, leaving: 0 }
    }

    /// Attempts this far apart for each unit that the one before takes.
    fn by_units(gap: Duration) -> Spacing {
        Spacing { by_units: true, ..Spacing::new(gap) }
    }

    /// The gap after an attempt of this many units.
    fn gap_after(&self, units: u64) -> Duration {
        if self.by_units {
            self.gap.saturating_mul(u32::try_from(units).unwrap_or(u32::MAX))
        } else {
            self.gap
        }
    }

    fn left(&mut self, hold: &mut Reservation) {
        if hold.is_in_flight() {
            self.leaving -= 1;
            hold.place = UnitsState::Free;
        }
    }
}

impl Limiter for Spacing {
    fn earliest(&mut self, now: Time, _units: u64) -> Availability {
        if self.leaving > 0 {
            Availability::AfterAnAnswer
        } else if self.next > now {
            Availability::At(self.next)
        } else {
            Availability::Now
        }
    }

    fn take(&mut self, _now: Time, units: u64) -> Reservation {
        self.leaving += 1;
        Reservation::new(units)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) -> Availability {
        match event {
            Event::Sent => {
                self.left(hold);
                self.next = now.after(self.gap_after(hold.units));
            }
            Event::Lost | Event::Returned => self.left(hold),
            // An estimate that was too high holds the next one up no longer.
            Event::Settled(units) if self.by_units && units < hold.units => {
                self.next = self.next.before(self.gap_after(hold.units - units));
                hold.units = units;
            }
            _ => return Availability::Never,
        }
        Availability::At(self.next)
    }

    fn stats(&self) -> LimiterStats {
        LimiterStats { peak: 1, ..LimiterStats::default() }
    }

    fn is_idle(&mut self, now: Time) -> bool {
        self.leaving == 0 && self.next <= now
    }
}

/// `spacing = "50ms"`: the period is the gap.
pub(crate) const SPACING: Spec = Spec {
    rate_pattern: Some(|terms| RatePattern::paced(1, 1, terms.period)),
    most_at_once: |_| u64::MAX,
    gap: Some(|terms| terms.period),
    // Requests of several shards can arrive at the same time, whatever the gap of each.
    divided: |_, _| None,
    shared: Some(|terms| SharedTerms::gap(terms.period)),
    ..Spec::new(Form::Setting, |terms| Box::new(Spacing::new(terms.period)))
};

/// `shape = "spread"`: beside a limit, the gap that spreads its requests over a period.
pub(crate) const SPREAD: Spec = Spec {
    build: |terms| Box::new(Spacing::new(spread(terms))),
    rate_pattern: Some(|terms| RatePattern::paced(1, 1, spread(terms))),
    gap: Some(spread),
    divided: Terms::divided,
    shared: Some(|terms| SharedTerms::gap(spread(terms))),
    ..SPACING
};

/// `shape = "spread"` beside a limit of other units. Each run has its own: an account can count
/// one unit for a gap, and no more.
pub(crate) const SPREAD_OF_UNITS: Spec =
    Spec { build: |terms| Box::new(Spacing::by_units(spread(terms))), shared: None, ..SPREAD };

fn spread(terms: &Terms) -> Duration {
    spread_gap(terms.units, terms.units, terms.period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn one_leaves_after_the_other() {
        let mut spacing = Spacing::new(Duration::from_millis(50));
        let mut first = spacing.take(at(0), 1);
        assert_eq!(spacing.earliest(at(0), 1), Availability::AfterAnAnswer);
        spacing.on(at(5), &mut first, Event::Sent);
        assert_eq!(spacing.earliest(at(6), 1), Availability::At(at(55)));
        assert_eq!(spacing.earliest(at(55), 1), Availability::Now);
        let mut second = spacing.take(at(55), 1);
        spacing.on(at(60), &mut second, Event::Returned);
        assert_eq!(spacing.earliest(at(60), 1), Availability::Now);
    }

    #[test]
    fn the_gap_is_that_of_the_units_before() {
        let mut spacing = Spacing::by_units(Duration::from_millis(50));
        let mut first = spacing.take(at(0), 3);
        spacing.on(at(5), &mut first, Event::Sent);
        assert_eq!(spacing.earliest(at(6), 9), Availability::At(at(155)));
        spacing.on(at(20), &mut first, Event::Settled(1));
        assert_eq!(spacing.earliest(at(20), 9), Availability::At(at(55)));
    }
}
