//! One sending: a connection, a permit, a signature, an answer, in this order.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use tokio::time::Instant;

use super::trace::AttemptTrace;
use super::{AttemptError, AttemptTerms, Cancelled, Purpose, RowExecutor};
use crate::limit::{Cost, Permit};
use crate::metrics::wait_time::WaitReason;
use crate::record::{Arrived, Failure, FailureKind};
use crate::send::deadline;
use crate::send::{Answer, Delivery, Lease, SendError};
use crate::sink::Intent;

/// A connection that ended while it waited for its permit costs no attempt, so often.
const FREE_TRIES: u32 = 3;

/// A connection that has waited this long for its permit is looked at once more.
const RESTED: Duration = Duration::from_secs(1);

impl RowExecutor {
    /// A connection that had ended before anything was written is replaced.
    pub(super) async fn send_fresh(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        seen: &mut AttemptTrace,
    ) -> Result<Answer, AttemptError> {
        let mut free = FREE_TRIES;
        loop {
            let sent = pin!(self.attempt(request, terms, seen)).await;
            match sent {
                Err(AttemptError::Trouble(trouble))
                    if free > 0 && trouble.is_stale_connection() =>
                {
                    seen.attempts -= 1;
                    free -= 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// One connection, one permit, one sending.
    async fn attempt(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        seen: &mut AttemptTrace,
    ) -> Result<Answer, AttemptError> {
        seen.attempts += 1;
        let (mut lease, mut permit) = pin!(self.ready_to_sign(request, terms, seen)).await?;
        if let Some(trouble) = self.too_old(seen) {
            seen.attempts -= 1;
            return Err(trouble.into());
        }
        for announcement in &mut seen.announcements {
            let _waits = self.waits(WaitReason::Output);
            announcement
                .make()
                .await
                .map_err(|_| AttemptError::Stopped)?;
        }
        let mut request = request.clone();
        if terms.errand == Purpose::Own {
            self.sign(&mut request, permit.key(), seen)?;
        }
        if self.run.stop.is_aborted() {
            return Err(AttemptError::Stopped);
        }
        permit.sent();
        let _in_flight = self.live().sent();
        let time = self.sender.start();
        let arrived = || permit.acked();
        let head = {
            let sending = pin!(self.sender.send(&mut lease, request, time, arrived));
            sending.await.map_err(|trouble| self.unless_cut(trouble))
        };
        let head = self.finish_permit(&mut permit, head, terms.errand, seen);
        if head.is_err() {
            seen.arrived.extend(self.arrived(&permit));
        }
        let head = head?;
        seen.status = Some(head.status());
        let answer = {
            let reading = pin!(self.sender.read(lease, head, time));
            reading.await.map_err(|trouble| self.unless_cut(trouble))
        };
        let told = self.settle_by_body(&mut permit, &answer, terms.errand, seen);
        seen.arrived.extend(self.arrived(&permit));
        seen.latency = Some(time.elapsed());
        let answer = answer?;
        if matches!(terms.errand, Purpose::Token(_)) {
            return Ok(answer);
        }
        told.map_err(too_long)?;
        for (unit, cost) in self.step().settler.costs(&answer.body).map_err(too_long)? {
            permit.settle(unit, cost);
        }
        Ok(answer)
    }

    /// The trouble, unless there was no time left to wait for the answer: then all
    /// connections were closed.
    fn unless_cut(&self, trouble: SendError) -> SendError {
        if trouble.delivery == Delivery::Unknown && self.run.stop.is_aborted() {
            SendError {
                kind: FailureKind::Interrupted,
                detail: "the run ended before the answer came".to_owned(),
                delivery: Delivery::Unknown,
            }
        } else {
            trouble
        }
    }

    /// Why it must not be sent any more, if the server has forgotten its key by now.
    pub(super) fn too_old(&self, seen: &AttemptTrace) -> Option<SendError> {
        let ttl = self.step().judge.key_ttl()?;
        let age = seen.announcements.iter().filter_map(Intent::age).max()?;
        (age >= ttl).then(|| SendError {
            kind: FailureKind::OutcomeUnknown,
            detail: format!(
                "it was sent {} ago and may have been done, and the server knows its Idempotency-Key for {} (retry.idempotency-ttl): it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)",
                humantime::format_duration(Duration::from_secs(age.as_secs())),
                humantime::format_duration(ttl),
            ),
            delivery: Delivery::Final,
        })
    }

    /// The permit comes last: making a connection takes a time that varies.
    pub(super) async fn ready(
        &self,
        uri: &Uri,
        ask: &Cost,
    ) -> Result<(Lease, AttemptPermit), AttemptError> {
        let connects = self.waits(WaitReason::Server);
        let lease = {
            let connecting = pin!(self.sender.lease(uri));
            self.unless_stopped(connecting).await??
        };
        drop(connects);
        let since = Instant::now();
        let waits = self.waits(WaitReason::Limit);
        let permit = {
            let turn = pin!(self.run.limiter(self.stage_index).acquire(ask.clone()));
            self.unless_stopped(turn).await?
        };
        let permit = AttemptPermit(permit.map_err(|_| self.used_up())?);
        drop(waits);
        let _connects = self.waits(WaitReason::Server);
        // The server may have closed the connection in a pause of the process, which
        // only reading shows: a request on it would be lost.
        if since.elapsed() >= RESTED {
            deadline::turns().await;
        }
        Ok((self.sender.renew(lease, uri).await?, permit))
    }

    /// What one attempt may have at all was checked before: only a total can be
    /// used up, or a ledger be out of reach.
    fn used_up(&self) -> Cancelled {
        let why = self.run.limiter(self.stage_index).store_error();
        self.stop(why.unwrap_or_else(|| {
            "the total that the limits allow for a run is used up (limit.rate = \"N/run\")".into()
        }))
    }

    /// When its request can have reached the server, if it was sent.
    pub(super) fn arrived(&self, permit: &Permit) -> Option<Arrived> {
        if !self.run.plan.columns.arrived {
            return None;
        }
        let linger = self.step().policy.linger;
        let arrived = |arrival| Arrived::new(arrival, linger, self.run.calendar_at_zero);
        permit.arrival().map(arrived)
    }
}

/// An attempt's permit. Dropped before the request is sent, it is given back.
pub(super) struct AttemptPermit(Permit);

impl Deref for AttemptPermit {
    type Target = Permit;

    fn deref(&self) -> &Permit {
        &self.0
    }
}

impl DerefMut for AttemptPermit {
    fn deref_mut(&mut self) -> &mut Permit {
        &mut self.0
    }
}

impl Drop for AttemptPermit {
    fn drop(&mut self) {
        if !self.0.is_open() {
            self.0.cancel();
        }
    }
}

/// A program of the job couldn't read the answer: to send it again would be of no use.
fn too_long(failure: Failure) -> SendError {
    SendError {
        kind: FailureKind::JqTooLong,
        detail: failure.detail,
        delivery: Delivery::Final,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Guard, RateLimiter};

    #[tokio::test(start_paused = true)]
    async fn a_permit_goes_back_only_if_its_request_was_not_sent() {
        let limiter = RateLimiter::new(&["1/1h".parse().unwrap()], Guard::Strict).unwrap();
        let acquire = async || AttemptPermit(limiter.acquire(1).await.unwrap());
        for _ in 0..3 {
            drop(acquire().await);
        }
        assert_eq!(limiter.state()[0].lost, 0);
        let mut permit = acquire().await;
        permit.sent();
        drop(permit);
        assert_eq!(limiter.state()[0].lost, 1);
    }
}
