//! The mock over real sockets.

// Helpers of tests count as tests.
#![allow(clippy::unwrap_used)]

mod client;
mod connections;
mod faults;
mod quotes;
mod tls;
mod tools;
