//! One row's walk from request to record: the only loop over attempts.
//!
//! Every sending, be it a retry or the hop of a redirect, takes its own permit,
//! and takes it when its connection is ready to be written to.

use std::borrow::Cow;
use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::extract;
use crate::judge::{Tries, Verdict, delivery};
use crate::limit::Cost;
use crate::metrics::Counters;
use crate::metrics::wait_time::{WaitReason, WaitingRow};
use crate::plan::Stage;
use crate::record::{Failure, FailureKind, Record};
use crate::row::Row;
use crate::send::redirect::{self, RedirectTrust};
use crate::send::{Answer, SendError, Sender};
use crate::shutdown::{ShutdownListener, ShutdownReason};
use crate::sink::IntentLog;

mod attempt;
mod batch;
mod context;
mod credentials;
mod feedback;
mod page_records;
mod pages;
mod single;
mod trace;

pub use context::RunContext;
use trace::AttemptTrace;

/// What the rows of one worker have in common.
pub struct RowExecutor {
    worker: usize,
    /// The stage of the plan that it carries out.
    stage_index: usize,
    run: Arc<RunContext>,
    sender: Rc<Sender>,
    /// Where requests are announced that must not be sent twice.
    intents: Option<IntentLog>,
    /// Requests that may be in flight at a time.
    slots: Semaphore,
    /// The most rows that a batch may have, as far as the server has said.
    most: Cell<usize>,
    ear: ShutdownListener,
}

/// The run ended before the row had an outcome: it gets no record now.
#[derive(Debug)]
pub struct Cancelled;

type RowResult = Result<Answer, SendError>;

/// What keeps an attempt from an answer.
enum AttemptError {
    Stopped,
    Trouble(SendError),
}

/// On whose behalf a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A row's, at the origin that the job names: it is signed.
    Own,
    /// A row's, redirected elsewhere: it is not.
    Foreign,
    /// A token's: it has its own signature, and its answer is not for showing. It is
    /// foreign unless the token's server is the one that the job names.
    Token(RedirectTrust),
}

impl Purpose {
    fn of(trust: RedirectTrust) -> Purpose {
        match trust {
            RedirectTrust::Own => Purpose::Own,
            RedirectTrust::Foreign => Purpose::Foreign,
        }
    }
}

/// What a request asks of the limits, and for whom.
#[derive(Clone, Copy)]
struct AttemptTerms<'a> {
    ask: &'a Cost,
    errand: Purpose,
}

impl RowExecutor {
    /// For one worker and one stage of the plan.
    pub fn new(
        worker: usize,
        stage_index: usize,
        run: Arc<RunContext>,
        intents: Option<IntentLog>,
    ) -> RowExecutor {
        let transport = run.plan.stages[stage_index].transport.clone();
        let sender = Rc::new(Sender::new(transport, run.plan.connections));
        let connections = sender.clone();
        RowExecutor {
            worker,
            stage_index,
            ear: ShutdownListener::new(run.stop.clone(), move || connections.close()),
            intents,
            sender,
            slots: Semaphore::new(run.plan.stages[stage_index].in_flight),
            most: Cell::new(usize::MAX),
            run,
        }
    }

    /// Takes a row to its record, or to those of its items.
    pub async fn row<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        row: Row,
        emit: &E,
    ) -> Result<(), Cancelled> {
        if self.step().has_parts() {
            return Box::pin(self.paged(row, emit)).await;
        }
        let mut seen = AttemptTrace::default();
        let outcome = match self.request(&row) {
            Ok((request, ask)) => {
                let rows = std::slice::from_ref(&row);
                pin!(self.exchange_with_intent(&request, &ask, rows, &mut seen)).await?
            }
            Err(failure) => Err(failure),
        };
        let record = self.record(row, seen, outcome.map(|answer| answer.body));
        pin!(emit(record)).await;
        Ok(())
    }

    /// Asks for these rows; where that must not be done twice, it is announced.
    async fn exchange_with_intent(
        &self,
        request: &Request<Bytes>,
        ask: &Cost,
        rows: &[Row],
        seen: &mut AttemptTrace,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        let tries = Tries::of(request.method());
        let intents = self.intents.as_ref();
        if let Some(intents) = intents.filter(|_| self.step().judge.announces(tries)) {
            seen.announcements = rows.iter().map(|row| intents.of(row)).collect();
        }
        let terms = AttemptTerms {
            ask,
            errand: Purpose::Own,
        };
        let asked = match self.too_old(seen) {
            Some(trouble) => Ok(Err(trouble.failure())),
            None => pin!(self.send_with_retries(request, terms, tries, seen)).await,
        };
        if asked.is_err() {
            seen.take_back();
        }
        seen.announcements.clear();
        asked
    }

    /// The request of a row that may be sent.
    fn request(&self, row: &Row) -> Result<(Request<Bytes>, Cost), Failure> {
        let mut request = self.step().render(row)?;
        self.check_doubt(row, request.method())?;
        if self.step().makes_keys {
            let key = HeaderValue::try_from(self.run.plan.output.idempotency_key(row));
            let key = key.map_err(|error| Failure::new(FailureKind::Input, error.to_string()))?;
            request.headers_mut().insert("idempotency-key", key);
        }
        let ask = self.step().cost(row, &request)?;
        Ok((request, ask))
    }

    fn check_doubt(&self, row: &Row, method: &Method) -> Result<(), Failure> {
        let resends = self.step().judge.resends(Tries::of(method));
        if !resends && self.run.plan.output.in_doubt().has(row) {
            Err(Failure::new(
                FailureKind::OutcomeUnknown,
                "it was sent before an earlier run ended, and the server may have done it, so it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)",
            ))
        } else {
            Ok(())
        }
    }

    /// Sends a request until there is an answer, or no hope of one.
    async fn send_with_retries(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        mut tries: Tries,
        seen: &mut AttemptTrace,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        loop {
            let outcome = pin!(self.follow_redirects(request, terms, seen)).await?;
            if let Some(pause) = seen.refused_elsewhere.take() {
                let _waits = self.waits(WaitReason::Backoff);
                self.unless_stopped(tokio::time::sleep(pause)).await?;
                continue;
            }
            if std::mem::take(&mut seen.refused) {
                // The gate is closed: that is where the row waits.
                seen.take_back();
                continue;
            }
            seen.judge(delivery(&outcome));
            self.check_cut(&outcome, tries)?;
            if let (Ok(answer), Purpose::Own) = (&outcome, terms.errand)
                && self.renewed(answer.status, seen).await?
            {
                continue;
            }
            let judge = &self.step().judge;
            match (
                judge.verdict(&mut tries, &outcome, self.run.chance.draw()),
                outcome,
            ) {
                (Verdict::Done, Ok(answer)) => return Ok(Ok(answer)),
                (Verdict::GiveUp(failure), outcome) => {
                    self.check_reached(request.uri(), terms.errand, &outcome)?;
                    return Ok(Err(failure));
                }
                (Verdict::Again(pause), _) => {
                    self.live().retried();
                    let _waits = self.waits(WaitReason::Backoff);
                    self.unless_stopped(tokio::time::sleep(pause)).await?;
                }
                (Verdict::Done, Err(_)) => {}
            }
        }
    }

    /// Sends a request, and what its answers redirect to as far as the job follows.
    async fn follow_redirects(
        &self,
        request: &Request<Bytes>,
        mut terms: AttemptTerms<'_>,
        seen: &mut AttemptTrace,
    ) -> Result<RowResult, Cancelled> {
        let mut request = Cow::Borrowed(request);
        let mut hops_left = self.step().transport.settings().follow;
        loop {
            let answer = match pin!(self.send_fresh(&request, terms, seen)).await {
                Ok(answer) => answer,
                // Where a server's redirect leads is no fault of the input.
                Err(AttemptError::Trouble(trouble)) if terms.errand == Purpose::Foreign => {
                    return Ok(Err(trouble.of_server()));
                }
                Err(AttemptError::Trouble(trouble)) => return Ok(Err(trouble)),
                Err(AttemptError::Stopped) => return Err(Cancelled),
            };
            let trust = match terms.errand {
                Purpose::Own => RedirectTrust::Own,
                Purpose::Foreign => RedirectTrust::Foreign,
                Purpose::Token(_) => return Ok(Ok(answer)),
            };
            let transport = &self.step().transport;
            match redirect::next(&request, trust, &answer) {
                Some((next, trust)) if hops_left > 0 && transport.may_follow(next.uri()) => {
                    request = Cow::Owned(next);
                    terms.errand = Purpose::of(trust);
                    hops_left -= 1;
                }
                _ => return Ok(Ok(answer)),
            }
        }
    }

    /// A host that the job itself names, and that has answered nothing after all
    /// retries, is not one row's trouble. A host that a row names is.
    fn check_reached(
        &self,
        uri: &Uri,
        errand: Purpose,
        outcome: &RowResult,
    ) -> Result<(), Cancelled> {
        let is_the_job_s = || matches!(errand, Purpose::Token(_)) || self.step().names_host(uri);
        match outcome {
            Err(trouble)
                if trouble.is_of_host()
                    && self.run.live.sending().answered == 0
                    && is_the_job_s() =>
            {
                Err(self.stop(format!(
                    "the server can't be reached: {}: {}; check request.url (--url), the network and the proxy settings",
                    trouble.kind, trouble.detail
                )))
            }
            _ => Ok(()),
        }
    }

    /// Asks the run to end, for a reason that may quote the server.
    fn stop(&self, why: String) -> Cancelled {
        let why = self.run.plan.secrets.hide(why);
        self.run.stop.request(ShutdownReason::Error(why));
        Cancelled
    }

    fn step(&self) -> &Stage {
        &self.run.plan.stages[self.stage_index]
    }

    /// A request that was cut off and may be sent again is no failure: its row has
    /// no record yet. Any other may have been done, and its record says so.
    fn check_cut(&self, outcome: &RowResult, tries: Tries) -> Result<(), Cancelled> {
        let is_cut = outcome.is_err() && self.run.stop.is_aborted();
        if is_cut && self.step().judge.resends(tries) {
            Err(Cancelled)
        } else {
            Ok(())
        }
    }

    fn live(&self) -> &Counters {
        self.run.live.worker(self.worker)
    }

    /// Something is odd about what the server gives, and yet no row's failure.
    fn warn(&self, what: &'static str, count: u64, example: impl FnOnce() -> String) {
        let example = || self.run.plan.secrets.hide(example());
        self.run.live.warn(what, count, example);
    }

    /// Whether nothing new is to be begun.
    pub fn is_stopping(&self) -> bool {
        self.run.stop.is_requested()
    }

    /// A row waits for this as long as that is kept.
    pub fn waits(&self, cause: WaitReason) -> WaitingRow<'_> {
        self.live().row_waits(cause)
    }

    /// The work's result, unless the run is to end before that.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Cancelled> {
        self.ear.unless_requested(pin!(work)).await.ok_or(Cancelled)
    }

    /// The record of a row whose answer, or whose part of it, is this body.
    fn record(&self, row: Row, seen: AttemptTrace, body: Result<Bytes, Failure>) -> Record {
        let kept = body.as_ref().ok().filter(|_| self.step().keeps_body);
        let (kept, body) = match kept.map(|body| extract::text(body)).transpose() {
            Ok(kept) => (kept.map(str::to_owned), body),
            Err(failure) => (None, Err(failure)),
        };
        let values = body.and_then(|body| self.values(&body));
        Record {
            body: kept,
            ..self.record_of(row, seen, values)
        }
    }

    fn values(&self, body: &[u8]) -> Result<Vec<Value>, Failure> {
        let extractor = &self.step().extractor;
        if !extractor.is_quick() {
            self.check_time()?;
        }
        extractor.extract(body)
    }

    /// No program is begun any more when nothing is waited for: it may take its time.
    fn check_time(&self) -> Result<(), Failure> {
        if self.run.stop.is_aborted() {
            Err(Failure::new(
                FailureKind::Interrupted,
                "the run ended before the answer was read",
            ))
        } else {
            Ok(())
        }
    }

    fn record_of(
        &self,
        mut row: Row,
        seen: AttemptTrace,
        outcome: Result<Vec<Value>, Failure>,
    ) -> Record {
        for name in self.step().renderer.omitted_fields() {
            row.fields.shift_remove(*name);
        }
        Record {
            row,
            outcome,
            kept: Vec::new(),
            body: None,
            status: seen.status.map(|status| status.as_u16()),
            attempts: seen.attempts,
            latency: seen.latency,
            arrived: seen.arrived,
        }
    }
}

impl From<Cancelled> for AttemptError {
    fn from(_: Cancelled) -> AttemptError {
        AttemptError::Stopped
    }
}

impl From<SendError> for AttemptError {
    fn from(trouble: SendError) -> AttemptError {
        AttemptError::Trouble(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl FnOnce(&'static Rc<RowExecutor>) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn a_row_in_flight_takes_little_memory() {
        let size = size(|walk| walk.row(Row::default(), &async |_| ()));
        assert!(size < 6_000, "{size} bytes");
    }
}
