//! The kinds of limits: each is a file with its arithmetic, its guarantee and its proof.

pub mod auto;
pub mod bucket;
pub mod budget;
pub mod concurrency;
pub mod counter;
pub mod fixed;
mod limiter;
pub mod sliding;
pub mod spacing;

pub(crate) use limiter::UnitsState;
pub use limiter::{Availability, Event, Limiter, LimiterStats, RateLimitInfo, Reservation};
