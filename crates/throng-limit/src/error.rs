//! Errors: of limits that can't be built, and of permits that can't be had.

use std::fmt;

/// The limits do not fit together. The text says which one, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitError(String);

impl LimitError {
    pub(crate) fn plan(text: String) -> LimitError {
        LimitError(text)
    }
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LimitError {}

/// A permit can never be had: the attempt costs more than a limit allows at once, or a
/// total for the run is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcquireError;

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit will never allow it")
    }
}

impl std::error::Error for AcquireError {}
