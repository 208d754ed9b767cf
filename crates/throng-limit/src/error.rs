//! Errors: of limits that can't be built, and of permits that can't be had.

use std::fmt;
use std::time::Duration;

use crate::duration;

/// What is wrong with limits that can't be built.
///
/// ```
/// use throng_limit::{Limit, LimitError, RateLimiter};
///
/// let error = "50".parse::<Limit>().unwrap_err();
/// assert!(error.to_string().starts_with("\"50\" is not a rate: it has no \"/\""));
/// let error = RateLimiter::builder().in_flight(0).build().unwrap_err();
/// assert_eq!(error, LimitError::Zero { setting: "in-flight" });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitError {
    /// A text is no rate.
    InvalidRate {
        /// The text.
        text: String,
        /// Why it is none.
        problem: String,
        /// Texts that are rates.
        such_as: &'static str,
    },
    /// A text is no share of a limit.
    InvalidShare {
        /// The text.
        text: String,
    },
    /// A text names no shard.
    InvalidShard {
        /// The text.
        text: String,
    },
    /// A limit is too small to be divided among shards.
    Indivisible {
        /// The limit, as it was written.
        limit: String,
        /// Number of shards.
        shards: u64,
    },
    /// The shares of all shards together are more than the limit.
    SharesTooLarge {
        /// The share of each shard.
        share: String,
        /// Number of shards.
        shards: u64,
    },
    /// A rate allows nothing.
    ZeroRate,
    /// A period is too short or too long.
    PeriodOutOfRange,
    /// A setting allows nothing.
    Zero {
        /// Its name in a job's `[limit]`.
        setting: &'static str,
    },
    /// A cost names a unit that no rate counts.
    UncountedUnit {
        /// The unit.
        unit: String,
        /// The units that the rates count.
        known: Vec<String>,
    },
    /// Two settings say for whom a pause holds.
    RouteAndKeys,
    /// A request that was given up would count for longer than it can take.
    LingerTooLong,
    /// A text names no account.
    InvalidAccount {
        /// The text.
        name: String,
    },
    /// The files or the store that share the limits with other processes can't be used.
    Store {
        /// What is wrong.
        problem: String,
    },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitError::InvalidRate { text, problem, such_as } => {
                write!(f, "\"{text}\" is not a rate: {problem} (N/PERIOD, such as {such_as})")
            }
            LimitError::InvalidShare { text } => {
                write!(f, "\"{text}\" is not a share such as 80% (more than 0, at most 100)")
            }
            LimitError::InvalidShard { text } => write!(
                f,
                "\"{text}\" is no shard: shards are counted from 1/N to N/N, such as 3/8"
            ),
            LimitError::Indivisible { limit, shards } => write!(
                f,
                "{limit} can't be divided among {shards} shards so that they keep it together: use fewer shards"
            ),
            LimitError::SharesTooLarge { share, shards } => write!(
                f,
                "{shards} shards that use {share} of a limit each are more than the limit: leave the share out, so that each uses an equal part"
            ),
            LimitError::ZeroRate => {
                f.write_str("a rate of 0 would never send anything: allow at least 1")
            }
            LimitError::PeriodOutOfRange => f.write_str("a period lies between 1ms and 400d"),
            LimitError::Zero { setting } => {
                write!(f, "{setting} is 0: nothing would be sent; give at least 1")
            }
            LimitError::UncountedUnit { unit, known } => write!(
                f,
                "no rate counts \"{unit}\": write a rate such as \"90000 {unit}/1m\" (the units are: {})",
                known.join(", ")
            ),
            LimitError::RouteAndKeys => {
                f.write_str("route and keys both say for whom a pause holds: leave one of them out")
            }
            LimitError::LingerTooLong => f.write_str(
                "linger is more than 1d: no request arrives so late, and its unit would be lost to all runs of the account",
            ),
            LimitError::InvalidAccount { name } if name.trim().is_empty() => {
                f.write_str("the account's name (account) is empty: name it, or leave it out")
            }
            LimitError::InvalidAccount { name } => write!(
                f,
                "{name:?} names no account (account): it is one text for all rows, without control characters and {{{{ }}}}"
            ),
            LimitError::Store { problem } => {
                write!(f, "the limits can't be shared with other processes: {problem}")
            }
        }
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
    /// The limits allow the attempt only after a longer time than attempts may wait.
    WaitTooLong {
        /// The limit, as it was written; none if the server has asked for the wait.
        limit: Option<String>,
        /// When the limits allow it.
        free_in: Duration,
    },
    /// The store that counts a limit for longer than this process lives has failed, or does not
    /// answer.
    Store {
        /// What has happened to it.
        problem: String,
    },
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AcquireError::ExceedsCapacity { unit, asked, capacity } => write!(
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
            AcquireError::NotInTime { free_in: Some(wait) } => {
                let wait = duration::rounded(*wait);
                write!(f, "no permit is free in time: the next one is free in {wait}")
            }
            AcquireError::WaitTooLong { limit, free_in } => {
                let limit = limit.as_deref().unwrap_or("the server");
                let wait = duration::rounded(*free_in);
                write!(f, "it would have to wait {wait} for {limit}, which is too long")
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
        let unit = &self.unit;
        write!(
            f,
            "no limit counts {unit}: leave it out, or add a limit such as \"90000 {unit}/1m\""
        )
    }
}

impl std::error::Error for UnknownUnit {}

impl From<UnknownUnit> for AcquireError {
    fn from(unknown: UnknownUnit) -> AcquireError {
        AcquireError::UnknownUnit(unknown)
    }
}
