//! One row's walk from request to record: the only loop over attempts.
//!
//! Every sending, be it a retry or the hop of a redirect, takes its own permit,
//! and takes it when its connection is ready to be written to.

use std::borrow::Cow;
use std::cell::Cell;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::causes::{self, Balance, Cause, Share, Waiting};
use crate::chance::Chance;
use crate::judge::{Tries, Verdict, landed};
use crate::limit::{Ask, Gate, Permit, Time};
use crate::live::{Counters, Live};
use crate::plan::{Plan, Step};
use crate::record::{Arrived, Failure, Record};
use crate::send::redirect::{self, Trust};
use crate::send::{Answer, Landed, Lease, Sender, Trouble};
use crate::sink::{Announcement, Intents};
use crate::source::Row;
use crate::stop::{Ear, Reason, Stop};

mod batch;
mod gather;
mod hear;
mod once;
mod pages;
mod renew;

use renew::Signed;

/// A connection that ended while it waited for its permit costs no attempt, so often.
const FREE_TRIES: u32 = 3;

/// What all walks of a run have in common.
pub struct Shared {
    pub plan: Plan,
    pub gate: Gate,
    /// Those of the later steps, where they have their own.
    pub later: Vec<Option<Gate>>,
    /// What the calendar said when the gate's clock was at its zero: one answer
    /// for the whole run, so that its times are consistent.
    pub calendar_at_zero: Timestamp,
    pub live: Live,
    pub stop: Stop,
    pub chance: Chance,
}

impl Shared {
    /// What the calendar says, by the gate's clock.
    fn calendar_now(&self) -> SystemTime {
        SystemTime::from(self.calendar_at_zero) + self.gate.now().since(Time::ZERO)
    }

    /// All gates.
    pub fn gates(&self) -> impl Iterator<Item = &Gate> {
        std::iter::once(&self.gate).chain(self.later.iter().flatten())
    }

    /// What the time of the workers went to, up to this time of the run.
    pub fn balance(&self, now: Duration) -> Balance {
        Balance {
            spent: self.live.spent(now),
            held: self.gates().flat_map(Gate::held_up).collect(),
        }
    }

    /// What would help against what binds.
    pub fn advice(&self, shares: &[Share]) -> Option<String> {
        let crew = self.plan.workers;
        let setup = causes::Setup {
            workers: crew.count,
            in_flight: crew.in_flight,
            cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            keys: self.plan.step.policy.keys().len(),
        };
        causes::advice(shares, &setup)
    }

    /// The one that the requests of the step at this place pass.
    fn gate_at(&self, place: usize) -> &Gate {
        let own = place.checked_sub(1).and_then(|place| self.later.get(place));
        own.and_then(Option::as_ref).unwrap_or(&self.gate)
    }
}

/// What the rows of one worker have in common.
pub struct Walk {
    worker: usize,
    /// Which step of the plan it carries out, from 0.
    place: usize,
    run: Arc<Shared>,
    sender: Sender,
    /// Where requests are announced that must not be sent twice.
    intents: Option<Intents>,
    /// Requests that may be in flight at a time.
    slots: Semaphore,
    /// The most rows that a batch may have, as far as the server has said.
    most: Cell<usize>,
    ear: Ear,
}

/// The run ended before the row had an outcome: it gets no record now.
#[derive(Debug)]
pub struct Stopped;

type Outcome = Result<Answer, Trouble>;

/// What keeps an attempt from an answer.
enum Break {
    Stopped,
    Trouble(Trouble),
}

/// What a record says of its attempts, and what they were signed with.
#[derive(Default)]
struct Seen {
    attempts: u32,
    status: Option<StatusCode>,
    latency: Option<Duration>,
    arrived: Vec<Arrived>,
    /// Of a request that must not be sent twice, or not after a time.
    announcements: Vec<Announcement>,
    /// Whether any attempt may have been done.
    may_be_done: bool,
    signed: Signed,
    renewed: bool,
    /// Whether the last answer was a refusal: it costs no try.
    refused: bool,
}

/// On whose behalf a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errand {
    /// A row's, at the origin that the job names: it is signed.
    Own,
    /// A row's, redirected elsewhere: it is not.
    Foreign,
    /// A token's: it has its own signature, and its answer is not for showing.
    Token,
}

impl Errand {
    fn of(trust: Trust) -> Errand {
        match trust {
            Trust::Own => Errand::Own,
            Trust::Foreign => Errand::Foreign,
        }
    }
}

/// What a request asks of the limits, and for whom.
#[derive(Clone, Copy)]
struct Terms<'a> {
    ask: &'a Ask,
    errand: Errand,
}

impl Seen {
    /// Takes in what the server may have seen of an attempt.
    fn judge(&mut self, landed: Landed) {
        match landed {
            Landed::No => self.take_back(),
            Landed::Maybe => self.may_be_done = true,
            Landed::Final => {}
        }
    }

    /// Nothing was done: what was announced did not happen.
    fn take_back(&mut self) {
        if !self.may_be_done {
            let announcements = self.announcements.iter_mut();
            announcements.for_each(Announcement::take_back);
        }
    }

    /// Takes in what came later.
    fn add(&mut self, later: &Seen) {
        self.attempts += later.attempts;
        self.status = later.status.or(self.status);
        self.latency = later.latency.or(self.latency);
        self.arrived.extend_from_slice(&later.arrived);
    }

    /// What there is to tell; attempts are told once.
    fn take(&mut self) -> Seen {
        let told = Seen {
            arrived: std::mem::take(&mut self.arrived),
            ..self.told()
        };
        self.attempts = 0;
        told
    }

    /// What there is to tell to each of several; not when requests arrived, which
    /// is told once.
    fn told(&self) -> Seen {
        Seen {
            attempts: self.attempts,
            status: self.status,
            latency: self.latency,
            ..Seen::default()
        }
    }
}

impl Walk {
    /// For the worker with this index, and the step at this place.
    pub fn new(worker: usize, place: usize, run: Arc<Shared>, intents: Option<Intents>) -> Walk {
        Walk {
            worker,
            place,
            ear: Ear::new(run.stop.clone()),
            intents,
            sender: Sender::new(run.plan.step_at(place).transport.clone()),
            slots: Semaphore::new(run.plan.crew_at(place).in_flight),
            most: Cell::new(usize::MAX),
            run,
        }
    }

    /// Takes a row to its record, or to those of its items.
    pub async fn row<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        row: Row,
        emit: &E,
    ) -> Result<(), Stopped> {
        if self.step().has_parts() {
            return Box::pin(self.paged(row, emit)).await;
        }
        let mut seen = Seen::default();
        let outcome = match self.request(&row) {
            Ok((request, ask)) => {
                let rows = std::slice::from_ref(&row);
                self.ask_once(&request, &ask, rows, &mut seen).await?
            }
            Err(failure) => Err(failure),
        };
        emit(self.record(row, seen, outcome.map(|answer| answer.body))).await;
        Ok(())
    }

    /// Asks for these rows; where that must not be done twice, it is announced.
    async fn ask_once(
        &self,
        request: &Request<Bytes>,
        ask: &Ask,
        rows: &[Row],
        seen: &mut Seen,
    ) -> Result<Result<Answer, Failure>, Stopped> {
        let tries = Tries::of(request.method());
        let intents = self.intents.as_ref();
        if let Some(intents) = intents.filter(|_| self.step().judge.announces(tries)) {
            seen.announcements = rows.iter().map(|row| intents.of(row)).collect();
        }
        let terms = Terms {
            ask,
            errand: Errand::Own,
        };
        let asked = match self.too_old(seen) {
            Some(trouble) => Ok(Err(trouble.failure())),
            None => self.ask(request, terms, tries, seen).await,
        };
        if asked.is_err() {
            seen.take_back();
        }
        seen.announcements.clear();
        asked
    }

    /// The request of a row that may be sent.
    fn request(&self, row: &Row) -> Result<(Request<Bytes>, Ask), Failure> {
        let mut request = self.step().renderer.render(row)?;
        self.check_doubt(row, request.method())?;
        if self.step().makes_keys {
            let key = HeaderValue::try_from(self.run.plan.output.idempotency_key(row));
            let key = key.map_err(|error| Failure::new("input", error.to_string()))?;
            request.headers_mut().insert("idempotency-key", key);
        }
        if self.step().renderer.hosts().is_some() {
            let checked = self.step().check_plain(request.uri());
            checked.map_err(|why| Failure::new("input", why))?;
        }
        let ask = self.step().ask(row, &request)?;
        Ok((request, ask))
    }

    fn check_doubt(&self, row: &Row, method: &Method) -> Result<(), Failure> {
        let resends = self.step().judge.resends(Tries::of(method));
        match !resends && self.run.plan.output.doubtful().has(row) {
            true => Err(Failure::new(
                "outcome unknown",
                "it was sent before an earlier run ended, and the server may have done it, so it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)",
            )),
            false => Ok(()),
        }
    }

    /// Sends a request until there is an answer, or no hope of one.
    async fn ask(
        &self,
        request: &Request<Bytes>,
        terms: Terms<'_>,
        mut tries: Tries,
        seen: &mut Seen,
    ) -> Result<Result<Answer, Failure>, Stopped> {
        loop {
            let outcome = self.attempt(request, terms, seen).await?;
            if std::mem::take(&mut seen.refused) {
                // The gate is closed: that is where the row waits.
                seen.take_back();
                continue;
            }
            seen.judge(landed(&outcome));
            self.check_cut(&outcome, tries)?;
            if let (Ok(answer), Errand::Own) = (&outcome, terms.errand)
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
                    self.check_reached(&outcome)?;
                    return Ok(Err(failure));
                }
                (Verdict::Again(pause), _) => {
                    self.live().retried();
                    let _waits = self.waits(Cause::Backoff);
                    self.unless_stopped(tokio::time::sleep(pause)).await?;
                }
                (Verdict::Done, Err(_)) => {}
            }
        }
    }

    /// Sends a request, and what its answers redirect to as far as the job follows.
    async fn attempt(
        &self,
        request: &Request<Bytes>,
        mut terms: Terms<'_>,
        seen: &mut Seen,
    ) -> Result<Outcome, Stopped> {
        let mut request = Cow::Borrowed(request);
        let mut hops_left = self.step().transport.settings().follow;
        loop {
            let answer = match self.send(&request, terms, seen).await {
                Ok(answer) => answer,
                Err(Break::Trouble(trouble)) => return Ok(Err(trouble)),
                Err(Break::Stopped) => return Err(Stopped),
            };
            let trust = match terms.errand {
                Errand::Own => Trust::Own,
                Errand::Foreign => Trust::Foreign,
                Errand::Token => return Ok(Ok(answer)),
            };
            let transport = &self.step().transport;
            match redirect::next(&request, trust, &answer) {
                Some((next, trust)) if hops_left > 0 && transport.may_follow(next.uri()) => {
                    request = Cow::Owned(next);
                    terms.errand = Errand::of(trust);
                    hops_left -= 1;
                }
                _ => return Ok(Ok(answer)),
            }
        }
    }

    /// A connection that had ended before anything was written is replaced.
    async fn send(
        &self,
        request: &Request<Bytes>,
        terms: Terms<'_>,
        seen: &mut Seen,
    ) -> Result<Answer, Break> {
        let mut free = FREE_TRIES;
        loop {
            // In a box, lest the walk be moved about with all that sending needs.
            let sent = Box::pin(self.send_once(request, terms, seen)).await;
            match sent {
                Err(Break::Trouble(trouble)) if free > 0 && trouble.is_stale_connection() => {
                    seen.attempts -= 1;
                    free -= 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// One connection, one permit, one sending.
    async fn send_once(
        &self,
        request: &Request<Bytes>,
        terms: Terms<'_>,
        seen: &mut Seen,
    ) -> Result<Answer, Break> {
        seen.attempts += 1;
        let (mut lease, mut permit) = self.ready_to_sign(request, terms, seen).await?;
        if let Some(trouble) = self.too_old(seen) {
            seen.attempts -= 1;
            permit.returned();
            return Err(trouble.into());
        }
        for announcement in &mut seen.announcements {
            let _waits = self.waits(Cause::Output);
            announcement.make().await.map_err(|_| Break::Stopped)?;
        }
        let mut request = request.clone();
        if terms.errand == Errand::Own
            && let Err(trouble) = self.sign(&mut request, permit.key(), seen)
        {
            permit.returned();
            return Err(trouble.into());
        }
        permit.sent();
        let _in_flight = self.live().sent();
        let time = self.sender.start();
        let arrived = || permit.acked();
        let head = {
            let sending = pin!(self.sender.send(&mut lease, request, time, arrived));
            self.unless_cut(sending).await
        };
        let head = self.settle(&mut permit, head, terms.errand, seen);
        if head.is_err() {
            seen.arrived.extend(self.arrived(&permit));
        }
        let head = head?;
        seen.status = Some(head.status());
        let answer = {
            let reading = pin!(self.sender.read(lease, head, time));
            self.unless_cut(reading).await
        };
        self.settle_by_body(&mut permit, &answer, terms.errand, seen);
        seen.arrived.extend(self.arrived(&permit));
        seen.latency = Some(time.elapsed());
        let answer = answer?;
        if terms.errand == Errand::Token {
            return Ok(answer);
        }
        for (unit, cost) in self.step().settler.costs(&answer.body) {
            permit.settle(unit, cost);
        }
        // From here on nobody sees a secret that the server echoes.
        let body = self.run.plan.secrets.hide_in(answer.body);
        Ok(Answer { body, ..answer })
    }

    /// Why it must not be sent any more, if the server has forgotten its key by now.
    fn too_old(&self, seen: &Seen) -> Option<Trouble> {
        let ttl = self.step().judge.key_ttl()?;
        let age = seen
            .announcements
            .iter()
            .filter_map(Announcement::age)
            .max()?;
        (age >= ttl).then(|| Trouble {
            kind: "outcome unknown",
            detail: format!(
                "it was sent {} ago and may have been done, and the server knows its Idempotency-Key for {} (retry.idempotency-ttl): it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)",
                humantime::format_duration(Duration::from_secs(age.as_secs())),
                humantime::format_duration(ttl),
            ),
            landed: Landed::Final,
        })
    }

    /// The permit comes last: making a connection takes a time that varies.
    async fn ready(&self, uri: &Uri, ask: &Ask) -> Result<(Lease, Permit), Break> {
        let connects = self.waits(Cause::Server);
        let lease = self.sender.lease(uri).await?;
        drop(connects);
        let waits = self.waits(Cause::Gate);
        let permit = {
            let turn = pin!(self.run.gate_at(self.place).permit(ask.clone()));
            self.unless_stopped(turn).await?
        };
        let permit = permit.map_err(|_| self.used_up())?;
        drop(waits);
        let _connects = self.waits(Cause::Server);
        Ok((self.sender.renew(lease, uri).await?, permit))
    }

    /// What one attempt may have at all was checked before: only a total can be
    /// used up, or a ledger be out of reach.
    fn used_up(&self) -> Stopped {
        let why = self.run.gate_at(self.place).trouble();
        self.run.stop.ask(Reason::Trouble(why.unwrap_or_else(|| {
            "the total that the limits allow for a run is used up (limit.rate = \"N/run\")".into()
        })));
        Stopped
    }

    /// When its request can have reached the server, if it was sent.
    fn arrived(&self, permit: &Permit) -> Option<Arrived> {
        let linger = self.step().policy.linger;
        let arrived = |arrival| Arrived::new(arrival, linger, self.run.calendar_at_zero);
        permit.arrival().map(arrived)
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

    fn step(&self) -> &Step {
        self.run.plan.step_at(self.place)
    }

    /// A request that was cut off and may be sent again is no failure: its row has
    /// no record yet. Any other may have been done, and its record says so.
    fn check_cut(&self, outcome: &Outcome, tries: Tries) -> Result<(), Stopped> {
        let is_cut = outcome.is_err() && self.run.stop.is_cut();
        match is_cut && self.step().judge.resends(tries) {
            true => Err(Stopped),
            false => Ok(()),
        }
    }

    fn live(&self) -> &Counters {
        self.run.live.worker(self.worker)
    }

    /// A row waits for this as long as that is kept.
    pub fn waits(&self, cause: Cause) -> Waiting<'_> {
        self.live().waits(cause)
    }

    /// The work's result, unless the run is to end before that.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        self.ear.unless_asked(pin!(work)).await.ok_or(Stopped)
    }

    /// The work's result, unless there is no time left to wait for it.
    async fn unless_cut<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        let cut = || Trouble {
            kind: "interrupted",
            detail: "the run ended before the answer came".to_owned(),
            landed: Landed::Maybe,
        };
        let done = self.ear.unless_cut(pin!(work)).await;
        done.unwrap_or_else(|| Err(cut()))
    }

    /// The record of a row whose answer, or whose part of it, is this body.
    fn record(&self, row: Row, seen: Seen, body: Result<Bytes, Failure>) -> Record {
        let kept = body.as_ref().ok().filter(|_| self.step().keeps_body);
        let kept = kept.map(|body| String::from_utf8_lossy(body).into_owned());
        let values = body.and_then(|body| self.values(&body));
        Record {
            body: kept,
            ..self.record_of(row, seen, values)
        }
    }

    fn values(&self, body: &[u8]) -> Result<Vec<Value>, Failure> {
        self.step().extractor.extract(body)
    }

    fn record_of(&self, mut row: Row, seen: Seen, outcome: Result<Vec<Value>, Failure>) -> Record {
        for name in self.step().renderer.left_out() {
            row.fields.shift_remove(*name);
        }
        Record {
            row,
            outcome: outcome.map_err(|failure| Failure {
                kind: failure.kind,
                detail: self.run.plan.secrets.hide(failure.detail),
            }),
            kept: Vec::new(),
            body: None,
            status: seen.status.map(|status| status.as_u16()),
            attempts: seen.attempts,
            latency: seen.latency,
            arrived: seen.arrived,
        }
    }
}

impl From<Stopped> for Break {
    fn from(_: Stopped) -> Break {
        Break::Stopped
    }
}

impl From<Trouble> for Break {
    fn from(trouble: Trouble) -> Break {
        Break::Trouble(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl FnOnce(&'static Rc<Walk>) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn a_walk_is_small_since_it_is_moved_about() {
        let size = size(|walk| walk.row(Row::default(), &async |_| ()));
        assert!(size < 2_500, "{size} bytes");
    }
}
