//! A limit that nobody knows, found by being refused a few times. [door: network, clock]
//!
//! [`Experiment`] decides what to send when, and what the answers show; here it is
//! sent, through the rooms that a job's requests pass.

mod experiment;
mod found;
mod walk;

pub use experiment::{Experiment, Seen, Step};
pub use found::{Found, Kind};
pub use walk::{Bounds, Heard, probe, simulated};
