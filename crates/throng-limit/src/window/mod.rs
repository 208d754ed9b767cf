//! A window of N units: slots that an attempt holds for a span. Pure.
//!
//! Kinds of windows differ in how long a unit counts that has arrived no later than a given
//! time, and in how many units are free then. That is their [`WindowKind`]. The latest time of
//! the arrival depends on the guard, and is the same for all:
//!
//! | guard | an attempt has arrived no later than |
//! |---|---|
//! | `strict` | its answer's head |
//! | `acked` | the acknowledgement of its last byte and a margin, or its answer |
//! | `sent` | its sending and a margin |
//!
//! The margin, and the units that are used, follow from refusals: see
//! [`adapt`](crate::adapt).

pub mod calendar;
pub mod estimated;
mod observed_rate;
pub mod slots;
pub mod smoother;
#[cfg(test)]
mod tests;
pub mod two_windows;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::adapt::Controller;
use crate::config::Guard;
use crate::limiter::{
    Availability, Event, Limiter, LimiterStats, RateLimitInfo, Reservation, UnitsState,
};
use crate::time::Time;
use crate::window::observed_rate::ObservedRate;
use crate::window::slots::{Slots, Timeline};
use crate::window::smoother::{Smoother, share, spread_gap};

/// A kind of window in figures, as another machine gets it. Times are in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "window")]
pub enum WindowFigures {
    /// It begins with each arrival.
    Sliding {
        /// The time for which a unit counts.
        hold: u64,
    },
    /// It begins at a multiple of its length on the clock.
    Clock {
        /// The length.
        period: u64,
        /// The difference of the clocks that is allowed for.
        skew: u64,
    },
    /// It begins at midnight.
    Midnight {
        /// The name of the time zone.
        zone: String,
        /// The difference of the clocks that is allowed for.
        skew: u64,
    },
    /// It ends at a time that the server tells.
    UntilReset {
        /// The time for which a unit counts without that.
        hold: u64,
        /// The difference of the clocks that is allowed for.
        skew: u64,
    },
}

/// How long a unit counts.
pub trait WindowKind: fmt::Debug + Send + Sync {
    /// The kind in figures; none if runs don't share it.
    fn figures(&self) -> Option<WindowFigures> {
        None
    }

    /// From when on a unit may hold up others less that has arrived no later than a time which
    /// gives it this [`end`](WindowKind::end).
    fn relief(&self, end: Time) -> Time {
        end
    }

    /// Whether units come back together, so that there are few times to remember.
    fn coincides(&self) -> bool {
        false
    }

    /// Until when a unit counts that has arrived no later than `arrived`.
    fn end(&self, arrived: Time) -> Time;

    /// When so many units are free, if none is given back before its time.
    fn earliest(&self, slots: &mut Slots, now: Time, units: u64) -> Availability {
        slots.earliest(now, units)
    }

    /// Number of units that are free.
    fn free(&self, slots: &mut Slots, _now: Time) -> u64 {
        slots.units().saturating_sub(slots.used())
    }

    /// Until when a unit counts that has arrived no later than `arrived`, where the
    /// calendar says `zero` at the clock's zero.
    fn end_on(&self, _zero: Timestamp, arrived: Time) -> Time {
        self.end(arrived)
    }

    /// Whether the calendar says when it ends.
    fn follows_calendar(&self) -> bool {
        false
    }

    /// The latest time at which a unit has arrived that counts until `end`, where the
    /// worst case is counted.
    fn arrived_by(&self, end: Time) -> Time {
        end
    }

    /// When a unit stops counting that arrived before a reset which the server names, if
    /// the reset ends it.
    fn end_at_reset(&self, _reset: Time) -> Option<Time> {
        None
    }

    /// The calendar's time at the clock's zero. Gives whether that changes anything.
    fn heed_calendar(&mut self, _zero: Timestamp) -> bool {
        false
    }

    /// Until when a unit counts that was counted until `end` before the calendar was set.
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
    period: Duration,
    pace: Smoother,
    worst_case: Option<WorstCase>,
    controller: Controller,
    observed: ObservedRate,
    /// The most units that the server has taken in within a period, by its last refusal.
    taken_in: Option<u64>,
    /// When the first answer was seen.
    first_answer: Option<Time>,
    /// Whether requests are spread where refusals call for it.
    may_spread: bool,
    /// Refusals that its own count cannot explain.
    unexplained: u64,
    /// Whether it began under `acked`, and waits for answers now.
    gave_up_acked: bool,
}

/// The first margin of the `sent` guard.
const SENT_MARGIN: Duration = Duration::from_millis(20);
/// The first margin of the `acked` guard, as a part of the period; no more than the
/// above. The proof needs none: it is for the program behind the server's network
/// stack, which counts a little later.
const ACKED_PART: u32 = 50;
/// Number of margins over which all units go out under that guard, lest the program fall
/// behind.
const PACED: u32 = 5;

impl<S: WindowKind> Window<S> {
    /// A window with all units free. `linger` is how long after it was given up an attempt
    /// may still arrive.
    #[must_use]
    pub fn new(units: u64, period: Duration, span: S, guard: Guard, linger: Duration) -> Self {
        let controller = Controller::new(units, period);
        let resolved = if span.coincides() { Duration::ZERO } else { period };
        Window {
            slots: Slots::new(units, resolved),
            span,
            guard,
            linger,
            period,
            pace: Smoother::default(),
            worst_case: None,
            controller: match guard {
                Guard::Strict => controller,
                Guard::Sent => controller.with_margin(SENT_MARGIN, period),
                Guard::Acked => {
                    controller.with_margin((period / ACKED_PART).min(SENT_MARGIN), period)
                }
            },
            observed: ObservedRate::new(period),
            taken_in: None,
            first_answer: None,
            may_spread: false,
            unexplained: 0,
            gave_up_acked: false,
        }
    }

    /// Spreads the window's units over the period where refusals call for it.
    #[must_use]
    pub fn spreading(self) -> Self {
        Window { may_spread: true, ..self }
    }

    /// Makes the window count the arrivals that can have fallen into any period.
    #[must_use]
    pub fn certified(mut self) -> Self {
        self.worst_case = Some(WorstCase::new(self.period));
        self
    }

    /// The attempt has arrived no later than `time`, which may be known already. Gives when others
    /// may have its units.
    fn arrived_by(&mut self, time: Time, hold: &mut Reservation) -> Availability {
        let end = self.span.end(time);
        let is_news = match hold.place {
            UnitsState::InFlight => true,
            UnitsState::Until(until) => end < until,
            UnitsState::Free => false,
        };
        if !is_news {
            return Availability::Never;
        }
        self.slots.count_until(end, hold);
        let relief = self.span.relief(end);
        self.slots.relieved_at(relief);
        Availability::At(relief)
    }

    /// The attempt's answer was seen, whatever it says. Gives when others may have its units.
    fn seen(&mut self, now: Time, hold: &mut Reservation) -> Availability {
        self.observed.ended(hold.units);
        self.first_answer.get_or_insert(now);
        // What was acknowledged has been told.
        if self.guard == Guard::Sent || hold.is_in_flight() {
            self.certify(|worst_case| worst_case.arrived(now, hold.units));
        }
        self.arrived_by(now, hold)
    }

    fn certify(&mut self, tell: impl FnOnce(&mut WorstCase)) {
        if let Some(worst_case) = &mut self.worst_case {
            tell(worst_case);
        }
    }

    /// The gap between requests, if refusals have called for one.
    fn gap(&self) -> Option<Duration> {
        let is_spread = self.may_spread && self.controller.is_spread();
        let (units, limit) = (self.controller.units(), self.controller.ceiling());
        is_spread.then(|| spread_gap(units, limit, self.period))
    }

    /// The time over which units go out, and the part of it that so many units take; none
    /// where all may go out at once.
    fn pace_of(&self, units: u64) -> Option<(Duration, Duration)> {
        match (self.gap(), self.guard) {
            (Some(gap), _) => Some((gap, gap)),
            (None, Guard::Acked) => {
                let over = self.controller.margin() * PACED;
                Some((over, share(over, units, self.slots.units())))
            }
            (None, Guard::Strict | Guard::Sent) => None,
        }
    }

    fn answered(&mut self, now: Time, hold: &mut Reservation) -> Availability {
        self.observed.accepted(now, hold.units);
        let relief = self.seen(now, hold);
        if !self.controller.accepted(now) {
            return relief;
        }
        self.slots.resize(self.controller.units());
        Availability::Now
    }

    fn refused(&mut self, now: Time, hold: &mut Reservation, explained: bool) {
        self.seen(now, hold);
        self.unexplained += u64::from(!explained);
        if !explained && self.guard == Guard::Acked && self.controller.is_margin_large() {
            self.give_up_acked();
            return;
        }
        let less = if explained { 0 } else { self.controller.refused(now) };
        let takes = self.observed.refused(now, less);
        self.taken_in = if explained { self.taken_in.map(|it| it.min(takes)) } else { Some(takes) };
        self.controller.limit_to(takes);
        self.slots.resize(self.controller.units());
    }

    /// Refusals went on although the margin grew: something between the network stack and the
    /// program holds requests back, such as a proxy. From now on an attempt has arrived when
    /// it is answered. What was acknowledged before counts as it did.
    fn give_up_acked(&mut self) {
        self.guard = Guard::Strict;
        self.gave_up_acked = true;
        self.controller.begin_anew();
        self.slots.resize(self.controller.units());
    }

    fn lost(&mut self, now: Time, hold: &mut Reservation) {
        self.observed.ended(hold.units);
        let acked = self.guard != Guard::Sent && !hold.is_in_flight();
        if !acked {
            let latest = now.after(self.linger);
            let linger = self.linger;
            self.certify(|worst_case| worst_case.lost(latest, linger, hold.units));
            self.slots.count_late(self.span.end(latest), latest, linger, hold);
        }
    }

    fn returned(&mut self, hold: &mut Reservation) {
        self.observed.ended(hold.units);
        if let Some((_, time)) = self.pace_of(hold.units) {
            self.pace.give_back(time);
        }
        self.certify(|worst_case| worst_case.returned(hold.units));
        self.slots.give_back(hold);
    }

    fn settle(&mut self, now: Time, hold: &mut Reservation, units: u64) {
        if let (UnitsState::Until(end), Some(worst_case)) = (hold.place, &mut self.worst_case) {
            worst_case.settled(now, self.span.arrived_by(end), hold.units, units);
        }
        self.slots.settle(now, hold, units);
    }

    /// Whether the server's count is no news: the server's limit is no smaller, and no less
    /// of it is left than is free here.
    fn agrees(&mut self, now: Time, info: RateLimitInfo) -> bool {
        let (Some(limit), Some(remaining), Some(reset)) =
            (info.limit, info.remaining, info.reset_at(now))
        else {
            return false;
        };
        // Resets are told in whole seconds.
        let latest = now.after(self.period + self.period / 20 + Duration::from_secs(1));
        let free = self.span.free(&mut self.slots, now);
        limit >= self.slots.units() && free <= remaining && reset <= latest
    }
}

impl<S: WindowKind> Limiter for Window<S> {
    fn earliest(&mut self, now: Time, units: u64) -> Availability {
        // An attempt that costs more than all that was learnt waits until all is free.
        let fits = units <= self.controller.ceiling();
        let slots = if fits { units.min(self.slots.units()) } else { units };
        let free = self.span.earliest(&mut self.slots, now, slots);
        let when = match self.pace_of(units) {
            Some((over, _)) => free.max(self.pace.earliest(now, over)),
            None => free,
        };
        if when != Availability::Now {
            self.controller.used_up();
        }
        when
    }

    fn take(&mut self, now: Time, units: u64) -> Reservation {
        if let Some((_, time)) = self.pace_of(units) {
            self.pace.take(now, time);
        }
        self.observed.taken(units);
        self.certify(|worst_case| worst_case.taken(now, units));
        self.slots.take(now, units)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) -> Availability {
        match event {
            Event::Sent if self.guard == Guard::Sent => {
                return self.arrived_by(now.after(self.controller.margin()), hold);
            }
            Event::Acked if self.guard == Guard::Acked => {
                self.certify(|worst_case| worst_case.arrived(now, hold.units));
                return self.arrived_by(now.after(self.controller.margin()), hold);
            }
            Event::Answered => return self.answered(now, hold),
            Event::Refused { explained } => self.refused(now, hold, explained),
            Event::Lost => self.lost(now, hold),
            Event::Returned => self.returned(hold),
            Event::Settled(units) => {
                let is_less = units < hold.units;
                self.settle(now, hold, units);
                return if is_less { Availability::Now } else { Availability::Never };
            }
            Event::Sent | Event::Acked | Event::Finished => return Availability::Never,
        }
        Availability::Now
    }

    fn inform(&mut self, now: Time, info: RateLimitInfo) -> bool {
        let is_known = self.agrees(now, info);
        let reset = info.reset_at(now);
        if let Some(end) = reset.and_then(|reset| self.span.end_at_reset(reset)) {
            // A unit that counts for longer than an answer of now may yet arrive.
            let latest = self.span.end(now);
            self.slots.release_by(now, end, latest);
        }
        is_known
    }

    fn allow(&mut self, amount: u64) {
        self.controller.allow(amount);
        self.slots.resize(self.controller.units());
    }

    fn stats(&self) -> LimiterStats {
        let certified = self.worst_case.as_ref();
        LimiterStats {
            peak: certified.map_or(self.slots.peak(), WorstCase::peak),
            used: Some(self.slots.used()),
            margin: (self.guard != Guard::Strict).then(|| self.controller.margin()),
            learnt: self.controller.learnt(),
            taken_in: self.taken_in,
            first_answer: self.first_answer,
            amount: Some(self.controller.ceiling()),
            period: Some(self.period),
            named: self.controller.named(),
            spread: self.gap(),
            unexplained: self.unexplained,
            gave_up_acked: self.gave_up_acked,
            lingering: self.slots.lingering(),
            entries: self.slots.entries()
                + self.observed.entries()
                + certified.map_or(0, WorstCase::entries),
            ..LimiterStats::default()
        }
    }

    fn heed_calendar(&mut self, zero: Timestamp) {
        if self.span.heed_calendar(zero) {
            self.slots.postpone(|end| self.span.recount(end));
        }
    }

    fn is_idle(&mut self, now: Time) -> bool {
        self.slots.is_idle(now)
    }
}

/// The worst case over all windows of one length: how many arrivals can have fallen into one,
/// whatever happened on the way. Each attempt may have arrived at any time from its sending to
/// its answer.
///
/// It follows from what happened, not from what a limit made of it, so it also shows what
/// a guard without a proof has risked.
#[derive(Debug)]
pub struct WorstCase {
    period: Duration,
    resolution: Duration,
    /// Units whose arrival has no end yet.
    open: u64,
    /// Units by the latest time at which they can have arrived.
    ended: Timeline,
    peak: u64,
}

/// Number of times that are exact.
const EXACT: usize = 1_024;
/// Parts of the period to which further times are rounded: less than what periods are
/// taken longer by, so that it hides no limit that was kept.
const PARTS: u32 = 2_048;
/// Parts of linger to which the times of lost attempts are rounded.
const LATE_PARTS: u32 = 1_024;

impl WorstCase {
    /// The worst case for windows of this length.
    #[must_use]
    pub fn new(period: Duration) -> WorstCase {
        let resolution = period / PARTS;
        WorstCase { period, resolution, open: 0, ended: Timeline::new(EXACT, resolution), peak: 0 }
    }

    /// When units can be taken of which there are `most` in each window.
    pub fn earliest(&mut self, now: Time, units: u64, most: u64) -> Availability {
        let over = (self.units(now) + units.min(most)).saturating_sub(most);
        if over == 0 {
            return Availability::Now;
        }
        let enough = self.ended.time_of(over);
        enough.map_or(Availability::AfterAnAnswer, |time| Availability::At(time.after(self.period)))
    }

    /// Units that can have arrived in the window that ends now.
    pub fn units(&mut self, now: Time) -> u64 {
        self.ended.forget(now, self.period);
        self.open + self.ended.units()
    }

    /// The attempt may arrive from now on. The window that ends now is the one
    /// into which it can fall together with the most that came before.
    pub fn taken(&mut self, now: Time, units: u64) {
        self.ended.forget(now, self.period);
        self.open += units;
        self.peak = self.peak.max(self.open + self.ended.units());
    }

    /// An attempt that arrived at the latest of the known times up to `latest` has cost
    /// `after` units, not `before`.
    pub fn settled(&mut self, now: Time, latest: Time, before: u64, after: u64) {
        self.ended.forget(now, self.period);
        self.ended.settle(latest, before, after);
        self.peak = self.peak.max(self.open + self.ended.units());
    }

    /// The attempt arrived no later than `latest`.
    pub fn arrived(&mut self, latest: Time, units: u64) {
        self.open = self.open.saturating_sub(units);
        self.ended.add(latest, units);
    }

    /// The attempt may arrive until `latest`, for as long as `linger`.
    pub fn lost(&mut self, latest: Time, linger: Duration, units: u64) {
        self.open = self.open.saturating_sub(units);
        let resolution = self.resolution.max(linger / LATE_PARTS);
        self.ended.add_within(latest, resolution, units);
    }

    /// The attempt was never sent, or doesn't count.
    pub fn returned(&mut self, units: u64) {
        self.open = self.open.saturating_sub(units);
    }

    /// The most units in any window so far.
    #[must_use]
    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// Number of times that it remembers.
    pub fn entries(&self) -> usize {
        self.ended.entries()
    }
}
