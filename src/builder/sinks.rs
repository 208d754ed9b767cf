//! What a program has already, as sinks: functions and channels.

use std::io;
use std::sync::mpsc;

use crate::error::BoxError;
use crate::record::Record;
use crate::sink::Sink;

/// A function is a sink.
impl<F> Sink for F
where
    F: FnMut(Vec<Record>) -> Result<(), BoxError> + Send,
{
    fn write(&mut self, records: Vec<Record>) -> Result<(), BoxError> {
        self(records)
    }
}

/// A bounded channel holds the run up while it is full, and ends it once its receiver is gone.
impl Sink for mpsc::SyncSender<Record> {
    fn write(&mut self, records: Vec<Record>) -> Result<(), BoxError> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        for record in records {
            self.send(record).map_err(gone)?;
        }
        Ok(())
    }
}
