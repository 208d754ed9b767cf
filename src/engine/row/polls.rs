//! A row whose request submits a job, which is polled until it is done.
//!
//! Between two polls the row waits in the worker's queue and holds no request. Each poll is
//! tried again like any other request, and each attempt has its own permit.

use std::rc::Rc;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Method, Request};
use tokio::time::Instant;

use super::RowExecutor;
use super::attempt::{AttemptTerms, AttemptTrace, Cancelled, Purpose};
use super::page_records::{FetchedPage, PageCollector, PageRequest, ParsedAnswer};
#[cfg(feature = "cli")]
use super::try_once::Attempted;
use crate::engine::channels::Inbox;
use crate::engine::poll_queue::NextTask;
use crate::extract::{AnswerContext, Document};
use crate::judge::{Tries, signals};
use crate::limit::duration;
use crate::metrics::WaitReason;
use crate::pages::{PageAddress, PageHistory};
use crate::plan::Stage;
use crate::poll::{JobState, Poll};
use crate::record::{Failure, FailureKind, Record};
use crate::row::Row;
use crate::send::Answer;
use crate::send::redirect::{self, RedirectTrust};
use crate::sink::{SubmittedJob, fingerprint};
use crate::wording::worded;

/// The warning of jobs that go on after the run.
const LEFT: &str = "jobs that were submitted and are not done, which --resume polls again without submitting them again";
/// The warning of jobs that no log can have.
const SECRET: &str = "jobs whose address has a secret, so that no later run can poll them";
/// A key for one submission, which is no concern of its polls.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A row whose job was submitted and is not done.
pub struct PolledJob {
    /// With the values of the answer to the submission.
    row: Row,
    request: PageRequest,
    /// The attempts so far.
    trace: AttemptTrace,
    polls: u32,
    /// When the job is given up.
    deadline: Instant,
    /// Whether a log has the job, so that a later run can poll it.
    is_logged: bool,
}

impl RowExecutor {
    /// Whether the requests of its stage submit jobs.
    pub fn submits(&self) -> bool {
        self.stage().poll.is_some()
    }

    /// The next row, or the next job to poll.
    pub async fn next_task(&self, inbox: &Inbox) -> Result<NextTask<PolledJob>, Cancelled> {
        let _waits = (!self.polls.is_empty()).then(|| self.requests.waits(WaitReason::Jobs));
        self.requests.unless_stopped(self.polls.next(inbox)).await?.ok_or(Cancelled)
    }

    /// Puts a job back that the run leaves.
    pub fn put_back(&self, job: Box<PolledJob>) {
        self.polls.push(Instant::now(), job);
    }

    /// Submits the job of a row, unless an earlier run has done so. The row waits for its first
    /// poll then, or has its record.
    pub(super) async fn submit<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        poll: &Poll,
        row: Row,
        emit: &E,
    ) -> Result<(), Cancelled> {
        if let Some(job) = self.submitted_before(&row) {
            match self.resumed(poll, row.clone(), job) {
                Ok(job) => self.polls.push(Instant::now(), Box::new(job)),
                Err(failure) => {
                    emit(self.record_of(row, AttemptTrace::default(), Err(failure))).await
                }
            }
            return Ok(());
        }
        let mut trace = AttemptTrace::default();
        let (request, cost) = match self.request(&row) {
            Ok(request) => request,
            Err(failure) => {
                emit(self.record_of(row, trace, Err(failure))).await;
                return Ok(());
            }
        };
        let rows = std::slice::from_ref(&row);
        let outcome = self.requests.exchange_with_intent(&request, &cost, rows, &mut trace).await?;
        let accepted = outcome.and_then(|answer| {
            let accepted = self.accept(poll, &row, &request, &answer);
            let job =
                accepted.inspect_err(|_| trace.keep_all(&answer.body, &answer.read_as_is()))?;
            Ok((job, answer))
        });
        match accepted {
            Err(failure) => emit(self.record_of(row, trace, Err(failure))).await,
            Ok((None, answer)) => {
                let request = PageRequest { request, trust: RedirectTrust::Own };
                let job = PolledJob { row, trace, ..self.job(poll, Row::default(), request) };
                self.finish_job(job, answer, emit).await?;
            }
            Ok((Some(accepted), answer)) => {
                let mut job = Box::new(PolledJob { trace, ..accepted });
                job.is_logged = self.note(poll, &row, &job).await?;
                self.polls.push(self.next_poll(poll, &job, &answer), job);
            }
        }
        Ok(())
    }

    /// The job that this answer to a submission begins; none if the answer is that of a job that
    /// is done.
    fn accept(
        &self,
        poll: &Poll,
        row: &Row,
        request: &Request<Bytes>,
        answer: &Answer,
    ) -> Result<Option<PolledJob>, Failure> {
        let context = AnswerContext { row: Some(row), ..answer.context(request.uri()) };
        let values = poll.submitted().extract_in(&answer.body, &context)?;
        let mut row = row.clone();
        row.fields.extend(poll.names().into_iter().zip(values));
        if let Some(address) = poll.address(&row, &answer.headers)? {
            let request = self.poll_request(request, &address)?;
            return Ok(Some(self.job(poll, row, request)));
        }
        match poll.state(&answer.body, &context)? {
            JobState::Done => Ok(None),
            JobState::Failed(why) => Err(job_failed(why, answer)),
            JobState::Running => Err(Failure::new(
                FailureKind::NothingToPoll,
                "the answer has no Operation-Location, Azure-AsyncOperation or Location header: poll.url names the address that is polled",
            )),
        }
    }

    fn job(&self, poll: &Poll, row: Row, request: PageRequest) -> PolledJob {
        let deadline = Instant::now() + poll.timeout;
        let trace = AttemptTrace::default();
        PolledJob { row, request, trace, polls: 0, deadline, is_logged: false }
    }

    /// The request of a job's polls. Its address may lead no further than a redirect would.
    fn poll_request(
        &self,
        submission: &Request<Bytes>,
        address: &str,
    ) -> Result<PageRequest, Failure> {
        let transport = &self.stage().transport;
        let next = redirect::get(submission, RedirectTrust::Own, address);
        let (mut request, trust) =
            next.filter(|(request, _)| transport.may_follow(request.uri())).ok_or_else(|| {
                let why = format!(
                    "the job's address is {address:?}, where throng does not go: to a host that request.allow-host (--allow-host) leaves out, without TLS after a request with it, or with a password"
                );
                Failure::new(FailureKind::NothingToPoll, why)
            })?;
        request.headers_mut().remove(KEY);
        Ok(PageRequest { request, trust })
    }

    /// The job that an earlier run has submitted for this row.
    fn submitted_before(&self, row: &Row) -> Option<&SubmittedJob> {
        let output = &self.requests.context.plan.output;
        let job = output.submitted_job(self.requests.stage_index, row)?;
        (job.fields_hash == self.fields_hash(row)).then_some(job)
    }

    fn resumed(&self, poll: &Poll, mut row: Row, job: &SubmittedJob) -> Result<PolledJob, Failure> {
        let submission = self.stage().render(&row)?;
        row.fields.extend(job.values.clone());
        let address = if poll.has_template() {
            poll.address(&row, &HeaderMap::new())?
        } else {
            job.url.clone()
        };
        let address = address.ok_or_else(|| {
            Failure::new(
                FailureKind::NothingToPoll,
                "the job was submitted by an earlier run with another poll.url, and its address is not known",
            )
        })?;
        let request = self.poll_request(&submission, &address)?;
        Ok(PolledJob { is_logged: true, ..self.job(poll, row, request) })
    }

    /// Notes a job, so that no later run submits it again: unless its address has a secret, as
    /// records would hide it. Gives whether it is noted.
    async fn note(&self, poll: &Poll, row: &Row, job: &PolledJob) -> Result<bool, Cancelled> {
        let Some(log) = &self.requests.logs.polls else {
            return Ok(false);
        };
        let url = job.request.request.uri().to_string();
        let values = poll.names().into_iter().filter_map(|name| {
            let value = job.row.fields.get(&name)?.clone();
            Some((name, value))
        });
        let noted = SubmittedJob {
            fields_hash: self.fields_hash(row),
            url: (!poll.has_template()).then(|| url.clone()),
            values: values.collect(),
        };
        let text = serde_json::to_string(&noted).unwrap_or_default();
        let of_run = &self.requests.context.plan.secrets;
        let mut secrets = std::iter::once(of_run).chain(job.row.jar.secrets());
        if secrets.any(|secrets| secrets.hide_in_body(text.clone()) != text) {
            self.warn(SECRET, 1, || job.place());
            return Ok(false);
        }
        let noted = log.note(self.requests.stage_index, row, noted).await;
        noted.map(|()| true).map_err(|_| Cancelled)
    }

    /// A hash of the input's fields of a row. The values of answers may differ in each run.
    fn fields_hash(&self, row: &Row) -> String {
        let stages = &self.requests.context.plan.stages;
        let earlier = stages[..=self.requests.stage_index].iter().flat_map(Stage::names);
        let earlier: Vec<String> = earlier.collect();
        let fields = row.fields.iter().filter(|(name, _)| !earlier.contains(name));
        let fields: Vec<_> = fields.collect();
        fingerprint(&serde_json::to_string(&fields).unwrap_or_default())
    }

    /// Polls a job once. The row waits for its next poll then, or has its record.
    pub async fn poll<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        mut job: Box<PolledJob>,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let Some(poll) = &self.stage().poll else {
            return Ok(());
        };
        let Ok(outcome) = self.send_poll(&mut job).await else {
            self.put_back(job);
            return Err(Cancelled);
        };
        job.polls += 1;
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => {
                self.fail(*job, failure, emit).await;
                return Ok(());
            }
        };
        let context =
            AnswerContext { row: Some(&job.row), ..answer.context(job.request.request.uri()) };
        let state = poll.state(&answer.body, &context);
        let failure = match state {
            Ok(JobState::Done) => return self.finish_job(*job, answer, emit).await,
            Ok(JobState::Running) if Instant::now() < job.deadline => {
                self.polls.push(self.next_poll(poll, &job, &answer), job);
                return Ok(());
            }
            Ok(JobState::Running) => timed_out(poll, &answer),
            Ok(JobState::Failed(why)) => job_failed(why, &answer),
            Err(failure) => failure,
        };
        job.trace.keep_all(&answer.body, &answer.read_as_is());
        self.fail(*job, failure, emit).await;
        Ok(())
    }

    async fn send_poll(&self, job: &mut PolledJob) -> Result<Result<Answer, Failure>, Cancelled> {
        let PageRequest { request, trust } = &job.request;
        let cost = match self.stage().cost(&job.row, request) {
            Ok(cost) => cost,
            Err(failure) => return Ok(Err(failure)),
        };
        let terms = AttemptTerms {
            cost: &cost,
            purpose: Purpose::of(*trust),
            row: Some(&job.row),
            is_billed: false,
        };
        let mut trace = AttemptTrace::default();
        let tries = Tries::of(&Method::GET);
        let outcome = self.requests.send_with_retries(request, terms, tries, &mut trace).await?;
        job.trace.add(&trace);
        if self.requests.context.shutdown.is_aborted() { Err(Cancelled) } else { Ok(outcome) }
    }

    /// When the job is polled next: at the latest when it is given up, however long a pause the
    /// server asks for.
    fn next_poll(&self, poll: &Poll, job: &PolledJob, answer: &Answer) -> Instant {
        let now = self.requests.context.calendar_now();
        let asked = signals::retry_after(self.stage().headers.heard(&answer.headers), now);
        let pause = poll.pause(job.polls, asked.filter(|asked| !asked.is_zero()));
        Instant::now().checked_add(pause).map_or(job.deadline, |due| due.min(job.deadline))
    }

    /// Ends a row whose job is not done. Unless the job has failed or is gone, it can be polled
    /// again later.
    async fn fail<E: AsyncFn(Record)>(&self, job: PolledJob, failure: Failure, emit: &E) {
        if let Some(log) = &self.requests.logs.polls {
            match failure.kind {
                FailureKind::JobFailed | FailureKind::Status(404 | 410) => {
                    log.forget(self.requests.stage_index, &job.row);
                }
                FailureKind::Missing => {}
                _ => log.keep(),
            }
        }
        emit(self.record_of(job.row, job.trace, Err(failure))).await;
    }

    /// Takes the values of the answer of a job that is done.
    async fn finish_job<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        job: PolledJob,
        answer: Answer,
        emit: &E,
    ) -> Result<(), Cancelled> {
        if self.stage().has_items() || self.stage().pages.is_some() {
            return self.finish_pages(job, answer, emit).await;
        }
        if self.stage().save.is_some() {
            return self.finish_saved(job, answer, emit).await;
        }
        let PolledJob { row, request, trace, .. } = job;
        let context = self.stage().read_context(&answer, request.request.uri(), None);
        let record = self.record(row, trace, &answer.body, context);
        self.keep_jobs_of(record.outcome.as_ref().err());
        emit(record).await;
        Ok(())
    }

    /// Takes the items of the answer of a job that is done, and of the pages that follow it.
    async fn finish_pages<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        job: PolledJob,
        answer: Answer,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let PolledJob { row, request, mut trace, .. } = job;
        let context = self.stage().read_context(&answer, request.request.uri(), Some(&row));
        let body = Document::new(&answer.body, &context);
        let body = body.inspect_err(|_| trace.keep_all(&answer.body, &context));
        let page = FetchedPage {
            number: 0,
            address: PageAddress::First,
            outcome: body.map(|body| ParsedAnswer { answer, body: Some(body) }),
            request: Some(request),
            trace,
        };
        let collector = PageCollector::new(self, row, None, emit);
        self.follow(page, collector, PageHistory::default()).await
    }

    /// Saves the answer of a job that is done.
    async fn finish_saved<E: AsyncFn(Record)>(
        &self,
        job: PolledJob,
        answer: Answer,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let PolledJob { row, request, mut trace, .. } = job;
        let uri = request.request.uri();
        let saved = match self.download(&row) {
            Ok(Some(download)) => self.save_answer(&row, uri, answer, download, &mut trace).await?,
            Ok(None) => return Err(Cancelled),
            Err(failure) => Err(failure),
        };
        self.keep_jobs_of(saved.as_ref().err());
        self.emit_saved(row, trace, saved, emit).await;
        Ok(())
    }

    /// Keeps the log of jobs if a row failed: its job can be polled again.
    pub(super) fn keep_jobs_of(&self, failure: Option<&Failure>) {
        if let (Some(_), Some(log)) = (failure, &self.requests.logs.polls) {
            log.keep();
        }
    }

    /// Leaves the jobs that wait when the run ends. The row of a job that no log has ends with a
    /// record that says where its job is.
    pub async fn leave_jobs<E: AsyncFn(Record)>(&self, emit: &E) {
        let (logged, others): (Vec<_>, Vec<_>) = self.polls.drain().partition(|job| job.is_logged);
        if let Some(job) = logged.first() {
            self.requests.context.leave_jobs();
            self.warn(LEFT, logged.len() as u64, || job.place());
        }
        let why_not = match &self.requests.logs.polls {
            Some(_) => "as its address has a secret that no log may have,",
            None => "without an output file",
        };
        for job in others {
            let PolledJob { row, request, trace, .. } = *job;
            let url = request.request.uri();
            let why = format!(
                "the run ended before its job was done, and {why_not} no later run can poll it: {url}"
            );
            let failure = Failure::new(FailureKind::Interrupted, why);
            emit(self.record_of(row, trace, Err(failure))).await;
        }
    }
}

impl PolledJob {
    /// The row, with the values of the answer to its submission.
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// The row and the address of the job for messages, without the secrets of its row.
    fn place(&self) -> String {
        let place = format!("row {}: {}", self.row.number, self.request.request.uri());
        match self.row.jar.secrets() {
            Some(secrets) => secrets.hide(place),
            None => place,
        }
    }

    /// Number of polls so far.
    pub fn polls(&self) -> u32 {
        self.polls
    }
}

#[cfg(feature = "cli")]
impl RowExecutor {
    /// The job that this answer to a row's request begins; none if it is done already.
    pub fn try_accept(
        &self,
        row: &Row,
        request: &Request<Bytes>,
        answer: &Answer,
    ) -> Result<Option<PolledJob>, Failure> {
        match &self.stage().poll {
            Some(poll) => self.accept(poll, row, request, answer),
            None => Ok(None),
        }
    }

    /// Polls a job once, after the pause that this answer before asks for. A job that takes too
    /// long is a failure.
    pub async fn try_poll(
        &self,
        job: &mut PolledJob,
        before: &Answer,
    ) -> Result<Result<Attempted, Failure>, Cancelled> {
        let Some(poll) = &self.stage().poll else {
            return Err(Cancelled);
        };
        if Instant::now() >= job.deadline {
            return Ok(Err(timed_out(poll, before)));
        }
        let due = self.next_poll(poll, job, before);
        self.requests.unless_stopped(tokio::time::sleep_until(due)).await?;
        job.polls += 1;
        let PageRequest { request, trust } = &job.request;
        let cost = match self.stage().cost(&job.row, request) {
            Ok(cost) => cost,
            Err(failure) => return Ok(Err(failure)),
        };
        let terms = AttemptTerms {
            cost: &cost,
            purpose: Purpose::of(*trust),
            row: Some(&job.row),
            is_billed: false,
        };
        let mut trace = AttemptTrace::default();
        let outcome = Box::pin(self.requests.follow_redirects(request, terms, &mut trace)).await?;
        let decision = trace.decision.unwrap_or_default();
        let outcome = outcome.map(|answer| (answer, decision)).map_err(|error| error.failure());
        Ok(Ok(Attempted { request: request.clone(), cost, outcome }))
    }
}

/// The failure of a job, in the server's words.
pub fn job_failed(why: Option<String>, answer: &Answer) -> Failure {
    Failure::new(FailureKind::JobFailed, why.unwrap_or_else(|| answer.failure().detail))
}

fn timed_out(poll: &Poll, answer: &Answer) -> Failure {
    let after = duration::exact(poll.timeout);
    let said = answer.failure().detail;
    Failure::new(
        FailureKind::PollTimeout,
        worded(format!(
            "the job was not done {after} after its first poll (poll.timeout); --retry-failed polls it again, and does not submit it again"
        )) + &format!("; the last answer: {said}"),
    )
}
