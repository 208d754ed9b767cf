//! Rows that Python makes while a run goes on.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use throng::{BoxError, Fields, RowSource};

use crate::process::OfProcess;
use crate::queue::{Pop, Push, Queue};
use crate::wait;
use crate::waker::Waker;

/// Maximum number of batches that wait.
const BATCHES: usize = 4;

/// A batch of rows, each a line of JSON; or the error that ends them.
pub type Batch = Result<Vec<String>, String>;

/// Takes rows from Python, for a run.
#[pyclass(frozen)]
pub struct Feed {
    inner: OfProcess<Arc<Queue<Batch>>>,
}

#[pymethods]
impl Feed {
    #[new]
    fn new() -> Feed {
        Feed { inner: OfProcess::new("this run", Arc::new(Queue::new(BATCHES))) }
    }

    /// Hands rows over, and waits for room; whether more are wanted.
    fn send(&self, py: Python<'_>, rows: Vec<String>) -> PyResult<bool> {
        let queue = self.inner.get()?;
        let mut batch = Some(Ok(rows));
        let sent = wait::until(py, None, |time| match queue.push(batch.take()?, time) {
            Push::Done => Some(true),
            Push::Closed => Some(false),
            Push::Full(full) => {
                batch = Some(full);
                None
            }
        })?;
        Ok(sent.unwrap_or(false))
    }

    /// Whether the run waits for rows.
    fn is_hungry(&self) -> PyResult<bool> {
        Ok(self.inner.get()?.is_empty())
    }

    /// True if there is room; otherwise the event loop is woken when there is.
    fn poll(&self, waker: &Waker, number: u64) -> PyResult<Option<bool>> {
        let has_room = self.inner.get()?.poll_room(waker.of(number)?);
        Ok(has_room.then_some(true))
    }

    /// Ends the rows with an error.
    fn fail(&self, why: String) -> PyResult<()> {
        self.inner.get()?.push_last(Err(why));
        Ok(())
    }

    /// There are no more rows, or none are wanted.
    fn close(&self) -> PyResult<()> {
        self.inner.get()?.close();
        Ok(())
    }
}

impl Feed {
    /// The rows, for the engine.
    pub fn rows(&self) -> PyResult<FedRows> {
        Ok(FedRows { queue: self.inner.get()?.clone(), batch: Vec::new().into_iter() })
    }
}

/// The engine's end of a feed.
pub struct FedRows {
    queue: Arc<Queue<Batch>>,
    batch: std::vec::IntoIter<String>,
}

impl RowSource for FedRows {
    fn next_row(&mut self) -> Option<Result<Fields, BoxError>> {
        loop {
            if let Some(line) = self.batch.next() {
                return Some(serde_json::from_str(&line).map_err(BoxError::from));
            }
            match self.queue.pop(Duration::from_secs(3600)) {
                Pop::Item(Ok(batch)) => self.batch = batch.into_iter(),
                Pop::Item(Err(why)) => return Some(Err(why.into())),
                Pop::Empty => {}
                Pop::Closed => return None,
            }
        }
    }
}

/// The run has ended: Python need not make more.
impl Drop for FedRows {
    fn drop(&mut self) {
        self.queue.close();
    }
}
