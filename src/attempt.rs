//! One row's walk from request to record: the only loop over attempts.
//!
//! Every sending, be it a retry or the hop of a redirect, takes its own permit,
//! and takes it when its connection is ready to be written to.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::time::Instant;

use crate::judge::{Tries, Verdict, refusal};
use crate::limit::{Gate, Permit};
use crate::live::{Counters, Live};
use crate::plan::Plan;
use crate::record::{Failure, Record};
use crate::send::redirect::{self, Trust};
use crate::send::{Answer, Head, Landed, Sender, Trouble};
use crate::source::Row;
use crate::stop::{Reason, Stop};

/// A connection that ended while it waited for its permit costs no attempt, so often.
const FREE_TRIES: u32 = 3;

/// What all walks of a run have in common.
pub struct Shared {
    pub plan: Plan,
    pub gate: Gate,
    pub live: Live,
    pub stop: Stop,
}

/// What the rows of one worker have in common.
pub struct Walk {
    worker: usize,
    run: Arc<Shared>,
    sender: Sender,
}

/// The run ended before the row had an outcome: it gets no record now.
#[derive(Debug)]
pub struct Stopped;

type Outcome = Result<Answer, Trouble>;

/// What a record says of its attempts.
#[derive(Default)]
struct Seen {
    attempts: u32,
    status: Option<StatusCode>,
    latency: Option<Duration>,
}

impl Walk {
    /// For the worker with this index.
    pub fn new(worker: usize, run: Arc<Shared>) -> Walk {
        Walk {
            worker,
            sender: Sender::new(run.plan.transport.clone()),
            run,
        }
    }

    /// Takes a row to its record.
    pub async fn row(&self, row: Row) -> Result<Record, Stopped> {
        let mut seen = Seen::default();
        let request = match self.run.plan.renderer.render(&row) {
            Ok(request) => request,
            Err(failure) => return Ok(self.record(row, seen, Err(failure))),
        };
        let mut tries = Tries::default();
        loop {
            let outcome = self.attempt(&request, &mut seen).await?;
            let verdict = self
                .run
                .plan
                .judge
                .verdict(&mut tries, &outcome, rand::random());
            match (verdict, outcome) {
                (Verdict::Done, Ok(answer)) => return Ok(self.record(row, seen, Ok(answer))),
                (Verdict::GiveUp(failure), outcome) => {
                    self.check_reached(&outcome)?;
                    return Ok(self.record(row, seen, Err(failure)));
                }
                (Verdict::Again(pause), _) => {
                    self.live().retried();
                    self.unless_stopped(tokio::time::sleep(pause)).await?;
                }
                // The gate is closed: that is where the row waits.
                (Verdict::Refused | Verdict::Done, _) => {}
            }
        }
    }

    /// Sends a request, and what its answers redirect to as far as the job follows.
    async fn attempt(&self, request: &Request<Bytes>, seen: &mut Seen) -> Result<Outcome, Stopped> {
        let mut request = Cow::Borrowed(request);
        let mut trust = Trust::Own;
        let mut hops = 0;
        loop {
            let outcome = self.send(&request, trust, seen).await?;
            let next = match &outcome {
                Ok(answer) if hops < self.run.plan.transport.settings().follow => {
                    redirect::next(&request, trust, answer)
                }
                _ => None,
            };
            let Some((next, its_trust)) = next else {
                return Ok(outcome);
            };
            (request, trust) = (Cow::Owned(next), its_trust);
            hops += 1;
        }
    }

    async fn send(
        &self,
        request: &Request<Bytes>,
        trust: Trust,
        seen: &mut Seen,
    ) -> Result<Outcome, Stopped> {
        let mut free_tries = FREE_TRIES;
        loop {
            let outcome = self.send_once(request, trust, seen).await?;
            match &outcome {
                Err(trouble)
                    if trouble.kind == "connection lost"
                        && trouble.landed == Landed::No
                        && free_tries > 0 =>
                {
                    free_tries -= 1;
                    seen.attempts -= 1;
                }
                _ => return Ok(outcome),
            }
        }
    }

    /// One connection, one permit, one sending.
    async fn send_once(
        &self,
        request: &Request<Bytes>,
        trust: Trust,
        seen: &mut Seen,
    ) -> Result<Outcome, Stopped> {
        seen.attempts += 1;
        let lease = match self.sender.lease(request.uri()).await {
            Ok(lease) => lease,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let mut permit = self.unless_stopped(self.run.gate.permit(1)).await?;
        let mut lease = match self.sender.renew(lease, request.uri()).await {
            Ok(lease) => lease,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let mut request = request.clone();
        if trust == Trust::Own {
            self.run.plan.signer.sign(&mut request);
        }
        permit.sent();
        let _in_flight = self.live().sent();
        let sent = Instant::now();
        let deadline = self.sender.deadline(sent);
        let head = match self.sender.send(&mut lease, request, deadline).await {
            Ok(head) => head,
            Err(trouble) => {
                self.settle(permit, trouble.landed);
                return Ok(Err(trouble));
            }
        };
        self.hear(permit, &head);
        seen.status = Some(head.status());
        let answer = self.sender.read(lease, head, sent, deadline).await;
        seen.latency = Some(sent.elapsed());
        Ok(answer)
    }

    fn settle(&self, permit: Permit, landed: Landed) {
        match landed {
            Landed::No => {
                permit.returned();
                self.live().unsent();
            }
            Landed::Maybe | Landed::Final => permit.lost(),
        }
    }

    /// Tells the gate what the head of an answer says about the limit.
    fn hear(&self, permit: Permit, head: &Head) {
        self.live().answered();
        let Some(refusal) = refusal(head.status(), head.headers(), SystemTime::now()) else {
            return match head.status() {
                // Someone in front of the server has lost sight of the request.
                StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => permit.lost(),
                _ => permit.answered(),
            };
        };
        self.live().refused();
        let refusals = permit.refused(refusal.pause, rand::random());
        if let Some(why) = self.run.plan.judge.too_long(refusal.pause, refusals) {
            self.run.stop.ask(Reason::Trouble(why));
        }
    }

    /// A host that nobody has reached yet, after all retries, is not one row's trouble.
    fn check_reached(&self, outcome: &Outcome) -> Result<(), Stopped> {
        match outcome {
            Err(trouble) if trouble.is_of_host() && self.run.live.sending().answered == 0 => {
                self.run.stop.ask(Reason::Trouble(format!(
                    "the server can't be reached: {}: {}; check request.url (--url), the network and the proxy settings",
                    trouble.kind, trouble.detail
                )));
                Err(Stopped)
            }
            _ => Ok(()),
        }
    }

    fn live(&self) -> &Counters {
        self.run.live.worker(self.worker)
    }

    /// The work's result, unless the run is to end before that.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.run.stop.asked() => Err(Stopped),
        }
    }

    fn record(&self, row: Row, seen: Seen, outcome: Result<Answer, Failure>) -> Record {
        let body = outcome.as_ref().ok().filter(|_| self.run.plan.keeps_body);
        let body = body.map(|answer| {
            self.run
                .plan
                .secrets
                .hide(String::from_utf8_lossy(&answer.body).into_owned())
        });
        let values = outcome.and_then(|answer| self.run.plan.extractor.extract(&answer.body));
        Record {
            row,
            outcome: values.map_err(|failure| self.hide(failure)),
            body,
            status: seen.status.map(|status| status.as_u16()),
            attempts: seen.attempts,
            latency: seen.latency,
        }
    }

    fn hide(&self, failure: Failure) -> Failure {
        Failure {
            kind: failure.kind,
            detail: self.run.plan.secrets.hide(failure.detail),
        }
    }
}
