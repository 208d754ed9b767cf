//! From a row to its record: its request is made, sent until the answer is final, and the
//! answer read.
//!
//! Every attempt, be it a retry or the hop of a redirect, takes its own permit, and takes
//! it when its connection is ready to be written to.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::engine::context::RunContext;
use crate::engine::ending;
use crate::engine::poll_queue::PollQueue;
use crate::error::{Error, StopCause};
use crate::events::{EventKind, RequestRetried};
use crate::extract::{self, AnswerContext};
use crate::format::KeepBody;
use crate::judge::{Decision, Meaning, Tries, Verdict, delivery};
use crate::limit::Cost;
use crate::metrics::WaitReason;
use crate::plan::Stage;
use crate::record::{Failure, FailureKind, Record, excerpt};
use crate::row::Row;
use crate::send::redirect::{self, RedirectTrust};
use crate::send::{Answer, Delivery, Origin, SendError, Unfollowed};
use crate::sink::{BatchLog, IntentLog, PollLog};
use crate::wording::worded;

mod attempt;
mod batch;
mod batch_bill;
mod batches;
mod billed;
mod checked;
mod credentials;
mod feedback;
mod hooked;
mod login;
mod outage;
mod page_records;
mod pages;
mod polls;
mod routed;
mod saved;
mod stand_in;
mod stored;
#[cfg(feature = "cli")]
mod try_once;
mod twins;

use attempt::{AttemptError, AttemptOutcome, AttemptTerms, AttemptTrace, Purpose};
pub use attempt::{Cancelled, RequestExecutor};
pub use polls::{PolledJob, job_failed};
pub use stand_in::StandIn;
#[cfg(feature = "cli")]
pub use try_once::Attempted;

/// Maximum number of characters of a failure's details in an event.
const MAX_DETAIL: usize = 500;

/// Takes the rows of one worker and one stage to their records.
pub struct RowExecutor {
    pub requests: RequestExecutor,
    /// Those of the other targets, in their order.
    fallbacks: Vec<RowExecutor>,
    /// Limits the requests in flight where a row may have several.
    slots: Semaphore,
    /// Maximum number of rows of a batch, as far as the server has shown.
    max_batch: Cell<usize>,
    /// The provider's ids of the batches that it has submitted or found.
    batch_ids: RefCell<HashSet<String>>,
    /// The rows whose jobs are not done.
    polls: PollQueue<PolledJob>,
}

/// The logs that an output file has beside it, for the rows that need them.
#[derive(Clone, Default)]
pub struct RowLogs {
    /// Of requests that must not be sent twice.
    pub intents: Option<IntentLog>,
    /// Of batches at a provider.
    pub batches: Option<BatchLog>,
    /// Of jobs that were submitted.
    pub polls: Option<PollLog>,
}

impl RowExecutor {
    /// For one worker and one stage of the plan.
    pub fn new(
        worker: usize,
        stage_index: usize,
        context: Arc<RunContext>,
        logs: RowLogs,
    ) -> RowExecutor {
        let stage = context.plan.stage(stage_index);
        let max_polled = stage.poll.as_ref().map_or(0, |poll| poll.max_waiting);
        RowExecutor {
            fallbacks: Vec::new(),
            slots: Semaphore::new(stage.in_flight),
            polls: PollQueue::new(max_polled.div_ceil(context.plan.workers.count)),
            max_batch: Cell::new(usize::MAX),
            batch_ids: RefCell::default(),
            requests: RequestExecutor::new(worker, stage_index, context, logs),
        }
    }

    fn stage(&self) -> &Stage {
        self.requests.stage()
    }

    /// Starts stand-ins in this way for rows that wait to know whether their server is out. A
    /// row of several requests, or a request of several rows, has none.
    pub fn set_stand_in(&self, start: impl Fn() -> StandIn + 'static) {
        if !self.stage().has_parts() && self.stage().batch.is_none() {
            self.requests.stand_in.get_or_init(|| Box::new(start));
        }
    }

    /// The run that it is part of, and the index of its stage.
    pub fn place(&self) -> (&RunContext, usize) {
        (&self.requests.context, self.requests.stage_index)
    }

    /// Takes rows to their records: those of one batch, or each by itself.
    pub async fn any_rows<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        rows: Vec<Row>,
        emit: &E,
    ) -> Result<(), Cancelled> {
        if let Some(batch) = self.batch() {
            return self.rows(batch, rows, emit).await;
        }
        for row in rows {
            if self.asks_once() {
                Box::pin(self.row_once(row, emit)).await?;
            } else {
                self.row(row, emit).await?;
            }
        }
        Ok(())
    }

    /// Takes a row to its record, or to those of its items.
    pub async fn row<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        mut row: Row,
        emit: &E,
    ) -> Result<(), Cancelled> {
        if let Some(jars) = &self.requests.context.jars {
            jars.equip(&mut row.jar);
        }
        if self.stage().has_parts() {
            return match &self.stage().poll {
                Some(poll) => Box::pin(self.submit(poll, row, emit)).await,
                None => Box::pin(self.run_pages(row, emit)).await,
            };
        }
        if self.stage().save.is_some() {
            return Box::pin(self.run_saved(row, emit)).await;
        }
        if !self.fallbacks.is_empty() {
            return Box::pin(self.run_routed(row, emit)).await;
        }
        if let Some(check) = &self.stage().check {
            return Box::pin(self.run_checked(check, row, emit)).await;
        }
        let mut trace = AttemptTrace::default();
        let made = match &self.stage().hooks.request {
            None => self.request(&row),
            Some(hook) => Box::pin(self.hook_request(&**hook, &row)).await?,
        };
        // It is borrowed, as the row would hold its request twice otherwise.
        let record = match &made {
            Ok((request, cost)) => {
                let rows = std::slice::from_ref(&row);
                let outcome =
                    pin!(self.requests.exchange_with_intent(request, cost, rows, &mut trace))
                        .await?;
                match outcome {
                    Ok(answer) if trace.hooked.is_some() => {
                        return Box::pin(self.end_hooked(row, trace, answer, emit)).await;
                    }
                    Ok(answer) => {
                        let context = self.stage().read_context(&answer, request.uri(), None);
                        self.record(row, trace, &answer.body, context)
                    }
                    Err(failure) => self.record_of(row, trace, Err(failure)),
                }
            }
            Err(failure) => self.record_of(row, trace, Err(failure.clone())),
        };
        pin!(emit(record)).await;
        Ok(())
    }

    /// Sends a row's request once, whatever the answer says: for a probe.
    pub async fn attempt_single(&self, row: &Row) -> Result<Result<Answer, Failure>, Cancelled> {
        let (request, cost) = match self.request(row) {
            Ok(request) => request,
            Err(failure) => return Ok(Err(failure)),
        };
        let terms =
            AttemptTerms { cost: &cost, purpose: Purpose::Own, row: Some(row), is_billed: true };
        match self.requests.send_fresh(&request, terms, &mut AttemptTrace::default()).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(AttemptError::Failed(error)) => {
                let Failure { kind, detail } = error.failure();
                let detail = self.requests.context.plan.secrets.hide(detail);
                Ok(Err(Failure { kind, detail }))
            }
            Err(AttemptError::Cancelled) => Err(Cancelled),
        }
    }

    /// The request of a row and its cost, if it may be sent.
    fn request(&self, row: &Row) -> Result<(Request<Bytes>, Cost), Failure> {
        let mut request = self.stage().render(row)?;
        self.make_sendable(row, &mut request)?;
        let cost = self.stage().cost(row, &request)?;
        Ok((request, cost))
    }

    /// Gives a request its key, unless it must not be sent.
    fn make_sendable(&self, row: &Row, request: &mut Request<Bytes>) -> Result<(), Failure> {
        self.check_doubt(row, request.method())?;
        if self.stage().makes_keys {
            let key = HeaderValue::try_from(self.requests.context.plan.output.idempotency_key(row));
            let key = key.map_err(|error| Failure::new(FailureKind::Input, error.to_string()))?;
            request.headers_mut().insert("idempotency-key", key);
        }
        Ok(())
    }

    fn check_doubt(&self, row: &Row, method: &Method) -> Result<(), Failure> {
        let resends = self.stage().judge.resends(Tries::of(method));
        let output = &self.requests.context.plan.output;
        // A job that is known was submitted for the row as it was, and its outcome is not in doubt.
        let is_in_doubt = || {
            output.in_doubt().has(row)
                && output.submitted_job(self.requests.stage_index, row).is_none()
        };
        if !resends && is_in_doubt() {
            Err(Failure::new(
                FailureKind::OutcomeUnknown,
                worded(
                    "it was sent before an earlier run ended, and the server may have done it, so it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)",
                ),
            ))
        } else {
            Ok(())
        }
    }

    /// Counts something odd about the server's answers that is no row's failure.
    fn warn(&self, what: &'static str, count: u64, example: impl FnOnce() -> String) {
        let RunContext { metrics, plan, .. } = &*self.requests.context;
        metrics.warn(what, count, || plan.secrets.hide(example()));
    }

    /// The record of a row with this body, which is its answer or its part of one.
    fn record(
        &self,
        row: Row,
        mut trace: AttemptTrace,
        body: &[u8],
        context: AnswerContext<'_>,
    ) -> Record {
        let read = AnswerContext { row: Some(&row), ..context };
        if self.stage().keep_body == KeepBody::All {
            let (text, values) = match extract::kept_text(body, &read) {
                Ok(text) => (Some(text), self.values(body, &read)),
                Err(failure) => (None, Err(failure)),
            };
            return Record { body: text, ..self.record_of(row, trace, values) };
        }
        let values = self.values(body, &read);
        if values.is_err() {
            trace.keep_all(body, &context);
        }
        self.record_of(row, trace, values)
    }

    fn values(&self, body: &[u8], context: &AnswerContext<'_>) -> Result<Vec<Value>, Failure> {
        let extractor = &self.stage().extractor;
        if !extractor.is_single_pass() {
            self.check_time()?;
        }
        extractor.extract_in(body, context)
    }

    /// Refuses to run a program over an answer once the run is aborted: it may take long.
    fn check_time(&self) -> Result<(), Failure> {
        if self.requests.context.shutdown.is_aborted() {
            Err(Failure::new(FailureKind::Interrupted, "the run ended before the answer was read"))
        } else {
            Ok(())
        }
    }

    fn record_of(
        &self,
        mut row: Row,
        trace: AttemptTrace,
        outcome: Result<Vec<Value>, Failure>,
    ) -> Record {
        let is_failure = outcome.as_ref().is_err_and(|it| it.kind != FailureKind::Missing);
        if is_failure && self.requests.stage_index > 0 {
            self.note_failed(&row);
        }
        for name in self.stage().renderer.omitted_fields() {
            row.fields.shift_remove(*name);
        }
        Record {
            row,
            body: trace.said.filter(|_| is_failure).map(String::from),
            outcome,
            kept: Vec::new(),
            status: trace.status.map(|status| status.as_u16()),
            attempts: trace.attempts,
            latency: trace.latency,
            arrived: trace.arrived,
            warning: None,
            saved: None,
            origin: trace.answer_origin,
            target: None,
        }
    }
}

impl RequestExecutor {
    /// Sends the request of these rows. A request that must not be sent twice is announced
    /// in the log of intents first.
    async fn exchange_with_intent(
        &self,
        request: &Request<Bytes>,
        cost: &Cost,
        rows: &[Row],
        trace: &mut AttemptTrace,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        trace.said = None;
        let tries = Tries::of(request.method());
        let intents = self.logs.intents.as_ref();
        if let Some(intents) = intents.filter(|_| self.stage().judge.needs_intent(tries)) {
            trace.intents = rows.iter().map(|row| intents.of(row)).collect();
        }
        let row = rows.first().filter(|_| rows.len() == 1);
        let terms = AttemptTerms { cost, purpose: Purpose::Own, row, is_billed: true };
        let outcome = match self.key_expired(trace) {
            Some(error) => Ok(Err(error.failure())),
            None => pin!(self.send_with_retries(request, terms, tries, trace)).await,
        };
        if outcome.is_err() {
            trace.add_delivery(Delivery::NotSent);
        }
        trace.intents.clear();
        outcome
    }

    /// Sends a request until its answer is final, or no further attempt may help; unless its
    /// answer is in the store.
    async fn send_with_retries(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        first: Tries,
        trace: &mut AttemptTrace,
    ) -> Result<Result<Answer, Failure>, Cancelled> {
        if let Some(store) = self.context.store.get()
            && terms.purpose.of_credentials().is_none()
            && !trace.is_sought
        {
            return Box::pin(self.find_or_send(store, request, terms, first, trace)).await;
        }
        // The answer that the store has is of no use.
        if trace.finds_only {
            return Err(Cancelled);
        }
        let mut tries = first;
        loop {
            let outcome = pin!(self.follow_redirects(request, terms, trace)).await?;
            if trace.refused || trace.refused_elsewhere.is_some() {
                Box::pin(self.after_refusal(trace)).await?;
                continue;
            }
            let mut decision = trace.decision.take();
            if let (Some(step), Ok(answer)) = (&self.stage().hooks.response, &outcome)
                && terms.purpose.of_credentials().is_none()
                && decision.is_some_and(|decision| decision.then == Meaning::Ok)
            {
                let processed = self.process(&*step.hook, answer, request.uri(), terms.row);
                let (result, ruled) = Box::pin(processed).await;
                trace.hooked = Some(Box::new(result));
                decision = ruled.or(decision);
            }
            let judged = match &outcome {
                Ok(answer) => Ok((answer, decision.unwrap_or_default())),
                Err(error) => Err(error),
            };
            let delivery = delivery(judged);
            trace.add_delivery(delivery);
            self.check_aborted(&outcome, tries)?;
            if let (Ok(answer), Purpose::Own, true) =
                (&outcome, terms.purpose, self.has_credentials)
                && self.renew_credentials(answer.status, terms.row, trace).await?
            {
                continue;
            }
            if let (Ok(answer), Purpose::Login(_)) = (&outcome, terms.purpose)
                && answer.status.is_redirection()
            {
                return Ok(outcome.map_err(|error| error.failure()));
            }
            let judge = &self.stage().judge;
            let verdict = judge.verdict(&mut tries, judged, self.context.world.draw());
            let is_last = matches!(verdict, Verdict::GiveUp(_));
            if trace.origin.is_some()
                && Box::pin(self.is_outage(delivery, first, is_last, trace)).await?
            {
                tries = first;
                trace.unsent = 0;
                continue;
            }
            if is_last || matches!(verdict, Verdict::Done) {
                trace.decision = decision;
            }
            match (verdict, outcome) {
                (Verdict::Done, Ok(answer)) => {
                    trace.unsent = 0;
                    return Ok(Ok(answer));
                }
                (Verdict::GiveUp(failure), outcome) => {
                    self.check_reached(request.uri(), terms.purpose, &outcome, trace)?;
                    return Ok(Err(self.given_up(failure, outcome, trace)));
                }
                (Verdict::Retry(pause), outcome) => {
                    self.counters().retried();
                    self.emit_retried(terms, &outcome, pause, trace);
                    let _waits = self.waits(WaitReason::Backoff);
                    self.unless_stopped(tokio::time::sleep(pause)).await?;
                }
                (Verdict::Stop, Ok(answer)) => {
                    return Err(self.stop(&answer, decision.unwrap_or_default()));
                }
                (Verdict::Done | Verdict::Stop, Err(_)) => {}
            }
        }
    }

    /// Emits the event of an attempt that failed, and that another one follows.
    fn emit_retried(
        &self,
        terms: AttemptTerms<'_>,
        outcome: &AttemptOutcome,
        pause: Duration,
        trace: &AttemptTrace,
    ) {
        self.context.emit(|| {
            let Failure { kind, detail } = match outcome {
                Ok(answer) => answer.failure(),
                Err(error) => error.failure(),
            };
            // What the servers of tokens and logins say is secret.
            let is_secret = outcome.is_ok() && terms.purpose.of_credentials().is_some();
            let mut detail = if is_secret { String::new() } else { detail };
            if let Some(of_row) = terms.row.and_then(|row| row.jar.secrets()) {
                detail = of_row.hide(detail);
            }
            let detail = self.context.plan.secrets.hide(detail);
            EventKind::RequestRetried(Box::new(RequestRetried {
                row: terms.row.map(|row| row.number),
                attempts: trace.attempts,
                kind: kind.text().into_owned(),
                detail: excerpt(&detail, MAX_DETAIL),
                pause,
            }))
        });
    }

    /// Lets a refused request go again: it costs no try. Where the server has a part in the job's
    /// limits, the limiter is paused, and the row waits there.
    async fn after_refusal(&self, trace: &mut AttemptTrace) -> Result<(), Cancelled> {
        if let Some(pause) = trace.refused_elsewhere.take() {
            let _waits = self.waits(WaitReason::Backoff);
            return self.unless_stopped(tokio::time::sleep(pause)).await;
        }
        trace.refused = false;
        trace.add_delivery(Delivery::Rejected);
        Ok(())
    }

    /// Replaces the error of a plain request without an answer if its server speaks TLS. This is
    /// not looked for once a row is ok.
    async fn check_scheme(&self, error: &mut SendError, uri: &Uri) {
        if self.context.metrics.ok() > 0 {
            return;
        }
        let origin = Origin::of(uri);
        let _waits = self.waits(WaitReason::Server);
        if let Some(origin) = origin
            && let Some(wants_tls) = self.stage().transport.wants_tls(&origin).await
        {
            *error = wants_tls;
        }
    }

    /// The failure of a request after its last attempt.
    fn given_up(
        &self,
        failure: Failure,
        outcome: AttemptOutcome,
        trace: &mut AttemptTrace,
    ) -> Failure {
        trace.count_unsent(self.context.plan.columns.arrived);
        let (answers, decision) = (&self.stage().answers, trace.decision.unwrap_or_default());
        let mut stream_error = None;
        if let Ok(answer) = outcome {
            stream_error = answers.stream_error(&answer, decision);
            trace.keep_failed(&answer);
            if decision.then == Meaning::Missing && self.context.store.get().is_some() {
                trace.missing = Some(Box::new(answer));
            }
        }
        if let Some(Err(failure)) = trace.hooked.take().map(|result| *result) {
            return failure;
        }
        stream_error.unwrap_or_else(|| answers.named(failure, decision))
    }

    /// Ends the run at an answer at which a rule of the job says so.
    fn stop(&self, answer: &Answer, decision: Decision) -> Cancelled {
        let rule = self.stage().answers.describe(decision.row);
        let Failure { kind, detail } = answer.failure();
        let why = format!("the server answered {kind}: {detail}; a rule ends the run ({rule})");
        self.end_run(Error::stopped_by(StopCause::Refused, why))
    }

    /// Sends a request, and follows its redirects as far as the job says.
    async fn follow_redirects(
        &self,
        request: &Request<Bytes>,
        mut terms: AttemptTerms<'_>,
        trace: &mut AttemptTrace,
    ) -> Result<AttemptOutcome, Cancelled> {
        let mut request = Cow::Borrowed(request);
        let mut hops = 0;
        let mut login_trust = RedirectTrust::Own;
        loop {
            let before = trace.latency;
            let sent = pin!(self.send_fresh(&request, terms, trace)).await;
            let mut answer = match sent {
                Ok(answer) => answer,
                Err(AttemptError::Failed(mut error)) => {
                    // What has sent a head of HTTP speaks no TLS there.
                    if error.is_without_answer() && trace.latency == before {
                        Box::pin(self.check_scheme(&mut error, request.uri())).await;
                    }
                    // A redirect to a wrong place is the server's fault, not the input's.
                    let is_foreign = terms.purpose == Purpose::Foreign;
                    return Ok(Err(if is_foreign { error.of_server() } else { error }));
                }
                Err(AttemptError::Cancelled) => return Err(Cancelled),
            };
            let trust = match terms.purpose {
                Purpose::Own => RedirectTrust::Own,
                Purpose::Foreign => RedirectTrust::Foreign,
                Purpose::Login(_) => login_trust,
                Purpose::Token(_) => return Ok(Ok(answer)),
            };
            if !answer.status.is_redirection() || self.ends_session(answer.status, terms.purpose) {
                return Ok(Ok(answer));
            }
            match self.next_hop(&request, trust, &answer, hops) {
                Ok((next, trust)) => {
                    request = Cow::Owned(next);
                    terms.purpose = match terms.purpose {
                        Purpose::Login(api) if trust == RedirectTrust::Own => Purpose::Login(api),
                        Purpose::Login(_) => Purpose::Login(RedirectTrust::Foreign),
                        _ => Purpose::of(trust),
                    };
                    login_trust = trust;
                    hops += 1;
                    self.counters().redirected();
                }
                Err(why) => {
                    answer.unfollowed = why;
                    return Ok(Ok(answer));
                }
            }
        }
    }

    /// The request that an answer redirects to after so many others; or why it is not followed,
    /// where the job follows redirects.
    fn next_hop(
        &self,
        request: &Request<Bytes>,
        trust: RedirectTrust,
        answer: &Answer,
        hops: u32,
    ) -> Result<(Request<Bytes>, RedirectTrust), Option<Unfollowed>> {
        let transport = &self.stage().transport;
        if transport.settings.follow == 0 {
            return Err(None);
        }
        let (next, trust) = redirect::next(request, trust, answer)?;
        if hops >= transport.settings.follow {
            return Err(Some(Unfollowed::TooMany));
        }
        if !transport.may_follow(next.uri()) {
            return Err(Some(Unfollowed::Host));
        }
        Ok((next, trust))
    }

    /// Ends the run if a host that the job names was never reached, and waiting is no help; or
    /// turns the row away. A host that a row names is the failure of that row.
    fn check_reached(
        &self,
        uri: &Uri,
        purpose: Purpose,
        outcome: &AttemptOutcome,
        trace: &mut AttemptTrace,
    ) -> Result<(), Cancelled> {
        let is_unreached = |origin: Origin| !self.stage().transport.has_reached(&origin);
        match outcome {
            Err(error)
                if error.is_of_host()
                    && self.watched_origin(uri, purpose).is_some_and(is_unreached) =>
            {
                Err(self.turn_away_unreached(ending::unreachable(error), trace))
            }
            _ => Ok(()),
        }
    }

    /// Ends the row without a record if its request was aborted and may be sent again.
    /// Any other aborted request may have been done, and its record says so.
    fn check_aborted(&self, outcome: &AttemptOutcome, tries: Tries) -> Result<(), Cancelled> {
        let is_aborted = outcome.is_err() && self.context.shutdown.is_aborted();
        if is_aborted && self.stage().judge.resends(tries) { Err(Cancelled) } else { Ok(()) }
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
        let size = size(|executor| executor.row(Row::default(), &async |_| ()));
        assert!(size < 5_000, "{size} bytes");
    }
}
