//! One attempt: a connection, a permit, a signature, an answer, in this order.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use tokio::time::Instant;

use super::RowExecutor;
use super::trace::{AttemptError, AttemptTerms, AttemptTrace, Cancelled, Purpose};
use crate::limit::{Cost, Permit};
use crate::metrics::WaitReason;
use crate::record::{Arrived, Failure, FailureKind};
use crate::row::Row;
use crate::send::deadline;
use crate::send::{Answer, Delivery, Lease, SendError};
use crate::sink::Intent;

/// Maximum number of connections of a request that may end while they wait for a permit, at
/// the cost of no attempt.
const FREE_TRIES: u32 = 3;

/// Time of waiting for a permit after which a connection is read once more.
const IDLE: Duration = Duration::from_secs(1);

impl RowExecutor {
    /// Sends a row's request once, whatever the answer says: for a probe.
    pub async fn attempt_single(&self, row: &Row) -> Result<Result<Answer, Failure>, Cancelled> {
        let (request, cost) = match self.request(row) {
            Ok(asked) => asked,
            Err(failure) => return Ok(Err(failure)),
        };
        let terms = AttemptTerms { cost: &cost, purpose: Purpose::Own };
        match self.send_fresh(&request, terms, &mut AttemptTrace::default()).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(AttemptError::Failed(error)) => {
                let Failure { kind, detail } = error.failure();
                let detail = self.context.plan.secrets.hide(detail);
                Ok(Err(Failure { kind, detail }))
            }
            Err(AttemptError::Cancelled) => Err(Cancelled),
        }
    }

    /// Attempts a request; a connection that had ended before anything was written is
    /// replaced.
    pub(super) async fn send_fresh(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        trace: &mut AttemptTrace,
    ) -> Result<Answer, AttemptError> {
        let mut free = FREE_TRIES;
        loop {
            let sent = pin!(self.attempt(request, terms, trace)).await;
            match sent {
                Err(AttemptError::Failed(error)) if free > 0 && error.is_stale_connection() => {
                    trace.attempts -= 1;
                    free -= 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Takes a connection and a permit, sends the request once, and reads the answer.
    async fn attempt(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        trace: &mut AttemptTrace,
    ) -> Result<Answer, AttemptError> {
        trace.attempts += 1;
        let (mut lease, mut permit) = pin!(self.acquire_with_token(request, terms, trace)).await?;
        if let Some(error) = self.key_expired(trace) {
            trace.attempts -= 1;
            return Err(error.into());
        }
        for intent in &mut trace.intents {
            let _waits = self.waits(WaitReason::Output);
            intent.make().await.map_err(|_| AttemptError::Cancelled)?;
        }
        let mut request = request.clone();
        if terms.purpose == Purpose::Own {
            self.sign(&mut request, permit.key(), trace)?;
            let world = &self.context.world;
            world.label(self.stage(), &mut request, terms.cost, permit.key());
        }
        if self.context.shutdown.is_aborted() {
            return Err(AttemptError::Cancelled);
        }
        permit.sent();
        let _in_flight = self.counters().sent();
        let time = self.sender.start();
        let arrived = || permit.acked();
        let head = {
            let sending = pin!(self.sender.send(&mut lease, request, time, arrived));
            sending.await.map_err(|error| self.or_interrupted(error))
        };
        let head = self.finish_permit(&mut permit, head, terms.purpose, trace);
        if head.is_err() {
            trace.arrived.extend(self.arrived(&permit));
        }
        let head = head?;
        trace.status = Some(head.status());
        let answer = {
            let reading = pin!(self.sender.read(lease, head, time));
            reading.await.map_err(|error| self.or_interrupted(error))
        };
        let told = self.finish_by_body(&mut permit, &answer, terms.purpose, trace);
        trace.arrived.extend(self.arrived(&permit));
        trace.latency = Some(time.elapsed());
        let answer = answer?;
        if matches!(terms.purpose, Purpose::Token(_)) {
            return Ok(answer);
        }
        told.map_err(too_long)?;
        for (unit, cost) in self.stage().settler.costs(&answer.body).map_err(too_long)? {
            permit.adjust_cost(unit, cost);
        }
        Ok(answer)
    }

    /// The error, or that the run was aborted: then all connections were closed.
    fn or_interrupted(&self, error: SendError) -> SendError {
        if error.delivery == Delivery::Unknown && self.context.shutdown.is_aborted() {
            SendError {
                kind: FailureKind::Interrupted,
                detail: "the run ended before the answer came".to_owned(),
                delivery: Delivery::Unknown,
            }
        } else {
            error
        }
    }

    /// The error of a request that must not be sent again, as the server may have forgotten
    /// its key by now.
    pub(super) fn key_expired(&self, trace: &AttemptTrace) -> Option<SendError> {
        let ttl = self.stage().judge.key_ttl()?;
        let age = trace.intents.iter().filter_map(Intent::age).max()?;
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

    /// A connection, and then a permit: the time that a connection takes varies, and must not
    /// lie between the permit and the request.
    pub(super) async fn connect_and_acquire(
        &self,
        uri: &Uri,
        cost: &Cost,
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
            let turn = pin!(self.context.limiter(self.stage_index).acquire(cost.clone()));
            self.unless_stopped(turn).await?
        };
        let permit = AttemptPermit(permit.map_err(|_| self.exhausted())?);
        drop(waits);
        let _connects = self.waits(WaitReason::Server);
        // The server may have closed the connection in a pause of the process, which
        // only reading shows: a request on it would be lost.
        if since.elapsed() >= IDLE {
            deadline::turns().await;
        }
        Ok((self.sender.renew(lease, uri).await?, permit))
    }

    /// Ends the run, since no permit can be had. The cost of one request was checked before,
    /// so a total is used up, or the store of quotas can't be reached.
    fn exhausted(&self) -> Cancelled {
        let why = self.context.limiter(self.stage_index).store_error();
        self.end_run(why.unwrap_or_else(|| {
            "the total that the limits allow for a run is used up (limit.rate = \"N/run\")".into()
        }))
    }

    /// When the request of this permit can have reached the server, if it was sent.
    pub(super) fn arrived(&self, permit: &Permit) -> Option<Arrived> {
        if !self.context.plan.columns.arrived {
            return None;
        }
        let linger = self.stage().policy.linger;
        let arrived = |arrival| Arrived::new(arrival, linger, self.context.calendar_at_zero);
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

/// The error of an answer that a program of the job can't read in time. Another attempt
/// would end in the same way.
fn too_long(failure: Failure) -> SendError {
    SendError { kind: FailureKind::JqTooLong, detail: failure.detail, delivery: Delivery::Final }
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
