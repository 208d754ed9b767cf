//! The state that all rows of a run share, and what a run takes from outside: time,
//! chance, and the servers that answer it.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;

use super::brake::Brake;
use super::outages::Outages;
use super::remote::RemoteWorkers;
use super::room::RoomGate;
use super::sampler::TallySnapshot;
use super::spending::Spending;
use super::targets::Targets;
use crate::cookies::RunJars;
use crate::events::{Event, EventBus, EventKind};
use crate::limit::{Cost, Policy, RateLimiter, Time, UsedBefore, calendar_at_zero};
use crate::metrics::{self, Metrics, TimeBreakdown, TimeShare, Warning};
use crate::plan::{Deadline, Plan, Stage};
use crate::quota_store::AccountStore;
use crate::record::Record;
use crate::save::SavedFiles;
use crate::send::Origin;
use crate::shutdown::Shutdown;
use crate::sink::{PageLog, fingerprint};
use crate::store::{AnswerStore, FoundAnswers};

/// The state that all rows of a run share.
pub struct RunContext {
    pub plan: Plan,
    /// One for each stage with limits of its own.
    pub limiters: Vec<RateLimiter>,
    /// The calendar's time at the zero of the limiters' clock: one for the whole run, so
    /// that its times are consistent.
    pub calendar_at_zero: Timestamp,
    /// When the run began, by the limiters' clock.
    pub started: Time,
    pub metrics: Metrics,
    pub events: EventBus,
    /// The writer's figures, as subscribers get them.
    pub tally: Mutex<TallySnapshot>,
    pub shutdown: Shutdown,
    pub brake: Brake,
    pub outages: Outages,
    /// The targets of requests; none if there is no fallback.
    pub targets: Option<Targets>,
    /// The money of the run; none if nothing has a price.
    pub spending: Option<Spending>,
    /// None if rows end as several records each.
    pub room: Option<RoomGate>,
    /// The jars of cookies, if cookies are kept.
    pub jars: Option<RunJars>,
    /// The files that answers are saved to.
    pub files: SavedFiles,
    pub world: Box<dyn World>,
    /// Set when the run begins, if it has limits to share.
    pub sharing: OnceLock<RunSharing>,
    /// Set when the run begins, if its lists can go on after it.
    pub page_log: OnceLock<PageLog>,
    /// Set when the run begins, if answers are kept.
    pub store: OnceLock<AnswerStore>,
    /// Whether jobs wait in the log for a later run.
    pub leaves_jobs: AtomicBool,
    /// See every record; they are added before the run begins.
    pub observers: Mutex<Vec<RecordObserver>>,
    /// The workers of other processes that take the rows; set before the run begins, if at all.
    pub remote: OnceLock<RemoteWorkers>,
}

/// A function that sees every record of the output, in the order in which they are written.
pub type RecordObserver = Box<dyn FnMut(ObservedRecord<'_>) + Send>;

/// A record of the output.
#[derive(Debug, Clone, Copy)]
pub enum ObservedRecord<'a> {
    /// An earlier run has left it there; its values are among its row's fields.
    Earlier(&'a Record),
    /// This run has just written it.
    Written(&'a Record),
}

/// Whether the run shares its limits with the other runs of the account.
pub enum RunSharing {
    /// By this store.
    Shared {
        store: AccountStore,
        /// The units that were used when the run began, for each limiter.
        before: Vec<UsedBefore>,
        /// The names of the keys of each limiter's pool, in records.
        pool_names: Vec<Vec<String>>,
    },
    /// The limits are this run's alone, for this reason.
    Unavailable(String),
}

/// Length of the name of a pool's key in records.
const KEY_LENGTH: usize = 8;

impl RunContext {
    /// Of a plan that is carried out in this world.
    pub fn new(mut plan: Plan, world: Box<dyn World>) -> RunContext {
        for stage in plan.stages.iter_mut().chain(&mut plan.fallbacks) {
            world.connect(stage);
        }
        let limiter = |stage: &Stage| {
            if let Some(shared) = &stage.shared_limiter {
                return shared.clone();
            }
            let limiter = world.limiter(&stage.policy);
            limiter.set_max_wait(stage.judge.max_wait());
            limiter
        };
        let limiters: Vec<RateLimiter> = plan.limited_stages().map(limiter).collect();
        let has_prices = plan.price_lists().any(|prices| !prices.is_empty());
        let targets = (!plan.targets.is_empty()).then(|| Targets::new(&plan.targets));
        RunContext {
            started: limiters[0].now(),
            limiters,
            calendar_at_zero: world.calendar_at_zero(),
            metrics: Metrics::new(plan.workers.count),
            events: EventBus::default(),
            tally: Mutex::default(),
            shutdown: Shutdown::default(),
            brake: Brake::new(&plan),
            outages: Outages::new(),
            targets,
            spending: has_prices.then(|| Spending::new(plan.budget, plan.output.spent())),
            room: (!plan.columns.items).then(RoomGate::new),
            jars: jars(&plan),
            files: SavedFiles::new(plan.save_rules()),
            plan,
            world,
            sharing: OnceLock::new(),
            page_log: OnceLock::new(),
            store: OnceLock::new(),
            leaves_jobs: AtomicBool::new(false),
            observers: Mutex::default(),
            remote: OnceLock::new(),
        }
    }

    /// Gives back the units that the run's own limiters have not used.
    pub fn close_limiters(&self) {
        let own = self.limiters.iter().zip(self.plan.limited_stages());
        own.filter(|(_, stage)| stage.shared_limiter.is_none())
            .for_each(|(limiter, _)| limiter.close());
    }

    /// Number of records that the run will write, if it is known.
    pub fn rows_to_do(&self) -> Option<u64> {
        let rows = self.plan.rows().filter(|_| !self.plan.columns.items);
        rows.map(|rows| rows.saturating_sub(self.plan.output.done().len()))
    }

    /// The file that is being made of all records, at the end of the run.
    pub fn makes(&self) -> Option<String> {
        let is_written = self.metrics.is_all_written() && !self.shutdown.is_requested();
        let output = &self.plan.output;
        output.path().filter(|_| is_written && output.makes())
    }

    /// Emits an event if a subscriber listens.
    pub fn emit(&self, kind: impl FnOnce() -> EventKind) {
        if self.events.is_observed() {
            self.events.send(vec![self.event(kind())]);
        }
    }

    /// An event of this moment.
    pub fn event(&self, kind: EventKind) -> Event {
        Event::now(self.metrics.elapsed(), kind)
    }

    /// Notes that jobs wait in the log for a later run.
    pub fn leave_jobs(&self) {
        self.leaves_jobs.store(true, Ordering::Relaxed);
    }

    /// Whether a later run goes on with what this one has done, even without a record.
    pub fn leaves_jobs(&self) -> bool {
        self.leaves_jobs.load(Ordering::Relaxed) || self.plan.output.has_jobs()
    }

    /// The observers of records.
    pub fn observers(&self) -> MutexGuard<'_, Vec<RecordObserver>> {
        self.observers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calendar's time now, by the limiters' clock.
    pub fn calendar_now(&self) -> SystemTime {
        SystemTime::from(self.calendar_at_zero) + self.limiters[0].now().since(Time::ZERO)
    }

    /// The calendar's time now, in milliseconds since 1970.
    pub fn calendar_millis(&self) -> u64 {
        let now = self.calendar_now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    /// Numbers of requests that were not sent, as their answers were found.
    pub fn found_answers(&self) -> FoundAnswers {
        self.store.get().map(AnswerStore::found).unwrap_or_default()
    }

    /// The time from now to the run's deadline, if it has one; zero once it has come.
    pub fn time_left(&self) -> Option<Duration> {
        Some(match self.plan.workers.deadline? {
            Deadline::After(time) => {
                time.saturating_sub(self.limiters[0].now().since(self.started))
            }
            Deadline::At(time) => {
                let left = SystemTime::from(time).duration_since(self.calendar_now());
                left.unwrap_or_default()
            }
        })
    }

    /// How the workers have spent their time, up to this time of the run.
    pub fn time_breakdown(&self, now: Duration) -> TimeBreakdown {
        if let Some(remote) = self.remote.get() {
            return remote.time_breakdown(now);
        }
        TimeBreakdown {
            spent: self.metrics.spent(now),
            blocked: self.limiters.iter().flat_map(RateLimiter::wait_stats).collect(),
            out: self
                .outages
                .origins(self.limiters[0].now())
                .iter()
                .map(Origin::authority)
                .collect(),
        }
    }

    /// Whether limits are not shared with the other runs of the account.
    pub fn is_alone(&self) -> bool {
        let is_unavailable = matches!(self.sharing.get(), Some(RunSharing::Unavailable(_)));
        is_unavailable || self.plan.limited_stages().any(Stage::is_alone)
    }

    /// The anomalies so far that failed no row.
    pub fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.metrics.warnings();
        let store = match self.sharing.get() {
            Some(RunSharing::Shared { store, .. }) => store.outages(),
            _ => None,
        };
        let message = "the store of the shared limits did not answer: once the lease of its units was over, nothing was sent until it did";
        warnings.extend(store.map(|(count, example)| Warning {
            message: message.into(),
            count,
            example,
        }));
        warnings
    }

    /// The limit whose units count longest as used since the store of the shared limits knows nothing
    /// of the time before its start, and for how long they do; none if none do.
    pub fn unknown_use(&self) -> Option<(String, Duration)> {
        match self.sharing.get()? {
            RunSharing::Shared { store, .. } => store.unknown_use(),
            RunSharing::Unavailable(_) => None,
        }
    }

    /// For how long a limit's units have counted as used since the store of the shared limits knew
    /// nothing of the time before its start.
    fn unknown_for(&self) -> Duration {
        match self.sharing.get() {
            Some(RunSharing::Shared { store, .. }) => store.unknown_for(),
            _ => Duration::ZERO,
        }
    }

    /// Number of other runs that have shared this limit with the run.
    pub fn other_runs(&self, limit: &str) -> u64 {
        match self.sharing.get() {
            Some(RunSharing::Shared { store, .. }) => store.other_runs(limit) as u64,
            _ => 0,
        }
    }

    /// The units of each limit of a limiter that were used when the run began; none if the run
    /// shares none.
    pub fn used_before(&self, limiter: usize) -> Option<&UsedBefore> {
        match self.sharing.get()? {
            RunSharing::Shared { before, .. } => before.get(limiter),
            RunSharing::Unavailable(_) => None,
        }
    }

    /// The name in records of a key of a stage's pool. If the limits are not shared, it is the
    /// same only for keys that the job writes in the same way.
    pub fn pool_key_name(&self, stage: &Stage, key: usize) -> Option<String> {
        let template = stage.policy.keys().get(key)?;
        let name = match self.sharing.get() {
            Some(RunSharing::Shared { pool_names, .. }) => {
                pool_names.get(stage.limiter).and_then(|names| names.get(key))
            }
            _ => None,
        };
        Some(name.cloned().unwrap_or_else(|| fingerprint(template)[..KEY_LENGTH].to_owned()))
    }

    /// Advice against the largest share of the time.
    pub fn advice(&self, shares: &[TimeShare]) -> Option<String> {
        let setup = metrics::RunSetup {
            workers: self.plan.workers.count,
            in_flight: self.plan.first().in_flight,
            cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            keys: self.plan.first().policy.keys().len(),
            refused: self.metrics.sending().refused,
            other_runs: metrics::largest(shares)
                .and_then(|first| first.name.as_deref())
                .map_or(0, |limit| self.other_runs(limit)),
            unknown_use: self.unknown_for(),
            has_answers: self.metrics.sending().answered > 0,
            has_processes: self.remote.get().is_some(),
        };
        metrics::advice(shares, &setup)
    }

    /// The limiter that the requests of this stage pass.
    pub fn limiter(&self, stage_index: usize) -> &RateLimiter {
        &self.limiters[self.plan.stage(stage_index).limiter]
    }
}

/// The jars of a run of this plan, if cookies are kept.
fn jars(plan: &Plan) -> Option<RunJars> {
    let keys = plan.all_stages().map(|stage| stage.policy.keys().len()).max();
    Some(RunJars::new(plan.cookies?, keys.unwrap_or_default(), &plan.secrets))
}

/// What a run takes from outside: time, chance, and the servers that answer it.
pub trait World: Send + Sync {
    /// A limiter that keeps this policy by the world's clock.
    fn limiter(&self, policy: &Policy) -> RateLimiter;

    /// The calendar's time at the zero of the limiters' clock.
    fn calendar_at_zero(&self) -> Timestamp;

    /// A random number from 0 to 1.
    fn draw(&self) -> f64;

    /// Connects a stage to the world's servers.
    fn connect(&self, stage: &mut Stage);

    /// Adds to a signed request, which has this cost and this key of the pool, what the
    /// world's servers count by.
    fn label(
        &self,
        stage: &Stage,
        request: &mut Cow<'_, Request<Bytes>>,
        cost: &Cost,
        key: Option<usize>,
    );
}

/// The machine's clock and chance, and the network.
pub struct RealWorld;

impl World for RealWorld {
    fn limiter(&self, policy: &Policy) -> RateLimiter {
        RateLimiter::of_policy(policy)
    }

    fn calendar_at_zero(&self) -> Timestamp {
        calendar_at_zero()
    }

    fn draw(&self) -> f64 {
        rand::random()
    }

    /// A stage is connected to the network from the beginning.
    fn connect(&self, _: &mut Stage) {}

    /// Real servers count by what is in the request.
    fn label(&self, _: &Stage, _: &mut Cow<'_, Request<Bytes>>, _: &Cost, _: Option<usize>) {}
}
