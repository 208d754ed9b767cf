//! A limit as units that runs share: how many there are, and for how long each counts. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Guard, Shard};
use crate::kinds::Terms;
use crate::kinds::sliding::Sliding;
use crate::limiter::REQUESTS;
use crate::time::Time;
use crate::window::WindowKind;

/// Limits with longer periods than this are kept durably: a power cut loses none of their
/// use.
const LONGER_THAN: Duration = Duration::from_secs(600);
/// Number of units above which several share one entry.
const EXACT: u64 = 512;
/// Number of entries of a period where several units share one: a unit comes back later by up to
/// such a part of the period.
const ENTRIES: u32 = 1_024;
/// Time for which a permit may be held before its attempt is sent, after a lease has ended.
pub(crate) const SEND_TIME: Duration = Duration::from_secs(1);
/// Fastest rate, in units per second, of which each answer is reported at once.
const REPORTED_AT_ONCE: f64 = 500.0;

/// A limit as units that runs share.
#[derive(Debug, Clone)]
pub struct Quota {
    /// As the job writes it.
    pub name: String,
    /// The unit that it counts.
    pub unit: String,
    /// The shard whose part of a limit it is: a part counts the requests of its shard's runs
    /// alone.
    pub shard: Option<Shard>,
    /// The period of the limit; zero if it has none.
    pub period: Duration,
    /// The longest time for which a run waits for an answer.
    pub timeout: Duration,
    /// How long a lost request may still arrive.
    pub linger: Duration,
    /// For how long a unit counts, and from when on.
    pub(crate) terms: SharedTerms,
}

/// What a kind of limit states of the units that runs share.
#[derive(Debug, Clone)]
pub(crate) struct SharedTerms {
    /// Number of units.
    pub units: u64,
    /// The longest time for which they count that arrive together.
    pub span: Duration,
    /// For how long a unit counts that has arrived.
    pub lifetime: Lifetime,
    /// The event by which an attempt has arrived.
    pub arrival: ArrivalEvent,
}

/// For how long a unit counts that has arrived.
#[derive(Debug, Clone)]
pub(crate) enum Lifetime {
    /// For a window.
    Window(Arc<dyn WindowKind>),
    /// In full for a window, and in part in the next one, as a counter estimates it.
    TwoWindows {
        /// The length of each window.
        period: Duration,
        /// Time by which a unit counts later, for what the server rounds.
        skew: Duration,
    },
    /// Until it has leaked out of a bucket.
    Leak {
        /// The time in which one unit leaks.
        per_unit: Duration,
        /// Time by which a unit leaks later, for what the server rounds.
        skew: Duration,
    },
}

/// The event by which an attempt has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ArrivalEvent {
    /// Its answer's head is seen.
    Answered,
    /// Its last byte is acknowledged, and a margin is over; or its answer's head is seen.
    Acked,
    /// It is sent, and a margin is over.
    Sent,
    /// Its answer is read to the end: until then the server works on it.
    Finished,
}

impl SharedTerms {
    /// Units that each count for a window, from when the guard says that they arrived.
    pub fn window(terms: &Terms, kind: impl WindowKind + 'static) -> SharedTerms {
        SharedTerms {
            units: terms.units,
            span: terms.period,
            lifetime: Lifetime::Window(Arc::new(kind)),
            arrival: terms.guard.into(),
        }
    }

    /// Units of a counter with windows of this length.
    pub fn two_windows(terms: &Terms, period: Duration) -> SharedTerms {
        SharedTerms {
            units: terms.units,
            span: period,
            lifetime: Lifetime::TwoWindows { period, skew: terms.skew },
            arrival: terms.guard.into(),
        }
    }

    /// The units of a bucket that holds `burst`, of which `units` leak in each period.
    pub fn bucket(terms: &Terms, burst: u64, units: u64) -> SharedTerms {
        let (per_unit, skew) = (terms.time_per_unit(units), terms.skew);
        let full = per_unit.saturating_mul(u32::try_from(burst).unwrap_or(u32::MAX));
        SharedTerms {
            units: burst,
            span: full + skew,
            lifetime: Lifetime::Leak { per_unit, skew },
            arrival: terms.guard.into(),
        }
    }

    /// One unit for as long as `gap` after an attempt was sent.
    pub fn gap(gap: Duration) -> SharedTerms {
        SharedTerms {
            units: 1,
            span: gap,
            lifetime: Lifetime::Window(Arc::new(Sliding::new(gap, Duration::ZERO))),
            arrival: ArrivalEvent::Sent,
        }
    }

    /// Units that are free once the answer was read to its end.
    pub fn in_flight(units: u64) -> SharedTerms {
        SharedTerms { units, arrival: ArrivalEvent::Finished, ..SharedTerms::gap(Duration::ZERO) }
    }
}

impl Lifetime {
    /// Until when a unit counts that has arrived no later than `arrived`. The calendar says
    /// `zero` at the clock's zero; if none is given, it is what the limit was made with.
    pub fn end(&self, arrived: Time, zero: Option<Timestamp>) -> Time {
        match (self, zero) {
            (Lifetime::Window(kind), Some(zero)) => kind.end_on(zero, arrived),
            (Lifetime::Window(kind), None) => kind.end(arrived),
            (Lifetime::TwoWindows { period, skew }, _) => arrived.after(*skew).after(*period * 2),
            (Lifetime::Leak { per_unit, skew }, _) => arrived.after(*skew).after(*per_unit),
        }
    }
}

impl From<Guard> for ArrivalEvent {
    fn from(guard: Guard) -> ArrivalEvent {
        match guard {
            Guard::Strict => ArrivalEvent::Answered,
            Guard::Acked => ArrivalEvent::Acked,
            Guard::Sent => ArrivalEvent::Sent,
        }
    }
}

impl Quota {
    /// Number of units.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.terms.units
    }

    /// The limit has this many units from now on.
    pub fn set_units(&mut self, units: u64) {
        self.terms.units = units;
    }

    /// Until when a unit counts that has arrived no later than `arrived`, where the
    /// calendar says `zero` at the clock's zero.
    #[must_use]
    pub fn end(&self, arrived: Time, zero: Timestamp) -> Time {
        self.terms.lifetime.end(arrived, Some(zero))
    }

    /// When what arrived before a reset that the server names stops counting, if
    /// it does so for the reset's sake.
    #[must_use]
    pub fn end_at_reset(&self, reset: Time) -> Option<Time> {
        match &self.terms.lifetime {
            Lifetime::Window(kind) => kind.end_at_reset(reset),
            Lifetime::TwoWindows { .. } | Lifetime::Leak { .. } => None,
        }
    }

    /// Whether its windows end when the calendar says.
    #[must_use]
    pub fn follows_calendar(&self) -> bool {
        match &self.terms.lifetime {
            Lifetime::Window(kind) => kind.follows_calendar(),
            Lifetime::TwoWindows { .. } | Lifetime::Leak { .. } => false,
        }
    }

    /// Whether a power cut must lose none of its use.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.period > LONGER_THAN
    }

    /// The precision to which times may be rounded up, so that there are not too many.
    #[must_use]
    pub fn resolution(&self) -> Duration {
        if self.units() > EXACT { self.terms.span / ENTRIES } else { Duration::from_micros(1) }
    }

    /// The latest time at which an attempt can arrive that is lost now; rounded up, where
    /// there may be many.
    #[must_use]
    pub(crate) fn lost_until(&self, now: Time) -> Time {
        let grain = if self.units() > EXACT { self.linger.as_nanos() / 512 } else { 0 }.max(1);
        let latest = now.after(self.linger).since(Time::ZERO).as_nanos().div_ceil(grain) * grain;
        Time::from_nanos(u64::try_from(latest).unwrap_or(u64::MAX))
    }

    /// Whether an attempt's cost is known only when its answer is read to its end.
    #[must_use]
    pub(crate) fn is_settled(&self) -> bool {
        self.unit != REQUESTS
    }

    /// Number of units that a run leases at a time, so that not every request asks the store.
    #[must_use]
    pub fn block(&self) -> u64 {
        let part = if self.is_durable() { 100 } else { 200 };
        // A request may cost thousands of other units.
        let most = if self.is_settled() { u64::MAX } else { 1_000 };
        (self.units() / part).clamp(1, most)
    }

    /// How long leased units may be sent after the last exchange with the store.
    #[must_use]
    pub fn lease(&self) -> Duration {
        (self.terms.span / 60).max(Duration::from_secs(1))
    }

    /// For how long after the last word of a run, at most, it may still send and wait for an
    /// answer: until its lease has ended, and the longest wait is over.
    pub(crate) fn unheard(&self) -> Duration {
        self.lease() + SEND_TIME + self.timeout.max(self.linger)
    }

    /// The longest time for which anything counts that is leased now.
    pub(crate) fn longest_use(&self) -> Duration {
        self.unheard() + self.linger + self.period.max(self.terms.span) * 2
    }

    /// Whether an answer is reported at once, so that after a crash only what was in flight
    /// counts as lost. Faster limits, and durable ones, report several together.
    #[must_use]
    pub fn reports_at_once(&self) -> bool {
        let seconds = self.terms.span.as_secs_f64();
        let is_slow = self.terms.units as f64 <= REPORTED_AT_ONCE * seconds;
        !self.is_durable() && (is_slow || self.terms.arrival == ArrivalEvent::Finished)
    }

    /// The time between two exchanges of one run that want units, where this number of runs share
    /// the limit over a network: the same for each of them, so that none gets more by asking more
    /// often, and the longer the more they are, so that all together ask the store no more often.
    /// `cost` is the number of units of a request, and `keys` that of such limits of which the run
    /// wants units at a time.
    #[must_use]
    pub(crate) fn exchange_gap(&self, runs: u64, cost: u64, keys: u64) -> Duration {
        let requests = (self.units() / cost.max(1)).max(1) as f64;
        let span = self.terms.span.as_secs_f64();
        let part = (requests * keys as f64 / REQUESTS_OF_PART).clamp(LEAST_PART, LARGEST_PART);
        let wait = (span * part).min(span * WORTH / requests).min(LONGEST_WAIT.as_secs_f64());
        Duration::from_secs_f64((wait * runs as f64).min(LONGEST_GAP.as_secs_f64()))
    }

    /// Number of units that come back in this time where all are used.
    pub(crate) fn units_in(&self, time: Duration) -> u64 {
        let part = time.as_secs_f64() / self.terms.span.as_secs_f64().max(1e-9);
        (self.units() as f64 * part).min(self.units() as f64) as u64
    }

    /// When a run asks again that was refused, where enough units come back at `back`.
    /// Other runs may give units back earlier.
    #[must_use]
    pub fn next_look(&self, now: Time, back: Option<Time>) -> Time {
        let (least, most, usual) = if self.is_durable() {
            (Duration::from_millis(100), Duration::from_secs(10), Duration::from_secs(1))
        } else {
            let least = (self.terms.span / 500).clamp(MILLISECOND, Duration::from_millis(100));
            let usual = (self.terms.span / 100).clamp(2 * MILLISECOND, Duration::from_secs(1));
            (least, Duration::from_secs(1), usual)
        };
        let wait = match back.map(|back| back.since(now)) {
            // Not much longer than units are known to come.
            Some(left) if self.is_durable() => left.min((left / 20).clamp(least, most)),
            Some(left) => left.clamp(least, most),
            None => usual,
        };
        now.after(wait)
    }
}

/// Number of requests for which one exchange over a network is worth it.
const WORTH: f64 = 25.0;
/// The longest time, and part of a limit's period, between two exchanges of all runs that share it:
/// units that come back wait for the next one. The part is small for limits of few requests, which
/// are asked for no more often for that: runs ask when some are to come back. Where many keys have such
/// a limit, some always are.
const LONGEST_WAIT: Duration = Duration::from_millis(25);
const LEAST_PART: f64 = 0.01;
const LARGEST_PART: f64 = 0.025;
const REQUESTS_OF_PART: f64 = 10_000.0;
/// The longest time between two exchanges of a run, however many share the limit.
const LONGEST_GAP: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
