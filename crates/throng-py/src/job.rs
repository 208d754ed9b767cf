//! A job and its plan.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde_json::Value;
use throng::internals::plan::Layers;
use throng::{JobBuilder, limit};

use crate::errors;
use crate::feed::Feed;
use crate::hooks::Hooks;
use crate::limiter::Limiter;
use crate::process::OfProcess;
use crate::run::Run;
use crate::stream::Stream;

/// A job as its file or its keywords say it.
#[pyclass(frozen)]
pub struct Job {
    layers: Layers,
}

/// The hooks of a job: whether they make requests, whether they process answers, and the names
/// of the values that they give.
type HooksOfJob<'py> = (Bound<'py, Hooks>, bool, bool, Option<Vec<String>>);

#[pymethods]
impl Job {
    /// The job of a tree of settings, as JSON.
    #[new]
    fn new(tree: &str) -> PyResult<Job> {
        let layers = Layers::of_program("the job", parse(tree)?);
        let layers = layers.map_err(|error| errors::of(&error))?;
        Job::checked(layers)
    }

    /// The job of a file, with the settings of a tree laid over it, as JSON.
    #[staticmethod]
    fn read(path: &str, over: &str) -> PyResult<Job> {
        let over = parse(over)?;
        Layers::of_program("the job", over.clone()).map_err(|error| errors::of(&error))?;
        let layers = Layers::read(path).map_err(|error| errors::of(&error))?;
        Job::checked(layers.overlay(over))
    }

    /// The plan of this job with these settings laid over it, as JSON, and with parts that are
    /// code: rows, hooks with the names of their values, a limiter. Reads the input.
    #[pyo3(signature = (over, feed=None, hooks=None, limiter=None))]
    fn plan(
        &self,
        py: Python<'_>,
        over: &str,
        feed: Option<&Feed>,
        hooks: Option<HooksOfJob<'_>>,
        limiter: Option<&Limiter>,
    ) -> PyResult<Plan> {
        let layers = self.layers.clone().overlay(parse(over)?);
        let job = layers.job().map_err(|error| errors::of(&error))?;
        let plan = if feed.is_none() && hooks.is_none() && limiter.is_none() {
            let environment = |name: &str| std::env::var(name).ok();
            py.detach(|| throng::Plan::new(&job, &environment))
        } else {
            let mut builder = JobBuilder::from(job);
            if let Some(feed) = feed {
                builder = builder.rows_from(feed.rows()?);
            }
            if let Some((hooks, requests, processes, values)) = hooks {
                let hooks = hooks.get().of_engine()?;
                if requests {
                    builder = builder.request_hook(hooks.clone());
                }
                if processes {
                    builder = builder.response_hook(hooks);
                }
                if let Some(names) = values {
                    builder = builder.values(names);
                }
            }
            if let Some(limiter) = limiter {
                builder = builder.limiter(limiter.get()?);
            }
            py.detach(|| builder.build())
        };
        let plan = plan.map_err(|error| errors::of(&error))?;
        Ok(Plan { inner: Mutex::new(OfProcess::new("this plan", plan)) })
    }

    /// The settings, as JSON.
    fn tree(&self) -> PyResult<String> {
        let job = self.layers.clone().job().map_err(|error| errors::of(&error))?;
        serde_json::to_string(&job).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }
}

impl Job {
    fn checked(layers: Layers) -> PyResult<Job> {
        layers.clone().job().map_err(|error| errors::of(&error))?;
        Ok(Job { layers })
    }
}

fn parse(tree: &str) -> PyResult<Value> {
    serde_json::from_str(tree).map_err(|error| errors::PlanError::new_err(error.to_string()))
}

/// A checked job.
#[pyclass(frozen)]
pub struct Plan {
    inner: Mutex<OfProcess<throng::Plan>>,
}

/// The figures of a plan: rows, the least time in seconds, the costs by unit, notes, the text.
type Figures = (Option<u64>, Option<f64>, Vec<(String, u64)>, Vec<String>, String);

#[pymethods]
impl Plan {
    /// The figures of the plan, if each answer takes this number of seconds.
    fn figures(&self, py: Python<'_>, latency: f64) -> PyResult<Figures> {
        py.detach(|| {
            let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
            let plan = inner.get_mut()?;
            let latency = Duration::try_from_secs_f64(latency).unwrap_or_default();
            plan.count_requests().map_err(|error| errors::of(&error))?;
            let limits = plan.check_sharing().and_then(|()| plan.shared_limits());
            let limits = limits.map_err(|error| errors::of(&error))?;
            let now = limit::now();
            let least = plan.least_time(latency, now, &limits);
            Ok((
                plan.rows(),
                least.map(|least| least.as_secs_f64()),
                plan.total_costs(),
                plan.notes().to_vec(),
                plan.preview(latency, now, Ok(&limits)),
            ))
        })
    }

    /// The file of the records, if they go to one.
    fn output_file(&self) -> PyResult<Option<String>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(inner.get()?.output_file())
    }

    /// Starts the run of this plan, which is gone afterwards.
    fn start(&self, py: Python<'_>, bar: bool) -> PyResult<Run> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = inner.take()?;
        let plan = plan.ok_or_else(|| PyRuntimeError::new_err("this plan has been run"))?;
        py.detach(|| Run::start(plan, bar))
    }

    /// Starts the run of this plan, which is gone afterwards, and gives its records as they come.
    fn stream(&self) -> PyResult<Stream> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = inner.take()?;
        let plan = plan.ok_or_else(|| PyRuntimeError::new_err("this plan has been run"))?;
        Ok(Stream::start(plan))
    }
}
