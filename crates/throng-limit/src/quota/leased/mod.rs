//! A limit whose units are leased from a store, which all runs of an account share. Pure:
//! the store is an argument.
//!
//! The proof is that of [`state`](crate::quota::state). Units are leased in blocks, so that
//! not every request asks the store; a crash loses no more than one lease, and what was in
//! flight, and gains nothing. A run that can't reach the store sends nothing more once its
//! lease has ended.
//!
//! `exchange` is what a store is asked for and answers, `limiter` the limit on leased units, and
//! `lease_size` says how many it leases at a time.

mod exchange;
pub use exchange::{LeaseReply, LeaseRequest, QuotaHandle, QuotaStore, ScopeKey};
mod lease_size;
mod limiter;
pub use limiter::LeasedLimiter;

#[cfg(test)]
mod tests;
