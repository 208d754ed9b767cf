//! A run in a virtual world: how long a job would take, before the first real call.
//!
//! The reader, the workers and the limits are those of a real run. All tasks run in one
//! thread on a clock that stands still while there is something to do, and jumps when
//! there is not: hours pass in moments, and a seed gives the same run each time. Records
//! are counted and not written.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::engine::context::RunContext;
use crate::engine::{run_in_one_thread, summary};
use crate::error::Error;
use crate::limit::{Estimate, LimitState, RateLimiter};
use crate::metrics::{Sending, TimeShare};
use crate::plan::Plan;
use crate::shutdown::ShutdownReason;
use crate::tally::Tally;

mod world;

pub use crate::send::MemoryStream;
pub(crate) use world::VirtualWorld;
pub use world::{CALENDAR_AT_START, Servers};

/// What came of a simulated run.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// From the first request to the last answer, in virtual time.
    pub took: Duration,
    /// The least time for its requests at their mean latency.
    pub bound: Option<Estimate>,
    /// Records with a result.
    pub ok: u64,
    /// Records with a failure.
    pub failed: u64,
    /// The counters of all workers.
    pub sent: Sending,
    /// The accounts of the plan's limits.
    pub limits: Vec<LimitState>,
    /// The virtual time of the workers by what it went to, the largest share first.
    pub causes: Vec<TimeShare>,
    /// What binds, and what would help.
    pub advice: Option<String>,
    /// Why it stopped before its last row, if it did.
    pub stopped: Option<String>,
}

/// Carries a plan out in a virtual world, where these servers answer; gives them back
/// for what they have seen. Nothing is sent, and nothing written.
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
            ShutdownReason::Error(why) => Some(why),
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

/// The run whose time is accounted for, once there is one.
pub(crate) type WatchedRun = Arc<OnceLock<Arc<RunContext>>>;

/// Does this work on a clock that jumps to what is waited for.
///
/// # Errors
/// There is no such clock.
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
