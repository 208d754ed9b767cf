//! A run that goes on: its progress, its end, and how it is ended early.

use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde::Serialize;

use crate::engine::Run;
use crate::error::Error;
use crate::metrics::largest;
use crate::plan::Plan;
use crate::report::Report;
use crate::shutdown::{Shutdown, ShutdownReason};
use crate::sink::Sink;
use crate::threads;

/// A run that goes on, on threads of its own.
///
/// As a future it is the run's report; [`wait`](JobHandle::wait) is the same for threads. Clones
/// are handles to the same run. A handle that is dropped leaves the run alone.
///
/// ```
/// use throng::{Job, Record};
/// # let server = throng_mock::Mock::start(throng_mock::Settings { anything: true, ..Default::default() }, "127.0.0.1:0")?;
/// # let api = server.url();
///
/// let plan = Job::builder()
///     .rows(["a", "b"])
///     .url(format!("{api}/{{{{ line }}}}"))
///     .build()?;
/// let run = plan.run_to(|records: Vec<Record>| {
///     println!("{} more", records.len());
///     Ok(())
/// });
/// println!("{} rows are done", run.progress().done);
/// let report = run.wait()?;                      // or `run.await?`
/// assert_eq!(report.rows.ok, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct JobHandle {
    run: Run,
    ending: Arc<Ending>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// Number of records that the run will have, if it is known.
    pub rows: Option<u64>,
    /// Number of records so far.
    pub done: u64,
    /// Number of them that are failures.
    pub failed: u64,
    /// Number of requests that were sent.
    pub sent: u64,
    /// Number of requests that are sent and not answered.
    pub in_flight: u64,
    /// Number of requests that wait for a limit.
    pub waiting: u64,
    /// Number of requests that the server has refused.
    pub refused: u64,
    /// Time since the run began, in seconds.
    pub seconds: f64,
    /// Time to the end of the run at its pace so far, in seconds, if that is known.
    pub seconds_left: Option<f64>,
    /// The largest share of the time so far: what the run is bound by.
    pub bound_by: Option<String>,
}

/// The end of a run, and those who wait for it.
#[derive(Default)]
struct Ending {
    state: Mutex<EndingState>,
    ended: Condvar,
}

#[derive(Default)]
struct EndingState {
    result: Option<Result<Report, Error>>,
    wakers: Vec<Waker>,
}

impl Plan {
    /// Carries the plan out on threads of its own, in and outside of any runtime. Its records go
    /// to its output file, or else to standard output.
    #[must_use]
    pub fn spawn(self) -> JobHandle {
        JobHandle::start(self)
    }

    /// Carries the plan out on threads of its own. Its records go to this sink, after its output
    /// file if it has one.
    #[must_use]
    pub fn run_to(mut self, sink: impl Sink + 'static) -> JobHandle {
        self.output.set_sink(Box::new(sink));
        JobHandle::start(self)
    }
}

impl JobHandle {
    fn start(plan: Plan) -> JobHandle {
        let handle = JobHandle { run: Run::new(plan), ending: Arc::default() };
        let (run, ending) = (handle.run.clone(), handle.ending.clone());
        let started = threads::spawn(move || {
            // Neither a panic nor a run that can't begin may leave others waiting for ever.
            let end = EndsAnyway(run.clone(), ending.clone());
            let report = run.run();
            ending.end(match (report, run.shutdown().reason()) {
                (Ok(_), Some(ShutdownReason::Error(error))) => Err(error),
                (report, _) => report,
            });
            drop(end);
        });
        if let Err(error) = started {
            handle.run.plan().output.discard_sink();
            handle.ending.end(Err(Error::stopped(error.to_string())));
        }
        handle
    }

    /// How far the run is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let (metrics, seconds) = (self.run.metrics(), self.run.metrics().elapsed().as_secs_f64());
        let (sending, rows) = (metrics.sending(), self.run.rows_to_do());
        let done = metrics.ok() + metrics.failed();
        let left = rows.filter(|_| done > 0).map(|rows| rows.saturating_sub(done));
        let free = self.run.limiter().free_in().unwrap_or_default().as_secs_f64();
        let shares = self.run.time_breakdown().shares();
        Progress {
            rows,
            done,
            failed: metrics.failed(),
            sent: sending.sent,
            in_flight: sending.in_flight,
            waiting: sending.waiting,
            refused: sending.refused,
            seconds,
            seconds_left: left.map(|left| (seconds * left as f64 / done as f64).max(free)),
            bound_by: largest(&shares).map(|share| share.describe()),
        }
    }

    /// The progress, each time that this has passed, until the run has ended; the last one is
    /// that of its end. An iterator that is dropped leaves the run alone.
    pub fn watch(&self, every: Duration) -> impl Iterator<Item = Progress> + Send + 'static {
        let handle = self.clone();
        let mut is_over = false;
        std::iter::from_fn(move || {
            if is_over {
                return None;
            }
            is_over = handle.ending.wait_for(every);
            Some(handle.progress())
        })
    }

    /// Ends the run early: no new row begins, and requests in flight have the job's
    /// `workers.grace` (10 s) to be answered. The report has the rows that are done, and a
    /// run with an output file can be resumed.
    ///
    /// ```
    /// use throng::{Job, Record, ShutdownReason};
    /// # let server = throng_mock::Mock::start(throng_mock::Settings { anything: true, ..Default::default() }, "127.0.0.1:0")?;
    /// # let api = server.url();
    ///
    /// let plan = Job::builder()
    ///     .rows((0_u64..).map(|id| serde_json::json!({ "id": id })))      // without an end
    ///     .url(format!("{api}/{{{{ id }}}}"))
    ///     .build()?;
    /// let run = plan.run_to(|_: Vec<Record>| Ok(()));
    /// run.cancel();
    /// run.wait()?;
    /// assert!(matches!(run.shutdown().reason(), Some(ShutdownReason::Cancelled)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&self) {
        self.shutdown().request(ShutdownReason::Cancelled);
    }

    /// Ends the run at once: requests in flight are given up.
    pub fn abort(&self) {
        self.cancel();
        self.shutdown().abort();
    }

    /// The handle that ends the run early, for a reason.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        self.run.shutdown()
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ending.lock().result.is_some()
    }

    /// Waits on this thread for the end of the run.
    ///
    /// # Errors
    /// The run could not begin, or had to stop.
    pub fn wait(&self) -> Result<Report, Error> {
        let mut state = self.ending.lock();
        loop {
            if let Some(result) = &state.result {
                return result.clone();
            }
            state = self.ending.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn poll_end(&self, context: &Context<'_>) -> Poll<Result<Report, Error>> {
        let mut state = self.ending.lock();
        match &state.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                state.wakers.retain(|waker| !waker.will_wake(context.waker()));
                state.wakers.push(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Future for JobHandle {
    type Output = Result<Report, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_end(context)
    }
}

impl Ending {
    fn lock(&self) -> MutexGuard<'_, EndingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the result, unless there is one.
    fn end(&self, result: Result<Report, Error>) {
        let mut state = self.lock();
        state.result.get_or_insert(result);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.ended.notify_all();
    }

    /// Waits for the end, or for this time; whether the end has come.
    fn wait_for(&self, time: Duration) -> bool {
        let is_running = |state: &mut EndingState| state.result.is_none();
        let waited = self.ended.wait_timeout_while(self.lock(), time, is_running);
        waited.unwrap_or_else(PoisonError::into_inner).0.result.is_some()
    }
}

/// Sets an error as the result when it is dropped, unless there is a result, and drops a sink that
/// the run has not taken.
struct EndsAnyway(Run, Arc<Ending>);

impl Drop for EndsAnyway {
    fn drop(&mut self) {
        let why = "the run panicked; this is a mistake in throng, please report it";
        self.1.end(Err(Error::stopped(why)));
        self.0.plan().output.discard_sink();
    }
}
