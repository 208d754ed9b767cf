//! The same rooms, gate and engine, in virtual time, against a model of the
//! server: what a run would take, before the first real call.
//!
//! The model is the mock server, served over streams in memory. All tasks run in
//! one thread on a clock that stands still while there is something to do, and
//! jumps when there is not: hours pass in moments, and a seed gives the same run
//! each time.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use throng_mock::{AckCounter, Arrival, Judgement, LocalServer, Settings};
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::batch::Batch;
use crate::engine::jitter::Jitter;
use crate::engine::row::{RowExecutor, RunContext};
use crate::error::Error;
use crate::limit::{Estimate, LimitState, Policy, RateLimiter, Time};
use crate::metrics::wait_time::TimeShare;
use crate::metrics::{Metrics, Sending};
use crate::plan::Plan;
use crate::record::Record;
use crate::row::Row;
use crate::shutdown::{Shutdown, ShutdownReason};
use crate::source::Rows;
use crate::tally::Tally;

mod server;

pub use server::SimulatedServer;

/// What came of a simulated run.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// From the first request to the last answer, in virtual time.
    pub took: Duration,
    /// The least time for its rows at their mean latency.
    pub bound: Option<Estimate>,
    /// Rows that got an answer.
    pub ok: u64,
    /// Rows that did not.
    pub failed: u64,
    /// What was sent.
    pub sent: Sending,
    /// What the server counted.
    pub server: Judgement,
    /// What arrived at the server, if the model keeps that.
    pub arrivals: Vec<Arrival>,
    /// What our limits have to say.
    pub limits: Vec<LimitState>,
    /// What the virtual time went to, the most first.
    pub causes: Vec<TimeShare>,
    /// What binds, and what would help.
    pub advice: Option<String>,
    /// Why it stopped before its last row, if it did.
    pub stopped: Option<String>,
}

/// A stream holds this many bytes in each direction.
const STREAM: usize = 64 * 1024;

/// Virtual time begins here, so that there is a before.
const BEGIN: Duration = Duration::from_secs(1);

/// What the calendar says at the zero of virtual time: a midnight, of a day on which
/// servers may write moments as they do.
const CALENDAR: Timestamp = Timestamp::constant(1_767_225_600, 0);

/// Takes the plan's rows through its rooms, in virtual time, against a server
/// that behaves like `model`, under `policy`, which may be another than the plan's.
/// Requests are acknowledged if the plan has a limit under the `acked` guard; that
/// takes as long on the way back as the request took there. Nothing is sent or written, and
/// values are not extracted: the model's answers have none. Rows that the plan asks for
/// together are one request, which all of them get the same of.
///
/// # Errors
/// The input can't be read.
pub fn simulate(plan: Plan, policy: &Policy, model: Settings) -> Result<Simulation, Error> {
    let watched = WatchedRun::default();
    virtual_time(&watched, walk(plan, policy, model, &watched))?
}

/// The run whose time is accounted for, once there is one.
pub(crate) type WatchedRun = Arc<OnceLock<Arc<RunContext>>>;

/// Does this work on a clock that jumps to whatever is waited for.
///
/// # Errors
/// There is no such clock.
pub(crate) fn virtual_time<T>(
    watched: &WatchedRun,
    work: impl Future<Output = T>,
) -> Result<T, Error> {
    let (rests, wakes) = (watched.clone(), watched.clone());
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .on_thread_park(move || rests.get().into_iter().for_each(|run| run.live.idle(0)))
        .on_thread_unpark(move || wakes.get().into_iter().for_each(|run| run.live.wake(0)))
        .build()
        .map_err(|error| Error::stopped(format!("no clock to simulate with: {error}")))?;
    Ok(LocalSet::new().block_on(&runtime, work))
}

/// The plan with a server that behaves like `model` at its other end, from now on.
pub(crate) fn against(
    mut plan: Plan,
    policy: &Policy,
    model: Settings,
) -> (Arc<RunContext>, LocalServer) {
    let start = Instant::now();
    let now = move || Time::ZERO.after(BEGIN + start.elapsed());
    let limits = policy.clone().on_clock(CALENDAR).limits();
    let seed = model.seed;
    let calendar = Duration::from_secs(CALENDAR.as_second().unsigned_abs());
    let server = LocalServer::new(Settings {
        anything: true,
        clock: Some(calendar + BEGIN),
        ..model
    });
    plan.stages[0].answer_by(connect_to(server.clone()));
    let shared = RunContext {
        limiters: vec![RateLimiter::with_clock(limits, now)],
        live: Metrics::new(1),
        stop: Shutdown::default(),
        calendar_at_zero: CALENDAR,
        chance: Jitter::seeded(seed),
        plan,
    };
    (Arc::new(shared), server)
}

async fn walk(
    mut plan: Plan,
    policy: &Policy,
    model: Settings,
    watched: &WatchedRun,
) -> Result<Simulation, Error> {
    let start = Instant::now();
    let tasks = plan.workers.count * plan.first().in_flight;
    let work = Rc::new(Work {
        rows: RefCell::new(plan.source.rows()?),
        batch: plan.stages[0].batch.take(),
        tally: RefCell::new(Tally::new(&[], &[])),
        requests: Cell::new(0),
    });
    let (shared, server) = against(plan, policy, model);
    let walk = Rc::new(RowExecutor::new(0, 0, shared.clone(), None));
    let mut walks = JoinSet::new();
    for _ in 0..tasks {
        walks.spawn_local(serve(walk.clone(), work.clone()));
    }
    shared.live.start();
    watched.get_or_init(|| shared.clone());
    while walks.join_next().await.is_some() {}
    let took = start.elapsed();
    let causes = shared.balance(took).shares();
    // What was given up may still arrive, and counts.
    tokio::time::sleep(policy.linger).await;
    let tally = work.tally.borrow();
    Ok(Simulation {
        took,
        bound: bound(&shared, policy, &work),
        ok: tally.counts().ok,
        failed: tally.counts().failed,
        sent: shared.live.sending(),
        server: server.judgement(),
        arrivals: server.arrivals(),
        advice: shared.advice(&causes),
        causes,
        limits: shared.limiter(0).state(),
        stopped: shared.stop.reason().and_then(|reason| match reason {
            ShutdownReason::Error(why) => Some(why),
            _ => None,
        }),
    })
}

/// Each connection is a stream in memory, with the server at its other end.
fn connect_to(server: LocalServer) -> crate::send::Model {
    Box::new(move || {
        let (ours, theirs) = tokio::io::duplex(STREAM);
        let acks = AckCounter::default();
        tokio::task::spawn_local(server.clone().serve(theirs, acks.clone()));
        (ours, acks)
    })
}

/// The rows that are left, and what came of the others.
struct Work {
    rows: RefCell<Rows>,
    /// How rows are put together, if they are.
    batch: Option<Batch>,
    tally: RefCell<Tally>,
    /// How many requests the rows in the tally were.
    requests: Cell<u64>,
}

impl Work {
    /// What the next request is for, and how many rows that is; none after the last.
    fn next(&self) -> Option<(Row, usize)> {
        let most = self.batch.as_ref().map_or(1, Batch::size);
        let mut rows = self.rows.borrow_mut();
        let rows: Vec<Row> = rows.by_ref().map_while(Result::ok).take(most).collect();
        let row = match &self.batch {
            Some(batch) if !rows.is_empty() => Some(batch.together(&rows)),
            _ => rows.first().cloned(),
        };
        Some((row?, rows.len()))
    }

    /// All rows of a request end alike.
    fn add(&self, record: &Record, rows: usize) {
        let mut tally = self.tally.borrow_mut();
        (0..rows).for_each(|_| tally.add(record));
        self.requests.set(self.requests.get() + 1);
    }
}

/// Takes one row after the other to its record.
async fn serve(walk: Rc<RowExecutor>, work: Rc<Work>) {
    while let Some((row, rows)) = work.next() {
        let add = async |record| work.add(&record, rows);
        if walk.row(row, &add).await.is_err() {
            return;
        }
    }
}

fn bound(shared: &RunContext, policy: &Policy, work: &Work) -> Option<Estimate> {
    let tally = work.tally.borrow();
    let latency = Duration::try_from_secs_f64(tally.latency().mean()? / 1_000.0).ok()?;
    let demand = shared.plan.workload_of(work.requests.get());
    policy.bound(&demand, latency, Time::ZERO.after(BEGIN))
}
