//! A run in a virtual world: how long a job would take, before the first real call.
//!
//! The reader, the workers and the limits are those of a real run. All tasks run in one
//! thread on a clock that stands still while there is something to do, and jumps when
//! there is not: hours pass in moments, and a seed gives the same run each time. Records
//! are counted and not written.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::auth::Signer;
use crate::engine::context::{RunContext, World};
use crate::engine::{run_in_one_thread, summary};
use crate::error::Error;
use crate::limit::{Cost, Estimate, LimitState, Policy, RateLimiter, Time};
use crate::metrics::{Sending, TimeShare};
use crate::plan::{Plan, Stage};
use crate::shutdown::ShutdownReason;
use crate::tally::Tally;

pub use crate::send::MemoryStream;

/// The outcome of a simulated run.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The virtual time from the first request to the last answer.
    pub took: Duration,
    /// The least time for its requests at their mean latency.
    pub bound: Option<Estimate>,
    /// Records with a result.
    pub ok: u64,
    /// Records with a failure.
    pub failed: u64,
    /// The counters of all workers.
    pub sent: Sending,
    /// The states of the plan's limits.
    pub limits: Vec<LimitState>,
    /// The virtual time of the workers by reason, the largest share first.
    pub causes: Vec<TimeShare>,
    /// Advice against the largest share.
    pub advice: Option<String>,
    /// The reason for which it ended early.
    pub stopped: Option<String>,
}

/// Carries a plan out in a virtual world, where these servers answer, and gives the servers
/// back. Nothing is sent, and nothing written.
///
/// # Errors
/// The input can't be read.
pub fn simulate<S: Servers>(
    plan: Plan,
    seed: u64,
    servers: impl FnOnce() -> S,
) -> Result<(Simulation, Arc<S>), Error> {
    let watched = WatchedRun::default();
    in_virtual_time(&watched, async {
        let rows = plan.source.rows()?;
        let servers = Arc::new(servers());
        let world = VirtualWorld::new(seed, servers.clone());
        let run = Arc::new(RunContext::new(plan, Box::new(world)));
        watched.get_or_init(|| run.clone());
        run.metrics.start();
        let mut tally = Tally::new(&[], &[]);
        run_in_one_thread(&run, rows, |record| tally.add(record)).await;
        let simulation = result(&run, &tally);
        // Requests that were given up may still arrive, and count.
        tokio::time::sleep(run.plan.policy().linger).await;
        Ok((simulation, servers))
    })?
}

fn result(run: &RunContext, tally: &Tally) -> Simulation {
    let took = run.metrics.elapsed();
    let causes = run.time_breakdown(took).shares();
    Simulation {
        took,
        bound: summary::bound(run, run.plan.policy(), tally, took),
        ok: tally.counts().ok,
        failed: tally.counts().failed,
        sent: run.metrics.sending(),
        limits: run.limiters.iter().flat_map(RateLimiter::state).collect(),
        advice: run.advice(&causes),
        causes,
        stopped: run.shutdown.reason().and_then(|reason| match reason {
            ShutdownReason::Error(error) => Some(error.to_string()),
            _ => None,
        }),
    }
}

/// The plan with a token bucket in the place of each window, as many clients have it.
#[must_use]
pub fn with_token_buckets(mut plan: Plan) -> Plan {
    for stage in &mut plan.stages {
        stage.policy = stage.policy.as_token_buckets();
    }
    plan
}

/// The run whose time is counted, once it has begun.
pub(crate) type WatchedRun = Arc<OnceLock<Arc<RunContext>>>;

/// Does this work on a clock that jumps to the next timer.
///
/// # Errors
/// The event loop can't be built.
pub(crate) fn in_virtual_time<T>(
    watched: &WatchedRun,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let (rests, wakes) = (watched.clone(), watched.clone());
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_park(move || rests.get().into_iter().for_each(|run| run.metrics.all_idle()))
        .on_thread_unpark(move || wakes.get().into_iter().for_each(|run| run.metrics.all_wake()))
        .build()
        .map_err(|error| Error::stopped(format!("no clock to simulate with: {error}")))?;
    Ok(LocalSet::new().block_on(&runtime, work))
}

/// The servers of a virtual world: one for each stage of a plan with limits of its own,
/// by the index of these limits.
pub trait Servers: Send + Sync + 'static {
    /// Opens a connection; called within a set of local tasks, one of which may serve it.
    fn connect(&self, limits: usize) -> MemoryStream;

    /// Writes a request's cost and its key of the pool, by which the server counts, into its
    /// headers.
    fn label(&self, limits: usize, request: &mut Request<Bytes>, cost: &Cost, key: Option<usize>);
}

/// The time from the clock's zero to the beginning of a virtual run.
const BEFORE: Duration = Duration::from_secs(1);

/// The calendar's time at the clock's zero: a midnight.
const CALENDAR_AT_ZERO: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// The calendar's time at the beginning of a virtual run.
pub const CALENDAR_AT_START: Timestamp = Timestamp::constant(1_767_225_601, 0);

/// A world whose clock is the event loop's, and whose servers are in memory.
pub(crate) struct VirtualWorld<S> {
    start: Instant,
    random: Mutex<StdRng>,
    servers: Arc<S>,
}

impl<S: Servers> VirtualWorld<S> {
    /// A world that begins now. A seed always gives the random numbers of its own.
    pub fn new(seed: u64, servers: Arc<S>) -> VirtualWorld<S> {
        let random = Mutex::new(StdRng::seed_from_u64(seed));
        VirtualWorld { start: Instant::now(), random, servers }
    }
}

impl<S: Servers> World for VirtualWorld<S> {
    fn limiter(&self, policy: &Policy) -> RateLimiter {
        let start = self.start;
        let now = move || Time::ZERO.after(BEFORE + start.elapsed());
        RateLimiter::with_clock(policy.clone().on_clock(CALENDAR_AT_ZERO).limits(), now)
    }

    fn calendar_at_zero(&self) -> Timestamp {
        CALENDAR_AT_ZERO
    }

    fn draw(&self) -> f64 {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        random.random()
    }

    /// No credentials leave the real world, and nothing is written.
    fn connect(&self, stage: &mut Stage) {
        let (servers, limits) = (self.servers.clone(), stage.limiter);
        let connect = Arc::new(move || servers.connect(limits));
        stage.transport = Arc::new(stage.transport.in_memory(connect));
        stage.signer = Signer::default();
        stage.save = None;
    }

    fn label(
        &self,
        stage: &Stage,
        request: &mut Cow<'_, Request<Bytes>>,
        cost: &Cost,
        key: Option<usize>,
    ) {
        self.servers.label(stage.limiter, request.to_mut(), cost, key);
    }
}
