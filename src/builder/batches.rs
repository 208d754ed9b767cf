//! The records of a run as Arrow's batches.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use arrow_array::RecordBatch;
use futures_core::Stream;

use super::stream::RecordStream;
use crate::error::Error;
use crate::format::arrow::BatchBuilder;
use crate::format::column_set::ColumnSet;
use crate::plan::Plan;
use crate::record::Record;
use crate::row::Fields;

/// The records of a run in batches of typed columns. An error that ends the run is the last item.
///
/// The first batch decides on the columns and their types; a later record that does not fit
/// them is an error. Lists and objects are texts in JSON.
///
/// ```
/// use throng::Job;
/// # let server = throng_mock::Mock::start(throng_mock::Settings { anything: true, ..Default::default() }, "127.0.0.1:0")?;
/// # let api = server.url();
///
/// let plan = Job::builder().rows(["a", "b", "c"]).url(format!("{api}/{{{{ line }}}}")).build()?;
/// let mut rows = 0;
/// for batch in plan.into_record_batches(2).blocking() {
///     let batch = batch?;
///     assert!(batch.column_by_name("_status").is_some());
///     rows += batch.num_rows();
/// }
/// assert_eq!(rows, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropped, it ends the run"]
pub struct RecordBatchStream {
    records: RecordStream,
    batches: Batches,
    is_over: bool,
}

/// The records that are in no batch yet.
struct Batches {
    size: usize,
    waiting: Vec<Fields>,
    /// The columns, once there is a batch.
    builder: Option<BatchBuilder>,
}

impl Plan {
    /// Carries the plan out as [`into_stream`](Plan::into_stream) does, and gives its records in
    /// batches of this size.
    pub fn into_record_batches(self, size: usize) -> RecordBatchStream {
        RecordBatchStream {
            records: self.into_stream(),
            batches: Batches { size: size.max(1), waiting: Vec::new(), builder: None },
            is_over: false,
        }
    }
}

impl RecordBatchStream {
    /// The stream of the records.
    pub fn records(&self) -> &RecordStream {
        &self.records
    }

    /// The batches for a thread, which waits for each.
    pub fn blocking(self) -> impl Iterator<Item = Result<RecordBatch, Error>> {
        let RecordBatchStream { records, mut batches, mut is_over } = self;
        let mut records = records.blocking();
        std::iter::from_fn(move || {
            while !is_over {
                let next = records.next();
                is_over = !matches!(next, Some(Ok(_)));
                if let Some(batch) = batches.after(next) {
                    is_over |= batch.is_err();
                    return Some(batch);
                }
            }
            None
        })
    }
}

impl Batches {
    /// The batch that is full with this record, or that ends with the records. The records of a
    /// run that had to stop come in no batch, as its error stands in their place.
    fn after(&mut self, next: Option<Result<Record, Error>>) -> Option<Result<RecordBatch, Error>> {
        match next {
            Some(Err(error)) => Some(Err(error)),
            Some(Ok(record)) => {
                self.waiting.push(record.to_object());
                (self.waiting.len() >= self.size).then(|| self.batch())
            }
            None => (!self.waiting.is_empty()).then(|| self.batch()),
        }
    }

    fn batch(&mut self) -> Result<RecordBatch, Error> {
        let rows = mem::take(&mut self.waiting);
        let builder = self.builder.get_or_insert_with(|| {
            let mut columns = ColumnSet::default();
            rows.iter().for_each(|fields| columns.add(fields));
            BatchBuilder::new(columns)
        });
        for fields in &rows {
            if let Some(flaw) = builder.flaw(fields) {
                let row = &fields["_row"];
                return Err(Error::stopped(format!("row {row}: {flaw}: make all values alike")));
            }
            builder.add(fields);
        }
        builder.finish().map_err(Error::stopped)
    }
}

impl Stream for RecordBatchStream {
    type Item = Result<RecordBatch, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.is_over {
            let next = ready!(Pin::new(&mut self.records).poll_next(context));
            self.is_over = !matches!(next, Some(Ok(_)));
            if let Some(batch) = self.batches.after(next) {
                self.is_over |= batch.is_err();
                return Poll::Ready(Some(batch));
            }
        }
        Poll::Ready(None)
    }
}
