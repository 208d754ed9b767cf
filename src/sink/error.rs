//! Why an output takes no more records.

use crate::error::Error;

/// Why an output takes no more records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkError {
    /// Its reader has gone, as in `throng run … | head`: stop quietly.
    Closed,
    /// Records cannot be written: stop, and say why.
    Failed(Error),
}
