//! Hooks that block: threads of their own call a function with many rows at a time.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use tokio::sync::oneshot;

use super::call::panicked;
use super::{Answer, HookFuture, Processed, RequestHook, ResponseHook, RowError, RowRequest};
use crate::row::Row;
use crate::threads;

/// A hook whose function blocks or computes: it is called on threads of its own, with up to a
/// number of rows at a time, and holds up no worker and no permit.
///
/// The function gives one result for each row, in the order of the rows. A batch is what waits
/// when a thread is free: no row waits for others.
///
/// ```
/// use throng::{Answer, Batches, Processed, Row, RowError};
///
/// let lengths = Batches::new(2, 100, |batch: Vec<(Row, Answer)>| {
///     let length = |(_, answer): &(Row, Answer)| {
///         Ok::<_, RowError>(Processed::from_iter([("length", answer.body.len().into())]))
///     };
///     batch.iter().map(length).collect()
/// })?;
/// # let _hook: Batches<(Row, Answer), Processed> = lengths;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Batches<I, O> {
    jobs: Sender<Job<I, O>>,
}

/// The input of one row, and the way back for its result.
struct Job<I, O> {
    input: I,
    result: oneshot::Sender<Result<O, RowError>>,
}

impl<I: Send + 'static, O: Send + 'static> Batches<I, O> {
    /// Starts this number of threads, each of which calls the function with at most `size` rows.
    /// They end with the hook.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn new(
        threads: usize,
        size: usize,
        function: impl Fn(Vec<I>) -> Vec<Result<O, RowError>> + Send + Sync + 'static,
    ) -> io::Result<Batches<I, O>> {
        // The rows in flight are a bound for the rows that wait here.
        let (jobs, waiting) = async_channel::unbounded();
        let function = Arc::new(function);
        for _ in 0..threads.max(1) {
            let (waiting, function) = (waiting.clone(), function.clone());
            threads::spawn(move || {
                while let Some(batch) = next(&waiting, size.max(1)) {
                    work(batch, &*function);
                }
            })?;
        }
        Ok(Batches { jobs })
    }

    fn call(&self, input: I) -> HookFuture<O> {
        let (result, done) = oneshot::channel();
        let is_taken = self.jobs.try_send(Job { input, result }).is_ok();
        Box::pin(async move {
            let gone = || RowError::failed("the threads of the hook have ended");
            if is_taken { done.await.unwrap_or_else(|_| Err(gone())) } else { Err(gone()) }
        })
    }
}

/// The rows that wait, up to a number; none if there will be no more.
fn next<I, O>(waiting: &Receiver<Job<I, O>>, size: usize) -> Option<Vec<Job<I, O>>> {
    let mut batch = vec![waiting.recv_blocking().ok()?];
    while batch.len() < size
        && let Ok(job) = waiting.try_recv()
    {
        batch.push(job);
    }
    Some(batch)
}

/// Calls the function with a batch, and sends each row its result.
fn work<I, O>(batch: Vec<Job<I, O>>, function: &impl Fn(Vec<I>) -> Vec<Result<O, RowError>>) {
    let rows = batch.len();
    let (inputs, senders): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|job| (job.input, job.result)).unzip();
    let results = catch_unwind(AssertUnwindSafe(|| function(inputs)));
    let error = match results {
        Ok(results) if results.len() == rows => {
            for (sender, result) in senders.into_iter().zip(results) {
                // The row may have been given up meanwhile.
                let _ = sender.send(result);
            }
            return;
        }
        Ok(results) => {
            RowError::failed(format!("the hook gave {} results for {rows} rows", results.len()))
        }
        Err(panic) => panicked(&*panic),
    };
    for sender in senders {
        // The row may have been given up meanwhile.
        let _ = sender.send(Err(error.clone()));
    }
}

impl RequestHook for Batches<Row, RowRequest> {
    fn request(&self, row: &Row) -> HookFuture<RowRequest> {
        self.call(row.clone())
    }
}

impl ResponseHook for Batches<(Row, Answer), Processed> {
    fn process(&self, row: &Row, answer: Answer) -> HookFuture<Processed> {
        self.call((row.clone(), answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_that_panics_or_lacks_a_result_fails_its_rows_alone() {
        let hook = Batches::new(1, 10, |batch: Vec<u8>| match batch[0] {
            0 => panic!("no"),
            1 => Vec::new(),
            _ => batch.into_iter().map(Ok).collect(),
        })
        .unwrap();
        assert_eq!(hook.call(0).await.unwrap_err().reason(), "the hook panicked: no");
        let lacking = hook.call(1).await.unwrap_err();
        assert_eq!(lacking.reason(), "the hook gave 0 results for 1 rows");
        let (one, other) = tokio::join!(hook.call(2), hook.call(3));
        assert_eq!((one, other), (Ok(2), Ok(3)));
    }
}
