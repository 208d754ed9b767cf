//! Carries out the experiment over the network.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, json};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::experiment::{Experiment, Observation, ProbeStep};
use super::found::ProbeResult;
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

/// How far a probe may go.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most refusals.
    pub refusals: u32,
    /// The most requests.
    pub requests: u64,
    /// The longest time.
    pub time: Duration,
}

/// What was found, and what the server's headers said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeAnswer {
    /// By being refused.
    pub found: ProbeResult,
    /// In the headers of the first answer.
    pub said: Vec<LimitSignal>,
}

/// Probes the API that this job's request is for; the job's input and limits are not
/// used. `tell` hears of each refusal.
///
/// # Errors
/// The job is wrong, or its request doesn't work.
pub fn probe(
    job: &Job,
    environment: &dyn Fn(&str) -> Option<String>,
    bounds: Bounds,
    tell: &mut dyn FnMut(&Observation),
) -> Result<ProbeAnswer, Error> {
    let plan = plan(job, environment)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::stopped(format!("no event loop to probe with: {error}")))?;
    let probe = carry_out(plan, Box::new(RealWorld), bounds, tell);
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

/// What a server says to one request is no other's, so that nothing is held back.
fn plan(job: &Job, environment: &dyn Fn(&str) -> Option<String>) -> Result<Plan, Error> {
    const FOREVER: Duration = Duration::from_secs(10_000 * 86_400);
    let job = Job {
        input: source::Settings { list: Some(vec![json!({})]), ..Default::default() },
        limit: limit::Settings { route: Some(format!("{{{{ {PROBE} }}}}")), ..Default::default() },
        retry: judge::Settings { max_wait: FOREVER, max_refusals: u32::MAX, ..job.retry.clone() },
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

/// What tells its requests apart.
const PROBE: &str = "probe";

async fn carry_out(
    plan: Plan,
    world: Box<dyn World>,
    bounds: Bounds,
    tell: &mut dyn FnMut(&Observation),
) -> Result<ProbeAnswer, Error> {
    let shared = Arc::new(RunContext::new(plan, world));
    let walk = RowExecutor::new(0, 0, shared.clone(), None);
    let start = Instant::now();
    let mut experiment = Experiment::new(bounds.refusals);
    let mut said = Vec::new();
    for number in 0.. {
        let next = match experiment.step() {
            ProbeStep::Found(found) => return Ok(ProbeAnswer { found, said }),
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
        let answer = walk.attempt_single(&row(number)).await;
        let answer = answer.map_err(|_| stopped(&shared))?.map_err(failed)?;
        let now = shared.calendar_now();
        let seen = seen(&shared, &answer, start.elapsed(), now);
        check(&answer, &seen)?;
        if number == 0 {
            said = read_headers(&answer.headers, &shared.plan.first().signals, now).signals;
        }
        if seen.refused {
            tell(&seen);
        }
        experiment.heard(seen);
    }
    Err(stopped(&shared))
}

/// Each is a request of its own, though they are all alike.
fn row(number: u64) -> Row {
    Row { number, fields: Map::from_iter([(PROBE.to_owned(), number.into())]), item: None }
}

/// It arrived in the middle of its way there and back, about.
fn seen(shared: &RunContext, answer: &Answer, elapsed: Duration, now: SystemTime) -> Observation {
    let rules = &shared.plan.first().refusals;
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

/// By how much a wait is rounded up: to seconds, to dates that differ in whole seconds,
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

/// What doesn't work is not limited; a server that stumbles has taken it in.
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

fn stopped(shared: &RunContext) -> Error {
    Error::stopped(match shared.shutdown.reason() {
        Some(ShutdownReason::Error(why)) => why,
        _ => "the probe was interrupted".to_owned(),
    })
}
