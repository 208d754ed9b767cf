//! Records as a text: how a format writes them, and finds them again.

use std::ops::Range;
use std::time::Duration;

use crate::error::Error;
use crate::record::Record;

/// How one format writes a record.
pub(crate) trait Encode: Send {
    /// Appends what stands before the first record of a new file.
    fn start(&mut self, _out: &mut Vec<u8>) {}

    /// Appends the whole of one record; on an error, nothing.
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Error>;
}

/// How one format is read back, record by record.
pub(crate) trait Decode {
    /// The next line is the first one of a record.
    fn begin(&mut self) {}

    /// Whether a record ends with this line, which ends with a newline. So does one that
    /// can't be a record any more.
    fn ends(&mut self, line: &[u8]) -> bool;

    /// What this whole record is; none if throng did not write it.
    fn read(&mut self, record: &[u8]) -> Option<FoundRecord>;

    /// Where in a record that was read its row's number stands.
    fn row_at(&self, record: &[u8]) -> Option<Range<usize>>;
}

/// What a whole record of a finished file is.
#[derive(Debug, PartialEq)]
pub(crate) enum FoundRecord {
    /// The names of the columns.
    Header,
    /// A row's.
    Row(ReadRecord),
}

/// What is read back of a record.
#[derive(Debug, PartialEq)]
pub(crate) struct ReadRecord {
    pub row: u64,
    /// Which of the row's items it is, if it is one.
    pub item: Option<u64>,
    /// Whether no item of the row comes after it.
    pub last: bool,
    pub ok: bool,
    /// Whether the server may have done what it was asked.
    pub unknown: bool,
    /// The field that identifies the row, as the format writes it.
    pub key: Option<Vec<u8>>,
}

/// A latency as it is written: in milliseconds, to the microsecond.
pub(crate) fn milliseconds(latency: Duration) -> f64 {
    latency.as_micros() as f64 / 1000.0
}
