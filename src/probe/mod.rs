//! A limit that nobody knows, found by being refused a few times. [door: network, clock]
//!
//! [`Experiment`] decides what to send when, and what the answers show; here it is
//! sent, through the rooms that a job's requests pass.

mod experiment;
mod found;
mod walk;

pub use experiment::{Experiment, Observation, ProbeStep};
pub use found::{FoundKind, ProbeResult};
pub use walk::{Bounds, ProbeAnswer, probe, simulated};
