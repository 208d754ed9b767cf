//! Carries out the experiment, over the network or in a virtual world.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, json};
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use super::experiment::{Experiment, Observation, ProbeStep};
use super::result::ProbeResult;
use crate::engine::context::{RealWorld, RunContext};
use crate::engine::row::{RowExecutor, RowLogs};
use crate::engine::share_limits;
use crate::error::Error;
use crate::judge::signals::{LimitSignal, named_policies, read_headers};
use crate::judge::{self, Ruling};
use crate::limit::{self, Limit, RateLimiter, duration};
use crate::plan::{Job, Plan};
use crate::quota_store;
use crate::record::Failure;
use crate::row::Row;
use crate::send::Answer;
use crate::shutdown::{Shutdown, ShutdownReason};
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
    /// Maximum number of requests in flight while the limit is filled.
    pub concurrency: u64,
}

/// What a probe does.
#[derive(Debug, Clone, Copy)]
pub enum ProbeEvent<'a> {
    /// The server refused a request, or several at once.
    Refused(&'a Observation),
    /// A pause until the next request.
    Waits {
        /// Number of requests so far.
        requests: u64,
        /// The length of the pause.
        pause: Duration,
    },
    /// Requests are being sent.
    Sends {
        /// Number of requests so far.
        requests: u64,
        /// The time since the beginning.
        elapsed: Duration,
    },
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
/// used. Once a shutdown is requested, it gives what it has learnt until then.
///
/// # Errors
/// The job is wrong, or its request doesn't work.
pub fn probe(
    job: &Job,
    environment: &dyn Fn(&str) -> Option<String>,
    bounds: Bounds,
    shutdown: &Shutdown,
    on_event: &mut dyn FnMut(ProbeEvent<'_>),
) -> Result<ProbeAnswer, Error> {
    let plan = plan(job, environment, bounds)?;
    refuse_beside_others(&plan)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::stopped(format!("no event loop to probe with: {error}")))?;
    let context =
        RunContext { shutdown: shutdown.clone(), ..RunContext::new(plan, Box::new(RealWorld)) };
    share_limits(&context)?;
    let context = Arc::new(context);
    let answer = LocalSet::new().block_on(&runtime, carry_out(context.clone(), bounds, on_event));
    context.limiters.iter().for_each(RateLimiter::close);
    answer
}

/// A probe counts its own requests alone: others of the account would be taken for a smaller
/// limit.
fn refuse_beside_others(plan: &Plan) -> Result<(), Error> {
    let stage = plan.first();
    if !stage.shares() || plan.limit_store.is_some() {
        return Ok(());
    }
    let Ok(directory) = plan.state() else {
        return Ok(());
    };
    match quota_store::processes(&directory, &stage.account)?.as_slice() {
        [] => Ok(()),
        [process, ..] => Err(Error::plan(format!(
            "process {process} runs on this account, and its requests would be taken for a part of the limit: wait for its end, or --share none"
        ))),
    }
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
    let plan = plan(job, &|_| None, bounds)?;
    in_virtual_time(&WatchedRun::default(), async {
        let world = VirtualWorld::new(seed, Arc::new(servers()));
        let context = Arc::new(RunContext::new(plan, Box::new(world)));
        carry_out(context, bounds, &mut |_| {}).await
    })?
}

/// The plan of a probe. Each request has a route of its own, so that a refusal delays none.
/// Its limit holds nothing back, whatever is refused: by it the account's runs know of the
/// requests.
fn plan(
    job: &Job,
    environment: &dyn Fn(&str) -> Option<String>,
    bounds: Bounds,
) -> Result<Plan, Error> {
    const FOREVER: Duration = Duration::from_secs(10_000 * 86_400);
    const SHORTEST: Duration = Duration::from_secs(60);
    const LONGEST: Duration = Duration::from_secs(86_400);
    let period = duration::exact(bounds.time.clamp(SHORTEST, LONGEST));
    let all = bounds.requests.max(1_000_000).saturating_mul(10);
    let rate = format!("bucket:{all}/{period}");
    let rate = rate.parse::<Limit>().map_err(|error| Error::plan(error.to_string()))?;
    let job = Job {
        input: source::Settings { list: Some(vec![json!({})]), ..Default::default() },
        limit: limit::Settings {
            rate: vec![rate],
            route: Some(format!("{{{{ {PROBE} }}}}")),
            sharing: job.limit.sharing.clone(),
            account: job.limit.account.clone(),
            ..Default::default()
        },
        retry: judge::Settings {
            max_wait: Some(FOREVER),
            max_refusals: u32::MAX,
            ..job.retry.clone()
        },
        refusal: job.refusal.iter().cloned().chain([judge::RefusalRule::unavailable()]).collect(),
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

/// The time between two events while requests are sent.
const EVENTS: Duration = Duration::from_secs(5);
/// Number of server errors in a row with which the probe ends.
const MOST_FAILED: u32 = 5;
/// Shortest pause that is an event.
const NOTED_PAUSE: Duration = Duration::from_secs(2);

async fn carry_out(
    context: Arc<RunContext>,
    bounds: Bounds,
    on_event: &mut dyn FnMut(ProbeEvent<'_>),
) -> Result<ProbeAnswer, Error> {
    let start = Instant::now();
    let executor = Rc::new(RowExecutor::new(0, 0, context.clone(), RowLogs::default()));
    let mut experiment = Experiment::new(bounds.refusals);
    let mut answer = ProbeAnswer { found: ProbeResult::default(), signals: Vec::new() };
    let (mut sent, mut next_event, mut failed_in_a_row) = (0, EVENTS, 0);
    loop {
        let next = match experiment.step() {
            ProbeStep::Found(found) => {
                answer.found = ProbeResult { named: answer.found.named, ..found };
                return Ok(answer);
            }
            ProbeStep::Send(next) => next,
        };
        if let Some(why) = reason_to_stop(&context, bounds, sent, next)? {
            experiment.stop(why);
            continue;
        }
        let pause = next.saturating_sub(start.elapsed());
        if pause >= NOTED_PAUSE {
            on_event(ProbeEvent::Waits { requests: sent, pause });
        } else if start.elapsed() >= next_event {
            next_event = start.elapsed() + EVENTS;
            on_event(ProbeEvent::Sends { requests: sent, elapsed: start.elapsed() });
        }
        tokio::select! {
            () = tokio::time::sleep_until(start + next) => {}
            () = context.shutdown.requested() => continue,
        }
        let together = bounds.concurrency.min(experiment.together()).min(bounds.requests - sent);
        let mut all = JoinSet::new();
        for number in sent..sent + together.max(1) {
            let (executor, context) = (executor.clone(), context.clone());
            all.spawn_local(async move {
                let answer = executor.attempt_single(&row(number)).await;
                (answer, start.elapsed(), context.calendar_now())
            });
        }
        sent += together.max(1);
        let mut seen = Vec::new();
        while let Some(ended) = all.join_next().await {
            let (ended, elapsed, now) =
                ended.map_err(|error| Error::stopped(format!("a request failed: {error}")))?;
            let Ok(ended) = ended else {
                // The shutdown dropped it.
                continue;
            };
            let ended = ended.map_err(failed)?;
            let observed = observation(&context, &ended, elapsed, now);
            check(&ended, &observed)?;
            failed_in_a_row = if ended.status.is_server_error() && !observed.refused {
                failed_in_a_row + 1
            } else {
                0
            };
            if failed_in_a_row >= MOST_FAILED {
                return Err(Error::stopped(format!(
                    "{failed_in_a_row} answers in a row were {}: the server fails, so nothing can be said of its limit; probe again when it works",
                    ended.status
                )));
            }
            if answer.signals.is_empty() && answer.found.named.is_empty() {
                let heard = context.plan.first().headers.heard(&ended.headers);
                answer.signals = read_headers(heard, now).signals;
                answer.found.named = named_policies(&ended.headers);
            }
            seen.push(observed);
        }
        // What the server accepted shows how much it takes; of several refusals one shows it.
        seen.sort_by_key(|it| (it.refused, it.at));
        let refused = seen.iter().filter(|it| it.refused).count();
        experiment.observe_more_refused(refused.saturating_sub(1));
        seen.truncate(seen.len() - refused.saturating_sub(1));
        for observed in seen {
            if observed.refused {
                on_event(ProbeEvent::Refused(&observed));
            }
            experiment.observe(observed);
        }
    }
}

/// The reason for which no further request is sent, if there is one.
fn reason_to_stop(
    context: &RunContext,
    bounds: Bounds,
    sent: u64,
    next: Duration,
) -> Result<Option<&'static str>, Error> {
    if context.shutdown.is_requested() {
        return match context.shutdown.reason() {
            Some(ShutdownReason::Error(error)) => Err(error),
            _ => Ok(Some("it was interrupted")),
        };
    }
    Ok(if sent >= bounds.requests {
        Some("that was the last of its requests (--max-requests)")
    } else if next > bounds.time {
        Some("what it would have to wait for takes too long (--max-time)")
    } else {
        None
    })
}

/// The row of the request with this number.
fn row(number: u64) -> Row {
    Row { number, fields: Map::from_iter([(PROBE.to_owned(), number.into())]), ..Row::default() }
}

/// The outcome of a request, which arrived about halfway through its latency.
fn observation(
    context: &RunContext,
    answer: &Answer,
    elapsed: Duration,
    now: SystemTime,
) -> Observation {
    let rules = &context.plan.first().answers;
    let ruling = rules.of_answer(answer.status, &answer.headers, &answer.body, now);
    let ruling = ruling.unwrap_or(Ruling::Accepted);
    let wait = match ruling {
        Ruling::Refused(_, _, wait) => wait,
        _ => None,
    };
    Observation {
        at: elapsed.saturating_sub(answer.latency / 2),
        refused: matches!(ruling, Ruling::Refused(..)),
        latency: answer.latency,
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

/// Refuses answers that say nothing of a limit. A lone server error other than 503 counts as
/// accepted.
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
