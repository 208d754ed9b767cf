//! What is counted of a limit for longer than a process lives. Pure.

mod leased;
pub use leased::{LeaseReply, LeaseRequest, LeasedLimiter, QuotaHandle, QuotaStore, ScopeKey};

use std::time::Duration;

use jiff::Timestamp;

use crate::kinds::fixed::{Fixed, WindowEdges};
use crate::kinds::sliding::{Sliding, UntilReset};
use crate::time::Time;
use crate::window::WindowKind;
use crate::window::calendar::Calendar;

/// Limits with longer periods than this are quotas: they outlive the process.
pub const LONGER_THAN: Duration = Duration::from_secs(600);

/// More units than this share entries.
const EXACT: u64 = 4_096;

/// A limit with a long period, as slots that come back.
#[derive(Debug, Clone)]
pub struct Quota {
    /// As the job writes it.
    pub name: String,
    /// What it counts.
    pub unit: String,
    /// How many of them.
    pub units: u64,
    /// How long what was given up can still arrive.
    pub linger: Duration,
    pub(crate) until: UnitLifetime,
}

/// How long a unit counts.
#[derive(Debug, Clone)]
pub(crate) enum UnitLifetime {
    Sliding(Sliding),
    Reset(UntilReset),
    Edge(WindowEdges, Duration),
}

impl Quota {
    /// Until when a unit counts that has arrived no later than `arrived`, where the
    /// calendar says `zero` at the clock's zero.
    #[must_use]
    pub fn end(&self, arrived: Time, zero: Timestamp) -> Time {
        match &self.until {
            UnitLifetime::Sliding(span) => span.end(arrived),
            UnitLifetime::Reset(span) => span.end(arrived),
            UnitLifetime::Edge(edges, skew) => {
                let calendar = Calendar::new(zero);
                Fixed::new(edges.clone(), calendar, *skew).end(arrived)
            }
        }
    }

    /// When what arrived before a reset that the server names stops counting, if
    /// it does so for the reset's sake.
    #[must_use]
    pub fn end_at_reset(&self, reset: Time) -> Option<Time> {
        match &self.until {
            UnitLifetime::Reset(span) => span.end_at_reset(reset),
            _ => None,
        }
    }

    /// Whether its windows end when the calendar says.
    #[must_use]
    pub fn goes_by_the_calendar(&self) -> bool {
        matches!(self.until, UnitLifetime::Edge(..))
    }

    /// Times may be rounded up to multiples of this, so that there are not too many.
    #[must_use]
    pub fn grain(&self) -> Duration {
        let period = self.end(Time::ZERO, Timestamp::UNIX_EPOCH);
        if self.units > EXACT {
            period.since(Time::ZERO) / 4_096
        } else {
            Duration::from_millis(1)
        }
    }
}
