//! From a cost to a permit: the queue, and what all limits say together.

mod acquire;
pub mod builder;
pub mod cost;
pub mod keyed;
pub mod limit_group;
pub mod limit_report;
pub mod limit_set;
mod limit_setup;
pub mod limiter;
mod limiter_core;
pub mod operator;
pub mod permit;
pub mod queue;
mod sending;
pub mod timer;
pub mod waiters;

pub use builder::RateLimiterBuilder;
pub use cost::{Acquired, Cost};
pub use limit_report::LimitState;
pub use limit_set::LimitSet;
pub use limiter::{LimiterSnapshot, RateLimiter};
pub use permit::{ArrivalInterval, Permit};

#[cfg(test)]
#[cfg(all(feature = "tokio", not(shuttle)))]
mod tests;
#[cfg(test)]
#[cfg(shuttle)]
mod threads;
