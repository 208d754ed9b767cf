//! A limit with a long period, as slots that come back. Pure.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::time::Time;
use crate::window::WindowKind;

/// Limits with longer periods than this are quotas: they outlive the process.
pub(crate) const LONGER_THAN: Duration = Duration::from_secs(600);

/// Number of units above which several share one entry.
const EXACT: u64 = 4_096;

/// A limit with a long period, as slots that come back.
#[derive(Debug, Clone)]
pub struct Quota {
    /// As the job writes it.
    pub name: String,
    /// What it counts.
    pub unit: String,
    /// The number of its slots.
    pub units: u64,
    /// How long a lost request may still arrive.
    pub linger: Duration,
    /// For how long a unit occupies its slot.
    pub(crate) lifetime: Arc<dyn WindowKind>,
}

impl Quota {
    /// Until when a unit counts that has arrived no later than `arrived`, where the
    /// calendar says `zero` at the clock's zero.
    #[must_use]
    pub fn end(&self, arrived: Time, zero: Timestamp) -> Time {
        self.lifetime.end_on(zero, arrived)
    }

    /// When what arrived before a reset that the server names stops counting, if
    /// it does so for the reset's sake.
    #[must_use]
    pub fn end_at_reset(&self, reset: Time) -> Option<Time> {
        self.lifetime.end_at_reset(reset)
    }

    /// Whether its windows end when the calendar says.
    #[must_use]
    pub fn follows_calendar(&self) -> bool {
        self.lifetime.follows_calendar()
    }

    /// The precision to which times may be rounded up, so that there are not too many.
    #[must_use]
    pub fn resolution(&self) -> Duration {
        let period = self.end(Time::ZERO, Timestamp::UNIX_EPOCH);
        if self.units > EXACT { period.since(Time::ZERO) / 4_096 } else { Duration::from_millis(1) }
    }
}
