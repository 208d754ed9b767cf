//! What every kind of limit answers to. Pure: time is an argument.

pub mod auto;
pub mod bucket;
pub mod budget;
pub mod concurrency;
pub mod counter;
pub mod fixed;
pub mod sliding;
pub mod spacing;

use std::fmt;

use jiff::Timestamp;

use crate::time::Time;

/// One limit's arithmetic.
///
/// An attempt takes its units, is sent, perhaps acknowledged, and ends in one
/// of four ways; then its body ends, and its true cost may become known. What a
/// limit must remember of an attempt lies in its [`Reservation`], so that a limit's
/// memory doesn't grow with what is in flight.
pub trait Limiter: fmt::Debug + Send {
    /// When `units` can be taken if nothing else happens before.
    fn earliest(&mut self, now: Time, units: u64) -> Availability;

    /// Takes `units`, which [`earliest`](Limiter::earliest) said could be had.
    fn take(&mut self, now: Time, units: u64) -> Reservation;

    /// The attempt is being written.
    fn sent(&mut self, _now: Time, _hold: &mut Reservation) {}

    /// The server's network stack has all of it.
    fn acked(&mut self, _now: Time, _hold: &mut Reservation) {}

    /// The final answer's head has been seen: it arrived no later than now.
    fn answered(&mut self, now: Time, hold: &mut Reservation);

    /// The answer was a refusal for the limit's sake; `explained` if a refusal
    /// was to be expected, such as of what was in flight when the gate closed.
    fn refused(&mut self, now: Time, hold: &mut Reservation, _explained: bool) {
        self.answered(now, hold);
    }

    /// No answer came: it may still arrive until linger has passed.
    fn lost(&mut self, now: Time, hold: &mut Reservation);

    /// Nothing was sent, or nothing that counts.
    fn returned(&mut self, now: Time, hold: &mut Reservation);

    /// The answer has been read to its end.
    fn finished(&mut self, _now: Time, _hold: &mut Reservation) {}

    /// The attempt has turned out to cost `units`.
    fn settle(&mut self, now: Time, hold: &mut Reservation, units: u64);

    /// What the server says of the limit. It only ever tightens.
    fn learn(&mut self, _now: Time, _said: TimedLimitInfo) {}

    /// Whether what the server says is no news: the limit is no smaller, and no
    /// less of it is left than is free here.
    fn agrees(&mut self, _now: Time, _said: TimedLimitInfo) -> bool {
        false
    }

    /// The units that it allows now, if a server would name them.
    fn amount(&self) -> Option<u64> {
        None
    }

    /// From now on it allows so many, as the server says.
    fn allow(&mut self, _amount: u64) {}

    /// The units that it allows, if those are fewer or more than the job says.
    fn learnt(&self) -> Option<u64> {
        None
    }

    /// What the calendar says that it was at the clock's zero, which may be news.
    fn heed_calendar(&mut self, _zero: Timestamp) {}

    /// A run begins: what is counted by the run is counted from now on.
    fn begin(&mut self) {}

    /// Takes in a request that another process has sent: it ended then, or was
    /// lost then. More than all of it can't be used: such times are late by up to as
    /// long as they are noted apart, so the earlier ones were earlier than they say.
    fn remember(&mut self, then: Time, lost: bool) {
        if self.earliest(then, 1) == Availability::Now || self.make_room(then) {
            self.take_in(then, lost);
        }
    }

    /// The same, where there is room for it.
    fn take_in(&mut self, then: Time, lost: bool) {
        let mut hold = self.take(then, 1);
        self.sent(then, &mut hold);
        if lost {
            self.lost(then, &mut hold)
        } else {
            self.answered(then, &mut hold)
        }
        self.finished(then, &mut hold);
        self.begin();
    }

    /// Forgets the earliest of what is remembered, so that one more has room. Whether
    /// there is any now.
    fn make_room(&mut self, _now: Time) -> bool {
        false
    }

    /// Nothing more will be sent. Whether whoever must know it knows.
    fn close(&mut self, _now: Time) -> bool {
        true
    }

    /// When something comes back, if that is later than the time at which it is
    /// worth looking again.
    fn back(&self) -> Option<Time> {
        None
    }

    /// Whether it would do as well to begin anew: nothing is taken or held.
    fn is_idle(&mut self, now: Time) -> bool;

    /// The most units that can have fallen into one window so far.
    fn peak(&self) -> u64;

    /// How many times it remembers.
    #[cfg(test)]
    fn entries(&self) -> usize {
        0
    }

    /// What is kept between periods, where that depends on what was learnt.
    fn margin(&self) -> Option<std::time::Duration> {
        None
    }
}

/// When a permit can be had, as far as is known now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Availability {
    /// At once.
    Now,
    /// Not before this time.
    At(Time),
    /// Not before some attempt in flight ends.
    AfterAnAnswer,
    /// Never: it is more than there will ever be.
    Never,
}

/// What one limit remembers of one attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reservation {
    /// The units that it has taken.
    pub units: u64,
    /// Where they are now.
    pub(crate) place: UnitsState,
    /// By when they have arrived, if a ledger has been told.
    pub(crate) noted: Option<Time>,
}

/// Where the units of an attempt are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UnitsState {
    /// Taken, and not known to have arrived.
    #[default]
    InFlight,
    /// Counted until this time.
    Until(Time),
    /// Given back.
    Free,
}

/// What a server says of its limit, in our clock's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedLimitInfo {
    /// The units that are left, if it says so.
    pub remaining: Option<u64>,
    /// When the window ends, if it says so.
    pub reset: Option<Time>,
    /// The most in a window, if it says so.
    pub limit: Option<u64>,
}

impl Reservation {
    /// Units that are taken.
    #[must_use]
    pub fn new(units: u64) -> Reservation {
        Reservation {
            units,
            place: UnitsState::InFlight,
            noted: None,
        }
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.place == UnitsState::InFlight
    }
}
