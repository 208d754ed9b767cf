//! A limit whose units are leased from a store, which all runs of an account share. Pure:
//! the store is an argument.
//!
//! The proof is that of [`state`](crate::quota::state). Units are leased in blocks, so that
//! not every request asks the store; a crash loses no more than one block, and what was in
//! flight, and gains nothing. A run that can't reach the store sends nothing more once its
//! lease has ended.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::limiter::{
    Availability, Event, Limiter, LimiterStats, OtherSearches, RateLimitInfo, Reservation,
    SearchReport, UnitsState,
};
use crate::quota::terms::{ArrivalEvent, Quota};
use crate::time::Time;

/// How long until a store is asked again that another process is writing.
const SOON: Duration = Duration::from_millis(2);

/// A store of units that are counted for longer than a process lives.
pub trait QuotaStore: fmt::Debug + Send + Sync {
    /// The account that a quota is counted in, if it is counted here.
    fn account(&self, quota: &Quota, key: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>>;

    /// Why the store gives no units any more, if so.
    fn trouble(&self) -> Option<String>;
}

/// The owner of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeKey<'a> {
    /// The whole run's.
    Run,
    /// That of the key of the pool with this index.
    Pool(usize),
    /// That of this key in its scope.
    Key(&'a str),
}

/// The account of one limit.
pub trait QuotaHandle: fmt::Debug + Send {
    /// Notes what has arrived, and leases the units that are asked for. All of that is
    /// durable when it returns.
    fn exchange(&mut self, now: Time, request: &LeaseRequest<'_>) -> LeaseReply;

    /// The time from which the lease of the units goes on that an exchange has given.
    fn leased_from(&self, now: Time) -> Time {
        now
    }

    /// Whether the store can take back units of which it was told that they have arrived.
    fn takes_back(&self) -> bool {
        true
    }

    /// The end of a pause that another run was asked for, as far as it is known.
    fn paused_until(&self) -> Time {
        Time::ZERO
    }

    /// Whether other runs leased units at the last exchange: they may give them back.
    fn others_lease(&self) -> bool {
        false
    }

    /// The searches for a pace of the other runs, at the last exchange.
    fn other_searches(&self) -> OtherSearches {
        OtherSearches::default()
    }

    /// The limit has this many units from now on, as the server says.
    fn allow(&mut self, _units: u64) {}

    /// Nothing is leased any more. Gives whether the store knows.
    fn close(&mut self) -> bool {
        true
    }
}

/// What a process tells a quota store, and the units that it asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeaseRequest<'a> {
    /// Units, and the latest time at which they can have arrived, since the exchange
    /// before; a negative number takes units back.
    pub arrived: &'a [(Time, i64)],
    /// Units that it keeps: in flight, or not used yet.
    pub kept: u64,
    /// More units that are wanted.
    pub wanted: u64,
    /// Fewer than these are of no use.
    pub least: u64,
    /// What arrived before this doesn't count any more a little after it.
    pub reset: Option<Time>,
    /// The end of a pause that the server has asked this run for.
    pub pause: Option<Time>,
    /// The units that the run believes the server allows, where refusals have taught it.
    pub learnt: Option<u64>,
    /// The run's search for a pace, if the limit is searched for.
    pub search: Option<SearchReport>,
}

/// The answer of a quota store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseReply {
    /// This many more units are kept.
    Units(u64),
    /// None; enough come back at this time, if that is known.
    Later(Option<Time>),
    /// Another process is writing: nothing was noted.
    Busy,
    /// All is noted, and the units are asked for; the answer is worth asking for at this time.
    Asked(Time),
    /// The store gives no units any more.
    Failed,
}

/// One limit's arithmetic, on units that are leased from an account.
#[derive(Debug)]
pub struct LeasedLimiter {
    inner: Box<dyn Limiter>,
    account: Box<dyn QuotaHandle>,
    quota: Quota,
    /// Leased, and not used yet.
    in_hand: u64,
    in_flight: u64,
    /// Leased as far as the store knows; none before the first exchange.
    reported: Option<u64>,
    /// Until when leased units may be sent.
    lease_end: Time,
    /// Arrivals that the store doesn't know yet.
    arrived: Vec<(Time, i64)>,
    reset: Option<Time>,
    /// The end of a pause that the store doesn't know yet.
    pause: Option<Time>,
    /// The end of a pause that another run was asked for.
    paused: Time,
    ask_again: Time,
    back: Option<Time>,
    failed: bool,
}

impl LeasedLimiter {
    /// The arithmetic of `inner`, on units from `account`.
    #[must_use]
    pub fn new(
        inner: Box<dyn Limiter>,
        account: Box<dyn QuotaHandle>,
        quota: Quota,
    ) -> LeasedLimiter {
        LeasedLimiter {
            inner,
            account,
            quota,
            in_hand: 0,
            in_flight: 0,
            reported: None,
            lease_end: Time::ZERO,
            arrived: Vec::new(),
            reset: None,
            pause: None,
            paused: Time::ZERO,
            ask_again: Time::ZERO,
            back: None,
            failed: false,
        }
    }

    /// Reports to the store, and asks for more units.
    fn exchange(&mut self, now: Time, wanted: u64, least: u64) -> LeaseReply {
        let reply = self.account.exchange(
            now,
            &LeaseRequest {
                arrived: &self.arrived,
                kept: self.in_flight + self.in_hand,
                wanted,
                least,
                reset: self.reset,
                pause: self.pause,
                learnt: self.inner.stats().learnt,
                search: self.inner.search(now),
            },
        );
        match reply {
            LeaseReply::Units(units) => (self.in_hand, self.back) = (self.in_hand + units, None),
            LeaseReply::Failed => self.failed = true,
            LeaseReply::Later(back) => self.back = back,
            LeaseReply::Busy | LeaseReply::Asked(_) => {}
        }
        if !matches!(reply, LeaseReply::Busy | LeaseReply::Failed) {
            self.lease_end = self.account.leased_from(now).after(self.quota.lease());
            self.reported = Some(self.in_flight + self.in_hand);
            self.arrived.clear();
            self.reset = None;
            self.pause = None;
            self.paused = self.account.paused_until();
            self.inner.heed_searches(now, self.account.other_searches());
        }
        reply
    }

    /// When `units` are leased. Units that are too few, or that were not sent while their
    /// lease went on, are given back: other runs may wait for them, and have what this one
    /// waits for.
    fn borrow(&mut self, now: Time, units: u64) -> Availability {
        if self.failed {
            return Availability::Never;
        }
        if self.has(now, units) {
            return Availability::Now;
        }
        if now < self.ask_again {
            return Availability::At(self.ask_again);
        }
        if now >= self.lease_end {
            self.in_hand = 0;
        }
        let missing = units.saturating_sub(self.in_hand);
        let wanted = if missing > 0 { missing.max(self.quota.block()) } else { 0 };
        self.ask_again = match self.exchange(now, wanted, missing) {
            LeaseReply::Units(_) if self.has(now, units) => return Availability::Now,
            LeaseReply::Failed => return Availability::Never,
            // An answer that was late may give too few units.
            LeaseReply::Units(_) | LeaseReply::Busy => now.after(SOON),
            LeaseReply::Asked(answered) => answered,
            LeaseReply::Later(back) => {
                self.in_hand = 0;
                self.quota.next_look(now, back)
            }
        };
        Availability::At(self.ask_again)
    }

    /// Whether it has `units` that may be sent now.
    fn has(&self, now: Time, units: u64) -> bool {
        units <= self.in_hand && now < self.lease_end
    }

    /// Before a wait that may be long, reports the last answer, and gives back what is not
    /// used: other runs wait for what this one leases. Gives whether the store knows.
    fn settle_up(&mut self, now: Time) -> bool {
        let is_known = self.in_hand == 0 && self.arrived.is_empty();
        if is_known || self.in_flight > 0 || !self.quota.is_durable() {
            return true;
        }
        self.in_hand = 0;
        self.exchange(now, 0, 0) != LeaseReply::Busy
    }

    /// The latest time at which an attempt has arrived to which this happened.
    fn latest_arrival(&self, now: Time, event: Event) -> Option<Time> {
        let margin = || self.inner.stats().margin.unwrap_or_default();
        match (event, self.quota.terms.arrival) {
            (Event::Lost, _) => Some(self.quota.lost_until(now)),
            (Event::Finished, ArrivalEvent::Finished)
            | (
                Event::Answered | Event::Refused { .. },
                ArrivalEvent::Answered | ArrivalEvent::Acked | ArrivalEvent::Sent,
            ) => Some(now),
            (Event::Acked, ArrivalEvent::Acked) | (Event::Sent, ArrivalEvent::Sent) => {
                Some(now.after(margin()))
            }
            _ => None,
        }
    }

    /// Notes an arrival. Units whose number is not known before the answer's end are kept
    /// until then: what is not used of them would else count for other runs that have
    /// leased it by then.
    fn note(&mut self, now: Time, hold: &mut Reservation, event: Event) {
        if let Some(latest) = self.latest_arrival(now, event) {
            if self.quota.is_settled() && !matches!(event, Event::Lost | Event::Finished) {
                hold.arrived = Some(hold.arrived.map_or(latest, |before| before.min(latest)));
            } else {
                hold.arrived = None;
                self.arrived_by(latest, hold);
            }
        } else if event == Event::Finished
            && let Some(latest) = hold.arrived.take()
        {
            self.arrived_by(latest, hold);
        }
    }

    /// The attempt has arrived no later than this.
    fn arrived_by(&mut self, latest: Time, hold: &mut Reservation) {
        let units = signed(hold.units);
        let is_final = self.quota.terms.arrival == ArrivalEvent::Finished;
        match hold.noted {
            _ if hold.place == UnitsState::Free => return,
            Some(noted) if is_final || noted <= latest => return,
            Some(_) if !self.account.takes_back() => return,
            Some(noted) => self.arrived.push((noted, -units)),
            None => self.in_flight = self.in_flight.saturating_sub(hold.units),
        }
        self.arrived.push((latest, units));
        hold.noted = Some(latest);
    }

    /// Nothing of the attempt was sent, or nothing that counts.
    fn returned(&mut self, hold: &mut Reservation) {
        hold.arrived = None;
        if hold.place != UnitsState::Free {
            match hold.noted.take() {
                Some(noted) => self.take_back(noted, hold.units, hold.units),
                None => {
                    self.in_flight = self.in_flight.saturating_sub(hold.units);
                    self.in_hand += hold.units;
                }
            }
        }
    }

    /// Takes back some of the units that were noted together. Units that the store was told
    /// of it gives out again, if they still count: they are perhaps leased by another run.
    fn take_back(&mut self, noted: Time, units: u64, together: u64) {
        if self.arrived.contains(&(noted, signed(together))) {
            self.in_hand += units;
        }
        self.arrived.push((noted, -signed(units)));
    }

    /// The attempt has turned out to cost this many units.
    fn settle(&mut self, now: Time, hold: &Reservation, units: u64) {
        if hold.place == UnitsState::Free {
            return;
        }
        let before = hold.units;
        let is_debt = units > self.in_hand + before;
        match hold.noted {
            Some(noted) if units < before => self.take_back(noted, before - units, before),
            Some(noted) => {
                self.arrived.push((noted, signed(units - before)));
                self.in_hand = self.in_hand.saturating_sub(units - before);
            }
            None => {
                self.in_flight = (self.in_flight + units).saturating_sub(before);
                self.in_hand = (self.in_hand + before).saturating_sub(units);
            }
        }
        if is_debt {
            // If this process died now, the debt would be unknown.
            self.exchange(now, 0, 0);
        }
    }

    /// Reports what the store doesn't know yet, and gives back all that is leased. Gives
    /// whether the store knows.
    fn close_account(&mut self, now: Time) -> bool {
        let is_known = self.arrived.is_empty() && self.reported == Some(0);
        (is_known || self.exchange(now, 0, 0) != LeaseReply::Busy) && self.account.close()
    }

    /// Reports an answer where that is worth it, and that a lease has ended before its
    /// units were sent.
    fn report(&mut self, now: Time, event: Event) {
        // A refusal may turn out not to count, before it is read to its end.
        let is_end = matches!(event, Event::Answered | Event::Finished);
        let is_news = !self.arrived.is_empty() && self.quota.reports_at_once();
        let is_due = is_end && (is_news || self.pause.is_some());
        let is_late = event == Event::Sent && now >= self.lease_end;
        if is_due || is_late {
            self.exchange(now, 0, 0);
        }
    }
}

impl Limiter for LeasedLimiter {
    fn earliest(&mut self, now: Time, units: u64) -> Availability {
        if now < self.paused {
            return Availability::At(self.paused);
        }
        match self.inner.earliest(now, units) {
            Availability::Now => self.borrow(now, units),
            _ if !self.settle_up(now) => Availability::At(now.after(SOON)),
            later => later,
        }
    }

    fn take(&mut self, now: Time, units: u64) -> Reservation {
        self.in_hand = self.in_hand.saturating_sub(units);
        self.in_flight += units;
        self.inner.take(now, units)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) {
        self.note(now, hold, event);
        match event {
            Event::Returned => self.returned(hold),
            Event::Settled(units) => self.settle(now, hold, units),
            _ => {}
        }
        self.inner.on(now, hold, event);
        self.report(now, event);
    }

    fn inform(&mut self, now: Time, info: RateLimitInfo) -> bool {
        self.reset = info.reset_at(now).or(self.reset);
        self.inner.inform(now, info)
    }

    fn pause(&mut self, until: Time) {
        self.pause = Some(until);
    }

    fn allow(&mut self, amount: u64) {
        self.inner.allow(amount);
        self.account.allow(amount);
    }

    fn stats(&self) -> LimiterStats {
        let stats = self.inner.stats();
        LimiterStats {
            back: self.back.or(stats.back),
            others_lease: self.account.others_lease(),
            ..stats
        }
    }

    fn heed_calendar(&mut self, zero: Timestamp) {
        self.inner.heed_calendar(zero);
    }

    fn close(&mut self, now: Time) -> bool {
        let late = self.quota.lost_until(now);
        if self.in_flight > 0 {
            self.arrived.push((late, signed(self.in_flight)));
        }
        (self.in_flight, self.in_hand) = (0, 0);
        self.close_account(now)
    }

    fn is_idle(&mut self, now: Time) -> bool {
        // Units that the store refused are waited for until then.
        let is_waiting = now < self.ask_again;
        !is_waiting && self.in_flight == 0 && self.inner.is_idle(now) && {
            self.in_hand = 0;
            self.close_account(now)
        }
    }
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::config::Policy;
    use crate::config::Settings;

    /// An account of ten units, which notes the units kept, those that have arrived, and the
    /// exchanges that have leased some.
    #[derive(Debug, Default, Clone)]
    struct TenUnits(Arc<Mutex<(u64, i64, u64)>>);

    impl QuotaHandle for TenUnits {
        fn exchange(&mut self, _now: Time, offer: &LeaseRequest<'_>) -> LeaseReply {
            let mut told = self.0.lock().unwrap();
            told.1 += offer.arrived.iter().map(|(_, units)| units).sum::<i64>();
            let free = 10u64.saturating_sub(offer.kept + told.1.unsigned_abs());
            if free < offer.least {
                told.0 = offer.kept;
                return LeaseReply::Later(None);
            }
            told.0 = offer.kept + free.min(offer.wanted);
            told.2 += 1;
            LeaseReply::Units(free.min(offer.wanted))
        }
    }

    fn rule(rate: &str) -> crate::config::Rule {
        let settings = Settings { rate: vec![rate.parse().unwrap()], ..Settings::default() };
        Policy::new(&settings, Duration::ZERO).unwrap().rules()[0].clone()
    }

    fn quota(rate: &str) -> Quota {
        rule(rate).quota().unwrap()
    }

    fn leased() -> (LeasedLimiter, TenUnits) {
        let rule = rule("10/1h");
        let told = TenUnits::default();
        let account = Box::new(told.clone());
        let leased = LeasedLimiter::new(rule.limiter(), account, rule.quota().unwrap());
        (leased, told)
    }

    fn at(seconds: u64) -> Time {
        Time::from_nanos(seconds * 1_000_000_000)
    }

    /// The units that the account knows as kept, and those that it knows as arrived.
    fn known(told: &TenUnits) -> (u64, i64) {
        let told = told.0.lock().unwrap();
        (told.0, told.1)
    }

    #[test]
    fn nothing_is_taken_that_the_account_does_not_know_of() {
        let (mut leased, told) = leased();
        for n in 1..=10 {
            assert_eq!(leased.earliest(at(0), 1), Availability::Now);
            leased.take(at(0), 1);
            assert_eq!(known(&told), (n, 0));
        }
        assert!(leased.earliest(at(0), 1) != Availability::Now);
    }

    #[test]
    fn what_arrived_is_told_and_what_was_not_sent_is_free_again() {
        let (mut leased, told) = leased();
        let mut holds: Vec<Reservation> = Vec::new();
        for _ in 0..4 {
            assert_eq!(leased.earliest(at(0), 1), Availability::Now);
            holds.push(leased.take(at(0), 1));
        }
        leased.on(at(1), &mut holds[0], Event::Answered);
        leased.on(at(1), &mut holds[1], Event::Lost);
        leased.on(at(1), &mut holds[2], Event::Returned);
        // A refusal that the server doesn't count.
        leased.on(at(1), &mut holds[3], Event::Refused { explained: false });
        leased.on(at(1), &mut holds[3], Event::Returned);
        let exchanges = told.0.lock().unwrap().2;
        assert_eq!(leased.earliest(at(1), 2), Availability::Now, "two are in hand");
        assert_eq!(told.0.lock().unwrap().2, exchanges);
        assert!(leased.close(at(2)));
        assert_eq!(known(&told), (0, 2));
    }

    #[test]
    fn a_debt_is_told_and_less_than_was_thought_is_free_again() {
        let (mut leased, told) = leased();
        assert_eq!(leased.earliest(at(0), 3), Availability::Now);
        let mut hold = leased.take(at(0), 3);
        leased.on(at(1), &mut hold, Event::Answered);
        leased.on(at(1), &mut hold, Event::Settled(9));
        assert_eq!(known(&told), (0, 9));
        assert!(leased.earliest(at(1), 2) != Availability::Now);
        let (mut leased, other) = self::leased();
        assert_eq!(leased.earliest(at(0), 8), Availability::Now);
        let mut hold = leased.take(at(0), 8);
        leased.on(at(0), &mut hold, Event::Settled(2));
        leased.on(at(1), &mut hold, Event::Answered);
        assert_eq!(leased.earliest(at(1), 8), Availability::Now);
        leased.close(at(1));
        assert_eq!(known(&other), (0, 2));
    }

    #[test]
    fn units_that_are_not_sent_or_are_too_few_are_given_back() {
        let (mut leased, told) = leased();
        assert_eq!(leased.earliest(at(0), 3), Availability::Now);
        assert_eq!(known(&told), (3, 0));
        // They wait for another limit for longer than the lease.
        let lease = leased.quota.lease();
        assert_eq!(leased.earliest(at(0).after(lease / 2), 3), Availability::Now);
        let ended = at(0).after(lease * 2);
        assert_eq!(leased.earliest(ended, 2), Availability::Now);
        assert_eq!(known(&told), (2, 0));
        // Another run uses five: there are too few for a larger request.
        told.0.lock().unwrap().1 = 5;
        assert!(leased.earliest(ended, 8) != Availability::Now);
        assert_eq!(leased.exchange(ended, 0, 0), LeaseReply::Units(0));
        assert_eq!(known(&told), (0, 5));
    }

    #[test]
    fn before_a_long_wait_all_that_was_answered_is_reported() {
        let (mut leased, told) = leased();
        let mut holds: Vec<Reservation> = Vec::new();
        for _ in 0..10 {
            assert_eq!(leased.earliest(at(0), 1), Availability::Now);
            holds.push(leased.take(at(0), 1));
        }
        for (answered, hold) in holds.iter_mut().enumerate() {
            assert!(leased.earliest(at(1), 1) != Availability::Now);
            assert_eq!(known(&told), (10, 0), "{answered} answered");
            leased.on(at(1), hold, Event::Answered);
        }
        assert!(leased.earliest(at(1), 1) != Availability::Now);
        assert_eq!(known(&told), (0, 10));
    }

    /// The first key's account is always busy.
    #[derive(Debug)]
    struct Busy(TenUnits);

    impl QuotaHandle for Busy {
        fn exchange(&mut self, _now: Time, _offer: &LeaseRequest<'_>) -> LeaseReply {
            LeaseReply::Busy
        }
    }

    impl QuotaStore for Busy {
        fn account(&self, _quota: &Quota, whose: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>> {
            let told = self.0.clone();
            match whose {
                ScopeKey::Pool(0) => Some(Box::new(Busy(told))),
                _ => Some(Box::new(told)),
            }
        }

        fn trouble(&self) -> Option<String> {
            None
        }
    }

    #[test]
    fn an_account_that_is_busy_keeps_no_other_from_being_closed() {
        let settings = Settings {
            rate: vec!["10/1h".parse().unwrap()],
            keys: vec!["a".into(), "b".into()],
            ..Settings::default()
        };
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let (mut limits, told) = (policy.limits(), TenUnits::default());
        limits.use_store(Arc::new(Busy(told.clone())));
        let ask = crate::gate::cost::Cost::from(1);
        let mut taken = limits.take(at(0), &ask).unwrap();
        assert_eq!((taken.key(), known(&told)), (Some(1), (1, 0)));
        limits.sent(at(0), &ask, &mut taken);
        assert!(!limits.close(at(1)));
        assert_eq!(known(&told), (0, 1));
    }

    #[test]
    fn what_others_give_back_is_looked_for_in_time() {
        let minutes = |m: u64| Some(at(60 * m));
        let hour = quota("10/1h");
        let look = |now, back| hour.next_look(now, back).since(now);
        assert_eq!(look(at(0), minutes(1)), Duration::from_secs(3));
        assert_eq!(look(at(0), minutes(600)), Duration::from_secs(10));
        assert_eq!(look(at(60), minutes(1)), Duration::ZERO);
        assert_eq!(look(at(0), None), Duration::from_secs(1));
        let second = quota("22/5s");
        let look = |now, back| second.next_look(now, back).since(now);
        assert_eq!(look(at(0), Some(at(4))), Duration::from_secs(1));
        assert_eq!(look(at(0), Some(at(0))), Duration::from_millis(10));
        assert_eq!(look(at(0), None), Duration::from_millis(50));
    }
}
