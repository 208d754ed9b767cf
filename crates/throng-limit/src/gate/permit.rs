//! Leave for one attempt, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use crate::gate::cost::{Acquired, Cost};
use crate::gate::limit_set::LimitSet;
use crate::gate::limiter::LimiterCore;
use crate::kinds::RateLimitInfo;
use crate::outcome::End;
use crate::time::Time;

/// Leave for one attempt, from all limits.
///
/// It is told what becomes of the attempt: sent, perhaps acknowledged, then
/// answered, failed, refused, lost or returned, whichever comes first; and it is
/// dropped when the answer has been read. Dropped without an end, it goes back
/// if nothing was sent, and else counts as lost.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    shared: Arc<LimiterCore>,
    ask: Cost,
    taken: Acquired,
    /// Whether it was taken where nothing was limited.
    calm: bool,
    sent: Option<Time>,
    acked: Option<Time>,
    ended: Option<Time>,
    lost: bool,
}

/// From when to when an attempt can have arrived at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivalInterval {
    /// When it was sent.
    pub earliest: Time,
    /// When it was acknowledged or answered, or, without either, given up.
    pub latest: Time,
    /// Whether it was given up: then it may still come for linger longer.
    pub lost: bool,
}

impl Permit {
    pub(crate) fn new(shared: Arc<LimiterCore>, ask: Cost, taken: Acquired, calm: bool) -> Permit {
        Permit {
            shared,
            ask,
            taken,
            calm,
            sent: None,
            acked: None,
            ended: None,
            lost: false,
        }
    }

    /// Which key of the pool it is for, if there is a pool.
    #[must_use]
    pub fn key(&self) -> Option<usize> {
        self.taken.key()
    }

    /// Whether it was sent, and nothing is known to have become of it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sent.is_some() && self.ended.is_none()
    }

    /// The request is about to be written.
    pub fn sent(&mut self) {
        self.sent = Some(self.tell(|limits, now, ask, taken| limits.sent(now, ask, taken)));
    }

    /// The server's network stack has all of it.
    pub fn acked(&mut self) {
        if self.ended.is_none() && self.acked.is_none() {
            let acked = self.tell(|limits, now, ask, taken| limits.acked(now, ask, taken));
            self.acked = Some(acked);
        }
    }

    /// The final answer's head has been seen.
    pub fn answered(&mut self) {
        self.end(End::Answered);
    }

    /// The same, and it says that the request could not be done.
    pub fn failed(&mut self) {
        self.end(End::Failed);
    }

    /// No answer came: the request may yet arrive.
    pub fn lost(&mut self) {
        self.end(End::Lost);
    }

    /// Nothing was sent after all.
    pub fn cancel(&mut self) {
        self.end(End::Returned);
    }

    /// The server refused it for the limit's sake: the gate closes, for everyone
    /// with the same keys, for `pause`, or for a while that doubles with each
    /// refusal. Gives how often that has happened since an attempt was last
    /// taken in.
    pub fn refused(&mut self, pause: Option<Duration>, chance: f64) -> u32 {
        self.shared.end_unlimited();
        let sent = self.sent.unwrap_or(Time::ZERO);
        let (ask, taken) = (&self.ask, &mut self.taken);
        let (refusals, now) = self.shared.tell(ask, |limits, now| {
            let refusals = limits.refused(now, (ask, taken, sent), pause, chance);
            (refusals, now)
        });
        self.ended = Some(now);
        refusals
    }

    /// The server wants to be left alone by everyone, for `pause` or as long as it is
    /// left alone where it names none.
    pub fn close_run(&mut self, pause: Option<Duration>, chance: f64) {
        self.shared.end_unlimited();
        self.shared.tell(&self.ask, |limits, now| {
            limits.close_run(now, pause, chance);
        });
    }

    /// It has turned out to cost so many units of that kind, as an index into
    /// the policy's units.
    pub fn settle(&mut self, unit: usize, units: u64) {
        let (ask, taken) = (&self.ask, &mut self.taken);
        self.shared.tell(ask, |limits, now| {
            limits.settle(now, ask, taken, unit, units);
        });
    }

    /// What the server says of its limit on a unit, as an index into the
    /// policy's units; none for a unit that is not counted.
    pub fn inform(&mut self, unit: Option<usize>, info: RateLimitInfo) {
        self.shared.end_unlimited();
        let (ask, taken) = (&self.ask, &self.taken);
        self.shared.tell(ask, |limits, now| {
            limits.learn(now, (ask, taken), unit, info);
        });
    }

    /// From when to when it can have arrived, once it has ended; none if nothing
    /// was sent.
    #[must_use]
    pub fn arrival(&self) -> Option<ArrivalInterval> {
        Some(ArrivalInterval {
            earliest: self.sent?,
            latest: self.acked.or(self.ended)?,
            lost: self.lost && self.acked.is_none(),
        })
    }

    /// Tells the limits, if there is anything to tell them; gives the time of it.
    fn tell(&mut self, event: impl FnOnce(&mut LimitSet, Time, &Cost, &mut Acquired)) -> Time {
        if self.calm && self.shared.unlimited().lasts() {
            return self.shared.now();
        }
        let (ask, taken) = (&self.ask, &mut self.taken);
        self.shared.tell(ask, |limits, now| {
            event(limits, now, ask, taken);
            now
        })
    }

    fn end(&mut self, end: End) {
        if self.ended.is_some() {
            return;
        }
        let ended = self.tell(|limits, now, ask, taken| limits.ended(now, ask, taken, end));
        self.ended = Some(ended);
        self.lost = end == End::Lost;
        if end == End::Returned {
            self.sent = None;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.calm && self.shared.unlimited().end() {
            return;
        }
        let end = match (self.ended, self.sent) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(End::Lost),
            (None, None) => Some(End::Returned),
        };
        let (ask, taken) = (&self.ask, &mut self.taken);
        self.shared.tell(ask, |limits, now| {
            if let Some(end) = end {
                limits.ended(now, ask, taken, end);
            }
            limits.finished(now, ask, taken);
        });
    }
}
