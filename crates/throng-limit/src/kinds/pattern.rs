//! How limits let units through, as far as the least time of a job depends on it. Pure.

use std::time::Duration;

/// How a limit lets units through.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RatePattern {
    /// An amount in each period, each unit counted from its arrival.
    Windows {
        /// Units in a period.
        amount: u64,
        /// The period.
        period: Duration,
    },
    /// An amount in each period, of which a counter that knows two windows takes the share of
    /// the current window that is gone.
    TwoWindows {
        /// Units in a period.
        amount: u64,
        /// The period.
        period: Duration,
    },
    /// An amount from edge to edge.
    Edges {
        /// Units in a window.
        amount: u64,
        /// From edge to edge.
        period: Duration,
    },
    /// A burst at once, and then one unit after the other.
    Paced {
        /// Units at once.
        burst: u64,
        /// Units that follow in each second.
        per_second: f64,
    },
    /// An amount at a time.
    AtOnce {
        /// Units in flight.
        amount: u64,
    },
}

impl RatePattern {
    /// A burst at once, and then as many units in each period, one after the other.
    pub(crate) fn paced(burst: u64, units: u64, period: Duration) -> RatePattern {
        RatePattern::Paced { burst, per_second: units as f64 / period.as_secs_f64() }
    }

    /// The length of its windows, if it has windows.
    #[must_use]
    pub fn period(self) -> Option<Duration> {
        match self {
            RatePattern::Windows { period, .. }
            | RatePattern::TwoWindows { period, .. }
            | RatePattern::Edges { period, .. } => Some(period),
            RatePattern::Paced { .. } | RatePattern::AtOnce { .. } => None,
        }
    }

    /// The units that pass in a second, in the long run; none if that has no bound.
    #[must_use]
    pub fn per_second(self) -> Option<f64> {
        match self {
            RatePattern::Windows { amount, period }
            | RatePattern::TwoWindows { amount, period }
            | RatePattern::Edges { amount, period } => Some(amount as f64 / period.as_secs_f64()),
            RatePattern::Paced { per_second, .. } => Some(per_second),
            RatePattern::AtOnce { .. } => None,
        }
    }

    /// Maximum number of units that pass within `time`; none if that has no bound.
    #[must_use]
    pub fn most_within(self, time: Duration) -> Option<u64> {
        match self {
            RatePattern::Windows { amount, period }
            | RatePattern::TwoWindows { amount, period }
            | RatePattern::Edges { amount, period } => {
                let windows = 1.0 + (time.as_secs_f64() / period.as_secs_f64()).ceil();
                Some(amount.saturating_mul(windows as u64))
            }
            RatePattern::Paced { burst, per_second } => {
                Some(burst.saturating_add((per_second * time.as_secs_f64()).ceil() as u64))
            }
            RatePattern::AtOnce { .. } => None,
        }
    }
}
