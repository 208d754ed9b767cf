//! One row by itself: its request is sent once, and all that it shows is kept.
//!
//! The request takes a permit of the account like any other. Nothing is written, so a run
//! sends it again.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request};
use jiff::Timestamp;
use serde_json::Value;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::engine::context::{RealWorld, RunContext, World};
use crate::engine::row::{Attempted, RowExecutor, RowLogs, job_failed};
use crate::engine::share_limits;
use crate::error::Error;
use crate::extract::{AnswerContext, Document, ExtractedValue};
use crate::judge::signals::{LimitSignals, NamedPolicy, named_policies, read_headers};
use crate::judge::{Decision, Judged, Meaning, Tries, Verdict};
use crate::limit::{Cost, Policy, RateLimiter};
use crate::plan::{Plan, Stage};
use crate::poll::{JobState, Poll};
use crate::record::{Failure, FailureKind};
use crate::row::Row;
use crate::send::Answer;
use crate::shutdown::{Shutdown, ShutdownReason};

mod text;

/// Time after which a row that waits says so.
const SILENCE: Duration = Duration::from_secs(2);

/// A row that was tried.
pub struct TriedRow {
    context: Arc<RunContext>,
    /// The row of the input.
    pub row: Row,
    /// Its requests: one of each stage that it has reached.
    pub steps: Vec<TriedStep>,
}

/// The request of one stage.
pub struct TriedStep {
    stage_index: usize,
    /// The requests as they were sent, hops of redirects included.
    sent: Vec<Request<Bytes>>,
    /// The request before it was signed; none if the row makes none.
    rendered: Option<Request<Bytes>>,
    cost: Option<Cost>,
    answer: Option<TriedAnswer>,
    /// The path of the file that a run would save the answer to.
    file: Option<String>,
    /// The number of the poll, from 1, if the request polls a job.
    poll: Option<u32>,
    /// How the row ends here.
    pub end: RowEnd,
}

/// What is read of an answer.
#[derive(Debug, Clone, Copy)]
enum Reads {
    /// The values of the row.
    Result,
    /// The values of a job that was submitted.
    Submission,
    /// Whether a job is done; the number of the poll.
    Poll(u32),
}

/// An answer, and what was found in it.
struct TriedAnswer {
    answer: Answer,
    decision: Decision,
    /// The true costs, by the index of their unit.
    settled: Vec<(usize, u64)>,
    signals: LimitSignals,
    policies: Vec<NamedPolicy>,
    /// The items of the answer, if the job has records of items.
    items: Option<Vec<Bytes>>,
    /// What each program of `extract` found.
    values: Vec<ExtractedValue>,
}

/// How a row ends at a stage.
#[derive(Debug, Clone, PartialEq)]
pub enum RowEnd {
    /// It has its values.
    Ok(Vec<Value>),
    /// It is done without values.
    Nothing(Failure),
    /// It fails.
    Failed(Failure),
    /// A run sends the request again, after this pause or a shorter one.
    Again(Failure, Duration),
    /// The server refused it, perhaps with a pause.
    Refused(Option<Duration>),
    /// A run stops at this answer.
    Stops(Failure),
    /// Its job is not done.
    Running,
}

/// The requests as they were sent.
type SentRequests = Arc<Mutex<Vec<Request<Bytes>>>>;

/// The real world, which notes the signed requests.
struct NotingWorld(SentRequests);

impl World for NotingWorld {
    fn limiter(&self, policy: &Policy) -> RateLimiter {
        RealWorld.limiter(policy)
    }

    fn calendar_at_zero(&self) -> Timestamp {
        RealWorld.calendar_at_zero()
    }

    fn draw(&self) -> f64 {
        RealWorld.draw()
    }

    fn connect(&self, stage: &mut Stage) {
        RealWorld.connect(stage);
    }

    fn label(&self, _: &Stage, request: &mut Cow<'_, Request<Bytes>>, _: &Cost, _: Option<usize>) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(request.as_ref().clone());
    }
}

/// Tries the row with this number, from 0. `on_wait` is called once if the server or a limit
/// keeps it waiting.
///
/// # Errors
/// There is no such row; the limits can't be used; the run had to stop before an answer.
pub fn try_row(
    plan: Plan,
    number: u64,
    shutdown: &Shutdown,
    on_wait: &mut dyn FnMut(),
) -> Result<Option<TriedRow>, Error> {
    let mut row = row(&plan, number)?;
    let sent = SentRequests::default();
    let world = Box::new(NotingWorld(sent.clone()));
    let context = RunContext { shutdown: shutdown.clone(), ..RunContext::new(plan, world) };
    share_limits(&context)?;
    if let Some(jars) = &context.jars {
        jars.equip(&mut row.jar);
    }
    let context = Arc::new(context);
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::stopped(format!("no event loop to try with: {error}")))?;
    let tried = LocalSet::new().block_on(&runtime, async {
        let mut trying = std::pin::pin!(try_stages(&context, row, &sent));
        tokio::select! {
            tried = &mut trying => tried,
            () = tokio::time::sleep(SILENCE) => {
                on_wait();
                trying.await
            }
        }
    });
    context.limiters.iter().for_each(RateLimiter::close);
    match (tried, shutdown.reason()) {
        (None, Some(ShutdownReason::Error(error))) => Err(error),
        (tried, _) => Ok(tried),
    }
}

fn row(plan: &Plan, number: u64) -> Result<Row, Error> {
    let index = usize::try_from(number).unwrap_or(usize::MAX);
    let row = plan.source.rows()?.nth(index).transpose()?;
    row.ok_or_else(|| {
        let name = plan.source.name();
        Error::plan(match plan.rows() {
            Some(rows) => format!(
                "{name} has {rows} rows, which are counted from 0: there is no row {number} (--row)"
            ),
            None => format!("{name} has no row {number} (--row), counted from 0"),
        })
    })
}

/// Tries one stage after the other, as far as the row goes. None if the run was ended.
async fn try_stages(context: &Arc<RunContext>, row: Row, sent: &SentRequests) -> Option<TriedRow> {
    let mut tried = TriedRow { context: context.clone(), row: row.clone(), steps: Vec::new() };
    let mut row = row;
    for stage_index in 0..context.plan.stages.len() {
        let executor = RowExecutor::new(0, stage_index, context.clone(), RowLogs::default());
        let attempted = match context.plan.stages[stage_index].renderer.saved_path(&row) {
            Some(Err(failure)) => Err(failure),
            _ => executor.try_once(&row).await.ok()?,
        };
        let polls = context.plan.stages[stage_index].poll.is_some();
        let reads = if polls { Reads::Submission } else { Reads::Result };
        let mut step = step(context, stage_index, attempted, taken(sent), &row, reads);
        if polls && matches!(step.end, RowEnd::Ok(_)) {
            step = try_polls(&executor, &mut row, step, &mut tried, sent).await?;
        }
        let names = context.plan.stages[stage_index].extractor.names();
        let values = match &step.end {
            RowEnd::Ok(values) => Some(values.clone()),
            _ => None,
        };
        tried.steps.push(step);
        let Some(values) = values.filter(|values| values.len() == names.len()) else {
            break;
        };
        row.fields.extend(names.into_iter().zip(values));
    }
    Some(tried)
}

/// Polls the job of a row until it is done or fails. Gives the last step. None if the run was
/// ended.
async fn try_polls(
    executor: &RowExecutor,
    row: &mut Row,
    mut before: TriedStep,
    tried: &mut TriedRow,
    sent: &SentRequests,
) -> Option<TriedStep> {
    let (context, stage_index) = executor.place();
    let (Some(request), Some(answer)) = (&before.rendered, &mut before.answer) else {
        return Some(before);
    };
    let accepted = executor.try_accept(row, request, &answer.answer);
    let mut job = match accepted {
        Ok(Some(job)) => job,
        Ok(None) => {
            let stage = &context.plan.stages[stage_index];
            let read_context = stage.read_context(&answer.answer, request.uri(), Some(row));
            let (items, values, end) = read(stage, &answer.answer, &read_context);
            (answer.items, answer.values, before.end) = (items, values, end);
            return Some(before);
        }
        Err(failure) => {
            before.end = RowEnd::Failed(failure);
            return Some(before);
        }
    };
    loop {
        let Some(answer) = &before.answer else {
            return Some(before);
        };
        let attempted = executor.try_poll(&mut job, &answer.answer).await.ok()?;
        tried.steps.push(before);
        let reads = Reads::Poll(job.polls());
        before = step(context, stage_index, attempted, taken(sent), job.row(), reads);
        if before.end != RowEnd::Running {
            row.clone_from(job.row());
            return Some(before);
        }
    }
}

/// The requests that were sent since the last call.
fn taken(sent: &SentRequests) -> Vec<Request<Bytes>> {
    std::mem::take(&mut *sent.lock().unwrap_or_else(PoisonError::into_inner))
}

fn step(
    context: &RunContext,
    stage_index: usize,
    attempted: Result<Attempted, Failure>,
    sent: Vec<Request<Bytes>>,
    row: &Row,
    reads: Reads,
) -> TriedStep {
    let poll = match reads {
        Reads::Poll(number) => Some(number),
        Reads::Result | Reads::Submission => None,
    };
    let stage = &context.plan.stages[stage_index];
    let Attempted { request, cost, outcome } = match attempted {
        Ok(attempted) => attempted,
        Err(failure) => {
            let end = RowEnd::Failed(failure);
            return TriedStep {
                stage_index,
                sent,
                rendered: None,
                cost: None,
                answer: None,
                file: None,
                poll,
                end,
            };
        }
    };
    let (answer, end) = match outcome {
        Err(failure) => (None, RowEnd::Failed(failure)),
        Ok((answer, decision)) => {
            let read = stage.read_context(&answer, request.uri(), Some(row));
            let (items, values, end) = ending(stage, &answer, decision, &read, reads);
            let judged = stage.judge_context(&answer, request.uri(), Some(row));
            let tried = TriedAnswer {
                settled: settled(stage, &answer, &read),
                signals: signals(stage, &answer, &judged, context.calendar_now()),
                policies: named_policies(&answer.headers),
                items,
                values,
                decision,
                answer,
            };
            (Some(tried), end)
        }
    };
    let file = stage.renderer.saved_path(row).and_then(Result::ok).map(|file| file.path);
    TriedStep {
        stage_index,
        sent,
        rendered: Some(request),
        cost: Some(cost),
        answer,
        file,
        poll,
        end,
    }
}

fn settled(stage: &Stage, answer: &Answer, context: &AnswerContext<'_>) -> Vec<(usize, u64)> {
    let costs = stage.true_costs.as_ref().map(|costs| costs.costs(&answer.body, context));
    costs.and_then(Result::ok).unwrap_or_default()
}

fn signals(
    stage: &Stage,
    answer: &Answer,
    context: &AnswerContext<'_>,
    now: SystemTime,
) -> LimitSignals {
    let heard = stage.headers.heard(&answer.headers);
    let mut found = read_headers(heard, now);
    let of_body =
        stage.body_signals.as_ref().map(|it| it.signals(heard, &answer.body, context, now));
    if let Some(Ok(of_body)) = of_body {
        found.signals.extend(of_body.signals);
        found.invalid.extend(of_body.invalid);
    }
    found
}

/// The items and the values of an answer, as far as they are read, and how the row ends.
fn ending(
    stage: &Stage,
    answer: &Answer,
    decision: Decision,
    context: &AnswerContext<'_>,
    reads: Reads,
) -> (Option<Vec<Bytes>>, Vec<ExtractedValue>, RowEnd) {
    let judged: Judged<'_> = Ok((answer, decision));
    let method = match reads {
        Reads::Poll(_) => Method::GET,
        _ => stage.renderer.method().cloned().unwrap_or_default(),
    };
    let verdict = stage.judge.verdict(&mut Tries::of(&method), judged, 1.0);
    let end = match (decision.then, verdict) {
        (Meaning::Refusal, _) => RowEnd::Refused(decision.pause),
        (_, Verdict::Stop) => RowEnd::Stops(answer.failure()),
        (_, Verdict::Retry(pause)) => RowEnd::Again(answer.failure(), pause),
        (_, Verdict::GiveUp(failure)) => match failure.kind {
            FailureKind::Missing | FailureKind::EndOfPages => RowEnd::Nothing(failure),
            _ => RowEnd::Failed(stage.answers.named(failure, decision)),
        },
        (_, Verdict::Done) => match (reads, &stage.poll) {
            (Reads::Submission, Some(poll)) => return read_submission(poll, answer, context),
            (Reads::Poll(_), Some(poll)) => match job_state(poll, answer, context) {
                RowEnd::Ok(_) => return read(stage, answer, context),
                end => end,
            },
            _ => return read(stage, answer, context),
        },
    };
    (None, Vec::new(), end)
}

/// What the answer to a submission gives the row.
fn read_submission(
    poll: &Poll,
    answer: &Answer,
    context: &AnswerContext<'_>,
) -> (Option<Vec<Bytes>>, Vec<ExtractedValue>, RowEnd) {
    let context = AnswerContext { kind: None, ..*context };
    let values = poll.submitted().each_value(&answer.body, &context).unwrap_or_default();
    let end = match poll.submitted().extract_in(&answer.body, &context) {
        Ok(values) => RowEnd::Ok(values),
        Err(failure) => RowEnd::Failed(failure),
    };
    (None, values, end)
}

/// What the answer to a poll says of the job.
fn job_state(poll: &Poll, answer: &Answer, context: &AnswerContext<'_>) -> RowEnd {
    match poll.state(&answer.body, &AnswerContext { kind: None, ..*context }) {
        Ok(JobState::Done) => RowEnd::Ok(Vec::new()),
        Ok(JobState::Running) => RowEnd::Running,
        Ok(JobState::Failed(why)) => RowEnd::Failed(job_failed(why, answer)),
        Err(failure) => RowEnd::Failed(failure),
    }
}

/// What the programs of the stage find in an answer.
fn read(
    stage: &Stage,
    answer: &Answer,
    context: &AnswerContext<'_>,
) -> (Option<Vec<Bytes>>, Vec<ExtractedValue>, RowEnd) {
    let items = stage.each.as_ref().map(|each| {
        Document::new(&answer.body, context).and_then(|body| each.items(&body, context))
    });
    let items = match items.transpose() {
        Ok(items) => items,
        Err(failure) => return (None, Vec::new(), RowEnd::Failed(failure)),
    };
    let first = items.as_ref().map(|items| items.first());
    if first == Some(None) {
        return (items, Vec::new(), RowEnd::Ok(Vec::new()));
    }
    let (body, context) = match first.flatten() {
        Some(item) => (item, context.of_item()),
        None => (&answer.body, *context),
    };
    let values = stage.extractor.each_value(body, &context).unwrap_or_default();
    let end = match stage.extractor.extract_in(body, &context) {
        Ok(values) => RowEnd::Ok(values),
        Err(failure) => RowEnd::Failed(failure),
    };
    (items, values, end)
}
