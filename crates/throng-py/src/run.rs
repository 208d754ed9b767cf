//! A run that goes on in threads of its own.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde_json::json;
use throng::internals::report::Color;
use throng::{Error, Interrupt, Report, ShutdownReason};

use crate::errors;
use crate::process::OfProcess;
use crate::wait;

/// A run that goes on.
#[pyclass(frozen)]
pub struct Run {
    inner: OfProcess<Arc<Shared>>,
}

/// What the engine's threads and those of Python share.
struct Shared {
    run: throng::Run,
    done: Mutex<Option<Result<Report, Error>>>,
    ended: Condvar,
}

impl Shared {
    fn done(&self) -> MutexGuard<'_, Option<Result<Report, Error>>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits this long for the end; none if it has not come.
    fn wait(&self, time: Duration) -> Option<()> {
        let done = self.done();
        let waited = self.ended.wait_timeout_while(done, time, |done| done.is_none());
        let (done, _) = waited.unwrap_or_else(PoisonError::into_inner);
        done.is_some().then_some(())
    }
}

impl Run {
    /// Starts the run of a plan, with a bar on standard error if that is wanted.
    pub fn start(plan: throng::Plan, bar: bool) -> PyResult<Run> {
        let run = throng::Run::new(plan);
        run.share_limits().map_err(|error| errors::of(&error))?;
        let shared = Arc::new(Shared { run, done: Mutex::default(), ended: Condvar::new() });
        let of_engine = shared.clone();
        let engine = std::thread::Builder::new().name("throng".to_owned());
        let started = engine.spawn(move || {
            let run = &of_engine.run;
            let report = if bar { throng::cli::with_bar(run, || run.run()) } else { run.run() };
            *of_engine.done() = Some(report);
            of_engine.ended.notify_all();
        });
        started?;
        Ok(Run { inner: OfProcess::new("this run", shared) })
    }
}

#[pymethods]
impl Run {
    /// Waits for the end of the run; whether it has come within this number of seconds.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<bool> {
        let shared = self.inner.get()?;
        let ended = wait::until(py, wait::duration(Some(seconds)), |time| shared.wait(time))?;
        Ok(ended.is_some())
    }

    /// Begins no more rows, and waits for the answers in flight.
    fn stop(&self) -> PyResult<()> {
        let shutdown = self.inner.get()?.run.shutdown();
        shutdown.request(ShutdownReason::Interrupted(Interrupt::Int));
        Ok(())
    }

    /// Drops the requests in flight.
    fn abort(&self) -> PyResult<()> {
        self.stop()?;
        self.inner.get()?.run.shutdown().abort();
        Ok(())
    }

    /// The counts so far, as JSON.
    fn progress(&self) -> PyResult<String> {
        let run = &self.inner.get()?.run;
        let (metrics, sending) = (run.metrics(), run.metrics().sending());
        Ok(json!({
            "rows": run.rows_to_do(),
            "ok": metrics.ok(),
            "failed": metrics.failed(),
            "sent": sending.sent,
            "in_flight": sending.in_flight,
            "waiting": sending.waiting,
            "refused": sending.refused,
            "retried": sending.retried,
            "seconds": metrics.elapsed().as_secs_f64(),
            "paused": run.limiter().paused().map(|pause| pause.as_secs_f64()),
            "outage": run.outage(),
        })
        .to_string())
    }

    /// What users should know: of the plan, and of the run so far.
    fn notes(&self) -> PyResult<Vec<String>> {
        let run = &self.inner.get()?.run;
        Ok([run.plan().notes().to_vec(), run.warnings()].concat())
    }

    /// The report as JSON and as a text, and why the run ended early: whether by an interrupt,
    /// and the sentence.
    fn report(&self) -> PyResult<(String, String, bool, Option<String>)> {
        let shared = self.inner.get()?;
        let done = shared.done();
        let report = match &*done {
            None => return Err(PyRuntimeError::new_err("the run goes on")),
            Some(Err(error)) => return Err(errors::of(error)),
            Some(Ok(report)) => report,
        };
        let json = report.json().map_err(|error| errors::of(&error))?;
        let reason = shared.run.shutdown().reason();
        let is_interrupt = matches!(reason, Some(ShutdownReason::Interrupted(_)));
        let why = match reason {
            Some(ShutdownReason::Error(error)) => Some(error.to_string()),
            _ => None,
        };
        Ok((json, report.text(Color::Never), is_interrupt, why))
    }
}
