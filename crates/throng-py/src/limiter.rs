//! The rate limiter by itself.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use throng::limit::{AcquireError, Cost, Guard, Limit, LimitError as Invalid, RateLimiter, Shape};

use crate::errors::{of_acquire, of_limit};
use crate::process::OfProcess;
use crate::wait;
use crate::waker::Waker;

const NAME: &str = "this RateLimiter";

/// Limits that hold together.
#[pyclass(frozen)]
pub struct Limiter {
    inner: OfProcess<RateLimiter>,
}

/// What a limiter is made of.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Settings {
    limits: Vec<String>,
    per_key: Vec<String>,
    account: Option<String>,
    state_directory: Option<PathBuf>,
    share: Option<String>,
    in_flight: Option<u64>,
    spacing: Option<f64>,
    guard: String,
    shape: String,
    linger: Option<f64>,
}

impl Settings {
    fn build(&self) -> Result<RateLimiter, Invalid> {
        let mut builder = RateLimiter::builder();
        for limit in &self.limits {
            builder = builder.limit(limit.parse::<Limit>()?);
        }
        for limit in &self.per_key {
            builder = builder.limit_per_key(limit.parse::<Limit>()?);
        }
        if let Some(requests) = self.in_flight {
            builder = builder.in_flight(requests);
        }
        if let Some(gap) = wait::duration(self.spacing) {
            builder = builder.spacing(gap);
        }
        if let Some(linger) = wait::duration(self.linger) {
            builder = builder.linger(linger);
        }
        if let Some(account) = &self.account {
            builder = builder.account(account);
        }
        if let Some(directory) = &self.state_directory {
            builder = builder.state_directory(directory);
        }
        if let Some(url) = &self.share {
            builder = builder.share(throng::shared_store(url)?);
        }
        builder.guard(guard(&self.guard)).shape(shape(&self.shape)).build()
    }
}

/// The names are checked where Python reads them.
fn guard(name: &str) -> Guard {
    Guard::ALL.into_iter().find(|guard| guard.name() == name).unwrap_or_default()
}

fn shape(name: &str) -> Shape {
    match name {
        "burst" => Shape::Burst,
        "spread" => Shape::Spread,
        _ => Shape::Auto,
    }
}

#[pymethods]
impl Limiter {
    #[new]
    fn new(py: Python<'_>, settings: Bound<'_, PyAny>) -> PyResult<Limiter> {
        let settings: Settings = settings.extract()?;
        let limiter = py.detach(|| settings.build()).map_err(|error| of_limit(&error))?;
        Ok(Limiter { inner: OfProcess::new(NAME, limiter) })
    }

    /// Begins to wait for a permit of this cost.
    fn acquire(&self, cost: Vec<(String, u64)>, key: Option<&str>) -> PyResult<Acquire> {
        let limiter = self.of_key(key)?;
        let cost = cost_of(cost);
        let future: AcquireFuture = Box::pin(async move { limiter.acquire(cost).await });
        Ok(Acquire { inner: Mutex::new(OfProcess::new(NAME, future)) })
    }

    /// A permit if one is free now.
    fn try_acquire(
        &self,
        py: Python<'_>,
        cost: Vec<(String, u64)>,
        key: Option<&str>,
    ) -> PyResult<Option<Permit>> {
        let (limiter, cost) = (self.of_key(key)?, cost_of(cost));
        match py.detach(|| limiter.try_acquire(cost)) {
            Ok(permit) => Ok(Some(Permit::new(permit))),
            Err(AcquireError::NotInTime { .. }) => Ok(None),
            Err(error) => Err(of_acquire(&error)),
        }
    }

    /// Gives no permit for this number of seconds.
    fn pause_for(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let limiter = self.inner.get()?;
        let pause = wait::duration(Some(seconds)).unwrap_or_default();
        py.detach(|| limiter.pause_for(pause));
        Ok(())
    }

    /// Nothing more will be sent: the store of shared limits gets back what was not used.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let limiter = self.inner.get()?;
        py.detach(|| limiter.close());
        Ok(())
    }

    /// What it has counted so far, as JSON.
    fn snapshot(&self, py: Python<'_>) -> PyResult<String> {
        let limiter = self.inner.get()?;
        let snapshot = py.detach(|| limiter.snapshot());
        serde_json::to_string(&snapshot).map_err(|error| PyRuntimeError::new_err(error.to_string()))
    }
}

impl Limiter {
    /// The limiter, for the engine.
    pub fn get(&self) -> PyResult<&RateLimiter> {
        self.inner.get()
    }

    fn of_key(&self, key: Option<&str>) -> PyResult<RateLimiter> {
        let limiter = self.inner.get()?;
        Ok(key.map_or_else(|| limiter.clone(), |key| limiter.keyed(key)))
    }
}

fn cost_of(units: Vec<(String, u64)>) -> Cost {
    units.into_iter().fold(Cost::one(), |cost, (unit, units)| cost.with(unit, units))
}

type AcquireFuture =
    Pin<Box<dyn Future<Output = Result<throng::limit::Permit, AcquireError>> + Send>>;

/// One wait for a permit. It leaves the queue when it is dropped.
#[pyclass(frozen)]
pub struct Acquire {
    inner: Mutex<OfProcess<AcquireFuture>>,
}

#[pymethods]
impl Acquire {
    /// Waits on this thread; none if the time is over.
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Permit>> {
        let mut inner = lock(&self.inner);
        let future = inner.get_mut()?;
        let waker = std::task::Waker::from(Arc::new(Unpark(thread::current())));
        let found = wait::until(py, wait::duration(timeout), |time| {
            let mut context = Context::from_waker(&waker);
            if let Poll::Ready(found) = future.as_mut().poll(&mut context) {
                return Some(found);
            }
            thread::park_timeout(time);
            match future.as_mut().poll(&mut context) {
                Poll::Ready(found) => Some(found),
                Poll::Pending => None,
            }
        })?;
        let Some(found) = found else {
            return Ok(None);
        };
        drop(inner.take()?);
        found.map(|permit| Some(Permit::new(permit))).map_err(|error| of_acquire(&error))
    }

    /// The permit, if it is there; otherwise the event loop is woken when to ask again.
    fn poll(&self, py: Python<'_>, waker: &Waker, number: u64) -> PyResult<Option<Permit>> {
        let mut inner = lock(&self.inner);
        let future = inner.get_mut()?;
        let waker = waker.of(number)?;
        let found = py.detach(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
        let Poll::Ready(found) = found else {
            return Ok(None);
        };
        drop(inner.take()?);
        found.map(|permit| Some(Permit::new(permit))).map_err(|error| of_acquire(&error))
    }

    /// Leaves the queue.
    fn leave(&self) -> PyResult<()> {
        drop(lock(&self.inner).take()?);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Leave for one request.
#[pyclass(frozen)]
pub struct Permit {
    inner: Mutex<OfProcess<throng::limit::Permit>>,
}

impl Permit {
    fn new(permit: throng::limit::Permit) -> Permit {
        Permit { inner: Mutex::new(OfProcess::new("this permit", permit)) }
    }
}

#[pymethods]
impl Permit {
    /// The request is about to be written. False if it must not be: other machines may have used
    /// the permit's units by now.
    fn sent(&self) -> PyResult<bool> {
        Ok(lock(&self.inner).get_mut()?.sent_in_time())
    }

    /// The request has turned out to cost this number of units.
    fn settle(&self, unit: &str, units: u64) -> PyResult<()> {
        let settled = lock(&self.inner).get_mut()?.settle(unit, units);
        settled.map_err(|unknown| of_acquire(&unknown.into()))
    }

    /// The head of an answer with this status and these headers has been seen: a refusal pauses
    /// the limiter, and what the server says of its limits counts.
    fn answered(&self, status: u16, headers: Vec<(String, String)>) -> PyResult<()> {
        let status = StatusCode::from_u16(status);
        let status = status.map_err(|_| PyValueError::new_err("this is no status of HTTP"))?;
        lock(&self.inner).get_mut()?.answered_with(status, &header_map(&headers));
        Ok(())
    }

    /// No answer came: the request may still arrive.
    fn lost(&self) -> PyResult<()> {
        lock(&self.inner).get_mut()?.lost();
        Ok(())
    }

    /// Nothing was sent.
    fn cancel(&self) -> PyResult<()> {
        lock(&self.inner).get_mut()?.cancel();
        Ok(())
    }

    /// The answer has been read, or will not come.
    fn end(&self) -> PyResult<()> {
        drop(lock(&self.inner).take()?);
        Ok(())
    }
}

/// The headers that are such; what no header can be is left out.
fn header_map(headers: &[(String, String)]) -> HeaderMap {
    let parsed = |(name, value): &(String, String)| {
        Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
    };
    headers.iter().filter_map(parsed).collect()
}
