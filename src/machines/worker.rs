//! A process that takes rows of jobs from a store: it joins at once, and leaves at will.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use serde_json::json;

use super::announced;
use super::claimed::{ClaimedRows, HeldRecords, Work};
use super::stored;
use crate::engine::Run;
use crate::error::{Error, ErrorKind};
use crate::metrics::{ReportedTime, Sending, TimeBreakdown, WorkerReport};
use crate::plan::{JobParts, Plan};
use crate::price::Bill;
use crate::queue::{
    Commit, JobFields, JobState, Outcome, Queue, QueueError, QueueTerms, RedisStore,
};
use crate::shutdown::{Shutdown, ShutdownReason};
use crate::sink::IntentLog;
use crate::source::ProgramRows;
use crate::threads;

/// What a worker does.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkerTerms {
    /// The only job whose rows it takes; all jobs, one after the other, if there is none.
    pub job: Option<String>,
    /// Number of threads, in place of the job's.
    pub workers: Option<usize>,
    /// Maximum number of requests in flight of each thread, in place of the job's.
    pub concurrency: Option<usize>,
    /// Whether it ends when no job has rows, in place of waiting for one.
    pub once: bool,
}

/// Time between two looks for a job.
const LOOK: Duration = Duration::from_millis(300);

/// Maximum time between two heartbeats, in which a worker hears of the state of its job.
const MAX_BEAT: Duration = Duration::from_secs(2);

/// Pause before the store is tried again after an error.
const RETRY: Duration = Duration::from_millis(200);

/// Pause before another look at whether the process is to end.
const REST: Duration = Duration::from_millis(50);

/// Time for which records that are left are handed over at the end, while the store can't be
/// reached.
const LAST_TRIES: Duration = Duration::from_secs(10);

/// Takes rows of jobs until `shutdown` is requested, or no job is left. `tell` hears what goes on.
///
/// # Errors
/// The store can't be reached at first, there is no such job, or a job can't be done here.
pub(crate) fn work(
    store: &RedisStore,
    terms: &WorkerTerms,
    environment: &dyn Fn(&str) -> Option<String>,
    shutdown: &Shutdown,
    tell: &dyn Fn(&str),
) -> Result<(), Error> {
    let mut jobs = find(store, terms)?;
    if let (Some(name), None) = (&terms.job, &jobs) {
        check_named(store, name)?;
    }
    let mut has_told = false;
    while !shutdown.is_requested() {
        match jobs.take() {
            Some((name, fields)) => {
                work_on(store, &name, &fields, terms, environment, shutdown, tell)?;
                has_told = false;
            }
            None if terms.once => return Ok(()),
            None => {
                if !std::mem::replace(&mut has_told, true) {
                    tell(&format!("waiting for a job in {store}"));
                }
                sleep(LOOK);
            }
        }
        // The store was reached before, and will be again.
        jobs = match find(store, terms) {
            Err(error) if error.kind() == ErrorKind::Plan => return Err(error),
            found => found.unwrap_or_default(),
        };
    }
    Ok(())
}

/// A job that is running, the oldest first.
fn find(store: &RedisStore, terms: &WorkerTerms) -> Result<Option<(String, JobFields)>, Error> {
    let names = match &terms.job {
        Some(name) => vec![name.clone()],
        None => store.jobs()?,
    };
    let mut running = Vec::new();
    for name in names {
        if let Some(fields) = store.fields(&name).map_err(QueueError::into_error)?
            && fields.state() == JobState::Running
        {
            running.push((fields.number("created").unwrap_or(0), name, fields));
        }
    }
    let oldest = running.into_iter().min_by_key(|(created, ..)| *created);
    Ok(oldest.map(|(_, name, fields)| (name, fields)))
}

/// Refuses a job that is not there, or over.
fn check_named(store: &RedisStore, name: &str) -> Result<(), Error> {
    let state = store
        .fields(name)
        .map_err(QueueError::into_error)?
        .map_or(JobState::Gone, |fields| fields.state());
    match state {
        JobState::Gone => Err(Error::plan(format!(
            "there is no job {name} in {store}: `throng jobs {store}` lists those that there are"
        ))),
        JobState::Done | JobState::Cancelled => {
            Err(Error::plan(format!("the job {name} in {store} is {}", state.name())))
        }
        _ => Ok(()),
    }
}

/// Takes rows of one job until it has none left, or the process is to end.
fn work_on(
    store: &RedisStore,
    name: &str,
    fields: &JobFields,
    terms: &WorkerTerms,
    environment: &dyn Fn(&str) -> Option<String>,
    shutdown: &Shutdown,
    tell: &dyn Fn(&str),
) -> Result<(), Error> {
    let mut job = stored::job(fields)?;
    job.workers.count = terms.workers.or(job.workers.count);
    job.workers.concurrency = terms.concurrency.or(job.workers.concurrency);
    let consumer = consumer();
    let queue_terms = fields.terms();
    let queue = || store.queue(name, &consumer, queue_terms);
    let work = Arc::new(Work::new());
    let input = fields.shared_input()?;
    if let Some(input) = &input {
        // A worker that does not reach it leaves the rows to others.
        input.check()?;
    }
    let rows = ClaimedRows::new(work.clone(), queue(), input);
    let rows = ProgramRows::numbered(Box::new(rows));
    let parts = JobParts { rows: Some(rows), ..JobParts::default() };
    let mut plan = Plan::with_parts(&job, environment, &parts)?;
    plan.share_limits_by(&store.limits());
    let (intents, announced) = announced::channel();
    let log = IntentLog::of_queue(intents);
    plan.output.set_queue_sink(Box::new(HeldRecords(work.clone())), fields.get("run"), log);
    if plan.announces() {
        announced::start(work.clone(), queue(), announced.clone())?;
    }
    let run = Run::new(plan);
    run.share_limits()?;
    work.set_run(run.clone());
    tell(&format!("takes rows of {name}, as {consumer}"));
    let helpers = Helpers::start(&work, &run, queue, queue_terms, shutdown, consumer.clone())?;
    let report = run.run();
    announced.close();
    helpers.end(&work, queue());
    let report = report?;
    run.warnings().iter().for_each(|warning| tell(warning));
    let refused = work.held().refused();
    let late = if refused > 0 {
        format!("; {refused} came too late, and were another worker's by then")
    } else {
        String::new()
    };
    let what = if run.plan().columns.items { "records" } else { "rows" };
    tell(&format!("{} {what} of {name} were done{late}", report.rows.ok + report.rows.failed));
    match run.shutdown().reason() {
        Some(ShutdownReason::Error(why)) => stop_job(store, name, &run, why),
        _ => Ok(()),
    }
}

/// An error of a run is one of its job. One that only this worker has met, where others have had
/// results, is its own.
fn stop_job(store: &RedisStore, name: &str, run: &Run, why: Error) -> Result<(), Error> {
    let fields = store.fields(name).map_err(QueueError::into_error)?.unwrap_or_default();
    let has_results = fields.number("ok").is_some_and(|ok| ok > 0);
    if !(run.has_braked() && has_results) {
        let stopped = JobState::Stopped(why.to_string());
        store.set_state(name, &stopped, &["running", "paused"]).map_err(QueueError::into_error)?;
    }
    Err(why)
}

/// The name of this worker, which no other one has: its machine, its process and chance.
fn consumer() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().replace(char::is_whitespace, "_");
    let host = if host.is_empty() { "worker" } else { &host };
    format!("{host}-{}-{:08x}", std::process::id(), rand::random::<u32>())
}

/// The threads that keep chunks, and hand records over, while a run goes on.
struct Helpers {
    has_ended: Arc<AtomicBool>,
    beats: JoinHandle<()>,
    commits: JoinHandle<()>,
}

impl Helpers {
    fn start(
        work: &Arc<Work>,
        run: &Run,
        queue: impl Fn() -> Box<dyn Queue>,
        terms: QueueTerms,
        shutdown: &Shutdown,
        name: String,
    ) -> Result<Helpers, Error> {
        let has_ended = Arc::new(AtomicBool::new(false));
        let failed = |error: std::io::Error| Error::stopped(error.to_string());
        let keeper = Keeper {
            work: work.clone(),
            run: run.clone(),
            queue: queue(),
            every: MAX_BEAT.min(terms.lease / 3),
            lease: terms.lease,
            is_paused: false,
        };
        let committer = Committer {
            work: work.clone(),
            run: run.clone(),
            queue: queue(),
            told: Sending::default(),
            told_time: TimeBreakdown::default(),
            told_bill: Bill::default(),
            name,
            tried_since: None,
        };
        let (of_beats, of_commits) = (has_ended.clone(), has_ended.clone());
        let shutdown = shutdown.clone();
        Ok(Helpers {
            has_ended,
            beats: threads::spawn(move || keeper.keep(&of_beats, &shutdown)).map_err(failed)?,
            commits: threads::spawn(move || committer.hand_over(&of_commits)).map_err(failed)?,
        })
    }

    /// Hands over what is left, and hands back what was not begun.
    fn end(self, work: &Work, mut queue: Box<dyn Queue>) {
        work.leave();
        self.has_ended.store(true, Ordering::Release);
        work.notify();
        // A thread that has panicked has said so; the chunks lapse then.
        let _ = self.commits.join();
        let _ = self.beats.join();
        let leases = work.held().leases();
        // Chunks that can't be handed back lapse by themselves.
        let _ = queue.release(&leases);
    }
}

/// Keeps the chunks of a worker by heartbeats.
struct Keeper {
    work: Arc<Work>,
    run: Run,
    queue: Box<dyn Queue>,
    every: Duration,
    lease: Duration,
    /// Whether the run is paused as its job is, or as the store can't be reached.
    is_paused: bool,
}

impl Keeper {
    fn keep(mut self, has_ended: &AtomicBool, shutdown: &Shutdown) {
        let (mut heard, mut due) = (Instant::now(), Instant::now());
        while !has_ended.load(Ordering::Acquire) {
            self.follow(shutdown);
            if Instant::now() < due {
                sleep(REST);
                continue;
            }
            due = Instant::now() + self.every;
            match self.beat() {
                Ok(()) => heard = Instant::now(),
                // Others may have the rows by then.
                Err(()) if heard.elapsed() >= self.lease => self.pause(),
                Err(()) => {}
            }
        }
    }

    /// Ends the run with the process.
    fn follow(&self, shutdown: &Shutdown) {
        if let Some(reason) = shutdown.reason() {
            self.run.shutdown().request(reason);
        }
        if shutdown.is_aborted() {
            self.run.shutdown().abort();
        }
    }

    fn beat(&mut self) -> Result<(), ()> {
        let leases = self.work.held().leases();
        let sending = self.run.metrics().sending();
        let about = json!({
            "in_flight": sending.in_flight,
            "waiting": sending.waiting,
            "rows": self.run.metrics().ok() + self.run.metrics().failed(),
        });
        let (state, lost) = self.queue.beat(&about.to_string(), &leases).map_err(drop)?;
        for chunk in lost {
            self.work.held().lost(chunk);
        }
        match state {
            JobState::Running => self.resume(),
            JobState::Paused => self.pause(),
            JobState::Stopped(_) | JobState::Cancelled | JobState::Done | JobState::Gone => {
                self.work.leave();
                self.resume();
                self.run.shutdown().request(ShutdownReason::Cancelled);
            }
        }
        Ok(())
    }

    fn pause(&mut self) {
        if !std::mem::replace(&mut self.is_paused, true) {
            self.run.pause();
        }
    }

    fn resume(&mut self) {
        if std::mem::replace(&mut self.is_paused, false) {
            self.run.resume();
        }
    }
}

/// Hands records over.
struct Committer {
    work: Arc<Work>,
    run: Run,
    queue: Box<dyn Queue>,
    /// The counts that the collector has.
    told: Sending,
    /// The time that it has.
    told_time: TimeBreakdown,
    /// The bill that it has.
    told_bill: Bill,
    /// The name of this worker.
    name: String,
    /// When the store could not be reached any more.
    tried_since: Option<Instant>,
}

impl Committer {
    /// Hands records over as they come, and the rest when the run has ended.
    fn hand_over(mut self, has_ended: &AtomicBool) {
        loop {
            let is_end = has_ended.load(Ordering::Acquire);
            let (commit, next) = {
                let mut held = self.work.held();
                (held.due(self.work.now(), is_end), held.next_due())
            };
            match commit {
                Some(commit) => {
                    if !self.commit(commit, has_ended) {
                        return;
                    }
                }
                None if is_end => return,
                None => {
                    let most = Duration::from_millis(200);
                    let next = next.map_or(most, |next| next.saturating_sub(self.work.now()));
                    self.work.wait(next.clamp(Duration::from_millis(1), most));
                }
            }
        }
    }

    /// Commits records, however often that takes; false if it is given up.
    fn commit(&mut self, commit: Commit, has_ended: &AtomicBool) -> bool {
        let since = self.run.metrics().since(&self.told);
        let time = self.run.time_breakdown();
        let bill = self.run.bill().unwrap_or_default();
        let report = WorkerReport {
            worker: self.name.clone(),
            in_flight: self.run.metrics().sending().in_flight,
            sending: since,
            time: ReportedTime::of(&time.since(&self.told_time)),
            bill: bill.since(&self.told_bill),
        };
        let about = json!(report).to_string();
        let commit = Commit { about, ..commit };
        loop {
            match self.queue.finish(&commit) {
                Ok(outcome) => {
                    self.tried_since = None;
                    if outcome == Outcome::Done {
                        self.told.add(&since);
                        (self.told_time, self.told_bill) = (time, bill);
                    }
                    self.work.held().committed(commit.lease.chunk, &outcome);
                    self.work.notify();
                    return true;
                }
                Err(error) if error.may_pass => {
                    let since = *self.tried_since.get_or_insert_with(Instant::now);
                    if has_ended.load(Ordering::Acquire) && since.elapsed() >= LAST_TRIES {
                        return false;
                    }
                    sleep(RETRY);
                }
                Err(error) => {
                    self.run.shutdown().request(ShutdownReason::Error(error.into_error()));
                    return false;
                }
            }
        }
    }
}
