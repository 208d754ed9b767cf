//! (3) Units to permits: what may be sent when.
//!
//! A limit of N units per period X holds when no half-open window of length X
//! contains more than N units of arrivals *at the server*. Servers count in
//! other ways too: each kind is a file that states what it guarantees, and why.
//!
//! From the outside in: [`RateLimiter`] is the door, which owns the clock and the
//! wakers; the line is who waits; [`LimitSet`] are all limits at once, of the run,
//! of each key and of each key of the pool; a group is those that hold
//! together; each of these is a [`kind::Limiter`]. All but the gate is pure. A
//! [`Quota`] has a long period: its units are had from a [`QuotaStore`], if there is one.
//!
//! | kind | keeps |
//! |---|---|
//! | [`sliding`] | no window of X holds more than N; also one that ends at the server's reset |
//! | [`fixed`] | windows whose edges are known |
//! | [`bucket`] | a token or leaky bucket |
//! | [`counter`] | an estimate from two fixed windows |
//! | [`spacing`] | the least time between sendings |
//! | [`concurrency`] | what is in flight |
//! | [`budget`] | a total for the run |

mod time;
pub use time::{Time, calendar_at_zero, now};
mod outcome;
pub use outcome::{Blocked, BlockedTime, Blocker, BlockerKind, End, Outcome, Uncounted};
mod error;
pub use error::{AcquireError, LimitError, UnknownUnit};

mod config;
pub use config::{
    AccountShare, Counting, Details, Guard, LINGER, Limit, LimitScope, Policy, Rate, Rule,
    Settings, Shape, UncountedOutcome,
};

mod kinds;
pub use kinds::{
    Availability, Event, Limiter, LimiterStats, Measure, RateLimitInfo, RatePattern, Reservation,
};
mod adapt;
mod server;
mod window;

mod quota;
pub use quota::{
    LeaseReply, LeaseRequest, LeasedLimiter, Quota, QuotaHandle, QuotaStore, ScopeKey,
};

mod gate;
pub use gate::{
    Acquired, ArrivalInterval, Cost, LimitSet, LimitState, LimiterSnapshot, Permit, RateLimiter,
    RateLimiterBuilder,
};

mod estimate;
pub use estimate::{Estimate, Workload};

#[cfg(test)]
mod schedules;
