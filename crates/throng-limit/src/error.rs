//! What is wrong with limits that cannot be built.

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
