//! The rows of throng's jobs in Redis or Valkey (7.0 and later), for workers on many machines, and
//! the limits that these share.
//!
//! - `address`: where the server is, and with which user and password
//! - `connection`: a connection that is made anew after an error, with timeouts of its own
//! - `functions`: the library of functions that the server runs, loaded where it is missing
//! - `checks`: whether the server keeps what it is given
//! - `ledger`: the limits that runs share, as values that are changed by comparing versions
//! - `queue`: the chunks of a job's rows: submitted, claimed, kept, finished, collected
//!
//! No type of the client is part of the interface.

mod address;
mod checks;
mod connection;
mod error;
mod functions;
mod ledger;
mod queue;

pub use address::Address;
pub use checks::{ServerFacts, check};
pub use connection::Connection;
pub use error::StoreError;
pub use ledger::{LimitValues, MemoryFacts, NewValue, VersionedValue};
pub use queue::{
    Batch, BatchKind, Claim, Claimed, CollectorAnswer, Commit, JobFacts, JobKeys, JobQueue,
    NewChunk, Outcome, Room, WaitingChunk, jobs,
};
