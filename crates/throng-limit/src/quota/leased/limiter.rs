//! One limit on units that are leased, as an attempt meets it. Pure: the store is an argument.

use std::time::Duration;

use jiff::Timestamp;

use super::exchange::{LeaseReply, LeaseRequest, QuotaHandle};
use super::lease_size::LeaseSize;
use crate::limiter::{
    Availability, Event, Limiter, LimiterStats, RateLimitInfo, Reservation, UnitsState,
};
use crate::quota::terms::{ArrivalEvent, Quota, SEND_TIME};
use crate::time::Time;

/// How long until a store is asked again that another process is writing.
const SOON: Duration = Duration::from_millis(2);

/// One limit's arithmetic, on units that are leased from an account.
#[derive(Debug)]
pub struct LeasedLimiter {
    inner: Box<dyn Limiter>,
    account: Box<dyn QuotaHandle>,
    pub(super) quota: Quota,
    /// Leased, and not used yet.
    in_hand: u64,
    in_flight: u64,
    /// How many are leased at a time.
    size: LeaseSize,
    /// Leased as far as the store knows; none before the first exchange.
    reported: Option<u64>,
    /// Until when leased units may be sent.
    lease_end: Time,
    /// The number of the lease, which changes when the store may have taken the run for dead.
    lease: u32,
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
            size: LeaseSize::default(),
            reported: None,
            lease_end: Time::ZERO,
            lease: 0,
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
    pub(super) fn exchange(&mut self, now: Time, wanted: u64, least: u64) -> LeaseReply {
        self.note_silence(now);
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
            LeaseReply::Units(units) => {
                (self.in_hand, self.back) = (self.in_hand + units, None);
                self.size.note(units);
            }
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

    /// After a long silence, as of a process that was stopped or a machine that slept, the store may
    /// have counted all that is leased as sent long ago, and given it to others by now. The store
    /// waits for longer, so that clocks may differ a little.
    fn note_silence(&mut self, now: Time) {
        if now >= self.lease_end.after(self.quota.timeout.max(self.quota.linger)) {
            self.in_hand = 0;
            self.lease = self.lease.wrapping_add(1);
        }
    }

    /// Units of an attempt are free for another one, if the store still keeps them for this run.
    fn free(&mut self, hold: &Reservation, units: u64) {
        if hold.lease == self.lease {
            self.in_hand += units;
        }
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
        let wanted = if missing > 0 { missing.max(self.lease_size(now)) } else { 0 };
        self.ask_again = match self.exchange(now, wanted, missing) {
            LeaseReply::Units(given) if self.has(now, units) => {
                // There are no more now: to ask at once would be told that, and cost as much.
                if given < wanted && !self.account.gathers() {
                    self.ask_again = self.next_look_after(now, given);
                }
                return Availability::Now;
            }
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

    /// The number of units to lease; a store that gathers requests says itself how many more.
    fn lease_size(&mut self, now: Time) -> u64 {
        if self.account.gathers() { self.quota.block() } else { self.size.units(now, &self.quota) }
    }

    /// When the store is asked again that had no more than the units that it gave: the sooner, the
    /// more come back at a time.
    fn next_look_after(&self, now: Time, given: u64) -> Time {
        let look = self.quota.next_look(now, Some(now)).since(now);
        now.after(if given >= self.quota.block() { look / 2 } else { look })
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
                Some(noted) => self.take_back(noted, hold, hold.units),
                None => {
                    self.in_flight = self.in_flight.saturating_sub(hold.units);
                    self.free(hold, hold.units);
                }
            }
        }
    }

    /// Takes back some of an attempt's units, which were noted together. Units that the store was told
    /// of it gives out again, if they still count: they are perhaps leased by another run.
    fn take_back(&mut self, noted: Time, hold: &Reservation, units: u64) {
        if self.arrived.contains(&(noted, signed(hold.units))) {
            self.free(hold, units);
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
            Some(noted) if units < before => self.take_back(noted, hold, before - units),
            Some(noted) => {
                self.arrived.push((noted, signed(units - before)));
                self.in_hand = self.in_hand.saturating_sub(units - before);
            }
            None => {
                self.in_flight = (self.in_flight + units).saturating_sub(before);
                self.free(hold, before.saturating_sub(units));
                self.in_hand = self.in_hand.saturating_sub(units.saturating_sub(before));
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
        let is_worth_it =
            self.quota.reports_at_once() || self.account.gathers() && !self.quota.is_durable();
        let is_news = !self.arrived.is_empty() && is_worth_it;
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
        Reservation { lease: self.lease, ..self.inner.take(now, units) }
    }

    fn may_send(&self, now: Time, hold: &Reservation) -> bool {
        hold.lease == self.lease && now < self.lease_end.after(SEND_TIME)
    }

    fn on(&mut self, now: Time, hold: &mut Reservation, event: Event) -> Availability {
        self.note(now, hold, event);
        match event {
            Event::Returned => self.returned(hold),
            Event::Settled(units) => self.settle(now, hold, units),
            _ => {}
        }
        let relief = self.inner.on(now, hold, event);
        self.report(now, event);
        // Waiters are looked at after the last answer, which is when the store is told of it.
        if self.quota.is_durable() { Availability::Now } else { relief }
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
