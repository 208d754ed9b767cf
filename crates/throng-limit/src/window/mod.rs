//! A window of N units: slots that an attempt holds for a span. Pure.
//!
//! Sliding and fixed windows differ in one thing only: how long a unit counts
//! that has arrived no later than a given time. That is their [`WindowKind`]. What is
//! known of the arrival is the guard's matter, and the same for both:
//!
//! | guard | arrived no later than |
//! |---|---|
//! | `strict` | its answer's head |
//! | `acked` | the acknowledgement of its last byte and a margin that grows on evidence, or its answer |
//! | `sent` | its sending, and a margin that grows on evidence |

pub mod calendar;
pub mod slots;
pub mod smoother;
pub mod timeline;
pub mod worst_case;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::adapt::observed::ObservedRate;
use crate::adapt::relearn::RelearnBackoff;
use crate::config::Guard;
use crate::kinds::{
    Availability, Event, Limiter, LimiterStats, RateLimitInfo, Reservation, UnitsState,
};
use crate::time::Time;
use crate::window::slots::Slots;
use crate::window::smoother::Smoother;
use crate::window::worst_case::WorstCase;

/// How long a unit counts.
pub trait WindowKind: fmt::Debug + Send + Sync {
    /// Whether units come back together, so that there are few times to remember.
    fn coincides(&self) -> bool {
        false
    }

    /// Until when a unit counts that has arrived no later than `arrived`.
    fn end(&self, arrived: Time) -> Time;

    /// Until when a unit counts that has arrived no later than `arrived`, where the
    /// calendar says `zero` at the clock's zero.
    fn end_on(&self, _zero: Timestamp, arrived: Time) -> Time {
        self.end(arrived)
    }

    /// Whether the calendar says when it ends.
    fn follows_calendar(&self) -> bool {
        false
    }

    /// The latest time at which what counts until `end` has arrived, as far as
    /// that is certified.
    fn arrived_by(&self, end: Time) -> Time {
        end
    }

    /// When what arrived before a reset that the server names stops counting, if
    /// it does so for the reset's sake.
    fn end_at_reset(&self, _reset: Time) -> Option<Time> {
        None
    }

    /// What the calendar says that it was at the clock's zero. Gives whether that
    /// changes anything.
    fn heed_calendar(&mut self, _zero: Timestamp) -> bool {
        false
    }

    /// Until when that counts which was counted until `end` before.
    fn recount(&self, end: Time) -> Time {
        end
    }
}

/// N units in a span.
#[derive(Debug)]
pub struct Window<S> {
    slots: Slots,
    span: S,
    guard: Guard,
    linger: Duration,
    margin: Duration,
    pace: Smoother,
    /// The longest margin that is worth it.
    period: Duration,
    certificate: Option<WorstCase>,
    /// What the job says.
    declared: u64,
    /// The same, or what the server says: more is never allowed.
    ceiling: u64,
    taken_in: ObservedRate,
    patience: RelearnBackoff,
    /// What the server may have before it, besides what it took in.
    unanswered: u64,
}

/// What the `sent` guard begins with.
const SENT_MARGIN: Duration = Duration::from_millis(20);
/// What the `acked` guard begins with, as a part of the period; no more than the
/// above. The proof needs none: it is for the program behind the server's network
/// stack, which counts a little later.
const ACKED_PART: u32 = 50;
/// Over so many margins all units go out under that guard, lest the program fall behind.
const PACED: u32 = 5;

impl<S: WindowKind> Window<S> {
    /// All units free. `linger` is how long after it was given up an attempt may
    /// still arrive.
    #[must_use]
    pub fn new(units: u64, period: Duration, span: S, guard: Guard, linger: Duration) -> Self {
        Window {
            slots: if span.coincides() {
                Slots::new(units, Duration::ZERO)
            } else {
                Slots::new(units, period)
            },
            span,
            guard,
            linger,
            margin: match guard {
                Guard::Acked => (period / ACKED_PART).min(SENT_MARGIN),
                Guard::Strict | Guard::Sent => SENT_MARGIN,
            },
            pace: Smoother::default(),
            period,
            certificate: None,
            declared: units,
            ceiling: units,
            taken_in: ObservedRate::new(period),
            patience: RelearnBackoff::new(period),
            unanswered: 0,
        }
    }

    /// Also counts how many arrivals can have fallen into any `period`.
    #[must_use]
    pub fn certified(mut self) -> Self {
        self.certificate = Some(WorstCase::new(self.period));
        self
    }

    /// It has arrived no later than `time`, which may be news, or not.
    fn arrived_by(&mut self, time: Time, hold: &mut Reservation) {
        let end = self.span.end(time);
        let is_news = match hold.place {
            UnitsState::InFlight => true,
            UnitsState::Until(until) => end < until,
            UnitsState::Free => false,
        };
        if is_news {
            self.slots.count_until(end, hold);
        }
    }

    /// Its answer was seen, whatever it says.
    fn seen(&mut self, now: Time, hold: &mut Reservation) {
        self.ended(hold);
        if self.guard != Guard::Acked || hold.is_in_flight() {
            self.certify(|certificate| certificate.arrived(now, hold.units));
        }
        self.arrived_by(now, hold);
    }

    /// The server has none of it before it any more, as far as we know.
    fn ended(&mut self, hold: &Reservation) {
        self.unanswered = self.unanswered.saturating_sub(hold.units);
    }

    fn certify(&mut self, tell: impl FnOnce(&mut WorstCase)) {
        if let Some(certificate) = &mut self.certificate {
            tell(certificate);
        }
    }

    fn answered(&mut self, now: Time, hold: &mut Reservation) {
        self.taken_in.add(now, hold.units);
        self.seen(now, hold);
        let units = self.slots.units();
        let more = self.patience.ease(now, self.ceiling.saturating_sub(units));
        if more > 0 {
            self.slots.resize(units + more);
        }
    }

    /// Fewer than half of what is allowed are not believed: then it is refused for
    /// another reason.
    fn refused(&mut self, now: Time, hold: &mut Reservation, explained: bool) {
        self.seen(now, hold);
        if !explained && !self.patience.refused(now) {
            self.margin = (self.margin * 2).min(self.period);
        }
        let takes = self.taken_in.refused(now, self.unanswered, explained);
        if (self.ceiling.div_ceil(2)..self.slots.units()).contains(&takes) {
            self.slots.resize(takes);
        }
    }

    fn lost(&mut self, now: Time, hold: &mut Reservation) {
        self.ended(hold);
        let acked = self.guard == Guard::Acked && !hold.is_in_flight();
        if !acked {
            let latest = now.after(self.linger);
            let linger = self.linger;
            self.certify(|certificate| certificate.lost(latest, linger, hold.units));
            self.slots.count_late(self.span.end(latest), linger, hold);
        }
    }

    fn returned(&mut self, hold: &mut Reservation) {
        self.ended(hold);
        let share = (hold.units, self.slots.units());
        self.pace.give_back(share, self.margin * PACED);
        self.certify(|certificate| certificate.returned(hold.units));
        self.slots.give_back(hold);
    }

    fn settle(&mut self, now: Time, hold: &mut Reservation, units: u64) {
        if let (UnitsState::Until(end), Some(certificate)) = (hold.place, &mut self.certificate) {
            certificate.settled(now, self.span.arrived_by(end), hold.units, units);
        }
        self.slots.settle(now, hold, units);
    }

    /// Whether what the server says is no news: the limit is no smaller, and no less of
    /// it is left than is free here.
    fn agrees(&self, now: Time, info: RateLimitInfo) -> bool {
        let (Some(limit), Some(remaining), Some(reset)) =
            (info.limit, info.remaining, info.reset_at(now))
        else {
            return false;
        };
        // Resets are told in whole seconds.
        let latest = now.after(self.period + self.period / 20 + Duration::from_secs(1));
        let free = self.slots.units().saturating_sub(self.slots.used());
        limit >= self.slots.units() && free <= remaining && reset <= latest
    }

    /// Forgets the earliest of what is counted, so that one more unit has room. Gives
    /// whether it has room now.
    fn make_room(&mut self) -> bool {
        self.certify(WorstCase::forget_first);
        self.slots.forget_first()
    }
}

impl<S: WindowKind> Limiter for Window<S> {
    fn earliest(&mut self, now: Time, units: u64) -> Availability {
        // What is dearer than all that was learnt to be allowed waits until all is free.
        let units = if units <= self.ceiling {
            units.min(self.slots.units())
        } else {
            units
        };
        let free = self.slots.earliest(now, units);
        if free != Availability::Now {
            self.patience.bind();
        }
        match self.guard {
            Guard::Acked => free.max(self.pace.earliest(now, self.margin * PACED)),
            Guard::Strict | Guard::Sent => free,
        }
    }

    fn take(&mut self, now: Time, units: u64) -> Reservation {
        let share = (units, self.slots.units());
        self.pace.take(now, share, self.margin * PACED);
        self.unanswered += units;
        self.certify(|certificate| certificate.taken(now, units));
        self.slots.take(now, units)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) {
        match event {
            Event::Sent if self.guard == Guard::Sent => {
                self.arrived_by(now.after(self.margin), hold);
            }
            Event::Acked if self.guard == Guard::Acked => {
                self.certify(|certificate| certificate.arrived(now, hold.units));
                self.arrived_by(now.after(self.margin), hold);
            }
            Event::Answered => self.answered(now, hold),
            Event::Refused { explained } => self.refused(now, hold, explained),
            Event::Lost => self.lost(now, hold),
            Event::Returned => self.returned(hold),
            Event::Settled(units) => self.settle(now, hold, units),
            Event::Sent | Event::Acked | Event::Finished => {}
        }
    }

    fn inform(&mut self, now: Time, info: RateLimitInfo) -> bool {
        let is_known = self.agrees(now, info);
        let reset = info.reset_at(now);
        if let Some(end) = reset.and_then(|reset| self.span.end_at_reset(reset)) {
            // What is counted for longer than an answer of now may yet arrive.
            let latest = self.span.end(now);
            self.slots.release_by(now, end, latest);
        }
        is_known
    }

    fn allow(&mut self, amount: u64) {
        let units = if amount < self.ceiling {
            self.slots.units().min(amount)
        } else {
            amount
        };
        self.ceiling = amount;
        self.slots.resize(units);
    }

    fn stats(&self) -> LimiterStats {
        let units = self.slots.units();
        let certified = self.certificate.as_ref();
        LimiterStats {
            peak: certified.map_or(self.slots.peak(), WorstCase::peak),
            margin: (self.guard != Guard::Strict).then_some(self.margin),
            learnt: (units != self.declared).then_some(units),
            amount: Some(self.ceiling),
            entries: self.slots.entries()
                + self.taken_in.entries()
                + certified.map_or(0, WorstCase::entries),
            ..LimiterStats::default()
        }
    }

    fn heed_calendar(&mut self, zero: Timestamp) {
        if self.span.heed_calendar(zero) {
            self.slots.postpone(|end| self.span.recount(end));
        }
    }

    fn remember(&mut self, then: Time, lost: bool) {
        if self.slots.earliest(then, 1) == Availability::Now || self.make_room() {
            self.replay(then, lost);
        }
        // How fast it went out is no matter any more.
        self.pace = Smoother::default();
    }

    fn is_idle(&mut self, now: Time) -> bool {
        self.slots.is_idle(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::sliding::Sliding;

    fn at(millis: u64) -> Time {
        Time::ZERO.after(Duration::from_millis(millis))
    }

    /// The first two are noted half a second after they ended, so that the next two,
    /// which waited for them, seem to have had no room.
    #[test]
    fn of_what_is_remembered_late_the_latest_count() {
        for guard in Guard::ALL {
            let period = Duration::from_secs(3);
            let span = Sliding::new(period, Duration::ZERO);
            let mut window = Window::new(2, period, span, guard, period).certified();
            for then in [500, 500, 3_400, 3_400] {
                window.remember(at(then), false);
            }
            let Availability::At(free) = window.earliest(at(3_500), 1) else {
                panic!("{guard:?}: two are counted");
            };
            assert!(free >= at(6_400), "{guard:?}: {free:?}");
            assert_eq!(window.stats().peak, 2);
            assert_eq!(window.earliest(at(6_430), 2), Availability::Now);
        }
    }

    /// Under each guard a hundred are sent, sixty answered, and one is refused: the
    /// server may have taken in all the others.
    #[test]
    fn what_is_not_answered_yet_may_have_been_taken_in_under_each_guard() {
        for guard in Guard::ALL {
            let period = Duration::from_secs(1);
            let span = Sliding::new(period, Duration::ZERO);
            let mut window = Window::new(100, period, span, guard, period);
            let mut holds: Vec<Reservation> = (0..100).map(|_| window.take(at(0), 1)).collect();
            for hold in &mut holds {
                window.on(at(0), hold, Event::Sent);
                window.on(at(1), hold, Event::Acked);
            }
            for hold in &mut holds[..60] {
                window.on(at(10), hold, Event::Answered);
            }
            window.on(at(11), &mut holds[60], Event::Refused { explained: false });
            assert_eq!(window.stats().learnt, Some(99), "{guard:?}");
        }
    }
}
