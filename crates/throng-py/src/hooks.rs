//! Functions of Python in the place of a job's templates and of its `extract`. Threads of the
//! engine put rows into a queue; one thread of Python takes many at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use throng::{Fields, HookFuture, Processed, RequestHook, ResponseHook, Row, RowError, RowRequest};
use tokio::sync::oneshot;

use crate::process::OfProcess;
use crate::queue::{Pop, Push, Queue};
use crate::table::dict;
use crate::wait;

/// Maximum number of rows that Python gets at a time.
const BATCH: usize = 256;

/// The rows that wait for hooks.
type Calls = Arc<Queue<Call>>;

/// One call of a hook, and the way back for its result.
enum Call {
    Request(Fields, oneshot::Sender<Result<RowRequest, RowError>>),
    Process(Fields, Box<throng::Answer>, oneshot::Sender<Result<Processed, RowError>>),
}

/// The calls that Python has taken and not answered.
enum Reply {
    Request(oneshot::Sender<Result<RowRequest, RowError>>),
    Process(oneshot::Sender<Result<Processed, RowError>>),
}

/// Calls hooks of Python for a run.
#[pyclass(frozen)]
pub struct Hooks {
    inner: OfProcess<Calls>,
    taken: Mutex<Vec<Reply>>,
}

/// A request as Python has made it: method, URL, headers, body and costs.
type Made = (String, String, Vec<(String, String)>, Option<Vec<u8>>, Vec<(String, u64)>);

#[pymethods]
impl Hooks {
    #[new]
    fn new() -> Hooks {
        // The rows in flight are a bound for the rows that wait here.
        let calls = Arc::new(Queue::new(usize::MAX));
        Hooks { inner: OfProcess::new("this run", calls), taken: Mutex::default() }
    }

    /// Waits for calls: a list of rows, and of answers to process or None for requests to make;
    /// None when the run has ended.
    fn next<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let queue = self.inner.get()?;
        let first = wait::until(py, None, |time| match queue.pop(time) {
            Pop::Item(call) => Some(Some(call)),
            Pop::Empty => None,
            Pop::Closed => Some(None),
        })?;
        let Some(first) = first.flatten() else {
            return Ok(None);
        };
        let calls = PyList::empty(py);
        let mut taken = Vec::new();
        for call in std::iter::once(first).chain(queue.drain(BATCH)) {
            let (row, answer, reply) = match call {
                Call::Request(row, reply) => (row, None, Reply::Request(reply)),
                Call::Process(row, answer, reply) => (row, Some(answer), Reply::Process(reply)),
            };
            let answer =
                answer.map(|inner| Bound::new(py, Answer { inner: *inner })).transpose()?;
            calls.append((dict(py, &row)?, answer))?;
            taken.push(reply);
        }
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        Ok(Some(calls))
    }

    /// The results of the calls that were taken, in their order: requests as tuples, values as
    /// JSON, and failures as reasons with whether, and when, to try again.
    fn reply(&self, results: &Bound<'_, PyList>) -> PyResult<()> {
        let taken = std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        for (reply, result) in taken.into_iter().zip(results.iter()) {
            let failure = result.cast::<PyTuple>().ok().filter(|it| it.len() == 3);
            let failure = failure.map(|it| failed(it)).transpose()?;
            // A row may have been given up meanwhile.
            match (reply, failure) {
                (Reply::Request(to), Some(failure)) => drop(to.send(Err(failure))),
                (Reply::Process(to), Some(failure)) => drop(to.send(Err(failure))),
                (Reply::Request(to), None) => drop(to.send(request(result.extract()?))),
                (Reply::Process(to), None) => drop(to.send(values(result.extract()?))),
            }
        }
        Ok(())
    }

    /// The run has ended.
    fn close(&self) -> PyResult<()> {
        self.inner.get()?.close();
        Ok(())
    }
}

impl Hooks {
    /// What the engine calls.
    pub fn of_engine(&self) -> PyResult<EngineHooks> {
        Ok(EngineHooks(self.inner.get()?.clone()))
    }
}

fn failed(result: &Bound<'_, PyTuple>) -> PyResult<RowError> {
    let (reason, retries, after): (String, bool, Option<f64>) = result.extract()?;
    if !retries {
        return Ok(RowError::failed(reason));
    }
    let error = RowError::retry(reason);
    Ok(match wait::duration(after) {
        Some(pause) => error.after(pause),
        None => error,
    })
}

fn request(made: Made) -> Result<RowRequest, RowError> {
    let (method, url, headers, body, costs) = made;
    let uri: Uri = url.parse().map_err(|error| RowError::failed(format!("{url:?}: {error}")))?;
    let mut request = Request::builder().method(method.parse::<Method>()?).uri(uri);
    for (name, value) in headers {
        request = request.header(name.parse::<HeaderName>()?, value.parse::<HeaderValue>()?);
    }
    let request = RowRequest::from(request.body(body.unwrap_or_default())?);
    Ok(costs.into_iter().fold(request, |request, (unit, units)| request.with_cost(unit, units)))
}

fn values(json: String) -> Result<Processed, RowError> {
    Ok(Processed::Values(serde_json::from_str(&json)?))
}

/// What the engine calls.
#[derive(Clone)]
pub struct EngineHooks(Calls);

impl EngineHooks {
    fn call<T: Send + 'static>(
        &self,
        call: Call,
        result: oneshot::Receiver<Result<T, RowError>>,
    ) -> HookFuture<T> {
        let is_taken = matches!(self.0.push(call, Duration::ZERO), Push::Done);
        Box::pin(async move {
            let gone = || RowError::failed("Python has ended, and with it the hooks");
            if is_taken { result.await.unwrap_or_else(|_| Err(gone())) } else { Err(gone()) }
        })
    }
}

impl RequestHook for EngineHooks {
    fn request(&self, row: &Row) -> HookFuture<RowRequest> {
        let (reply, result) = oneshot::channel();
        self.call(Call::Request(row.fields.clone(), reply), result)
    }
}

impl ResponseHook for EngineHooks {
    fn process(&self, row: &Row, answer: throng::Answer) -> HookFuture<Processed> {
        let (reply, result) = oneshot::channel();
        self.call(Call::Process(row.fields.clone(), Box::new(answer), reply), result)
    }
}

/// An answer of the server.
#[pyclass(frozen, module = "throng")]
pub struct Answer {
    inner: throng::Answer,
}

#[pymethods]
impl Answer {
    /// The status.
    #[getter]
    fn status(&self) -> u16 {
        self.inner.status.as_u16()
    }

    /// The URL of the request.
    #[getter]
    fn url(&self) -> String {
        self.inner.url.to_string()
    }

    /// The headers, by their names in small letters.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let headers = PyDict::new(py);
        for name in self.inner.headers.keys() {
            let values = self.inner.headers.get_all(name).iter();
            let values: Vec<_> =
                values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            headers.set_item(name.as_str(), values.join(", "))?;
        }
        Ok(headers)
    }

    /// The body, decompressed.
    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.body)
    }

    /// The body as a text.
    #[getter]
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.inner.body).into_owned()
    }

    /// The body, which is JSON.
    fn json<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.body(py),))
    }

    fn __repr__(&self) -> String {
        format!("<throng.Answer {} {}>", self.inner.status.as_u16(), self.inner.url)
    }
}
