//! What an attempt asks of the limits, and what it was given.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};

use crate::kinds::Reservation;
use crate::server::remaining::AnsweredMark;

/// What one attempt asks for: units of each kind, and whose limits they count against.
///
/// A number is so many requests, and nothing else: `gate.permit(1)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// By the policy's units; requests come first.
    pub(crate) units: SmallVec<[u64; 2]>,
    /// By the policy's scopes: the key that the attempt has in each.
    pub(crate) keys: ScopeKeys,
}

/// Whose limits an attempt counts against, one key for each scope.
pub(crate) type ScopeKeys = SmallVec<[Arc<str>; 1]>;

impl Cost {
    /// Asks for so many units of each kind, requests first, against the limits
    /// of these keys, one for each scope.
    #[must_use]
    pub fn new(
        units: impl IntoIterator<Item = u64>,
        keys: impl IntoIterator<Item = Arc<str>>,
    ) -> Cost {
        Cost {
            units: units.into_iter().collect(),
            keys: keys.into_iter().collect(),
        }
    }

    /// Whose limits it counts against, by scope.
    #[must_use]
    pub fn keys(&self) -> &[Arc<str>] {
        &self.keys
    }

    /// How many kinds of units it names; the others it doesn't.
    pub(crate) fn kinds(&self) -> usize {
        self.units.len()
    }

    /// Units of this kind. Those that it doesn't name cost one, like a request.
    #[must_use]
    pub fn units_of(&self, unit: usize) -> u64 {
        self.units.get(unit).copied().unwrap_or(1)
    }
}

impl From<u64> for Cost {
    fn from(requests: u64) -> Cost {
        Cost {
            units: smallvec![requests],
            keys: ScopeKeys::new(),
        }
    }
}

/// What an attempt has taken from each limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acquired {
    pub(crate) holds: SmallVec<[Reservation; 2]>,
    /// Which key of the pool it uses, if there is a pool.
    pub(crate) key: Option<usize>,
    /// What was known when it was taken.
    pub(crate) standing: Snapshot,
}

/// What a group knew when an attempt was taken from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Snapshot {
    /// What had been answered by then.
    pub mark: AnsweredMark,
    /// Which beginning after a pause it belongs to.
    pub era: u64,
}

impl Acquired {
    /// Which key of the pool it uses, if there is a pool.
    #[must_use]
    pub fn key(&self) -> Option<usize> {
        self.key
    }
}
