//! What limits have to say of themselves, for reports.

use std::time::Duration;

use serde::Serialize;

use crate::config::Guard;

/// A limit's own account of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitState {
    /// As the job writes it: `22/5s`.
    pub name: String,
    /// What it was proven against.
    pub guard: Guard,
    /// What it counts: `requests`, `tokens`.
    pub unit: String,
    /// The most units that it allows in a window, in flight, or in all.
    pub units: u64,
    /// The length of its windows, if it has any.
    pub period: Option<Duration>,
    /// The most units that can have been in one window.
    pub most: u64,
    /// Attempts that were never answered.
    pub lost: u64,
    /// How long a lost attempt was taken to be able to arrive.
    pub linger: Duration,
    /// What was kept between periods, where that was learnt.
    pub margin: Option<Duration>,
    /// The units that it allowed in the end, where the server has shown that those
    /// are not what the job says.
    pub learnt: Option<u64>,
    /// The least time between two sendings, if that is what it keeps.
    pub spacing: Option<Duration>,
    /// How many keys had it, if it holds for each key.
    pub keys: Option<u64>,
}
