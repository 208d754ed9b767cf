//! A permit for one attempt.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::error::UnknownUnit;
use crate::gate::cost::{Acquired, Cost};
use crate::gate::limit_set::LimitSet;
use crate::gate::limiter_core::LimiterCore;
use crate::limiter::{Availability, RateLimitInfo};
use crate::outcome::{End, Outcome};
use crate::server::AnsweredMark;
use crate::time::Time;

/// Leave for one attempt, from all limits.
///
/// It is told what becomes of the attempt: sent, perhaps acknowledged, then
/// answered, failed, refused, lost or cancelled, whichever comes first; and it is
/// dropped when the answer has been read. [`finish`](Permit::finish) does the last two at
/// once.
///
/// A permit that is dropped without an end has been used: the request counts as lost, as it
/// may have been sent and may still arrive. Only [`cancel`](Permit::cancel) gives it back.
///
/// ```
/// use throng_limit::RateLimiter;
///
/// let limiter = RateLimiter::builder().limit("1/1h".parse()?).build()?;
/// limiter.try_acquire(1)?.cancel();           // nothing was sent, so that
/// let mut permit = limiter.try_acquire(1)?;   // the next one is free at once
/// permit.sent();                              // the request is written ...
/// permit.answered();                          // ... and the head of its answer is seen,
/// drop(permit);                               // and here its body has been read
/// assert!(limiter.try_acquire(1).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped counts as a request that was lost"]
pub struct Permit {
    core: Arc<LimiterCore>,
    cost: Cost,
    acquired: Acquired,
    /// The number of permits that had ended when it was acquired, if nothing was limited then.
    unlimited: Option<u64>,
    acquired_at: Time,
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
    /// A permit for units that the limits have given.
    pub(crate) fn new(core: Arc<LimiterCore>, cost: Cost, acquired: Acquired, at: Time) -> Permit {
        Permit {
            core,
            cost,
            acquired,
            unlimited: None,
            acquired_at: at,
            sent: None,
            acked: None,
            ended: None,
            lost: false,
        }
    }

    /// A permit while nothing is limited, when `ended` others had ended. No clock is read.
    pub(crate) fn unlimited(core: Arc<LimiterCore>, cost: Cost, ended: u64) -> Permit {
        Permit {
            core,
            cost,
            acquired: Acquired::default(),
            unlimited: Some(ended),
            acquired_at: Time::ZERO,
            sent: None,
            acked: None,
            ended: None,
            lost: false,
        }
    }

    /// Which key of the pool it is for, if there is a pool.
    #[doc(hidden)]
    #[must_use]
    pub fn key(&self) -> Option<usize> {
        self.acquired.key
    }

    /// Whether it was sent, and nothing is known to have become of it.
    #[doc(hidden)]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sent.is_some() && self.ended.is_none()
    }

    /// The request is about to be written. Without this word it counts as sent when its
    /// end is told, which is later, and so no less safe.
    pub fn sent(&mut self) {
        if self.sent.is_none() && self.ended.is_none() {
            let sent = self.tell(LimitSet::sent);
            self.sent = Some(sent);
        }
    }

    /// As [`sent`](Permit::sent), unless the permit is too old: where limits are shared with other
    /// machines, these take a process for dead that was stopped for long, or whose machine slept, and
    /// use its units. Gives false then: the request must not be sent, and the permit is to be
    /// cancelled and another one acquired.
    ///
    /// ```
    /// # use throng_limit::RateLimiter;
    /// let limiter = RateLimiter::builder().limit("5/1s".parse()?).build()?;
    /// let mut permit = limiter.blocking_acquire(1)?;
    /// while !permit.sent_in_time() {
    ///     permit.cancel();
    ///     permit = limiter.blocking_acquire(1)?;
    /// }
    /// permit.answered();                  // once the request is written, and answered
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "a request whose permit is too old must not be sent"]
    pub fn sent_in_time(&mut self) -> bool {
        if self.sent.is_some() || self.ended.is_some() {
            return self.ended.is_none();
        }
        let mut may_send = true;
        let sent = self.tell(|limits, now, cost, acquired| {
            may_send = limits.may_send(now, cost, acquired);
            if may_send { limits.sent(now, cost, acquired) } else { Availability::Never }
        });
        self.sent = may_send.then_some(sent);
        may_send
    }

    /// The server's network stack has acknowledged all of the request.
    pub fn acked(&mut self) {
        if self.ended.is_none() && self.acked.is_none() {
            let acked = self.tell(LimitSet::acked);
            self.acked = Some(acked);
        }
    }

    /// The head of the final answer has been seen.
    pub fn answered(&mut self) {
        self.end(End::Answered);
    }

    /// The head of the final answer has been seen: the request could not be done, though not
    /// for a limit's sake.
    pub fn failed(&mut self) {
        self.end(End::Failed);
    }

    /// No answer came: the request may still arrive.
    pub fn lost(&mut self) {
        self.end(End::Lost);
    }

    /// Gives the permit back: nothing was sent.
    pub fn cancel(&mut self) {
        self.end(End::Returned);
    }

    /// The server refused the request for a limit's sake: no attempt with the same keys gets
    /// a permit for `pause`, or, if the server names none, for a time that doubles with each
    /// refusal. `chance` (0 to 1) lengthens the pause a little, so that several clients don't
    /// come back at once. Gives the number of refusals since the server last accepted one.
    pub fn refused(&mut self, pause: Option<Duration>, chance: f64) -> u32 {
        self.core.end_unlimited();
        let is_unsaid = self.sent.is_none();
        let sent = *self.sent.get_or_insert(self.acquired_at);
        let (cost, acquired) = (&self.cost, &mut self.acquired);
        let (refusals, now) = self.core.tell(cost, |limits, now| {
            if is_unsaid {
                limits.sent(now, cost, acquired);
            }
            let refusals = limits.refused(now, cost, acquired, sent, pause, chance);
            (refusals, now)
        });
        self.ended = Some(now);
        refusals
    }

    /// The server wants no attempt at all, whatever its keys, for `pause`, or for a second if
    /// it names none.
    #[doc(hidden)]
    pub fn close_run(&mut self, pause: Option<Duration>, chance: f64) {
        self.core.end_unlimited();
        self.core.tell(&self.cost, |limits, now| {
            limits.close_run(now, pause, chance);
        });
    }

    /// The attempt has turned out to cost so many of these units. What it costs less is free
    /// for others at once; what it costs more counts, too.
    ///
    /// # Errors
    /// No limit counts such units.
    pub fn settle(&mut self, unit: &str, units: u64) -> Result<(), UnknownUnit> {
        self.adjust_cost(self.core.unit(unit)?, units);
        Ok(())
    }

    /// The cost that was reserved for the attempt.
    #[doc(hidden)]
    #[must_use]
    pub fn cost(&self) -> &Cost {
        &self.cost
    }

    /// The attempt has turned out to cost so many units of this kind, by its index.
    #[doc(hidden)]
    pub fn adjust_cost(&mut self, unit: usize, units: u64) {
        let (cost, acquired) = (&self.cost, &mut self.acquired);
        self.core
            .tell_of_attempt(cost, |limits, now| limits.settle(now, cost, acquired, unit, units));
    }

    /// Ends the attempt, unless its end was told before. The permit is over with this, as if
    /// the answer had been read to its end.
    ///
    /// ```
    /// use throng_limit::{Cost, Outcome, RateLimiter};
    ///
    /// let limiter = RateLimiter::builder().limit("90000 tokens/1m".parse()?).build()?;
    /// let mut permit = limiter.try_acquire(Cost::one().with("tokens", 800))?;
    /// permit.settle("tokens", 612)?;    // the answer says what it has cost
    /// permit.finish(Outcome::of_status(200, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn finish(mut self, outcome: Outcome) {
        self.end_with(outcome);
    }

    /// Ends the attempt, unless its end was told before.
    pub(crate) fn end_with(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Answered => self.answered(),
            Outcome::Failed => self.failed(),
            Outcome::Lost => self.lost(),
            Outcome::Refused { retry_after } => self.end_refused(retry_after),
        }
    }

    /// Ends the attempt as refused, unless its end was told before.
    pub(crate) fn end_refused(&mut self, pause: Option<Duration>) {
        if self.ended.is_none() {
            self.refused(pause, chance());
        }
    }

    /// The names of the units that the limits count; requests come first.
    #[doc(hidden)]
    #[must_use]
    pub fn units(&self) -> &[String] {
        &self.core.units
    }

    /// Tells the limits what the server says of its limit on a unit, by the index in
    /// [`units`](Permit::units); none for a unit that no limit counts.
    #[doc(hidden)]
    pub fn inform(&mut self, unit: Option<usize>, info: RateLimitInfo) {
        self.core.end_unlimited();
        if let Some(ended) = self.unlimited {
            self.acquired.snapshot.mark = AnsweredMark::of_requests(ended);
        }
        if let (Some(left), Some(unit)) = (info.remaining, unit)
            && left < self.cost.units_of(unit)
        {
            self.acquired.snapshot.lacking.push(unit);
        }
        let (cost, acquired) = (&self.cost, &self.acquired);
        self.core.tell(cost, |limits, now| {
            limits.learn(now, cost, acquired, unit, info);
        });
    }

    /// From when to when it can have arrived, once it has ended; none if nothing
    /// was sent.
    #[doc(hidden)]
    #[must_use]
    pub fn arrival(&self) -> Option<ArrivalInterval> {
        Some(ArrivalInterval {
            earliest: self.sent?,
            latest: self.acked.or(self.ended)?,
            lost: self.lost && self.acked.is_none(),
        })
    }

    /// Tells the limits, if there is anything to tell them; gives the time of it.
    fn tell(
        &mut self,
        event: impl FnOnce(&mut LimitSet, Time, &Cost, &mut Acquired) -> Availability,
    ) -> Time {
        if self.unlimited.is_some() && self.core.unlimited().lasts() {
            return self.core.now();
        }
        let (cost, acquired) = (&self.cost, &mut self.acquired);
        self.core.tell_of_attempt(cost, |limits, now| event(limits, now, cost, acquired))
    }

    fn end(&mut self, end: End) {
        if self.ended.is_some() {
            return;
        }
        let is_sent = !matches!(end, End::Returned);
        let is_unsaid = is_sent && self.sent.is_none();
        let ended = self.tell(|limits, now, cost, acquired| {
            let mut relief = Availability::Never;
            if is_unsaid {
                relief = limits.sent(now, cost, acquired);
            }
            relief.min(limits.ended(now, cost, acquired, end))
        });
        self.ended = Some(ended);
        self.lost = matches!(end, End::Lost);
        self.sent = if is_sent { self.sent.or(Some(self.acquired_at)) } else { None };
    }
}

/// Any number from 0 to 1.
fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.unlimited.is_some() && self.core.unlimited().end() {
            return;
        }
        let is_open = self.ended.is_none();
        let is_unsaid = is_open && self.sent.is_none();
        let (cost, acquired) = (&self.cost, &mut self.acquired);
        self.core.tell_of_attempt(cost, |limits, now| {
            let mut relief = Availability::Never;
            if is_unsaid {
                relief = relief.min(limits.sent(now, cost, acquired));
            }
            if is_open {
                relief = relief.min(limits.ended(now, cost, acquired, End::Lost));
            }
            relief.min(limits.finished(now, cost, acquired))
        });
    }
}
