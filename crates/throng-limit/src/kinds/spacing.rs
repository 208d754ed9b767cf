//! The least time between two sendings. Pure.
//!
//! **Guarantee.** Any two attempts leave at least the gap apart, by our clock.
//! They may come closer on the way, by as much as its delay varies. Who must
//! not have two arrivals closer than g, whatever the way does, states `1/g` as a
//! rate: that is kept as the server counts.

use std::time::Duration;

use crate::adapt::relearn::RelearnBackoff;
use crate::config::Guard;
use crate::kinds::pattern::RatePattern;
use crate::kinds::spec::{Form, Spec, Terms};
use crate::kinds::{Availability, Event, Limiter, LimiterStats, Reservation, UnitsState};
use crate::time::Time;

/// Attempts leave a gap apart.
#[derive(Debug)]
pub struct Spacing {
    gap: Duration,
    /// Refusals that our own count can't explain, until it begins.
    asleep: u32,
    /// If it may fall asleep again.
    patience: Option<RelearnBackoff>,
    last: Option<Time>,
    /// Taken, and not on the way yet.
    leaving: u64,
}

impl Spacing {
    /// Attempts this far apart, from the start.
    #[must_use]
    pub fn new(gap: Duration) -> Spacing {
        Spacing {
            gap,
            asleep: 0,
            patience: None,
            last: None,
            leaving: 0,
        }
    }

    /// The same, once the server has refused what it should have taken, and has
    /// done so `before`; until it has done so no more for some of these periods.
    #[must_use]
    pub fn once_refused(gap: Duration, before: u32, period: Duration) -> Spacing {
        Spacing {
            asleep: before + 1,
            patience: Some(RelearnBackoff::new(period)),
            ..Spacing::new(gap)
        }
    }

    fn answered(&mut self, now: Time) {
        if let Some(patience) = &mut self.patience {
            let awake = u64::from(self.asleep == 0);
            self.asleep += u32::from(patience.ease(now, awake) > 0);
        }
    }

    /// The server refused what our own count can't explain.
    fn refused(&mut self, now: Time) {
        self.asleep = self.asleep.saturating_sub(1);
        if let Some(patience) = &mut self.patience {
            patience.refused(now);
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
        if let Some(patience) = &mut self.patience {
            patience.bind();
        }
        match self.last.map(|last| last.after(self.gap)) {
            _ if self.asleep > 0 => Availability::Now,
            _ if self.leaving > 0 => Availability::AfterAnAnswer,
            Some(next) if next > now => Availability::At(next),
            _ => Availability::Now,
        }
    }

    fn take(&mut self, _now: Time, units: u64) -> Reservation {
        self.leaving += 1;
        Reservation::new(units)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) {
        match event {
            Event::Sent => {
                self.left(hold);
                self.last = Some(now);
            }
            Event::Answered => self.answered(now),
            Event::Refused { explained: false } => self.refused(now),
            Event::Lost | Event::Returned => self.left(hold),
            _ => {}
        }
    }

    fn stats(&self) -> LimiterStats {
        LimiterStats {
            peak: 1,
            awake: self.asleep == 0,
            ..LimiterStats::default()
        }
    }

    fn remember(&mut self, then: Time, lost: bool) {
        if self.earliest(then, 1) != Availability::Now {
            self.last = None;
        }
        if self.leaving == 0 {
            self.replay(then, lost);
        }
    }

    fn is_idle(&mut self, now: Time) -> bool {
        let rested = self.last.is_none_or(|last| last.after(self.gap) <= now);
        self.leaving == 0 && rested
    }
}

/// `spacing = "50ms"`: the period is the gap.
#[derive(Debug)]
pub(crate) struct SpacingSpec;

impl Spec for SpacingSpec {
    fn form(&self) -> Form {
        Form::Setting
    }

    fn build(&self, terms: &Terms) -> Box<dyn Limiter> {
        Box::new(Spacing::new(terms.period))
    }

    fn rate_pattern(&self, terms: &Terms) -> Option<RatePattern> {
        Some(RatePattern::paced(1, 1, terms.period))
    }

    fn most_at_once(&self, _terms: &Terms) -> u64 {
        u64::MAX
    }

    fn gap(&self, terms: &Terms) -> Option<Duration> {
        Some(terms.period)
    }
}

/// `shape = "spread"`: beside a limit, the gap that spreads its requests over a period.
#[derive(Debug)]
pub(crate) struct SpreadSpec;

impl Spec for SpreadSpec {
    fn form(&self) -> Form {
        Form::Setting
    }

    fn build(&self, terms: &Terms) -> Box<dyn Limiter> {
        Box::new(Spacing::new(spread(terms.units, terms.period)))
    }

    fn rate_pattern(&self, terms: &Terms) -> Option<RatePattern> {
        Some(RatePattern::paced(1, 1, spread(terms.units, terms.period)))
    }

    fn most_at_once(&self, _terms: &Terms) -> u64 {
        u64::MAX
    }

    fn gap(&self, terms: &Terms) -> Option<Duration> {
        Some(spread(terms.units, terms.period))
    }
}

/// `shape = "auto"`: the same gap, once the server has refused what our own count can't
/// explain.
#[derive(Debug)]
pub(crate) struct SpreadWhenRefusedSpec;

impl Spec for SpreadWhenRefusedSpec {
    fn form(&self) -> Form {
        Form::Setting
    }

    fn build(&self, terms: &Terms) -> Box<dyn Limiter> {
        // What a margin explains, it is given time to grow for.
        let refusals_before = match terms.guard {
            Guard::Strict => 0,
            Guard::Acked | Guard::Sent => 3,
        };
        let gap = spread(terms.units, terms.period);
        Box::new(Spacing::once_refused(gap, refusals_before, terms.period))
    }

    fn rate_pattern(&self, _terms: &Terms) -> Option<RatePattern> {
        None
    }

    fn most_at_once(&self, _terms: &Terms) -> u64 {
        u64::MAX
    }

    fn gap(&self, terms: &Terms) -> Option<Duration> {
        Some(spread(terms.units, terms.period))
    }

    fn waits_for_refusal(&self) -> bool {
        true
    }
}

/// The gap that keeps most servers which count otherwise than by windows from refusing
/// N in X: X/(N-2).
fn spread(units: u64, period: Duration) -> Duration {
    let parts = u32::try_from(units.saturating_sub(2).max(1)).unwrap_or(u32::MAX);
    period / parts
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
    fn it_may_wait_for_evidence() {
        let gap = spread(22, Duration::from_secs(5));
        assert_eq!(gap, Duration::from_millis(250));
        let mut spacing = Spacing::once_refused(gap, 1, Duration::from_secs(5));
        let mut hold = spacing.take(at(0), 1);
        spacing.on(at(0), &mut hold, Event::Sent);
        spacing.on(at(1), &mut hold, Event::Refused { explained: true });
        assert_eq!(spacing.earliest(at(1), 1), Availability::Now);
        spacing.on(at(1), &mut hold, Event::Refused { explained: false });
        assert_eq!(
            (spacing.earliest(at(1), 1), spacing.stats().awake),
            (Availability::Now, false)
        );
        spacing.on(at(1), &mut hold, Event::Refused { explained: false });
        assert_eq!(spacing.earliest(at(1), 1), Availability::At(at(250)));
    }

    #[test]
    fn it_falls_asleep_again_and_wakes_for_longer() {
        let mut spacing = Spacing::once_refused(Duration::from_secs(1), 0, Duration::from_secs(4));
        let mut start = 0;
        for periods in [16, 32, 64] {
            let mut hold = spacing.take(at(start), 1);
            spacing.on(at(start), &mut hold, Event::Sent);
            spacing.on(at(start), &mut hold, Event::Refused { explained: false });
            let end = start + periods * 4_000;
            for (time, awake) in [(end - 1, true), (end, false)] {
                spacing.earliest(at(time), 1);
                spacing.on(at(time), &mut hold, Event::Answered);
                assert_eq!(spacing.stats().awake, awake, "{periods}");
            }
            start = end + 1_000;
        }
    }
}
