#![doc = include_str!("../README.md")]
//!
//! # The modules, for a reader of the code
//!
//! `config` turns texts to rules; each file in `kinds` is a kind of limit with its guarantee
//! and the reason for it; `window` is the arithmetic that several kinds share; `adapt` and
//! `server` hold what is learnt from refusals and headers; `gate` is the queue and the
//! permits; `quota` counts limits that outlive a process; `estimate` is the least time of a
//! workload. All but `gate` is pure: time is an argument.

mod time;
#[doc(hidden)]
pub use time::{Time, calendar_at_zero, now};
#[doc(hidden)]
pub mod duration;
mod outcome;
pub use outcome::Outcome;
#[doc(hidden)]
pub use outcome::{Blocked, BlockedTime, Blocker, BlockerKind, End, MaxWait, Uncounted};
mod error;
pub use error::{AcquireError, LimitError, UnknownUnit};

mod config;
pub use config::{AccountShare, Counting, Details, Guard, Limit, Rate, Shape};
#[doc(hidden)]
pub use config::{LINGER, LimitScope, Policy, Rule, Settings, Shard, Sharing, UncountedOutcome};

/// The JSON Schema of a job's limits.
#[cfg(feature = "schema")]
#[doc(hidden)]
#[allow(missing_docs)]
pub mod schema;

mod limiter;
#[doc(hidden)]
pub use limiter::{
    Availability, Event, FoundPace, Limiter, LimiterStats, OtherSearches, RateLimitInfo,
    Reservation, SearchReport,
};
mod kinds;
#[doc(hidden)]
pub use kinds::{Measure, RatePattern};
mod adapt;
mod search;
mod server;
#[doc(hidden)]
pub use server::SlowStart;
mod window;

mod quota;
pub use quota::SharedStore;
#[doc(hidden)]
pub use quota::{
    AccountLimits, AccountNames, AccountRequests, Answer, ChangedValue, ClockReading,
    ClockSnapshot, Conflicts, Exchange, FileQuotaStore, LeaseReply, LeaseRequest, LeasedLimiter,
    Ledger, LedgerError, LimitBalance, NamedAccount, Quota, QuotaBalance, QuotaHandle, QuotaState,
    QuotaStore, RemoteQuotaStore, Request, ScopeKey, StoreMemory, StoreStart, StoredValue,
    ValueLedger, ValueStore, balance, create_private, is_salt_lost, path_of, processes,
    read_clocks, salt, state_directory, store_error,
};

mod gate;
#[doc(hidden)]
pub use gate::{Acquired, ArrivalInterval, LimitSet};
pub use gate::{Cost, LimitState, LimiterSnapshot, Permit, RateLimiter, RateLimiterBuilder};

#[cfg(feature = "http")]
#[doc(hidden)]
pub mod http;

mod estimate;
#[doc(hidden)]
pub use estimate::{Estimate, SentRequests, UsedBefore, UsedUnits, Workload};

#[cfg(test)]
mod schedules;
