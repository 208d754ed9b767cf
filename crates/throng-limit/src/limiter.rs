//! The interface of one limit's arithmetic. Pure: time is an argument.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::time::Time;

/// The unit that a limit counts, if it names none.
pub(crate) const REQUESTS: &str = "requests";

/// One limit's arithmetic.
///
/// An attempt takes its units with [`take`](Limiter::take); then the limit is told each
/// [`Event`] of the attempt. What a limit must remember of an attempt lies in its
/// [`Reservation`], so that a limit's memory does not grow with what is in flight.
pub trait Limiter: fmt::Debug + Send {
    /// When `units` can be taken if nothing else happens before.
    fn earliest(&mut self, now: Time, units: u64) -> Availability;

    /// Takes `units`, which [`earliest`](Limiter::earliest) gave as available.
    fn take(&mut self, now: Time, units: u64) -> Reservation;

    /// Whether an attempt that has taken these units may still be sent. If not, all that count this
    /// limit together may have taken the run for dead, and given its units to others.
    fn may_send(&self, _now: Time, _hold: &Reservation) -> bool {
        true
    }

    /// Something happened to an attempt. Gives the earliest time at which another attempt may
    /// have its units sooner because of it: `Never` if none can, `Now` if that isn't known.
    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) -> Availability;

    /// The server tells its own count, which only ever tightens the limit. Gives whether
    /// that is no news: the server's limit is no smaller, and no less of it is left than
    /// is free here.
    fn inform(&mut self, _now: Time, _info: RateLimitInfo) -> bool {
        false
    }

    /// The limit allows `amount` units from now on, as the server says.
    fn allow(&mut self, _amount: u64) {}

    /// The limit's own account so far.
    fn stats(&self) -> LimiterStats;

    /// The server has asked for a pause until this time, which the other runs of the account are to
    /// know.
    fn pause(&mut self, _until: Time) {}

    /// What the other runs of the account are to know of the search for a pace, if the limit is
    /// searched for.
    fn search(&self, _now: Time) -> Option<SearchReport> {
        None
    }

    /// The searches of the other runs of the account.
    fn heed_searches(&mut self, _now: Time, _others: OtherSearches) {}

    /// The calendar's time at the clock's zero, which changes when the calendar is set.
    fn heed_calendar(&mut self, _zero: Timestamp) {}

    /// Nothing more will be sent. Gives whether all that count this limit together know.
    fn close(&mut self, _now: Time) -> bool {
        true
    }

    /// Whether the limit could as well begin anew: nothing is taken or counted.
    fn is_idle(&mut self, now: Time) -> bool;
}

/// What happens to an attempt that has taken units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The attempt is being written.
    Sent,
    /// The server's network stack has all of it.
    Acked,
    /// The final answer's head has been seen: the attempt arrived no later than now.
    Answered,
    /// The answer was a refusal for the limit's sake.
    Refused {
        /// Whether a refusal was to be expected, as of an attempt that was in flight when
        /// the server asked for a pause.
        explained: bool,
    },
    /// No answer came: the attempt may still arrive until linger has passed.
    Lost,
    /// Nothing was sent, or nothing that counts.
    Returned,
    /// The answer has been read to its end.
    Finished,
    /// The attempt has turned out to cost this many units.
    Settled(u64),
}

/// When units are available, as far as is known now.
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
    /// By when they have arrived, if that is known but not yet how many they are.
    pub(crate) arrived: Option<Time>,
    /// By when they have arrived, if a quota store is told.
    pub(crate) noted: Option<Time>,
    /// When they were taken, if the limit asks how long the attempt was under way.
    pub(crate) taken: Option<Time>,
    /// The number of the lease that they are from, if they are leased.
    pub(crate) lease: u32,
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

/// What an answer tells of one limit of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RateLimitInfo {
    /// The most units in a window.
    pub limit: Option<u64>,
    /// The units that are left of them.
    pub remaining: Option<u64>,
    /// How long from now the window ends.
    pub reset: Option<Duration>,
    /// The length of the window.
    pub window: Option<Duration>,
}

/// One limit's own account, or that of the same limit for many keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimiterStats {
    /// The most units that can have fallen into one window so far.
    pub peak: u64,
    /// Units that are used now: those in flight, and those that still count.
    pub used: Option<u64>,
    /// The time that is kept between periods or attempts, where it was learnt.
    pub margin: Option<Duration>,
    /// The fewest units that it allows, where those are not what the job says.
    pub learnt: Option<u64>,
    /// The most units that the server has taken in within a period, by its last refusal.
    pub taken_in: Option<u64>,
    /// When the first answer was seen, if it keeps windows.
    pub first_answer: Option<Time>,
    /// The units that it allows now, if a server would name them.
    pub amount: Option<u64>,
    /// The period in which it allows them, if a server would name that, too.
    pub period: Option<Duration>,
    /// The fewest units that the server has named, where those are not what the job says.
    pub named: Option<u64>,
    /// When units come back, where that is later than the time at which it is worth
    /// asking again.
    pub back: Option<Time>,
    /// Whether other runs lease units, which they may give back earlier.
    pub others_lease: bool,
    /// The gap between requests, where refusals have called for one.
    pub spread: Option<Duration>,
    /// The pace that was found, where it was searched for.
    pub found: Option<FoundPace>,
    /// Refusals that its own count cannot explain.
    pub unexplained: u64,
    /// Whether it has given up to believe acknowledgements, and waits for answers.
    pub gave_up_acked: bool,
    /// Thousandths of its units that lost requests hold, which may still arrive.
    pub lingering: u16,
    /// How many times it remembers.
    pub entries: usize,
}

/// A pace that was searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct FoundPace {
    /// The time for each unit that the server takes.
    pub per_unit: Duration,
    /// Whether a faster pace was refused: otherwise the server may take more.
    pub was_refused: bool,
    /// Whether the search has come to an end: otherwise the pace is the last that was tried.
    pub is_settled: bool,
    /// The units and the period of the limit that the server's headers name, if that is kept.
    pub named: Option<(u64, Duration)>,
    /// Whether the server wants requests to be a gap apart, as far as its refusals tell.
    pub wants_gaps: bool,
}

/// One run's search for the pace of an account, as the other runs know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchReport {
    /// The pace that it would try for the whole account, in millionths of a unit per second.
    pub pace: u64,
    /// Whether its requests have to wait for the pace.
    pub wants: bool,
    /// Number of units that the server has taken in from it.
    pub accepted: u64,
    /// Number of times that the server refused it what no pause explains.
    pub refused: u64,
}

/// The searches of all other runs of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSearches {
    /// Number of runs whose requests have to wait for their pace.
    pub runs: u64,
    /// The sum of their paces, in millionths of a unit per second.
    pub pace: u64,
    /// Number of units that the server has taken in from all others.
    pub accepted: u64,
    /// Number of times that the server refused others what no pause explains.
    pub refused: u64,
}

impl LimiterStats {
    /// Adds the account of the same limit for another key.
    pub fn add(&mut self, other: LimiterStats) {
        let fewest = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        *self = LimiterStats {
            peak: self.peak.max(other.peak),
            used: self.used.max(other.used),
            margin: self.margin.max(other.margin),
            learnt: fewest(self.learnt, other.learnt),
            first_answer: self.first_answer.into_iter().chain(other.first_answer).min(),
            taken_in: fewest(self.taken_in, other.taken_in),
            amount: fewest(self.amount, other.amount),
            period: self.period.or(other.period),
            named: fewest(self.named, other.named),
            back: self.back.or(other.back),
            others_lease: self.others_lease || other.others_lease,
            spread: self.spread.max(other.spread),
            found: self.found.max(other.found),
            unexplained: self.unexplained + other.unexplained,
            gave_up_acked: self.gave_up_acked || other.gave_up_acked,
            lingering: self.lingering.max(other.lingering),
            entries: self.entries + other.entries,
        };
    }
}

impl FoundPace {
    /// The units in a period, rounded; at least one.
    pub(crate) fn units_in(self, period: Duration) -> u64 {
        let units = period.as_secs_f64() / self.per_unit.as_secs_f64().max(1e-9);
        (units.round() as u64).max(1)
    }
}

impl OtherSearches {
    /// Adds the search of one run.
    pub(crate) fn add(&mut self, report: SearchReport, is_current: bool) {
        if is_current && report.wants {
            self.runs += 1;
            self.pace += report.pace;
        }
        self.accepted += report.accepted;
        self.refused += report.refused;
    }
}

impl RateLimitInfo {
    /// When the window ends, if `now` is when the server said so.
    #[must_use]
    pub fn reset_at(&self, now: Time) -> Option<Time> {
        self.reset.map(|reset| now.after(reset))
    }
}

impl Reservation {
    /// Units that are taken.
    #[must_use]
    pub fn new(units: u64) -> Reservation {
        Reservation { units, ..Reservation::default() }
    }

    pub(crate) fn is_in_flight(&self) -> bool {
        self.place == UnitsState::InFlight
    }
}
