//! The search for an unknown limit by a few refusals.
//!
//! [`Experiment`] decides the time of each request and draws the conclusions; its requests
//! pass the modules that a job's requests pass.

mod experiment;
mod result;
mod walk;

pub use experiment::{Experiment, Observation, ProbeStep};
pub use result::{FoundKind, ProbeResult};
#[cfg(feature = "simulate")]
pub use walk::simulated;
pub use walk::{Bounds, ProbeAnswer, ProbeEvent, probe};
