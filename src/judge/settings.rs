//! What a job says of trying again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `[retry]` part of a job: when to try again, and when to give up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// How often a row is tried again after its first attempt; refusals don't count.
    pub retries: u32,
    /// The longest pause that the server may ask for; a longer one stops the run.
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
    /// So many refusals without one acceptance between them stop the run.
    pub max_refusals: u32,
    /// What to do when a request that is not idempotent may have landed.
    pub unknown: Unknown,
    /// A template for an `Idempotency-Key` header, by which the server knows a request
    /// again, or `auto`; requests that may have landed are then sent again.
    pub idempotency_key: Option<String>,
    /// How long the server knows a key; a request that may have landed longer ago is
    /// not sent again.
    #[serde(with = "humantime_serde")]
    pub idempotency_ttl: Option<Duration>,
}

/// What to do with a POST that may have been done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// The row fails, so that nothing is done twice.
    #[default]
    Fail,
    /// It is sent again like a GET.
    Resend,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retries: 4,
            max_wait: Duration::from_secs(3_600),
            max_refusals: 20,
            unknown: Unknown::Fail,
            idempotency_key: None,
            idempotency_ttl: None,
        }
    }
}
