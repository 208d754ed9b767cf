//! (8) Records to bytes.
//!
//! [`Settings`] say where records go; [`Output`] is that place, checked before
//! anything is sent; its [`Writer`] takes the records, whole ones only. A file
//! is its own journal: the [`RowSet`] of an earlier run is read back from it.
//!
//! To add a format: one file beside `jsonl.rs`, and one line in `format.rs`.

mod columns;
pub use columns::{Columns, RESERVED};

mod codec;

mod jsonl;

mod csv;

mod format;
pub use format::Format;

mod settings;
pub use settings::{Existing, Settings};

mod resume;
pub use resume::RowSet;

mod opened;

mod target;

mod check;

mod output;
pub use output::Output;

mod writer;
pub use writer::Writer;

#[cfg(test)]
mod samples;

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
