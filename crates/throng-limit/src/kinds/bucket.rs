//! A token bucket of B tokens that come back at rate r; also a leaky bucket used
//! as a meter, and GCRA, which count the same. Pure.
//!
//! Such a server takes an attempt if no span of time t, ended by it, holds more
//! than B + rt arrivals.
//!
//! **Guarantee.** A bucket of our own leaks at rate r; an attempt is poured in
//! not when it is sent, but when it is known to have arrived (`strict`: when it
//! is answered). It may be sent while what is in flight and what is in the
//! bucket make at most B with it. Take any span [a, b]. What arrived in it was
//! answered after a, or is still in flight. Let c be the last time up to b at
//! which an attempt was sent: then the ones in flight at c, and those poured in
//! from a to c, of which at most r(c - a) have leaked, are at most B + r(c - a).
//! Nothing was sent after c. ∎
//!
//! Nothing that knows only when it sent and when answers came can send earlier:
//! the attempts in flight may all arrive now, and those answered may have
//! arrived at their answers. Latency costs no rate while fewer than B are in
//! flight; slots of a period B/r would lose rL/B of it.
//!
//! **Least time.** Let each answer take L, and let a unit leak in T = 1/r. Count the units
//! from 0, and let s(n) be when unit n is sent: s(n) = 0 for n < B. Unit n is sent when
//! n - B + 1 units have leaked. Nothing leaks before the first answer, at L, and no more than
//! one unit in each T: s(n) ≥ L + (n - B + 1)T. No unit leaks earlier than T after its own
//! answer: s(n) ≥ s(n - B) + L + T, so s(jB + k) ≥ j(L + T) + kT for j ≥ 1 and k < B, which
//! is the first bound for j = 1. Sending as soon as the bucket allows reaches the larger of
//! both. So the pace is r while rL ≤ B - 1; beyond that it is B in each L + T, however fast
//! the rate is: the burst and the latency bind.
//!
//! **Units given back.** An attempt that turns out to cost less gives back no more than of
//! its units are still in the bucket, where the first in leak first. Until they have leaked
//! the bucket isn't empty. So without the units given back either the bucket wouldn't have
//! been empty since, and its level is less by just these; or it would have been, and its
//! level is what was poured in since then less what leaked: no more than what is kept. ∎
//!
//! **`sent`.** An attempt is poured in when it is sent, and the bucket is
//! smaller by what the margin lets through: B - r·margin. Where nothing would be
//! left of it, attempts leave 1/r and the margin apart.

use std::time::Duration;

use crate::adapt::Controller;
use crate::config::Guard;
use crate::kinds::pattern::RatePattern;
use crate::kinds::spec::{Form, Measure, Spec, Terms};
use crate::limiter::{
    Availability, Event, Limiter, LimiterStats, RateLimitInfo, Reservation, UnitsState,
};
use crate::quota::SharedTerms;
use crate::time::Time;
use crate::window::slots::{Timeline, thousandths};

/// A bucket of tokens.
#[derive(Debug)]
pub struct Bucket {
    burst: u64,
    /// The time in which one unit leaks.
    per_unit: Duration,
    /// The time in which one unit leaks, and the burst, as the job states them.
    declared: (Duration, u64),
    /// Its units are sixteenths: one less makes a unit leak in an eighth of the declared
    /// time more.
    controller: Controller,
    guard: Guard,
    linger: Duration,
    skew: Duration,
    in_flight: u64,
    /// Lost attempts, by the time at which they are taken to have arrived.
    late: Timeline,
    /// When all that has been poured in will have leaked.
    empty: Time,
    /// The time by which units that were given back have brought that forward.
    given_back: Duration,
    most: u64,
}

/// The first margin of the `sent` guard.
const FIRST_MARGIN: Duration = Duration::from_millis(20);
/// Entries for the time for which lost attempts may still arrive.
const LATE_ENTRIES: u32 = 512;
/// Units of the controller.
const SIXTEENTHS: u64 = 16;
/// The fewest of them: a unit leaks in twice the declared time.
const SLOWEST: u64 = 8;

impl Bucket {
    /// A full bucket of `burst` tokens, of which `units` come back in each period.
    pub(crate) fn new(terms: &Terms, burst: u64, units: u64) -> Bucket {
        let (period, guard, linger) = (terms.period, terms.guard, terms.linger);
        let per_unit = terms.time_per_unit(units);
        let controller = Controller::new(SIXTEENTHS, period);
        let longest = nanos(per_unit.as_nanos() * u128::from(burst.max(1)));
        Bucket {
            burst,
            per_unit,
            declared: (per_unit, burst),
            controller: match guard {
                Guard::Strict | Guard::Acked => controller,
                Guard::Sent => controller.with_margin(FIRST_MARGIN, longest),
            },
            guard,
            linger,
            skew: terms.skew,
            in_flight: 0,
            late: Timeline::new(0, linger / LATE_ENTRIES),
            empty: Time::ZERO,
            given_back: Duration::ZERO,
            most: 0,
        }
    }

    /// The tokens that may be out at once.
    fn room(&self) -> u64 {
        match self.guard {
            Guard::Strict | Guard::Acked => self.burst,
            Guard::Sent => self.burst.saturating_sub(self.unsure()).max(1),
        }
    }

    /// The tokens that come back within the margin.
    fn unsure(&self) -> u64 {
        let margin = self.controller.margin();
        let unsure = margin.as_nanos().div_ceil(self.per_unit.as_nanos().max(1));
        u64::try_from(unsure).unwrap_or(u64::MAX)
    }

    fn pour(&mut self, time: Time, units: u64) {
        self.empty = self.empty.max(time.after(self.skew)).after(self.leaks_in(units));
    }

    fn leaks_in(&self, units: u64) -> Duration {
        nanos(self.per_unit.as_nanos() * u128::from(units))
    }

    /// Leaks as slowly as the controller says; what is in it stays.
    fn leak(&mut self, now: Time) {
        let (declared, _) = self.declared;
        let before = self.per_unit.as_nanos().max(1);
        let eighths = SLOWEST + SIXTEENTHS - self.controller.units();
        self.per_unit = nanos(declared.as_nanos() * u128::from(eighths) / u128::from(SLOWEST));
        let left = self.empty.since(now).as_nanos() * self.per_unit.as_nanos();
        let left = nanos(left.div_ceil(before));
        self.empty = self.empty.max(now.after(left));
    }

    /// Gives back units of those that have leaked by `mark`, as far as they are still in it.
    /// They were perhaps poured in when it leaked as declared.
    fn give_back(&mut self, now: Time, mark: Time, units: u64) {
        let (declared, _) = self.declared;
        let early = nanos(declared.as_nanos() * u128::from(units));
        let early = early.min(mark.before(self.given_back).since(now));
        self.empty = self.empty.before(early);
        self.given_back += early;
    }

    /// When what was poured in last will have leaked, if nothing had ever been given back.
    fn mark(&self) -> Time {
        self.empty.after(self.given_back)
    }

    fn arrived(&mut self, time: Time, hold: &mut Reservation) {
        if hold.is_in_flight() {
            self.in_flight -= hold.units;
            self.pour(time, hold.units);
            hold.place = UnitsState::Until(self.mark());
        }
    }

    /// Pours in what was lost and can't come any later.
    fn catch_up(&mut self, now: Time) {
        while let Some((time, units)) = self.late.pop(now) {
            self.in_flight -= units;
            self.pour(time, units);
        }
    }

    /// When there is room for `units`.
    fn room_for(&self, now: Time, units: u64) -> Availability {
        let room = self.room();
        if units > room {
            return Availability::Never;
        }
        match room.checked_sub(self.in_flight + units) {
            None => match self.late.first() {
                // An answer may come sooner, and then this is looked at again.
                Some(time) => Availability::At(time),
                None => Availability::AfterAnAnswer,
            },
            Some(level) => {
                let left = self.empty.since(now);
                match left.checked_sub(self.leaks_in(level)) {
                    None | Some(Duration::ZERO) => Availability::Now,
                    Some(wait) => Availability::At(now.after(wait)),
                }
            }
        }
    }

    fn level(&self, now: Time) -> u64 {
        let left = self.empty.since(now).as_nanos();
        let level = left.div_ceil(self.per_unit.as_nanos().max(1));
        u64::try_from(level).unwrap_or(u64::MAX)
    }

    fn sent(&mut self, now: Time, hold: &mut Reservation) {
        // A bucket too small to be made smaller takes one after the other.
        let alone = self.burst <= self.unsure();
        let margin = if alone { self.controller.margin() } else { Duration::ZERO };
        self.arrived(now.after(margin), hold);
    }

    fn answered(&mut self, now: Time, hold: &mut Reservation) {
        self.arrived(now, hold);
        if self.controller.accepted(now) {
            self.leak(now);
        }
    }

    fn refused(&mut self, now: Time, hold: &mut Reservation, explained: bool) {
        self.arrived(now, hold);
        if !explained {
            let less = self.controller.refused(now);
            let units = self.controller.units().saturating_sub(less);
            self.controller.limit_to(units.max(SLOWEST));
            self.leak(now);
        }
    }

    fn lost(&mut self, now: Time, hold: &mut Reservation) {
        let acked = self.guard == Guard::Acked && !hold.is_in_flight();
        if acked {
            return;
        }
        self.returned(now, hold);
        self.in_flight += hold.units;
        self.late.add(now.after(self.linger), hold.units);
        // What it costs is not known any more.
        hold.place = UnitsState::Free;
    }

    fn returned(&mut self, now: Time, hold: &mut Reservation) {
        match hold.place {
            UnitsState::InFlight => self.in_flight -= hold.units,
            UnitsState::Until(mark) => self.give_back(now, mark, hold.units),
            UnitsState::Free => {}
        }
        hold.place = UnitsState::Free;
    }

    fn settle(&mut self, now: Time, hold: &mut Reservation, units: u64) {
        let (before, place) = (hold.units, hold.place);
        hold.units = units;
        match place {
            UnitsState::InFlight => self.in_flight = self.in_flight - before + units,
            UnitsState::Until(_) if units > before => {
                self.empty = self.empty.max(now).after(self.leaks_in(units - before));
            }
            UnitsState::Until(mark) => self.give_back(now, mark, before - units),
            UnitsState::Free => {}
        }
    }
}

/// A duration of `nanos` nanoseconds, or the longest that there is.
fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Limiter for Bucket {
    fn earliest(&mut self, now: Time, units: u64) -> Availability {
        self.catch_up(now);
        let when = self.room_for(now, units);
        if when != Availability::Now {
            self.controller.used_up();
        }
        when
    }

    fn take(&mut self, now: Time, units: u64) -> Reservation {
        self.catch_up(now);
        self.in_flight += units;
        self.most = self.most.max(self.in_flight + self.level(now));
        Reservation::new(units)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) -> Availability {
        match event {
            Event::Sent if self.guard == Guard::Sent => self.sent(now, hold),
            Event::Acked if self.guard == Guard::Acked => self.arrived(now, hold),
            Event::Answered => self.answered(now, hold),
            Event::Refused { explained } => self.refused(now, hold, explained),
            Event::Lost => {
                self.lost(now, hold);
                // What can't come any later makes room, perhaps for what costs more first.
                return Availability::Now;
            }
            Event::Returned => self.returned(now, hold),
            Event::Settled(units) => self.settle(now, hold, units),
            Event::Sent | Event::Acked | Event::Finished => return Availability::Never,
        }
        // Nothing that costs more goes before what costs one.
        match self.room_for(now, 1) {
            Availability::AfterAnAnswer => Availability::Never,
            first => first,
        }
    }

    fn inform(&mut self, now: Time, info: RateLimitInfo) -> bool {
        if let Some(remaining) = info.remaining {
            let gone = self.burst.saturating_sub(remaining);
            let poured = gone.saturating_sub(self.in_flight);
            self.empty = self.empty.max(now.after(self.leaks_in(poured)));
        }
        false
    }

    fn allow(&mut self, amount: u64) {
        self.burst = amount;
    }

    fn stats(&self) -> LimiterStats {
        LimiterStats {
            peak: self.most,
            margin: (self.guard == Guard::Sent).then(|| self.controller.margin()),
            learnt: (self.burst != self.declared.1).then_some(self.burst),
            amount: Some(self.burst),
            lingering: thousandths(self.late.units(), self.burst),
            entries: self.late.entries(),
            ..LimiterStats::default()
        }
    }

    fn is_idle(&mut self, now: Time) -> bool {
        self.catch_up(now);
        self.in_flight == 0 && self.empty <= now
    }
}

/// `bucket:10/1s`: 10 tokens come back each second; the bucket holds the burst, or as many.
pub(crate) const BUCKET: Spec = Spec {
    rate_pattern: Some(|terms| RatePattern::paced(burst(terms), terms.units, terms.period)),
    most_at_once: burst,
    shared: Some(|terms| SharedTerms::bucket(terms, burst(terms), terms.units)),
    measure: Some(|units, burst| Measure::Bucket { burst: burst.unwrap_or(units) }),
    model: Some("bucket"),
    ..Spec::new(Form::Prefix("bucket"), |terms| {
        Box::new(Bucket::new(terms, burst(terms), terms.units))
    })
};

fn burst(terms: &Terms) -> u64 {
    terms.burst.unwrap_or(terms.units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    /// One token comes back each 100.05 ms.
    fn bucket(burst: u64, guard: Guard) -> Bucket {
        let terms = Terms { guard, ..Terms::strict(10, Duration::from_secs(1)) };
        Bucket::new(&terms, burst, terms.units)
    }

    fn micros(micros: u64) -> Availability {
        Availability::At(Time::from_nanos(micros * 1_000))
    }

    #[test]
    fn a_burst_then_one_at_a_time() {
        let mut bucket = bucket(3, Guard::Strict);
        let mut holds = [0; 3].map(|_| bucket.take(at(0), 1));
        assert_eq!(bucket.earliest(at(0), 1), Availability::AfterAnAnswer);
        for hold in &mut holds {
            bucket.on(at(40), hold, Event::Answered);
        }
        // Two of the three must stay in.
        assert_eq!(bucket.earliest(at(40), 1), micros(140_050));
        assert_eq!(bucket.earliest(at(40), 2), micros(240_100));
        assert_eq!(bucket.earliest(at(40), 4), Availability::Never);
        assert!(!bucket.is_idle(at(340)));
        assert!(bucket.is_idle(at(341)));
        assert_eq!(bucket.stats().peak, 3);
    }

    #[test]
    fn refusals_slow_it_down_to_half_its_rate_and_no_further() {
        let mut bucket = bucket(3, Guard::Strict);
        for _ in 0..1_000 {
            let mut hold = bucket.take(at(0), 1);
            bucket.on(at(0), &mut hold, Event::Refused { explained: false });
        }
        let before = bucket.declared.0;
        assert_eq!(bucket.per_unit, before * 2);
        let mut hold = bucket.take(at(0), 1);
        let full = bucket.empty;
        bucket.on(at(0), &mut hold, Event::Answered);
        assert_eq!(bucket.empty, full.after(before * 2));
    }

    #[test]
    fn it_leaks_as_declared_again_when_nothing_was_refused_for_long() {
        let mut bucket = bucket(3, Guard::Strict);
        for _ in 0..4 {
            let mut hold = bucket.take(at(0), 1);
            bucket.on(at(0), &mut hold, Event::Refused { explained: false });
        }
        let (declared, _) = bucket.declared;
        let mut times = Vec::new();
        for second in 1..24 {
            let now = at(second * 1_000);
            bucket.earliest(now, 3);
            let mut holds = [0; 3].map(|_| bucket.take(now, 1));
            bucket.earliest(now, 1);
            for hold in &mut holds {
                bucket.on(now, hold, Event::Answered);
            }
            times.push(bucket.per_unit.as_nanos() * 8 / declared.as_nanos());
        }
        assert_eq!(times[..15], [16; 15]);
        assert_eq!(times[15..], [15, 15, 13, 13, 9, 9, 8, 8]);
    }

    #[test]
    fn a_slow_answer_costs_no_rate() {
        let mut bucket = bucket(3, Guard::Strict);
        let _slow = bucket.take(at(0), 1);
        for i in 0..50 {
            let now = at(i * 101);
            assert_eq!(bucket.earliest(now, 1), Availability::Now, "{i}");
            let mut hold = bucket.take(now, 1);
            bucket.on(now, &mut hold, Event::Answered);
        }
    }

    #[test]
    fn a_lost_one_is_poured_in_when_it_can_come_no_more() {
        let mut bucket = bucket(1, Guard::Strict);
        let mut hold = bucket.take(at(0), 1);
        bucket.on(at(100), &mut hold, Event::Lost);
        let Availability::At(time) = bucket.earliest(at(200), 1) else {
            panic!("it has a time");
        };
        assert!(time >= at(30_100) && time <= at(30_200), "{time:?}");
        assert_eq!(
            bucket.earliest(time, 1),
            Availability::At(time.after(Duration::from_micros(100_050)))
        );
    }

    #[test]
    fn sent_keeps_room_for_what_the_way_may_bring_together() {
        let mut bucket = bucket(3, Guard::Sent);
        for _ in 0..2 {
            let mut hold = bucket.take(at(0), 1);
            bucket.on(at(0), &mut hold, Event::Sent);
        }
        assert_eq!(bucket.earliest(at(0), 1), micros(100_050), "20 ms cost a token");
    }

    #[test]
    fn a_true_cost_is_refunded_or_owed() {
        let mut bucket = bucket(10, Guard::Strict);
        let mut hold = bucket.take(at(0), 10);
        bucket.on(at(0), &mut hold, Event::Answered);
        bucket.on(at(0), &mut hold, Event::Settled(2));
        assert_eq!(bucket.earliest(at(0), 8), Availability::Now);
        bucket.on(at(0), &mut hold, Event::Settled(20));
        assert_eq!(bucket.earliest(at(0), 1), micros(1_100_550));
    }
}
