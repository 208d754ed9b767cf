use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{LeaseReply, LeaseRequest, LeasedLimiter, QuotaHandle, QuotaStore, ScopeKey};
use crate::config::{Policy, Settings};
use crate::limiter::{Availability, Event, Limiter, Reservation};
use crate::quota::terms::{Quota, SEND_TIME};
use crate::time::Time;

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
fn units_of_which_a_request_costs_many_are_leased_in_larger_blocks() {
    assert_eq!(["500000/1s", "500000 tokens/1s"].map(|rate| quota(rate).block()), [1_000, 2_500]);
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
fn a_permit_is_sent_while_its_lease_goes_on_and_not_after_a_silence() {
    let (mut leased, _told) = leased();
    assert_eq!(leased.earliest(at(0), 1), Availability::Now);
    let hold = leased.take(at(0), 1);
    let end = at(0).after(leased.quota.lease()).after(SEND_TIME);
    assert!(leased.may_send(end.before(Duration::from_nanos(1)), &hold));
    assert!(!leased.may_send(end, &hold));
    // The store has known all the time that it is leased.
    leased.exchange(end, 0, 0);
    assert!(leased.may_send(end, &hold));
    // The store may have taken the run for dead, though it leases units again now.
    let long = end.after(leased.quota.lease()).after(leased.quota.linger);
    leased.exchange(long, 0, 0);
    assert!(!leased.may_send(long, &hold));
}

#[test]
fn units_from_before_a_long_silence_are_not_in_hand_after_it() {
    for settled in [false, true] {
        let (mut leased, told) = leased();
        assert_eq!(leased.earliest(at(0), 3), Availability::Now);
        let mut hold = leased.take(at(0), 3);
        let mut other = leased.take(at(0), 0);
        let long = at(0).after(leased.quota.lease()).after(leased.quota.linger);
        // An answer is reported, before anything more is taken.
        leased.on(long, &mut other, Event::Answered);
        leased.exchange(long, 0, 0);
        if settled {
            leased.on(long, &mut hold, Event::Settled(1));
        } else {
            leased.on(long, &mut hold, Event::Returned);
        }
        let exchanges = told.0.lock().unwrap().2;
        assert_eq!(leased.earliest(long, 1), Availability::Now);
        assert_eq!(told.0.lock().unwrap().2, exchanges + 1, "{settled}: it is leased anew");
    }
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
