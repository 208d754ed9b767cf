//! Requests, and their attempts: a connection, a permit, a signature, an answer, in this order.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use tokio::time::Instant;

use super::RowLogs;
use super::outage::OriginStanding;
use super::stand_in::StandIn;
use crate::cookies::{CookieJar, JarGeneration};
use crate::engine::context::RunContext;
use crate::engine::outages::Pass;
use crate::engine::targets::NotFree;
use crate::error::Error;
use crate::extract::{AnswerContext, text};
use crate::hooks::Processed;
use crate::judge::Decision;
use crate::limit::{Cost, Permit, RateLimiter, duration};
use crate::metrics::{Counters, WaitReason, WaitingRow};
use crate::plan::Stage;
use crate::record::{
    AnswerOrigin, Arrived, Failure, FailureKind, POOL_KEY, excerpt, is_of_request,
};
use crate::row::Row;
use crate::save::Download;
use crate::send::redirect::RedirectTrust;
use crate::send::{Answer, Delivery, Lease, SendError, Sender, deadline};
use crate::shutdown::{ShutdownListener, ShutdownReason};
use crate::sink::Intent;
use crate::store::RequestKey;
use crate::wording::worded;

/// Maximum number of connections of a request that may end while they wait for a permit, at
/// the cost of no attempt.
const FREE_TRIES: u32 = 3;

/// Time of waiting for a permit after which a connection is read once more.
const IDLE: Duration = Duration::from_secs(1);

/// Maximum number of characters that are kept of an answer that is a failure by its status.
const MAX_SAID: usize = 16 * 1_024;

/// Sends the requests of one worker and one stage, each attempt under a permit of its own.
pub struct RequestExecutor {
    pub(super) worker: usize,
    /// The stage of the plan that it carries out.
    pub(super) stage_index: usize,
    pub(super) context: Arc<RunContext>,
    pub(super) sender: Rc<Sender>,
    pub(super) logs: RowLogs,
    /// Whether its requests are signed, or have secrets that may have to be read again.
    pub(super) has_credentials: bool,
    /// Whether its rows may go to another target.
    pub(super) is_routed: bool,
    listener: ShutdownListener,
    /// Starts a stand-in for a row that waits to know whether its server is out.
    pub(super) stand_in: OnceCell<Box<dyn Fn() -> StandIn>>,
}

/// The run ended before the row had an outcome, and the row gets no record now; or its target has
/// turned it away, as its trace says.
#[derive(Debug)]
pub struct Cancelled;

/// An answer, or why none came.
pub(super) type AttemptOutcome = Result<Answer, SendError>;

/// Why an attempt has no answer.
pub(super) enum AttemptError {
    Cancelled,
    Failed(SendError),
}

/// The party for which a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A row, at the origin that the job names: the request is signed.
    Own,
    /// A row, redirected to another origin: the request is not signed.
    Foreign,
    /// A token: the request has a signature of its own, and its answer is secret. Its
    /// server is foreign unless the job's requests go there too.
    Token(RedirectTrust),
    /// A login: as a token, but redirects are followed and cookies are kept.
    Login(RedirectTrust),
}

/// The cost and the purpose of a request.
#[derive(Clone, Copy)]
pub(super) struct AttemptTerms<'a> {
    pub cost: &'a Cost,
    pub purpose: Purpose,
    /// The row that the request is for, if it is for one.
    pub row: Option<&'a Row>,
    /// Whether it has a price, where requests have one.
    pub is_billed: bool,
}

/// The attempts of a record: their figures, and the state that the next one needs.
#[derive(Default)]
pub(super) struct AttemptTrace {
    pub attempts: u32,
    pub status: Option<StatusCode>,
    pub latency: Option<Duration>,
    /// For each attempt, and each token that was fetched, when it can have arrived; none if
    /// nothing was sent. Empty if records do not tell.
    pub arrived: Vec<Option<Arrived>>,
    /// Intents of a request that must not be sent twice, or not after a time.
    pub intents: Vec<Intent>,
    /// Whether the server may have acted on any attempt.
    pub may_be_done: bool,
    pub signed: SignedWith,
    pub renewed: bool,
    /// The decision of the table of answers on the last answer.
    pub decision: Option<Decision>,
    /// Whether the last answer was a refusal, which costs no try.
    pub refused: bool,
    /// Why the run ends at the last answer, once its body tells what the server says.
    pub stop_reason: Option<Box<StopReason>>,
    /// Pause after a refusal by a server that has no part in the job's limits.
    pub refused_elsewhere: Option<Duration>,
    /// Number of such refusals in a row.
    pub refusals_elsewhere: u32,
    /// The answer's body as text, for the record of a row that fails: all of it, or its
    /// beginning.
    pub said: Option<Box<str>>,
    /// The file that the answer goes to, if it is to be saved.
    pub download: Option<Box<Download>>,
    /// The standing of the origin after the last attempt, if it failed there.
    pub origin: Option<Box<OriginStanding>>,
    /// The streak of failures in which the request was counted last.
    pub counted_in: Option<u64>,
    /// The result of the program's hook for the last answer, if it has one.
    pub hooked: Option<Box<Result<Processed, Failure>>>,
    /// Number of attempts that sent nothing, and count only if the request fails.
    pub unsent: u32,
    /// Whether the store was looked at for the answer, so that the request is sent.
    pub is_sought: bool,
    /// Whether the request is not sent if its answer is not in the store.
    pub finds_only: bool,
    /// What the row asks of its first target, if this is another one, and answers are kept.
    pub question: Option<RequestKey>,
    /// Where the last answer was found, if it was not asked for.
    pub answer_origin: Option<AnswerOrigin>,
    /// The answer that says that there is nothing for the row, where answers are kept.
    pub missing: Option<Box<Answer>>,
    /// Why the target takes no request of the row now, if so.
    pub turned_away: Option<Box<NotFree>>,
}

/// A request with its credentials and cookies, none if it has neither; and the generation of the
/// jar's cookies.
type SignedRequest = (Option<Box<Request<Bytes>>>, JarGeneration);

/// Why the server of an answer is asked for nothing more.
pub(super) struct StopReason {
    pub why: String,
    /// The time after which it may be asked again; none if never.
    pub pause: Option<Duration>,
}

/// The editions of the credentials that signed an attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SignedWith {
    pub token: u64,
    pub vault: u64,
    pub login: u64,
    /// The key of the pool.
    pub key: Option<usize>,
}

impl RequestExecutor {
    /// For one worker and one stage of the plan.
    pub fn new(
        worker: usize,
        stage_index: usize,
        context: Arc<RunContext>,
        logs: RowLogs,
    ) -> RequestExecutor {
        let stage = context.plan.stage(stage_index);
        let sender = Rc::new(Sender::new(stage.transport.clone(), context.plan.connections));
        let connections = sender.clone();
        let is_signed = !stage.signer.is_empty() || !stage.policy.keys().is_empty();
        RequestExecutor {
            worker,
            stage_index,
            listener: ShutdownListener::new(context.shutdown.clone(), move || connections.close()),
            logs,
            sender,
            stand_in: OnceCell::new(),
            has_credentials: is_signed || context.plan.vault.is_some(),
            is_routed: false,
            context,
        }
    }

    pub(super) fn stage(&self) -> &Stage {
        self.context.plan.stage(self.stage_index)
    }

    fn limiter(&self) -> &RateLimiter {
        self.context.limiter(self.stage_index)
    }

    pub(super) fn counters(&self) -> &Counters {
        self.context.metrics.worker(self.worker)
    }

    /// Whether no new row is to be begun.
    pub fn is_stopping(&self) -> bool {
        self.context.shutdown.is_requested()
    }

    /// Counts a row as waiting for this reason until the result is dropped.
    pub fn waits(&self, cause: WaitReason) -> WaitingRow<'_> {
        self.counters().row_waits(cause)
    }

    /// The work's result, unless the run is asked to end before.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Cancelled> {
        self.listener.unless_requested(pin!(work)).await.ok_or(Cancelled)
    }

    /// Asks the run to end, for a reason that may quote the server.
    pub(super) fn end_run(&self, error: Error) -> Cancelled {
        let error = error.map(|text| self.context.plan.secrets.hide(text));
        self.context.shutdown.request(ShutdownReason::Error(error));
        Cancelled
    }

    /// Attempts a request; a connection that had ended before anything was written, and a permit
    /// that was too old, are replaced.
    pub(super) async fn send_fresh(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        trace: &mut AttemptTrace,
    ) -> Result<Answer, AttemptError> {
        let mut free = FREE_TRIES;
        let (first, pass, outcome) = loop {
            let first = trace.arrived.len();
            let mut pass = self.context.outages.pass();
            let sent = pin!(self.attempt(request, &terms, trace, &mut pass)).await;
            match sent {
                Ok(None) => trace.forget_attempt(first),
                Err(AttemptError::Failed(error)) if free > 0 && error.is_stale_connection() => {
                    trace.forget_attempt(first);
                    free -= 1;
                }
                Ok(Some(answer)) => break (first, pass, Ok(answer)),
                Err(error) => break (first, pass, Err(error)),
            }
        };
        let is_well = matches!(&outcome, Ok(answer) if !answer.status.is_server_error());
        if !is_well || !self.context.outages.is_calm() {
            self.tell_of_origin(pass, request.uri(), terms.purpose, &outcome, trace);
            trace.set_unsent_aside(first, &outcome);
        }
        outcome
    }

    /// Takes a connection and a permit, sends the request once, and reads the answer. None if
    /// nothing was sent, as other machines may have used the units of the permit by then.
    async fn attempt<'a>(
        &'a self,
        request: &Request<Bytes>,
        terms: &AttemptTerms<'a>,
        trace: &mut AttemptTrace,
        pass: &mut Pass<'a>,
    ) -> Result<Option<Answer>, AttemptError> {
        let number = trace.begin_attempt(self.context.plan.columns.arrived);
        if self.is_routed {
            self.check_target(trace)?;
        }
        // It is boxed, so that rows without a price don't have room for it.
        let mut charge = match &self.context.spending {
            Some(spending) if terms.is_billed => {
                Box::pin(self.reserve_money(spending, terms.cost)).await?.map(Box::new)
            }
            _ => None,
        };
        let mut lease = None;
        let (mut lease, mut permit) =
            match self.acquire_at_once(request.uri(), terms, &mut lease)? {
                Some(acquired) => acquired,
                // To wait takes much room, which a row in flight need not have.
                None => Box::pin(self.acquire_turn(request, terms, lease, trace, pass)).await?,
            };
        if let Some(error) = self.key_expired(trace) {
            trace.forget_attempt(number);
            return Err(error.into());
        }
        for intent in &mut trace.intents {
            let _waits = self.waits(WaitReason::Output);
            intent.make().await.map_err(|_| AttemptError::Cancelled)?;
        }
        let jar = self.jar(*terms, permit.key());
        let (signed, generation) = self.signed(request, *terms, jar, permit.key(), trace)?;
        if self.context.shutdown.is_aborted() {
            return Err(AttemptError::Cancelled);
        }
        if !permit.sent_in_time() {
            return Ok(None);
        }
        charge.iter_mut().for_each(|charge| charge.sent());
        let _in_flight = self.counters().sent();
        let time = self.sender.start();
        let arrived = || permit.acked();
        let head = {
            let sent = signed.as_deref().unwrap_or(request);
            let sending = pin!(self.sender.send(&mut lease, sent, time, arrived));
            sending.await.map_err(|error| self.or_interrupted(error))
        };
        self.finish_permit(&mut permit, &head, terms.purpose, trace);
        if let Err(error) = &head {
            trace.set_arrival(number, self.arrived(&permit, terms.cost));
            if matches!(error.delivery, Delivery::NotSent | Delivery::Rejected) {
                charge.take().into_iter().for_each(|charge| charge.cancel());
            }
        }
        let head = head?;
        trace.status = Some(head.status());
        if let Some(jar) = jar {
            self.warn_of_cookies(jar.keep(request.uri(), head.headers(), generation));
        }
        let answer = if self.streams(&head, terms.purpose, trace) {
            Box::pin(self.receive(lease, head, time, trace)).await?
        } else {
            let reading = pin!(self.sender.read(lease, head, time));
            reading.await.map_err(|error| self.or_interrupted(error))
        };
        let read = self.finish_by_body(&mut permit, &answer, request.uri(), *terms, trace);
        trace.set_arrival(number, self.arrived(&permit, terms.cost));
        let latency = answer.as_ref().map_or_else(|_| time.elapsed(), |answer| answer.latency);
        trace.latency = Some(latency);
        self.counters().latency(latency);
        let answer = answer?;
        if terms.purpose.of_credentials().is_some() {
            return Ok(Some(answer));
        }
        read.map_err(too_long)?;
        let mut told = Vec::new();
        if let Some(costs) = &self.stage().true_costs {
            let context = self.stage().read_context(&answer, request.uri(), terms.row);
            told = costs.costs(&answer.body, &context).map_err(too_long)?;
            self.settle(&told, terms.cost, &mut permit, number, trace);
            for (unit, used) in &told {
                self.stage().renderer.learn_cost(*unit, request, *used);
            }
        }
        if let Some(charge) = charge {
            self.bill(*charge, terms.cost, answer.status, trace.refused, &told);
        }
        Ok(Some(answer))
    }

    /// The request with its credentials and cookies, for this key of the pool.
    fn signed(
        &self,
        request: &Request<Bytes>,
        terms: AttemptTerms<'_>,
        jar: Option<&CookieJar>,
        key: Option<usize>,
        trace: &mut AttemptTrace,
    ) -> Result<SignedRequest, SendError> {
        let mut sent = Cow::Borrowed(request);
        if self.is_signed(terms.purpose) {
            self.sign(sent.to_mut(), key, trace)?;
        }
        let generation = jar.map(|jar| jar.add_to(sent.to_mut())).unwrap_or_default();
        if let Some(jar) = self.login_jar(terms.purpose, key) {
            jar.add_to(sent.to_mut());
        }
        if terms.purpose == Purpose::Own {
            self.context.world.label(self.stage(), &mut sent, terms.cost, key);
        }
        let sent = match sent {
            Cow::Borrowed(_) => None,
            Cow::Owned(sent) => Some(Box::new(sent)),
        };
        Ok((sent, generation))
    }

    /// Whether requests for this purpose are signed, or may have secrets.
    fn is_signed(&self, purpose: Purpose) -> bool {
        self.has_credentials && purpose == Purpose::Own
    }

    /// The jar of a request with this key of the pool, if cookies are kept for it.
    fn jar<'a>(&'a self, terms: AttemptTerms<'a>, key: Option<usize>) -> Option<&'a CookieJar> {
        let jars = self.context.jars.as_ref()?;
        match terms.purpose {
            Purpose::Own | Purpose::Foreign => jars.of(key, terms.row.map(|row| &row.jar)),
            Purpose::Login(_) => Some(jars.of_key(self.stage().signer.login()?.key(key))),
            Purpose::Token(_) => None,
        }
    }

    /// The jar of the login, for a row's request with this key of the pool.
    fn login_jar(&self, purpose: Purpose, key: Option<usize>) -> Option<&CookieJar> {
        let is_of_row = matches!(purpose, Purpose::Own | Purpose::Foreign);
        let (jars, login) = (self.context.jars.as_ref()?, self.stage().signer.login()?);
        is_of_row.then(|| jars.of_key(login.key(key)))
    }

    fn warn_of_cookies(&self, left_out: u64) {
        if left_out > 0 {
            let why = || "a jar keeps 180 cookies of a host's scheme and port".to_owned();
            self.context.metrics.warn(
                "cookies that were left out, as the jar is full",
                left_out,
                why,
            );
        }
    }

    /// Corrects the cost of an attempt by the true one, which its answer has, for each unit.
    fn settle(
        &self,
        costs: &[(usize, u64)],
        reserved: &Cost,
        permit: &mut Permit,
        number: usize,
        trace: &mut AttemptTrace,
    ) {
        for &(unit, cost) in costs {
            self.context.metrics.settled(unit, reserved.units_of(unit), cost);
            permit.adjust_cost(unit, cost);
            trace.set_cost(number, &self.stage().policy.units()[unit], cost);
        }
    }

    /// The error, or that the run was aborted: then all connections were closed.
    pub(super) fn or_interrupted(&self, error: SendError) -> SendError {
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
            detail: worded(format!(
                "it was sent {} ago and may have been done, and the server knows its Idempotency-Key for {} (retry.idempotency-ttl): it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)",
                duration::rounded(Duration::from_secs(age.as_secs())),
                duration::exact(ttl),
            )),
            delivery: Delivery::Final,
        })
    }

    /// A connection and a permit, if the request's origin may be asked and neither has to be waited
    /// for. If only the permit has to, the connection is in `lease`.
    fn acquire_at_once(
        &self,
        uri: &Uri,
        terms: &AttemptTerms<'_>,
        lease: &mut Option<Lease>,
    ) -> Result<Option<(Lease, AttemptPermit)>, SendError> {
        if !self.context.outages.is_calm() || self.is_stopping() || self.has_expiring(terms) {
            return Ok(None);
        }
        *lease = self.sender.lease_now(uri)?;
        if lease.is_none() {
            return Ok(None);
        }
        let permit = self.limiter().acquire_now(terms.cost).map(AttemptPermit);
        Ok(permit.and_then(|permit| Some((lease.take()?, permit))))
    }

    /// Whether requests on these terms have credentials that may have to be renewed first.
    fn has_expiring(&self, terms: &AttemptTerms<'_>) -> bool {
        self.is_signed(terms.purpose) && self.stage().signer.has_expiring()
    }

    /// A connection, unless there is a lease of one, and a permit, as soon as the request's origin
    /// may be asked.
    async fn acquire_turn<'a>(
        &'a self,
        request: &Request<Bytes>,
        terms: &AttemptTerms<'a>,
        mut lease: Option<Lease>,
        trace: &mut AttemptTrace,
        pass: &mut Pass<'a>,
    ) -> Result<(Lease, AttemptPermit), AttemptError> {
        loop {
            if !self.context.outages.is_calm() {
                let wait = self.wait_for_origin(request.uri(), terms.purpose, trace);
                *pass = Box::pin(wait).await?;
            }
            if self.is_stopping() {
                return Err(AttemptError::Cancelled);
            }
            let acquired = if self.has_expiring(terms) {
                Box::pin(self.acquire_with_credentials(request, *terms, trace)).await?
            } else {
                self.connect_and_acquire(request.uri(), lease.take(), terms.cost, trace).await?
            };
            if self.still_admits(pass, request.uri(), terms.purpose) {
                return Ok(acquired);
            }
        }
    }

    /// A connection, unless there is a lease of one, and then a permit: the time that a connection
    /// takes varies, and must not lie between the permit and the request.
    pub(super) async fn connect_and_acquire(
        &self,
        uri: &Uri,
        lease: Option<Lease>,
        cost: &Cost,
        trace: &mut AttemptTrace,
    ) -> Result<(Lease, AttemptPermit), AttemptError> {
        let lease = match lease {
            Some(lease) => lease,
            None => {
                let _connects = self.waits(WaitReason::Server);
                let connecting = pin!(self.sender.lease(uri));
                self.unless_stopped(connecting).await??
            }
        };
        let since = Instant::now();
        let waits = self.waits(WaitReason::Limit);
        let permit = {
            let turn = pin!(self.limiter().acquire(cost.clone()));
            self.unless_stopped(turn).await?
        };
        let permit = AttemptPermit(permit.map_err(|why| self.no_permit(&why, trace))?);
        drop(waits);
        let _connects = self.waits(WaitReason::Server);
        // The server may have closed the connection in a pause of the process, which
        // only reading shows: a request on it would be lost.
        if since.elapsed() >= IDLE {
            deadline::turns().await;
        }
        if lease.is_fresh() {
            return Ok((lease, permit));
        }
        let connecting = Box::pin(self.sender.renew(lease, uri));
        Ok((self.unless_stopped(connecting).await??, permit))
    }

    /// When the request of this permit can have reached the server, if it was sent, and what
    /// counts of it besides.
    fn arrived(&self, permit: &Permit, cost: &Cost) -> Option<Arrived> {
        if !self.context.plan.columns.arrived {
            return None;
        }
        let policy = &self.stage().policy;
        let zero = self.context.calendar_at_zero;
        let mut arrived = Arrived::new(permit.arrival()?, policy.linger, zero);
        for (index, unit) in policy.units().iter().enumerate() {
            arrived.set_cost(unit, cost.units_of(index));
        }
        for (template, key) in policy.scopes().iter().zip(cost.keys()) {
            if is_of_request(template) {
                let key = self.context.plan.secrets.hide(key.to_string());
                arrived.counted.insert(template.clone(), key.into());
            }
        }
        let key = permit.key().and_then(|key| self.context.pool_key_name(self.stage(), key));
        if let Some(key) = key {
            arrived.counted.insert(POOL_KEY.to_owned(), key.into());
        }
        Some(arrived)
    }
}

impl From<Cancelled> for AttemptError {
    fn from(_: Cancelled) -> AttemptError {
        AttemptError::Cancelled
    }
}

impl From<SendError> for AttemptError {
    fn from(error: SendError) -> AttemptError {
        AttemptError::Failed(error)
    }
}

impl Purpose {
    /// Whether its server is the API's, if its answer holds credentials and no row's values.
    pub fn of_credentials(self) -> Option<RedirectTrust> {
        match self {
            Purpose::Token(trust) | Purpose::Login(trust) => Some(trust),
            Purpose::Own | Purpose::Foreign => None,
        }
    }

    pub fn of(trust: RedirectTrust) -> Purpose {
        match trust {
            RedirectTrust::Own => Purpose::Own,
            RedirectTrust::Foreign => Purpose::Foreign,
        }
    }
}

impl AttemptTrace {
    /// Begins an attempt; gives the number under which its arrival is set, if records tell.
    fn begin_attempt(&mut self, has_arrivals: bool) -> usize {
        self.attempts += 1;
        if has_arrivals {
            self.arrived.push(None);
        }
        self.arrived.len().saturating_sub(1)
    }

    /// Takes an attempt back of which nothing was sent.
    fn forget_attempt(&mut self, number: usize) {
        self.attempts -= 1;
        if number < self.arrived.len() {
            self.arrived.remove(number);
        }
    }

    /// Ends the attempt that was begun, as the target takes no request of the row now.
    pub fn turn_away(&mut self, why: NotFree) -> Cancelled {
        self.attempts = self.attempts.saturating_sub(1);
        self.turned_away = Some(Box::new(why));
        Cancelled
    }

    /// Sets an attempt aside that failed at its origin before anything was sent: it counts
    /// only if the request fails in the end.
    fn set_unsent_aside(&mut self, number: usize, outcome: &Result<Answer, AttemptError>) {
        let error = outcome.as_ref().err();
        let is_unsent = matches!(error, Some(AttemptError::Failed(error)) if error.delivery == Delivery::NotSent || error.is_of_host());
        if is_unsent && self.origin.is_some() {
            self.forget_attempt(number);
            self.unsent += 1;
        }
    }

    /// Counts the attempts that were set aside.
    pub fn count_unsent(&mut self, has_arrivals: bool) {
        for _ in 0..std::mem::take(&mut self.unsent) {
            self.begin_attempt(has_arrivals);
        }
    }

    fn set_arrival(&mut self, number: usize, arrived: Option<Arrived>) {
        if let Some(place) = self.arrived.get_mut(number) {
            *place = arrived;
        }
    }

    /// Sets the true cost of an attempt, which its answer has.
    fn set_cost(&mut self, number: usize, unit: &str, cost: u64) {
        if let Some(Some(arrived)) = self.arrived.get_mut(number) {
            arrived.set_cost(unit, cost);
        }
    }

    /// Notes the delivery of an attempt. If the server did nothing, the intents are taken
    /// back.
    pub fn add_delivery(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::NotSent | Delivery::Rejected if !self.may_be_done => {
                self.intents.iter_mut().for_each(Intent::take_back);
            }
            Delivery::Unknown => self.may_be_done = true,
            _ => {}
        }
    }

    /// Keeps an answer that is a failure: its beginning, or all of it if its status is a success.
    pub fn keep_failed(&mut self, answer: &Answer) {
        if answer.status.is_success() {
            return self.keep_all(&answer.body, &answer.read_as_is());
        }
        let text = text(&answer.body, &answer.read_as_is());
        self.said = text.ok().map(|text| excerpt(&text, MAX_SAID).into());
    }

    /// Keeps all of an answer that is a success and of which values can't be taken: it may
    /// have been paid for, and others may be taken of it later.
    pub fn keep_all(&mut self, body: &[u8], context: &AnswerContext<'_>) {
        self.said = text(body, context).ok().map(|text| text.into_owned().into());
    }

    /// Adds the attempts of a later request of the same row.
    pub fn add(&mut self, later: &AttemptTrace) {
        self.said.clone_from(&later.said);
        self.answer_origin = later.answer_origin.filter(|_| self.attempts == 0);
        self.attempts += later.attempts;
        self.status = later.status.or(self.status);
        self.latency = later.latency.or(self.latency);
        self.arrived.extend_from_slice(&later.arrived);
    }

    /// The trace for one record; the next record counts attempts and arrivals anew.
    pub fn take(&mut self) -> AttemptTrace {
        let (arrived, said) = (std::mem::take(&mut self.arrived), self.said.take());
        let taken = AttemptTrace { arrived, said, ..self.without_arrivals() };
        self.attempts = 0;
        taken
    }

    /// The trace for each of several records, without the arrivals, which only one of
    /// them has.
    pub fn without_arrivals(&self) -> AttemptTrace {
        AttemptTrace {
            attempts: self.attempts,
            status: self.status,
            latency: self.latency,
            arrived: vec![None; self.arrived.len()],
            answer_origin: self.answer_origin,
            ..AttemptTrace::default()
        }
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
    use crate::limit::Guard;

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
