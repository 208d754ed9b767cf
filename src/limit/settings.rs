//! What a job says of its limits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::gate::LINGER;
use super::{Gate, Guard, Limits, Rate, Window, time};

/// The `[limit]` part of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// At most so many requests in each period; all of them hold at once.
    #[serde(deserialize_with = "one_or_many")]
    pub rate: Vec<Rate>,
    /// What the limits are proven against.
    pub guard: Guard,
}

/// The limits of a checked plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// All of them hold at once; none means no limit.
    pub rates: Vec<Rate>,
    /// What they are proven against.
    pub guard: Guard,
    /// How long an attempt without an answer may still arrive.
    pub linger: Duration,
}

impl Policy {
    /// A request that was given up after `timeout` may lie in a queue for as
    /// long again: linger is the larger of that and 30 s.
    #[must_use]
    pub fn new(settings: &Settings, timeout: Duration) -> Policy {
        Policy {
            rates: settings.rate.clone(),
            guard: settings.guard,
            linger: timeout.max(LINGER),
        }
    }

    /// The gate that keeps this policy, by the clock of this machine.
    #[must_use]
    pub fn gate(&self) -> Gate {
        let window = |&rate: &Rate| Window::new(rate, self.guard, self.linger);
        let limits = Limits::new(self.rates.iter().map(window).collect());
        Gate::with_clock(limits, time::now)
    }

    /// More than this in flight is of no use: the tightest limit's units.
    #[must_use]
    pub fn most_in_flight(&self) -> Option<u64> {
        self.rates.iter().map(|rate| rate.units).min()
    }
}

/// `rate = "22/5s"` as well as `rate = ["22/5s", "1000/1h"]`.
fn one_or_many<'de, D>(deserializer: D) -> Result<Vec<Rate>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        One(String),
        Many(Vec<String>),
    }
    let texts = match Texts::deserialize(deserializer) {
        Ok(Texts::One(text)) => vec![text],
        Ok(Texts::Many(texts)) => texts,
        Err(_) => {
            return Err(serde::de::Error::custom(
                "rate is a text such as \"22/5s\", or a list of them",
            ));
        }
    };
    texts
        .iter()
        .map(|text| text.parse().map_err(serde::de::Error::custom))
        .collect()
}
