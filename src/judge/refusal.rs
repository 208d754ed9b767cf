//! Refusals: the answers that are one, and their meaning. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

/// One entry of `[[refusal]]`: the answers by which a server refuses a request. The first
/// rule that matches counts; a 429, and a 503 with `Retry-After`, need no rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RefusalRule {
    /// The statuses of the answers; any if none is given.
    pub status: Vec<u16>,
    /// Headers that the answer must have with these values; an empty value matches any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A jq program over the body that must give neither null nor false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The meaning of the refusal.
    pub means: RefusalMeaning,
    /// The requests that the refusal holds for.
    pub closes: RefusalScope,
    /// A jq program over the body that gives the pause: seconds, or a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// The pause where the answer states none.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub pause: Option<Duration>,
}

/// The meaning of a refusal for the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalMeaning {
    /// The run waits and goes on.
    #[default]
    Limited,
    /// The quota is used up for a long time: the run stops and reports until when.
    QuotaGone,
    /// The server has banned the client: the run stops at once.
    Banned,
}

/// The requests that a refusal holds for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalScope {
    /// The requests with the same key, where limits or signals hold for each key.
    #[default]
    Key,
    /// All requests of the run.
    Run,
}

impl RefusalRule {
    /// Whether the status and the headers of an answer match.
    pub(super) fn matches(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let has = |(name, wanted): (&String, &String)| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.is_some_and(|value| wanted.is_empty() || value.trim() == wanted)
        };
        (self.status.is_empty() || self.status.contains(&status.as_u16()))
            && self.headers.iter().all(has)
    }
}

/// Whether an answer is a refusal without any rule: a 429, or a 503 with `Retry-After`.
#[must_use]
pub fn is_refusal(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => headers.contains_key(RETRY_AFTER),
        _ => false,
    }
}
