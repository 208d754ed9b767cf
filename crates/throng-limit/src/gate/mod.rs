//! From a cost to a permit: the queue, and what all limits say together.

pub mod acquire;
pub mod builder;
pub mod core;
pub mod cost;
pub mod group;
pub mod keyed;
pub mod limit_set;
pub mod limiter;
pub mod permit;
pub mod queue;
pub mod state;
pub mod sync;
pub mod timer;
pub mod unlimited;
pub mod wait_stats;

pub use builder::RateLimiterBuilder;
pub use cost::{Acquired, Cost};
pub use limit_set::LimitSet;
pub use limiter::{LimiterSnapshot, RateLimiter};
pub use permit::{ArrivalInterval, Permit};
pub use state::LimitState;

#[cfg(test)]
#[cfg(all(feature = "tokio", not(shuttle)))]
mod api_tests;
#[cfg(test)]
#[cfg(all(feature = "tokio", not(shuttle)))]
mod tests;
#[cfg(test)]
#[cfg(shuttle)]
mod threads;
