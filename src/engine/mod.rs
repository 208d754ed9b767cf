//! Carries out a plan: one reader, the workers, one writer, each with threads of its own,
//! and bounded channels between them.
//!
//! However many rows there are, memory holds those in flight, and the few in the channels.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_channel::Sender;
use tokio::task::JoinSet;

use self::channels::{OutboxBatch, RunChannels, StageChannels};
pub use self::context::ObservedRecord;
use self::context::{RealWorld, RunContext, RunSharing};
use self::reader::LaterInput;
use self::remote::RemoteWorkers;
use self::row::RowLogs;
use self::spending::Spending;
use self::worker::Worker;
use crate::auth::Tokens;
use crate::error::Error;
use crate::events::{EventKind, OutageSnapshot, Subscription};
use crate::limit::RateLimiter;
use crate::metrics::{Metrics, TimeBreakdown};
use crate::plan::{Plan, Stage};
use crate::price::Bill;
use crate::quota_store::{self, AccountStore};
use crate::record::Record;
use crate::report::Report;
use crate::shutdown::{Shutdown, ShutdownReason};
use crate::sink::{BatchLogWriter, Identity, IntentWriter, LaterRows, PollLogWriter};
use crate::source::Rows;
use crate::store::{AnswerStore, StoreTerms};
use crate::tally::{Counts, Tally};
use crate::threads;
use crate::wording::worded;

mod brake;
mod channels;
pub(crate) mod context;
mod ending;
mod forecast;
mod outages;
mod outlook;
mod panics;
mod poll_queue;
mod reader;
pub(crate) mod remote;
mod room;
pub(crate) mod row;
pub(crate) mod sampler;
mod sent_log;
mod spending;
pub(crate) mod summary;
mod targets;
mod worker;
mod writer;

/// A plan about to be carried out, or being carried out.
///
/// Clones are handles to the same run: a progress display and a signal handler have one each.
///
/// ```no_run
/// use throng::{Job, Plan, Run};
///
/// let job = Job::read("quotes.toml")?;
/// let run = Run::new(Plan::new(&job, &|name| std::env::var(name).ok())?);
/// let shutdown = run.shutdown().clone();   // ends the run early, from any thread
/// let report = run.run()?;
/// println!("{} rows are ok", report.rows.ok);
/// # Ok::<(), throng::Error>(())
/// ```
#[derive(Clone)]
pub struct Run {
    context: Arc<RunContext>,
}

impl Run {
    /// Prepares the run; nothing is opened or sent yet.
    #[must_use]
    pub fn new(plan: Plan) -> Run {
        Run { context: Arc::new(RunContext::new(plan, Box::new(RealWorld))) }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.context.plan
    }

    /// Number of records that the run will write, if it is known.
    #[must_use]
    pub fn rows_to_do(&self) -> Option<u64> {
        self.context.rows_to_do()
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    /// What the run has spent so far, if anything has a price.
    pub(crate) fn bill(&self) -> Option<Bill> {
        self.context.spending.as_ref().map(Spending::bill)
    }

    /// How the workers have spent their time so far.
    #[must_use]
    pub fn time_breakdown(&self) -> TimeBreakdown {
        self.context.time_breakdown(self.metrics().elapsed())
    }

    /// The outage of the first server that is out: its name, the failure, its time so far, and
    /// the time until the next attempt.
    #[must_use]
    pub fn outage(&self) -> Option<String> {
        sampler::outages(&self.context).first().map(OutageSnapshot::describe)
    }

    /// The limiter that the requests of the first stage pass.
    #[must_use]
    pub fn limiter(&self) -> &RateLimiter {
        self.context.limiter(0)
    }

    /// Sends nothing more until [`Run::resume`]; answers in flight come in.
    pub fn pause(&self) {
        self.context.limiters.iter().for_each(RateLimiter::pause);
    }

    /// Goes on after a [`Run::pause`].
    pub fn resume(&self) {
        self.context.limiters.iter().for_each(RateLimiter::resume);
    }

    /// Whether the run is paused by [`Run::pause`].
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.limiter().is_paused()
    }

    /// Takes this share of the rate of each limit from now on, from 0.01 to 1: never more than
    /// the limits allow. Limits of each key, in flight and in all are not divided.
    pub fn set_rate_share(&self, share: f64) {
        self.context.limiters.iter().for_each(|limiter| limiter.set_rate_share(share));
    }

    /// The share of each limit's rate that is taken, which is 1 unless it was lowered.
    #[must_use]
    pub fn rate_share(&self) -> f64 {
        self.limiter().rate_share()
    }

    /// The handle that ends the run early.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.context.shutdown
    }

    /// Warnings that must reach the user even without a report: of refresh tokens that no
    /// later run will know.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let plan = self.plan();
        let tokens = plan.all_stages().filter_map(|it| it.signer.tokens());
        let mut warnings: Vec<String> = tokens.filter_map(Tokens::loss).collect();
        warnings.dedup();
        if let Some(RunSharing::Unavailable(why)) = self.context.sharing.get() {
            warnings.push(why.clone());
        }
        warnings.into_iter().map(worded).collect()
    }

    /// Has `observe` see every record of the output: those that earlier runs have left in it,
    /// then those of this run, as they are written. It is called by the thread that writes, so
    /// it should be quick. Observers are given before the run begins.
    pub fn observe(&self, observe: impl FnMut(ObservedRecord<'_>) + Send + 'static) {
        self.context.observers().push(Box::new(observe));
    }

    /// Joins the other runs of the account on this machine, unless [`Run::run`] is to do so.
    /// [`Run::warnings`] then says whether the limits are this run's alone.
    ///
    /// # Errors
    /// The use of a limit can't be read, or not be kept although its period is long.
    pub fn share_limits(&self) -> Result<(), Error> {
        share_limits(&self.context)
    }

    /// Sets the time without the end of a row that is a stall; it is 5 minutes at first.
    #[cfg(feature = "cli")]
    pub(crate) fn set_stall(&self, time: Duration) {
        self.context.events.set_stall(time);
    }

    /// The events of the run from now on, and its start if it has begun. They come while
    /// [`run`](Run::run) is at work, and end with [`EventKind::RunEnded`].
    ///
    /// ```no_run
    /// use throng::events::EventKind;
    /// use throng::{Job, Plan, Run};
    ///
    /// let job = Job::read("quotes.toml")?;
    /// let run = Run::new(Plan::new(&job, &|name| std::env::var(name).ok())?);
    /// let events = run.subscribe()?;
    /// let display = std::thread::spawn(move || {
    ///     for event in events {
    ///         if let EventKind::Snapshot(snapshot) = &event.kind {
    ///             println!("{} rows are ok", snapshot.rows.ok);
    ///         }
    ///     }
    /// });
    /// run.run()?;
    /// display.join().unwrap();
    /// # Ok::<(), throng::Error>(())
    /// ```
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn subscribe(&self) -> Result<Subscription, Error> {
        let bus = &self.context.events;
        let (subscription, messages) = bus.subscribe();
        if let Some(messages) = messages {
            let (context, subscribers) = (Arc::downgrade(&self.context), bus.subscribers());
            let lost = bus.lost();
            threads::spawn(move || sampler::run(&context, &messages, &subscribers, &lost))
                .map_err(|error| Error::stopped(format!("no events can be had: {error}")))?;
        }
        Ok(subscription)
    }

    /// Takes every row to its record, on this thread and the workers'. Returns when the last
    /// record is written, or when a stop was requested and the requests in flight are answered.
    ///
    /// # Errors
    /// The input or the output can't be opened. Later errors are in the report.
    pub fn run(&self) -> Result<Report, Error> {
        self.metrics().start();
        let context = &self.context;
        context.emit(|| EventKind::RunStarted(Box::new(sampler::run_started(context))));
        let done = self.carry_out();
        let ended = match &done {
            Ok(report) => sampler::run_ended(context, report),
            Err(error) => sampler::not_begun(error),
        };
        context.events.end(context.event(EventKind::RunEnded(Box::new(ended))));
        done
    }

    fn carry_out(&self) -> Result<Report, Error> {
        let plan = self.plan();
        if plan.has_nothing_to_do() {
            return self.report_finished();
        }
        let rows = plan.source.rows()?;
        share_limits(&self.context)?;
        let was_alone = plan.output.before().is_some_and(|before| before.is_alone);
        let is_alone = was_alone || self.context.is_alone();
        let identity = Identity { is_alone, ..plan.identity.clone() };
        let writer = plan.output.create(&plan.columns, &identity);
        let writer = writer.map_err(|error| error.of_output(plan.output_file().as_deref()))?;
        let prepared = summary::tally_earlier(&self.context).and_then(|it| {
            self.open_store()?;
            let later = self.start_page_log()?;
            self.begin_spending()?;
            Ok((it, later, self.intents()?, self.poll_log()?, self.batch_log()?))
        });
        let (earlier, later, intents, polls, batches) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                writer::give_up(writer)?;
                return Err(error);
            }
        };
        let RunChannels { to_workers, stages, to_writer, records } = RunChannels::new(plan);
        writer::hold_back_first(&self.context);
        let to_later = stages.iter().map(|stage| stage.next.clone()).collect();
        let later = LaterInput { rows: later, to_stages: to_later };
        let progress = reader::start(rows, later, to_workers, self.context.clone());
        writer::start_ticker(&to_writer, self.shutdown(), plan.workers.shutdown_grace);
        let logs = RowLogs {
            intents: match &intents {
                Some(log) => Some(plan.output.handle(log)),
                None => plan.output.queue_intents(),
            },
            polls: polls.as_ref().map(|log| plan.output.poll_handle(log)),
            batches: batches.as_ref().map(BatchLogWriter::handle),
        };
        let workers = self.start_workers(&stages, &to_writer, &logs);
        drop((stages, to_writer, logs));
        let before = earlier.as_ref().map(Tally::counts).unwrap_or_default();
        let tally = writer::write(&self.context, writer, &records, &progress, before);
        let workers: Vec<Duration> = workers.into_iter().map(join).collect();
        if let Some(remote) = self.context.remote.get() {
            remote.end(&self.context);
        }
        self.metrics().all_ended();
        self.end_intents(intents);
        self.end_poll_log(polls);
        self.end_batch_log(batches);
        self.end_page_log();
        self.end_store();
        self.end_spending();
        self.context.close_limiters();
        if let Some(RunSharing::Shared { store, .. }) = self.context.sharing.get() {
            store.end();
        }
        let took = self.metrics().elapsed();
        Ok(summary::report(&self.context, &tally, took, &workers)
            .with_earlier(&tally, earlier)
            .with_next_commands(self.plan().renewable_values()))
    }

    /// Starts the workers: threads, or those of other processes.
    fn start_workers(
        &self,
        stages: &[StageChannels],
        to_writer: &Sender<OutboxBatch>,
        logs: &RowLogs,
    ) -> Vec<JoinHandle<Duration>> {
        let context = &self.context;
        if context.remote.get().is_some() {
            return remote::start(context, &stages[0].rows, to_writer);
        }
        let worker = |index| Worker {
            index,
            context: context.clone(),
            stages: stages.to_vec(),
            to_writer: to_writer.clone(),
            logs: logs.clone(),
        };
        (0..context.plan.workers.count).filter_map(|index| worker(index).start()).collect()
    }

    /// Whether the run was ended since its first answers failed alike.
    pub(crate) fn has_braked(&self) -> bool {
        self.context.brake.failure().is_some()
    }

    /// The workers of other processes that take the rows, if they do.
    pub(crate) fn remote_workers(&self) -> Option<&RemoteWorkers> {
        self.context.remote.get()
    }

    /// Has workers of other processes take the rows, unless the run has begun.
    pub(crate) fn use_workers(&self, remote: RemoteWorkers) {
        let _ = self.context.remote.set(remote);
    }

    /// The report of a run whose output is finished, and stays as it is.
    fn report_finished(&self) -> Result<Report, Error> {
        let plan = self.plan();
        let counts_suffice = plan.aggregates.is_empty() && self.context.observers().is_empty();
        let earlier = match plan.output.assumed().filter(|_| counts_suffice) {
            Some((failed, missing)) => {
                Some(Tally::of_counts(Counts::of(plan.output.done().len(), failed, missing)))
            }
            None => summary::tally_earlier(&self.context)?,
        };
        self.metrics().all_written();
        self.metrics().all_ended();
        let (tally, took) = (Tally::new(&plan.aggregates, &[]), self.metrics().elapsed());
        let report = summary::report(&self.context, &tally, took, &[]);
        Ok(report.with_earlier(&tally, earlier).with_next_commands(plan.renewable_values()))
    }

    /// The file that is being made of all records, at the end of the run.
    #[must_use]
    pub fn makes(&self) -> Option<String> {
        self.context.makes()
    }

    /// The log of intents, if the plan has requests that must not be sent twice.
    fn intents(&self) -> Result<Option<IntentWriter>, Error> {
        if !self.plan().announces() || self.context.remote.get().is_some() {
            return Ok(None);
        }
        let shutdown = self.context.shutdown.clone();
        let failed =
            move |error: Error| shutdown.request(ShutdownReason::Error(error.of_output(None)));
        self.plan().output.intents(failed)
    }

    /// The log of jobs, if the plan submits any.
    fn poll_log(&self) -> Result<Option<PollLogWriter>, Error> {
        if self.plan().stages.iter().all(|stage| stage.poll.is_none()) {
            return Ok(None);
        }
        let shutdown = self.context.shutdown.clone();
        let failed =
            move |error: Error| shutdown.request(ShutdownReason::Error(error.of_output(None)));
        self.plan().output.poll_log(failed)
    }

    /// Opens the store of answers, if the job has one.
    fn open_store(&self) -> Result<(), Error> {
        let (plan, context) = (self.plan(), &self.context);
        let opened = AnswerStore::open(&StoreTerms {
            settings: &plan.store,
            dedupes: plan.dedupes,
            results: plan.output.path().map(PathBuf::from),
            run: plan.output.run_number(),
            secrets: &plan.secrets,
            now: context.calendar_millis(),
        })?;
        if let Some(store) = opened {
            context.store.get_or_init(|| store);
        }
        Ok(())
    }

    fn end_store(&self) {
        let Some(store) = self.context.store.get() else { return };
        let all_done = !self.context.shutdown.is_requested();
        let removed = store.end(all_done).unwrap_or_else(|error| {
            let why = || format!("{}: {error}", store.name());
            self.metrics().warn("files of answers that could not be removed", 1, why);
            0
        });
        if removed > 0 {
            let name = || format!("{}: store.size (--store-size) allows more", store.name());
            self.metrics().warn("answers that were removed, as the store was full", removed, name);
        }
    }

    /// Starts the log of what is spent, if anything has a price.
    fn begin_spending(&self) -> Result<(), Error> {
        let Some(spending) = &self.context.spending else {
            return Ok(());
        };
        let shutdown = self.context.shutdown.clone();
        let failed =
            move |error: Error| shutdown.request(ShutdownReason::Error(error.of_output(None)));
        let log = self.plan().output.spending_log(failed)?;
        log.into_iter().for_each(|log| spending.begin(log));
        Ok(())
    }

    fn end_spending(&self) {
        let ended = self.context.spending.as_ref().map_or(Ok(()), Spending::end);
        if let Err(error) = ended {
            self.context.shutdown.request(ShutdownReason::Error(Error::stopped(format!(
                "the log of what is spent cannot be written: {error}"
            ))));
        }
    }

    /// The log of batches at a provider, if the plan submits any.
    fn batch_log(&self) -> Result<Option<BatchLogWriter>, Error> {
        if self.plan().first().batch_api.is_none() {
            return Ok(None);
        }
        let shutdown = self.context.shutdown.clone();
        let failed =
            move |error: Error| shutdown.request(ShutdownReason::Error(error.of_output(None)));
        self.plan().output.batch_log(failed)
    }

    fn end_batch_log(&self, batches: Option<BatchLogWriter>) {
        let all_done = !self.context.shutdown.is_requested();
        let ended = batches.map_or(Ok(()), |log| log.end(all_done));
        if let Err(error) = ended {
            self.context.shutdown.request(ShutdownReason::Error(Error::stopped(format!(
                "the log of batches cannot be written: {error}"
            ))));
        }
    }

    fn end_poll_log(&self, polls: Option<PollLogWriter>) {
        let all_done = !self.context.shutdown.is_requested();
        let ended = polls.map_or(Ok(()), |log| log.end(all_done));
        if let Err(error) = ended {
            self.context.shutdown.request(ShutdownReason::Error(Error::stopped(format!(
                "the log of jobs cannot be written: {error}"
            ))));
        }
    }

    /// Starts the log of pages, if the plan has lists of items or several stages. Gives the rows
    /// that a run before has left for a later stage.
    fn start_page_log(&self) -> Result<Option<LaterRows>, Error> {
        let plan = self.plan();
        let has_lists = plan.stages.iter().any(|stage| stage.has_items() && stage.pages.is_some());
        if !has_lists && plan.stages.len() == 1 {
            return Ok(None);
        }
        let Some(log) = plan.output.page_log()? else {
            return Ok(None);
        };
        plan.output.later_rows(self.context.page_log.get_or_init(|| log)).map(Some)
    }

    fn end_page_log(&self) {
        let all_done = !self.context.shutdown.is_requested();
        let ended = self.context.page_log.get().map_or(Ok(()), |log| log.end(all_done));
        if let Err(error) = ended {
            self.context.shutdown.request(ShutdownReason::Error(Error::stopped(format!(
                "the log of pages cannot be removed: {error}"
            ))));
        }
    }

    fn end_intents(&self, intents: Option<IntentWriter>) {
        let all_done = !self.context.shutdown.is_requested();
        let ended = intents.map_or(Ok(()), |log| log.end(all_done));
        if let Err(error) = ended {
            self.context.shutdown.request(ShutdownReason::Error(Error::stopped(format!(
                "the log of what was sent cannot be written: {error}"
            ))));
        }
    }
}

/// Has the limiters lease their units from the accounts of this machine, which all runs share.
///
/// # Errors
/// The accounts can't be used, although a limit's period is so long that it must not begin
/// anew with each run; or a limit's file can't be read.
pub(crate) fn share_limits(context: &RunContext) -> Result<(), Error> {
    if context.sharing.get().is_some() || context.remote.get().is_some() {
        return Ok(());
    }
    let limiters: Vec<(&RateLimiter, &Stage)> = context
        .limiters
        .iter()
        .zip(context.plan.limited_stages())
        .filter(|(_, stage)| stage.shares())
        .collect();
    let Some(store) = open_store(context, &limiters)? else { return Ok(()) };
    // A limit that can't be read is an error before anything is sent.
    let limits = context.plan.shared_limits()?;
    let before = limits.iter().map(|limits| quota_store::used_before(limits)).collect();
    let pool_names = |stage: &Stage| store.pool_names(&stage.account);
    let pool_names = context.plan.limited_stages().map(pool_names).collect::<Result<_, _>>()?;
    let shared = RunSharing::Shared { store: store.clone(), before, pool_names };
    context.sharing.get_or_init(|| shared);
    for (limiter, stage) in limiters {
        limiter.use_store(store.of_account(&stage.account)?);
        if let Some(why) = limiter.store_error() {
            return Err(Error::plan(why));
        }
    }
    Ok(())
}

/// Opens the store that the limits are shared through; none if they are shared with no run.
fn open_store(
    context: &RunContext,
    limiters: &[(&RateLimiter, &Stage)],
) -> Result<Option<AccountStore>, Error> {
    if let Some(access) = &context.plan.limit_store {
        let Some((_, stage)) = limiters.first() else { return Ok(None) };
        return access.open(&stage.account).map(Some);
    }
    match context.plan.open_accounts(quota_store::open)? {
        None => Ok(None),
        Some(Ok(store)) => Ok(Some(AccountStore::Machine(store))),
        Some(Err(why)) => {
            context.sharing.get_or_init(|| RunSharing::Unavailable(why));
            Ok(None)
        }
    }
}

/// A worker catches its own panics.
fn join(worker: JoinHandle<Duration>) -> Duration {
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Carries a plan out: [`Run::run`] without a handle.
///
/// # Errors
/// Those of [`Run::run`], and that the run had to stop.
pub fn run(plan: Plan) -> Result<Report, Error> {
    let run = Run::new(plan);
    let report = run.run()?;
    match run.shutdown().reason() {
        Some(ShutdownReason::Error(error)) => Err(error),
        _ => Ok(report),
    }
}

/// Takes every row to its record, with all workers in the event loop that polls this, whose
/// clock may be virtual. The records go to `take`, and nowhere else.
pub(crate) async fn run_in_one_thread(
    context: &Arc<RunContext>,
    rows: Rows,
    mut take: impl FnMut(&Record),
) {
    let RunChannels { to_workers, stages, to_writer, records } = RunChannels::new(&context.plan);
    let mut tasks = JoinSet::new();
    for index in 0..context.plan.workers.count {
        let (run, context) = (context.clone(), context.clone());
        let (stages, to_writer) = (stages.clone(), to_writer.clone());
        let worker = Worker { index, context, stages, to_writer, logs: RowLogs::default() };
        tasks.spawn_local(async move {
            worker.work().await;
            run.metrics.end(index);
        });
    }
    tasks.spawn_local(reader::read_as_task(rows, to_workers, context.clone()));
    drop((stages, to_writer));
    while let Ok(batch) = records.recv().await {
        batch.iter().for_each(&mut take);
    }
    panics::all(&mut tasks, &context.shutdown).await;
}
