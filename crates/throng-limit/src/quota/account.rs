//! The rules by which a run shares the limits of an account. Pure: the caller keeps the states,
//! and changes them for no other run meanwhile.
//!
//! All limits of an account that count the same unit count the same requests. A run leases
//! units only if all of them have some: the limits that it states itself, each by a handle of
//! its own, and, beside one of these, the limits that only other runs state now.

use crate::config::{LINGER, Policy, Settings};
use crate::limiter::OtherSearches;
use crate::quota::clocks::ClockSnapshot;
use crate::quota::leased::{LeaseReply, LeaseRequest};
use crate::quota::state::QuotaState;
use crate::quota::terms::Quota;
use crate::time::Time;

/// A handle of a run, and the time at which it acts.
pub struct Participant<'a> {
    /// The name of the handle.
    pub run: &'a str,
    /// The time now.
    pub now: &'a ClockSnapshot,
    /// Whether the run of a handle lives; none if that can't be checked: then a run lives for
    /// as long as what it has sent may arrive.
    pub is_alive: Option<&'a dyn Fn(&str) -> bool>,
}

/// A limit of the account that other runs have stated.
pub struct OtherLimit<'a> {
    /// Its state.
    pub state: &'a mut QuotaState,
    /// The limit, if its text says all of it.
    pub quota: Option<&'a Quota>,
}

/// The answer to an exchange.
pub struct Exchanged {
    /// The units that the run leases, or when it asks again.
    pub reply: LeaseReply,
    /// Whether other runs lease units, which they may give back.
    pub others_lease: bool,
    /// The searches for a pace of the other runs.
    pub searches: OtherSearches,
    /// The end of a pause that a run was asked for, if it lasts.
    pub paused: Option<Time>,
    /// Whether as many units are left as were asked for, beside those that the run leases now.
    pub plenty: bool,
    /// Until when all units count as used since the store knows nothing of the time before.
    pub unknown: Option<Time>,
}

/// The limit that a text states, with the settings that it has by itself; none if a text
/// can't state all of it.
pub fn quota_of(limit: &str) -> Option<Quota> {
    let settings = Settings { rate: vec![limit.parse().ok()?], ..Settings::default() };
    let policy = Policy::new(&settings, LINGER).ok()?;
    policy.rules().first()?.quota()
}

impl Participant<'_> {
    /// Registers the run with a limit. What the account's other limits know is taken over, if
    /// no other run has stated this limit until now.
    pub fn join(&self, state: &mut QuotaState, quota: &Quota, others: Vec<QuotaState>) {
        if !self.is_stated_by_others(state) {
            state.take_over(self.now, self.run, others, quota);
        }
        state.end_reports(self.run);
        state.advance(self.now, quota, self.is_alive);
        state.report(self.now, quota, self.run, &LeaseRequest::default(), self.lapses());
    }

    /// Whether another run that lives states the limit of this state.
    pub fn is_stated_by_others(&self, state: &QuotaState) -> bool {
        state.is_stated_beside(self.now, self.run, self.is_alive)
    }

    /// Whether a run is taken for dead when it has not been heard of for long enough.
    fn lapses(&self) -> bool {
        self.is_alive.is_none()
    }

    /// Whether this is a limit with a long period that no run states now.
    pub fn is_dormant(&self, limit: &OtherLimit<'_>) -> bool {
        let is_durable = limit.quota.is_some_and(Quota::is_durable);
        is_durable && !limit.state.is_stated_beside(self.now, "", self.is_alive)
    }

    /// Adds what the account's other limits have counted to a dormant one, which so counts the
    /// requests of runs that don't state it.
    pub fn keep_up(&self, dormant: OtherLimit<'_>, others: Vec<QuotaState>) {
        if let Some(quota) = dormant.quota {
            dormant.state.keep_up(self.now, others, quota);
        }
    }

    /// Reports to the limit that the handle leases from, and to the others, and leases the
    /// units for which all of them have room.
    pub fn exchange(
        &self,
        state: &mut QuotaState,
        quota: &Quota,
        others: &mut [OtherLimit<'_>],
        request: &LeaseRequest<'_>,
    ) -> Exchanged {
        state.advance(self.now, quota, self.is_alive);
        state.report(self.now, quota, self.run, request, self.lapses());
        for other in &mut *others {
            other.state.report_only(self.now, quota, self.run, request, self.lapses());
        }
        let others_lease = state.leased_by_others(self.run) > 0;
        let searches = state.searches_beside(self.now, self.run);
        let (paused, unknown) = (state.paused(self.now), state.unknown(self.now));
        let reply = match request.wanted {
            0 => LeaseReply::Units(0),
            _ => state.offer(self.now, quota, self.run, request),
        };
        let mut offered =
            Exchanged { reply, others_lease, searches, paused, unknown, plenty: false };
        if request.wanted == 0 {
            return offered;
        }
        for other in &mut *others {
            if let Some(quota) = other.quota.filter(|_| self.is_stated_by_others(other.state)) {
                offered = offered.and(self.offer_beside(other.state, quota, request));
            }
        }
        if let LeaseReply::Units(units) = offered.reply {
            state.grant(self.now, quota, self.run, units);
            let left = state.left(self.now, quota, Some(self.run));
            offered.plenty = units >= request.wanted && left >= request.wanted;
            for other in others {
                let quota = other.quota.unwrap_or(quota);
                other.state.grant(self.now, quota, self.run, units);
            }
        }
        offered
    }

    /// The units for which a limit has room that only other runs state. Its settings are not
    /// known, only its text: so of what follows from them, only the turns are kept.
    fn offer_beside(
        &self,
        state: &mut QuotaState,
        quota: &Quota,
        request: &LeaseRequest<'_>,
    ) -> Exchanged {
        let mut copy = state.clone();
        copy.advance(self.now, quota, self.is_alive);
        let reply = copy.offer(self.now, quota, self.run, request);
        let others_lease = copy.leased_by_others(self.run) > 0;
        state.set_turns_of(copy);
        let searches = OtherSearches::default();
        Exchanged { reply, others_lease, searches, paused: None, unknown: None, plenty: false }
    }
}

impl Exchanged {
    /// What two limits offer together.
    fn and(self, other: Exchanged) -> Exchanged {
        use LeaseReply::{Later, Units};
        let reply = match (self.reply, other.reply) {
            (Units(one), Units(two)) => Units(one.min(two)),
            (Later(one), Later(two)) => Later(latest(one, two)),
            (Units(_), later) | (later, _) => later,
        };
        Exchanged { reply, others_lease: self.others_lease || other.others_lease, ..self }
    }
}

/// The later of two times; none if either is not known.
fn latest(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    one.zip(other).map(|(one, other)| one.max(other))
}
