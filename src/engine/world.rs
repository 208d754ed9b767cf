//! What a run takes from outside: time, chance, and the servers that answer it.

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;

use crate::limit::{Cost, Policy, RateLimiter, calendar_at_zero};
use crate::plan::Stage;

/// What a run takes from outside: time, chance, and the servers that answer it.
pub trait World: Send + Sync {
    /// A limiter that keeps this policy by the world's clock.
    fn limiter(&self, policy: &Policy) -> RateLimiter;

    /// The calendar's time at the zero of the limiters' clock.
    fn calendar_at_zero(&self) -> Timestamp;

    /// A random number from 0 to 1.
    fn draw(&self) -> f64;

    /// Connects a stage to the world's servers.
    fn connect(&self, stage: &mut Stage);

    /// Adds to a signed request, which has this cost and this key of the pool, what the
    /// world's servers count by.
    fn label(&self, stage: &Stage, request: &mut Request<Bytes>, cost: &Cost, key: Option<usize>);
}

/// The machine's clock and chance, and the network.
pub struct RealWorld;

impl World for RealWorld {
    fn limiter(&self, policy: &Policy) -> RateLimiter {
        policy.gate()
    }

    fn calendar_at_zero(&self) -> Timestamp {
        calendar_at_zero()
    }

    fn draw(&self) -> f64 {
        rand::random()
    }

    /// A stage is connected to the network from the beginning.
    fn connect(&self, _: &mut Stage) {}

    /// Real servers count by what is in the request.
    fn label(&self, _: &Stage, _: &mut Request<Bytes>, _: &Cost, _: Option<usize>) {}
}
