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

mod guard;
pub use guard::Guard;
mod rate;
pub use rate::Rate;
mod written;
pub use written::{AccountShare, Counting, Details, Limit};
mod settings;
pub use settings::{Settings, Shape, UncountedOutcome};
mod time;
pub use time::{Time, calendar_at_zero, now};

pub mod kind;
pub use kind::{Availability, Limiter, TimedLimitInfo};
mod calendar;
mod pace;
mod patience;
mod slots;
mod taken_in;
pub mod window;

pub mod sliding;

pub mod fixed;

pub mod auto;
pub mod bucket;

pub mod counter;

pub mod spacing;

pub mod concurrency;

pub mod budget;

mod certificate;

mod quota;
pub use quota::Quota;
mod leased;
pub use leased::{LeaseReply, LeaseRequest, LeasedLimiter, QuotaHandle, QuotaStore, ScopeKey};

mod allowance;
mod ask;
pub use ask::{Acquired, Cost};
mod group;
mod restart;
mod scope;
mod state;
pub use state::LimitState;
mod limits;
pub use limits::{Blocked, End, LimitSet};
mod held;
pub use held::Blocker;
mod line;
mod part;
pub use part::{LimitScope, RatePattern, Rule};
mod earlier;
mod policy;
pub use policy::{Policy, Uncounted};
mod calm;
mod sync;

mod gate;
pub use gate::{AcquireError, RateLimiter};
mod permit;
pub use permit::{ArrivalInterval, Permit, RateLimitInfo};

mod bound;
pub use bound::{Estimate, Workload};

#[cfg(test)]
mod schedules;
