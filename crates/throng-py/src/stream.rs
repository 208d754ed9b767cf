//! The records of a run as they come.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use throng::{BoxError, JobHandle, Plan, Record, ShutdownReason, Sink};

use crate::errors;
use crate::process::OfProcess;
use crate::queue::{Pop, Push, Queue};
use crate::table::{dict, object};
use crate::wait;
use crate::waker::Waker;

/// Maximum number of batches of records that wait.
const BATCHES: usize = 2;

/// The records of a run as they come.
#[pyclass(frozen)]
pub struct Stream {
    inner: OfProcess<Running>,
}

struct Running {
    records: Arc<Queue<Vec<Record>>>,
    handle: JobHandle,
}

/// Records that are not taken end the run.
impl Drop for Running {
    fn drop(&mut self) {
        self.records.close();
        self.handle.shutdown().request(ShutdownReason::Unread);
        self.handle.shutdown().abort();
    }
}

/// Hands records to the stream.
struct ToStream(Arc<Queue<Vec<Record>>>);

impl Sink for ToStream {
    fn write(&mut self, records: Vec<Record>) -> Result<(), BoxError> {
        let mut batch = records;
        loop {
            match self.0.push(batch, Duration::from_secs(3600)) {
                Push::Done => return Ok(()),
                Push::Full(full) => batch = full,
                Push::Closed => return Err(io::Error::from(io::ErrorKind::BrokenPipe).into()),
            }
        }
    }
}

/// The run is over, also one that could not begin.
impl Drop for ToStream {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Stream {
    pub fn start(plan: Plan) -> Stream {
        let records = Arc::new(Queue::new(BATCHES));
        let handle = plan.run_to(ToStream(records.clone()));
        Stream { inner: OfProcess::new("this stream", Running { records, handle }) }
    }
}

#[pymethods]
impl Stream {
    /// Waits for records; empty when the run has ended.
    fn next_batch<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let records = &self.inner.get()?.records;
        let batch = wait::until(py, None, |time| match records.pop(time) {
            Pop::Item(batch) => Some(batch),
            Pop::Empty => None,
            Pop::Closed => Some(Vec::new()),
        })?;
        list(py, &batch.unwrap_or_default())
    }

    /// Records that have come, empty when the run has ended; if there are none, the event loop
    /// is woken when there are.
    fn poll<'py>(
        &self,
        py: Python<'py>,
        waker: &Waker,
        number: u64,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        match self.inner.get()?.records.poll_pop(waker.of(number)?) {
            Pop::Item(batch) => list(py, &batch).map(Some),
            Pop::Empty => Ok(None),
            Pop::Closed => list(py, &[]).map(Some),
        }
    }

    /// The report of the ended run, as JSON and as a text.
    fn report(&self, py: Python<'_>) -> PyResult<(String, String)> {
        let handle = self.inner.get()?.handle.clone();
        let report = py.detach(|| handle.wait()).map_err(|error| errors::of(&error))?;
        let json = report.json().map_err(|error| errors::of(&error))?;
        Ok((json, report.text(throng::internals::report::Color::Never)))
    }

    /// The counts so far, as JSON.
    fn progress(&self) -> PyResult<String> {
        let progress = self.inner.get()?.handle.progress();
        serde_json::to_string(&progress)
            .map_err(|error| errors::Stopped::new_err(error.to_string()))
    }

    /// Ends the run: the records in flight are not awaited.
    fn close(&self) -> PyResult<()> {
        let running = self.inner.get()?;
        running.records.close();
        running.handle.shutdown().request(ShutdownReason::Unread);
        running.handle.abort();
        Ok(())
    }

    /// Waits for the end of a closed run, after which its output can be used again, for no longer
    /// than this number of seconds.
    fn wait(&self, py: Python<'_>, seconds: f64) -> PyResult<()> {
        let handle = &self.inner.get()?.handle;
        wait::until(py, wait::duration(Some(seconds)), |time| {
            handle.is_over().then_some(()).or_else(|| {
                handle.watch(time).next();
                None
            })
        })?;
        Ok(())
    }
}

fn list<'py>(py: Python<'py>, records: &[Record]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for record in records {
        list.append(record_dict(py, record)?)?;
    }
    Ok(list)
}

/// A record with the names that it has in every format.
fn record_dict<'py>(py: Python<'py>, record: &Record) -> PyResult<Bound<'py, PyDict>> {
    let fields = dict(py, &record.row.fields)?;
    let failure = record.outcome.as_ref().err();
    if let Some(item) = record.row.item {
        fields.set_item(intern!(py, "_item"), item.number)?;
    }
    fields.set_item(intern!(py, "_row"), record.row.number)?;
    fields.set_item(intern!(py, "_ok"), record.is_ok())?;
    fields.set_item(intern!(py, "_status"), record.status)?;
    fields.set_item(intern!(py, "_error"), failure.map(|failure| failure.kind.text()))?;
    fields.set_item(intern!(py, "_detail"), record.detail())?;
    fields.set_item(intern!(py, "_attempts"), record.attempts)?;
    let latency = record.latency.map(|latency| latency.as_micros() as f64 / 1000.0);
    fields.set_item(intern!(py, "_ms"), latency)?;
    if let Some(body) = &record.body {
        fields.set_item(intern!(py, "_body"), object(py, &body.clone().into())?)?;
    }
    Ok(fields)
}
