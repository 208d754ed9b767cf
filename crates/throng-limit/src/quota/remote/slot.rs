//! The place of one limiter in a mailbox: what it tells and wants, and what it is answered. Pure: time
//! is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limiter::SearchReport;
use crate::quota::leased::{LeaseReply, LeaseRequest};
use crate::quota::remote::message::{Answer, Arrived, Request, Terms, age, millis, of_millis};
use crate::quota::terms::Quota;
use crate::time::Time;

/// The place of one limiter in a mailbox.
#[derive(Debug)]
pub struct Slot {
    account: String,
    pub quota: Quota,
    pub terms: Option<Terms>,
    /// What is to be sent next.
    pub posted: Option<Posted>,
    /// Units that the limiter keeps, as far as it has told.
    kept: u64,
    /// Arrivals that are to be sent next.
    arrived: Vec<(Time, i64)>,
    /// Units that were granted, and that the limiter doesn't have yet.
    pub unclaimed: u64,
    /// That there were too few units: when that was known, and when there may be enough.
    refusal: Option<(Time, Option<Time>)>,
    /// When the last exchange was sent that was answered.
    pub leased_from: Time,
    /// The end of a pause that a run was asked for.
    pub paused: Time,
    pub last: Answer,
    /// Number of units that are asked for at least, so that few exchanges are needed.
    block: u64,
    /// When the limiter got units, until it asks for more.
    claimed: Option<Time>,
    /// Whether the store had enough units for more when it was asked last.
    has_plenty: bool,
    /// The most units that were missing for a request: nearly what the largest one costs.
    cost: u64,
    pub is_known: bool,
    pub has_ended: bool,
}

/// A limiter's state when it asked last.
#[derive(Debug, Clone, Copy)]
pub struct Posted {
    pub time: Time,
    /// Units that it keeps, without those that are unclaimed.
    pub kept: u64,
    pub wanted: u64,
    pub least: u64,
    pub reset: Option<Time>,
    pub pause: Option<Time>,
    pub learnt: Option<u64>,
    pub search: Option<SearchReport>,
}

/// What an exchange has of a limiter.
#[derive(Debug)]
pub struct Sent {
    pub slot: u64,
    pub posted: Posted,
    pub arrived: Vec<(Time, u64)>,
    pub ends: bool,
}

/// Time after which a refusal is asked anew.
const STALE: Duration = Duration::from_millis(100);
/// Time for which a limiter asks for units at once, so that few exchanges are needed.
const AT_ONCE: Duration = Duration::from_millis(100);
/// How many times as often a limit is asked for units of which the store has enough.
const PLENTY: u32 = 4;
/// Part of a limit's units that are asked for at once at most.
const LARGEST_PART: u64 = 4;
/// Part of the units of a large request that the first one is for: a window that fills slowly at
/// first does so in each period after it.
const FIRST_PART: u64 = 4;

impl Slot {
    /// The place of the limiter of this limit.
    pub fn new(account: String, quota: &Quota) -> Slot {
        let mut slot = Slot {
            account,
            quota: quota.clone(),
            terms: Terms::of(quota),
            posted: None,
            kept: 0,
            arrived: Vec::new(),
            unclaimed: 0,
            refusal: None,
            leased_from: Time::ZERO,
            paused: Time::ZERO,
            last: Answer::default(),
            block: 1,
            claimed: None,
            has_plenty: false,
            cost: 1,
            is_known: false,
            has_ended: false,
        };
        slot.block = (slot.largest_block() / FIRST_PART).max(1);
        slot
    }

    pub fn has_news(&self) -> bool {
        self.posted.is_some() || self.has_ended
    }

    pub fn wants(&self) -> bool {
        self.posted.is_some_and(|posted| posted.wanted > 0)
    }

    /// The time between two exchanges that want units of this number of limits like this one. It is
    /// shorter where the store has enough for more, as of a limit beside a narrower one: no other run
    /// waits for them, and what the narrower one gives goes to waste meanwhile.
    pub fn gap(&self, keys: u64) -> Duration {
        let gap = self.quota.exchange_gap(self.last.others + 1, self.cost, keys);
        if self.has_plenty { gap / PLENTY } else { gap }
    }

    pub fn take(&mut self, slot: u64, now: Time) -> Sent {
        let nothing = Posted {
            time: now,
            kept: self.kept,
            wanted: 0,
            least: 0,
            reset: None,
            pause: None,
            learnt: None,
            search: None,
        };
        let posted = self.posted.take().unwrap_or(nothing);
        // What was granted since the limiter has asked is kept, too.
        let kept = posted.kept + self.unclaimed;
        Sent {
            slot,
            posted: Posted { kept, ..posted },
            arrived: netted(&std::mem::take(&mut self.arrived)),
            ends: self.has_ended,
        }
    }

    pub fn request(&self, sent: &Sent, now: Time) -> Request {
        let posted = &sent.posted;
        Request {
            account: self.account.clone(),
            limit: self.quota.name.clone(),
            limiter: sent.slot,
            timeout: millis(self.quota.timeout),
            linger: Some(millis(self.quota.linger)),
            terms: self.terms.clone(),
            kept: if sent.ends { 0 } else { posted.kept },
            wanted: posted.wanted,
            least: posted.least,
            arrived: sent
                .arrived
                .iter()
                .map(|&(time, units)| Arrived { age: age(now, time), units })
                .collect(),
            reset: posted.reset.map(|reset| -age(now, reset)),
            pause: posted.pause.map(|until| -age(now, until)),
            learnt: posted.learnt,
            search: posted.search,
            known: self.is_known,
            ends: sent.ends,
        }
    }

    pub fn receive(&mut self, sent: Time, wanted: u64, answer: Answer, now: Time) {
        if wanted > 0 {
            self.has_plenty = answer.plenty;
        }
        self.leased_from = sent;
        self.is_known = true;
        self.unclaimed += answer.units;
        let retry = answer.retry.map(|retry| now.after(of_millis(retry)));
        self.refusal = answer.later.then_some((now, retry));
        self.paused = answer.pause.map_or(Time::ZERO, |pause| now.after(of_millis(pause)));
        self.last = answer;
    }

    /// Notes what the limiter tells and wants, and gives the answer if it is there.
    pub fn ask(&mut self, now: Time, request: &LeaseRequest<'_>) -> Option<LeaseReply> {
        if request.wanted == 0 {
            self.post(now, request);
            return Some(LeaseReply::Units(0));
        }
        let refusal = self.refusal.take();
        if let Some(posted) = &mut self.posted {
            (posted.wanted, posted.least) = (0, 0);
        }
        if self.unclaimed > 0 {
            return Some(self.claim(now, request));
        }
        if let Some((known, back)) = refusal
            && now.since(known) < STALE
        {
            self.report(now, request);
            return Some(LeaseReply::Later(back));
        }
        self.post(now, request);
        None
    }

    /// Notes what the limiter tells and wants.
    fn post(&mut self, now: Time, request: &LeaseRequest<'_>) {
        if request.wanted > 0 {
            self.cost = self.cost.max(request.least);
            self.size_block(now);
        }
        self.arrived.extend_from_slice(request.arrived);
        let before = self.posted;
        // A report leaves it at what is wanted.
        let wanted_before = before.map_or((0, 0), |before| (before.wanted, before.least));
        let wanted = (request.wanted.max(self.block), request.least);
        let (wanted, least) = if request.wanted > 0 { wanted } else { wanted_before };
        self.kept = request.kept;
        self.posted = Some(Posted {
            time: before.map_or(now, |before| before.time),
            kept: request.kept,
            wanted,
            least,
            reset: request.reset.or(before.and_then(|before| before.reset)),
            pause: request.pause.max(before.and_then(|before| before.pause)),
            learnt: request.learnt,
            search: request.search,
        });
    }

    /// Notes what the limiter tells, unless that is nothing new.
    fn report(&mut self, now: Time, request: &LeaseRequest<'_>) {
        if self.posted.is_some() || !request.arrived.is_empty() || request.pause.is_some() {
            self.post(now, &LeaseRequest { wanted: 0, least: 0, ..*request });
        }
    }

    /// When the lease of the units ends that were granted.
    pub fn lease_end(&self) -> Time {
        self.leased_from.after(self.quota.lease())
    }

    /// Gives the units to the limiter that were granted.
    fn claim(&mut self, now: Time, request: &LeaseRequest<'_>) -> LeaseReply {
        let units = std::mem::take(&mut self.unclaimed);
        self.claimed = Some(now);
        self.kept = request.kept + units;
        self.report(now, &LeaseRequest { kept: request.kept + units, ..*request });
        LeaseReply::Units(units)
    }

    /// Asks for more units at a time, or for fewer, where those before have lasted for a shorter or
    /// a longer time than they should.
    fn size_block(&mut self, now: Time) {
        let Some(lasted) = self.claimed.take().map(|claimed| now.since(claimed)) else { return };
        if lasted < AT_ONCE / 2 {
            self.block = (self.block * 2).min(self.largest_block());
        } else if lasted > AT_ONCE {
            self.block = (self.block / 2).max(1);
        }
    }

    /// Number of units that are asked for at once at most: those of a short time, and all that may
    /// come back before the next exchange, which other runs perhaps don't want.
    fn largest_block(&self) -> u64 {
        let gap = self.quota.exchange_gap(self.last.others + 1, self.cost, 1);
        let units = self.quota.units_in(AT_ONCE.max(gap));
        units.min(self.quota.units() / LARGEST_PART).max(1)
    }
}

/// Arrivals without those that were taken back before the store was told of them. What it was
/// told of counts on: which of its units those are is not known there.
fn netted(arrived: &[(Time, i64)]) -> Vec<(Time, u64)> {
    let mut net: BTreeMap<Time, u64> = BTreeMap::new();
    for &(time, units) in arrived {
        let known = net.entry(time).or_default();
        *known = known.saturating_add_signed(units);
    }
    net.into_iter().filter(|(_, units)| *units > 0).collect()
}
