//! What a format can do: write records, and find them again in a file.

use std::time::Duration;

use crate::error::Error;
use crate::record::Record;

/// How one format writes a record.
pub(super) trait Encode: Send {
    /// Appends what stands before the first record of a new file.
    fn start(&mut self, _out: &mut Vec<u8>) {}

    /// Appends the whole of one record; on an error, nothing.
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Error>;
}

/// How one format is read back, record by record.
pub(super) trait Decode {
    /// Whether a record ends with this line, which ends with a newline.
    fn ends(&mut self, line: &[u8]) -> bool;

    /// What this whole record is; none if throng did not write it.
    fn read(&mut self, record: &[u8]) -> Option<Found>;
}

/// What a whole record of a finished file is.
pub(super) enum Found {
    /// The names of the columns.
    Header,
    /// The record of this row.
    Row(u64),
}

/// A latency as it is written: in milliseconds, to the microsecond.
pub(super) fn milliseconds(latency: Duration) -> f64 {
    latency.as_micros() as f64 / 1000.0
}
