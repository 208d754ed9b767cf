//! What can go wrong with a store.

use std::fmt;

/// An error of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The store can't be reached or does not answer now: the same may succeed later.
    Unreachable(String),
    /// The store refuses it, now and later.
    Refused(String),
}

impl StoreError {
    /// Whether the same may succeed later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, StoreError::Unreachable(_))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (StoreError::Unreachable(why) | StoreError::Refused(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for StoreError {}
