//! The search for an unknown limit by a few refusals.
//!
//! [`Experiment`] decides what to send when, and what the answers show; here it is
//! sent, through the modules that a job's requests pass.

mod experiment;
mod found;
mod walk;

pub use experiment::{Experiment, Observation, ProbeStep};
pub use found::{FoundKind, ProbeResult};
#[cfg(feature = "simulate")]
pub use walk::simulated;
pub use walk::{Bounds, ProbeAnswer, probe};
