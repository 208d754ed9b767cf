//! Records that the program takes itself.

use std::fmt;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use super::journal::SinkError;
use crate::error::{BoxError, Error};
use crate::format::entry::Encode;
use crate::record::Record;

/// The name of such an output in messages.
pub(super) const NAME: &str = "the program's sink";

/// Takes the records of a run, on the thread of the run that writes them.
///
/// While it works on records the next ones wait, and once a few hundred wait no further row
/// begins: a sink that is slow makes the run slow, and takes no memory. The fields of each
/// record's row ([`Row::fields`](crate::Row::fields)) include the values that were extracted.
/// A job with an output file gives records to the sink after the file has them.
///
/// ```
/// use throng::{BoxError, Record, Sink};
///
/// struct Prices(f64);
///
/// impl Sink for Prices {
///     fn write(&mut self, records: Vec<Record>) -> Result<(), BoxError> {
///         let price = |record: &Record| record.row.fields.get("price")?.as_f64();
///         self.0 += records.iter().filter_map(price).sum::<f64>();
///         Ok(())
///     }
/// }
/// # Prices(0.0).write(Vec::new())?;
/// # Ok::<(), BoxError>(())
/// ```
pub trait Sink: Send {
    /// Takes records in the order in which they come, at least one. An error ends the run: of
    /// these records it is not known whether the sink has them.
    fn write(&mut self, records: Vec<Record>) -> Result<(), BoxError>;

    /// Ends the sink after the last record, also of a run that ended early.
    fn finish(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Nobody reads the sink any more: the run ends without an error of its own.
#[derive(Debug)]
pub(crate) struct SinkClosed;

impl fmt::Display for SinkClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the records have no reader any more")
    }
}

impl std::error::Error for SinkClosed {}

/// The sink of a plan, until its run takes it.
#[derive(Clone)]
pub(super) struct ProgramSink {
    sink: Arc<Mutex<Option<Box<dyn Sink>>>>,
    /// Whether extracted values become fields of the row.
    names_values: bool,
}

impl ProgramSink {
    pub fn new(sink: Box<dyn Sink>, names_values: bool) -> ProgramSink {
        ProgramSink { sink: Arc::new(Mutex::new(Some(sink))), names_values }
    }

    /// Whether it takes records for a queue, as they are.
    pub fn is_of_queue(&self) -> bool {
        !self.names_values
    }

    /// Drops the sink, unless a run has taken it.
    pub fn discard(&self) {
        drop(self.sink.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The open sink of records with these values.
    ///
    /// # Errors
    /// A run has taken it before.
    pub fn open(&self, values: Vec<String>, is_alone: bool) -> Result<OpenSink, Error> {
        let taken = self.sink.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sink = taken.ok_or_else(|| Error::plan(format!("{NAME} was taken by a run before")))?;
        let values = self.names_values.then_some(values);
        Ok(OpenSink { sink, values, is_alone, written: 0, is_finished: false })
    }
}

impl fmt::Debug for ProgramSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProgramSink")
    }
}

/// A sink that takes records.
pub(super) struct OpenSink {
    sink: Box<dyn Sink>,
    /// The names of the extracted values, if they become fields of the row.
    values: Option<Vec<String>>,
    /// Whether no file has the records too.
    pub is_alone: bool,
    /// Number of records that it has taken.
    pub written: u64,
    is_finished: bool,
}

impl OpenSink {
    /// Hands records over.
    pub fn write(&mut self, mut records: Vec<Record>) -> Result<(), SinkError> {
        let number = records.len() as u64;
        if number == 0 {
            return Ok(());
        }
        for record in &mut records {
            self.name_values(record);
        }
        self.sink.write(records).map_err(failed)?;
        self.written += number;
        Ok(())
    }

    /// Makes the extracted values fields of the row.
    fn name_values(&self, record: &mut Record) {
        let Some(names) = &self.values else { return };
        let values = match &mut record.outcome {
            Ok(values) => values,
            Err(_) => &mut record.kept,
        };
        let values = mem::take(values);
        record.row.fields.extend(names.iter().cloned().zip(values));
    }

    /// Ends the sink, unless that was done.
    pub fn finish(&mut self) -> Result<(), SinkError> {
        if mem::replace(&mut self.is_finished, true) {
            return Ok(());
        }
        self.sink.finish().map_err(failed)
    }
}

fn failed(error: BoxError) -> SinkError {
    let io = error.downcast_ref::<io::Error>();
    let is_closed = io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if is_closed || error.is::<SinkClosed>() {
        return SinkError::Closed;
    }
    let why = format!("{NAME} has failed: {error}");
    SinkError::Failed(Error::stopped(why).caused_by_box(error))
}

/// Writes nothing, where no file has the records.
pub(super) struct NoText;

impl Encode for NoText {
    fn record(&mut self, _: &Record, _: &mut Vec<u8>) -> Result<(), Error> {
        Ok(())
    }
}
