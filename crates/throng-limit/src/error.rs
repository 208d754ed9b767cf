//! Errors: of limits that can't be built, and of permits that can't be had.

use std::fmt;
use std::time::Duration;

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

/// Why there is no permit.
///
/// ```
/// use throng_limit::{AcquireError, RateLimiter};
///
/// let limiter = RateLimiter::builder().limit("5/1s".parse()?).build()?;
/// let error = limiter.try_acquire(6).unwrap_err();
/// assert_eq!(error.to_string(), "it costs 6 requests, and the limit never allows more than 5 at once");
/// assert!(matches!(error, AcquireError::ExceedsCapacity { asked: 6, capacity: 5, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// The attempt costs more than a limit ever allows at once.
    ExceedsCapacity {
        /// The unit that the limit counts.
        unit: String,
        /// The units that the attempt costs.
        asked: u64,
        /// The units that the limit allows at once.
        capacity: u64,
    },
    /// A total is used up.
    BudgetExhausted {
        /// The limit, as it was written.
        limit: String,
    },
    /// The cost names a unit that no limit counts.
    UnknownUnit(UnknownUnit),
    /// The cost doesn't say how many of these units the attempt costs, and a limit counts
    /// them. Only requests count as one without being named.
    MissingCost {
        /// The unit that a limit counts.
        unit: String,
    },
    /// A limit holds for each key, and the attempt has none: see
    /// [`keyed`](crate::RateLimiter::keyed).
    MissingKey,
    /// There is no permit now, or none before the deadline.
    NotInTime {
        /// When the limits allow the first attempt that waits, as far as that is known.
        free_in: Option<Duration>,
    },
    /// The store that counts a limit for longer than this process lives has failed.
    Store {
        /// What has happened to it.
        problem: String,
    },
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AcquireError::ExceedsCapacity {
                unit,
                asked,
                capacity,
            } => write!(
                f,
                "it costs {asked} {unit}, and the limit never allows more than {capacity} at once"
            ),
            AcquireError::BudgetExhausted { limit } => write!(f, "{limit} is used up"),
            AcquireError::UnknownUnit(unknown) => unknown.fmt(f),
            AcquireError::MissingCost { unit } => write!(
                f,
                "a limit counts {unit}, and the cost doesn't say how many: add .with({unit:?}, N)"
            ),
            AcquireError::MissingKey => f.write_str(
                "a limit holds for each key, and the attempt has none: ask limiter.keyed(key)",
            ),
            AcquireError::NotInTime { free_in: None } => f.write_str("no permit is free in time"),
            AcquireError::NotInTime {
                free_in: Some(wait),
            } => {
                let wait = humantime::format_duration(*wait);
                write!(
                    f,
                    "no permit is free in time: the next one is free in {wait}"
                )
            }
            AcquireError::Store { problem } => write!(f, "the quota store has failed: {problem}"),
        }
    }
}

impl std::error::Error for AcquireError {}

/// A unit that no limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownUnit {
    /// Its name.
    pub unit: String,
}

impl fmt::Display for UnknownUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no limit counts {}", self.unit)
    }
}

impl std::error::Error for UnknownUnit {}

impl From<UnknownUnit> for AcquireError {
    fn from(unknown: UnknownUnit) -> AcquireError {
        AcquireError::UnknownUnit(unknown)
    }
}
