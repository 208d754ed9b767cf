//! The records of a run as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec;

use async_channel::{Receiver, Sender};
use futures_core::Stream;

use super::handle::JobHandle;
use crate::error::{BoxError, Error};
use crate::plan::Plan;
use crate::record::Record;
use crate::shutdown::ShutdownReason;
use crate::sink::{Sink, SinkClosed};

/// The records of a run, in the order in which they come. An error that ends the run is the last
/// item.
///
/// A few hundred records wait at most: while they are not taken, no further row begins. To drop
/// the stream ends the run. The fields of each record's row include the values of its answer.
///
/// ```
/// use futures::StreamExt;
/// use throng::Job;
/// # let server = throng_mock::Mock::start(throng_mock::Settings { anything: true, ..Default::default() }, "127.0.0.1:0")?;
/// # let api = server.url();
/// # tokio::runtime::Runtime::new()?.block_on(async {
///
/// let plan = Job::builder().rows(["a", "b"]).url(format!("{api}/{{{{ line }}}}")).build()?;
/// let mut records = plan.into_stream();
/// let mut ok = 0;
/// while let Some(record) = records.next().await {
///     ok += u32::from(record?.is_ok());
/// }
/// assert_eq!(ok, 2);
/// # Ok::<(), throng::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped, it ends the run"]
pub struct RecordStream {
    batches: Pin<Box<Receiver<Vec<Record>>>>,
    batch: vec::IntoIter<Record>,
    handle: JobHandle,
    is_over: bool,
}

/// Hands records to the stream. One batch waits.
struct ToStream(Sender<Vec<Record>>);

impl Sink for ToStream {
    fn write(&mut self, records: Vec<Record>) -> Result<(), BoxError> {
        self.0.send_blocking(records).map_err(|_| SinkClosed.into())
    }
}

impl Plan {
    /// Carries the plan out on threads of its own, in and outside of any runtime, and gives its
    /// records as a stream. They go to the plan's output file first, if it has one.
    pub fn into_stream(self) -> RecordStream {
        let (to_stream, batches) = async_channel::bounded(1);
        RecordStream {
            handle: self.run_to(ToStream(to_stream)),
            batches: Box::pin(batches),
            batch: Vec::new().into_iter(),
            is_over: false,
        }
    }
}

impl RecordStream {
    /// The handle of the run: its progress, its end and its report.
    #[must_use]
    pub fn handle(&self) -> &JobHandle {
        &self.handle
    }

    /// The records for a thread, which waits for each.
    pub fn blocking(mut self) -> impl Iterator<Item = Result<Record, Error>> {
        std::iter::from_fn(move || {
            loop {
                if let Some(record) = self.batch.next() {
                    return Some(Ok(record));
                }
                if self.is_over {
                    return None;
                }
                match self.batches.recv_blocking() {
                    Ok(batch) => self.batch = batch.into_iter(),
                    Err(_) => {
                        self.is_over = true;
                        return self.handle.wait().err().map(Err);
                    }
                }
            }
        })
    }
}

impl Stream for RecordStream {
    type Item = Result<Record, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.batch.next() {
                return Poll::Ready(Some(Ok(record)));
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            match ready!(self.batches.as_mut().poll_next(context)) {
                Some(batch) => self.batch = batch.into_iter(),
                None => {
                    let report = ready!(self.handle.poll_end(context));
                    self.is_over = true;
                    return Poll::Ready(report.err().map(Err));
                }
            }
        }
    }
}

impl Drop for RecordStream {
    fn drop(&mut self) {
        self.batches.close();
        if !self.is_over {
            self.handle.shutdown().request(ShutdownReason::Unread);
        }
    }
}
