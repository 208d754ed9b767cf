//! Carries out the experiment, over the network or in a virtual world.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, json};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::experiment::{Experiment, Observation, ProbeStep};
use super::result::ProbeResult;
use crate::engine::context::{RealWorld, RunContext, World};
use crate::engine::row::RowExecutor;
use crate::error::Error;
use crate::judge::signals::{LimitSignal, read_headers};
use crate::judge::{self, Ruling};
use crate::limit;
use crate::plan::{Job, Plan};
use crate::record::Failure;
use crate::row::Row;
use crate::send::Answer;
use crate::shutdown::ShutdownReason;
#[cfg(feature = "simulate")]
use crate::simulate::{Servers, VirtualWorld, WatchedRun, in_virtual_time};
use crate::source;

/// The bounds of a probe.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Maximum number of refusals.
    pub refusals: u32,
    /// Maximum number of requests.
    pub requests: u64,
    /// Maximum time.
    pub time: Duration,
}

/// The result of a probe, and the limits that the server's headers name.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeAnswer {
    /// The result of the refusals.
    pub found: ProbeResult,
    /// The limits in the headers of the first answer.
    pub signals: Vec<LimitSignal>,
}

/// Probes the API that this job's request is for; the job's input and limits are not
/// used. `on_refusal` is called for each refusal.
///
/// # Errors
/// The job is wrong, or its request doesn't work.
pub fn probe(
    job: &Job,
    environment: &dyn Fn(&str) -> Option<String>,
    bounds: Bounds,
    on_refusal: &mut dyn FnMut(&Observation),
) -> Result<ProbeAnswer, Error> {
    let plan = plan(job, environment)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::stopped(format!("no event loop to probe with: {error}")))?;
    let probe = carry_out(plan, Box::new(RealWorld), bounds, on_refusal);
    LocalSet::new().block_on(&runtime, probe)
}

/// Probes these servers in a virtual world with the job's request.
///
/// # Errors
/// The job is wrong, or its request doesn't work.
#[cfg(feature = "simulate")]
pub fn simulated<S: Servers>(
    job: &Job,
    bounds: Bounds,
    seed: u64,
    servers: impl FnOnce() -> S,
) -> Result<ProbeAnswer, Error> {
    let plan = plan(job, &|_| None)?;
    in_virtual_time(&WatchedRun::default(), async {
        let world = VirtualWorld::new(seed, Arc::new(servers()));
        carry_out(plan, Box::new(world), bounds, &mut |_| {}).await
    })?
}

/// The plan of a probe. Each request has a route of its own, so that a refusal delays none.
fn plan(job: &Job, environment: &dyn Fn(&str) -> Option<String>) -> Result<Plan, Error> {
    const FOREVER: Duration = Duration::from_secs(10_000 * 86_400);
    let job = Job {
        input: source::Settings { list: Some(vec![json!({})]), ..Default::default() },
        limit: limit::Settings { route: Some(format!("{{{{ {PROBE} }}}}")), ..Default::default() },
        retry: judge::Settings {
            max_wait: Some(FOREVER),
            max_refusals: u32::MAX,
            ..job.retry.clone()
        },
        output: Default::default(),
        ..job.clone()
    };
    let plan = Plan::new(&job, environment)?;
    let mut fields = plan.first().renderer.fields().iter();
    match fields.find(|field| *field != PROBE) {
        None => Ok(plan),
        Some(field) => Err(Error::plan(format!(
            "a probe has no rows, and asks for the same each time: write a value in the place of {{{{ {field} }}}}"
        ))),
    }
}

/// The field with the number of a request.
const PROBE: &str = "probe";

async fn carry_out(
    plan: Plan,
    world: Box<dyn World>,
    bounds: Bounds,
    on_refusal: &mut dyn FnMut(&Observation),
) -> Result<ProbeAnswer, Error> {
    let context = Arc::new(RunContext::new(plan, world));
    let executor = RowExecutor::new(0, 0, context.clone(), None);
    let start = Instant::now();
    let mut experiment = Experiment::new(bounds.refusals);
    let mut signals = Vec::new();
    for number in 0.. {
        let next = match experiment.step() {
            ProbeStep::Found(found) => return Ok(ProbeAnswer { found, signals }),
            ProbeStep::Send(next) => next,
        };
        if number >= bounds.requests {
            experiment.stop("that was the last of its requests (--max-requests)");
            continue;
        }
        if next > bounds.time {
            experiment.stop("what it would have to wait for takes too long (--max-time)");
            continue;
        }
        tokio::time::sleep_until(start + next).await;
        let answer = executor.attempt_single(&row(number)).await;
        let answer = answer.map_err(|_| stopped(&context))?.map_err(failed)?;
        let now = context.calendar_now();
        let seen = observation(&context, &answer, start.elapsed(), now);
        check(&answer, &seen)?;
        if number == 0 {
            signals =
                read_headers(context.plan.first().headers.heard(&answer.headers), now).signals;
        }
        if seen.refused {
            on_refusal(&seen);
        }
        experiment.observe(seen);
    }
    Err(stopped(&context))
}

/// The row of the request with this number.
fn row(number: u64) -> Row {
    Row { number, fields: Map::from_iter([(PROBE.to_owned(), number.into())]), item: None }
}

/// The outcome of a request, which arrived about halfway through its latency.
fn observation(
    context: &RunContext,
    answer: &Answer,
    elapsed: Duration,
    now: SystemTime,
) -> Observation {
    let rules = &context.plan.first().refusals;
    let ruling = rules.of_answer(answer.status, &answer.headers, &answer.body, now);
    let ruling = ruling.unwrap_or(Ruling::Accepted);
    let wait = match ruling {
        Ruling::Refused(_, _, wait) => wait,
        _ => None,
    };
    Observation {
        at: elapsed.saturating_sub(answer.latency / 2),
        refused: matches!(ruling, Ruling::Refused(..)),
        wait,
        rounding: rounding(answer),
    }
}

/// Maximum amount by which a pause is rounded up: to seconds, to dates in whole seconds,
/// or not at all.
fn rounding(answer: &Answer) -> Duration {
    let text = answer.headers.get(http::header::RETRY_AFTER);
    let text = text.and_then(|text| text.to_str().ok()).unwrap_or_default();
    match text.trim().parse::<f64>() {
        Ok(seconds) if seconds.fract() != 0.0 => Duration::from_millis(20),
        Ok(_) => Duration::from_secs(1),
        Err(_) => Duration::from_secs(3),
    }
}

/// Refuses answers that say nothing of a limit. A server error counts as accepted.
fn check(answer: &Answer, seen: &Observation) -> Result<(), Error> {
    let status = answer.status;
    if seen.refused || status.is_success() || status.is_server_error() {
        Ok(())
    } else {
        Err(Error::plan(format!(
            "an answer was {status}: a probe needs a request that works (URL, --header, --data)"
        )))
    }
}

fn failed(failure: Failure) -> Error {
    Error::stopped(format!(
        "a request failed, so nothing can be said of the limit: {}: {}",
        failure.kind, failure.detail
    ))
}

fn stopped(context: &RunContext) -> Error {
    Error::stopped(match context.shutdown.reason() {
        Some(ShutdownReason::Error(why)) => why,
        _ => "the probe was interrupted".to_owned(),
    })
}
