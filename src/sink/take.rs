//! What takes records, and why it may not.

use crate::error::Error;
use crate::record::Record;

/// Whatever takes records, one after the other.
pub trait Sink {
    /// Takes one record. It may lie in a buffer until [`flush`](Sink::flush).
    ///
    /// # Errors
    /// When records can no longer be kept; the run should stop.
    fn write(&mut self, record: &Record) -> Result<(), SinkError>;

    /// Hands over all that was taken so far.
    ///
    /// # Errors
    /// When records can no longer be kept; the run should stop.
    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Why a sink takes no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkError {
    /// Nobody reads any more, as in `throng run … | head`: stop quietly.
    Closed,
    /// Records cannot be written: stop, and say why.
    Failed(Error),
}
