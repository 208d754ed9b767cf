//! The least time that limits allow. Pure.
//!
//! - `workload`: what a job asks of its limits, and what was asked of them before
//! - `used`: the units that requests of a moment ago still use
//! - `used_share`: those units as the share of one key
//! - `load`: what one limit has to carry, and how long that takes it
//! - `bound`: the least time that all limits together allow

mod workload;
pub use workload::{SentRequests, UsedBefore, UsedUnits, Workload};
mod bound;
mod load;
mod used;
mod used_share;
pub use bound::Estimate;

#[cfg(test)]
mod tests;
