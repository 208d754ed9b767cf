//! The `[retry]` part of a job.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The `[retry]` part of a job: when to try again, and when to give up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Maximum number of attempts after a row's first one; refusals don't count.
    pub retries: u32,
    /// Maximum pause that the server may ask for; a longer one stops the run.
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
    /// Maximum number of refusals in a row; more stop the run.
    pub max_refusals: u32,
    /// The treatment of a request that is not idempotent and whose outcome is unknown.
    pub unknown: UnknownOutcome,
    /// A template for an `Idempotency-Key` header, by which the server recognises a
    /// request, or `auto`; requests whose outcome is unknown are then sent again.
    pub idempotency_key: Option<String>,
    /// The time for which the server keeps a key; a request whose outcome is unknown is
    /// not sent again later.
    #[serde(with = "humantime_serde")]
    pub idempotency_ttl: Option<Duration>,
}

/// The treatment of a POST whose outcome is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownOutcome {
    /// The row fails, so that nothing is done twice.
    #[default]
    Fail,
    /// The request is sent again like a GET.
    Resend,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retries: 4,
            max_wait: Duration::from_secs(3_600),
            max_refusals: 20,
            unknown: UnknownOutcome::Fail,
            idempotency_key: None,
            idempotency_ttl: None,
        }
    }
}
