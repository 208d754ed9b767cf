//! Headers with a name for each thing that they say. Pure.

use http::HeaderMap;

use super::moment::{AnswerClock, moment};
use super::{Signal, SignalSource, Signals, Texts, count, used_of};
use crate::limit::RateLimitInfo;

/// Where one family says what. A name that is empty isn't used by it.
struct Family<'a> {
    unit: &'a str,
    limit: &'a str,
    remaining: &'a str,
    used: &'a str,
    /// The first that is there counts.
    resets: [&'a str; 2],
}

const fn family(
    unit: &'static str,
    limit: &'static str,
    remaining: &'static str,
    used: &'static str,
    resets: [&'static str; 2],
) -> Family<'static> {
    Family {
        unit,
        limit,
        remaining,
        used,
        resets,
    }
}

/// Each family once. Header names are compared without case.
#[rustfmt::skip]
const FAMILIES: &[Family<'static>] = &[
    family("requests", "ratelimit-limit", "ratelimit-remaining", "", ["ratelimit-reset", ""]),
    family("requests", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-used",
           ["x-ratelimit-reset-after", "x-ratelimit-reset"]),
    family("requests", "x-rate-limit-limit", "x-rate-limit-remaining", "", ["x-rate-limit-reset", ""]),
    family("requests", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "",
           ["x-ratelimit-reset-requests", ""]),
    family("tokens", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "",
           ["x-ratelimit-reset-tokens", ""]),
    family("requests", "anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining", "",
           ["anthropic-ratelimit-requests-reset", ""]),
    family("tokens", "anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining", "",
           ["anthropic-ratelimit-tokens-reset", ""]),
    family("input-tokens", "anthropic-ratelimit-input-tokens-limit",
           "anthropic-ratelimit-input-tokens-remaining", "",
           ["anthropic-ratelimit-input-tokens-reset", ""]),
    family("output-tokens", "anthropic-ratelimit-output-tokens-limit",
           "anthropic-ratelimit-output-tokens-remaining", "",
           ["anthropic-ratelimit-output-tokens-reset", ""]),
];

pub fn read(headers: &HeaderMap, clock: AnswerClock, heard: &mut Signals) {
    for family in FAMILIES {
        family.read(headers, clock, heard);
    }
    let shopify = "x-shopify-shop-api-call-limit";
    if let Some(used) = heard.read(headers, shopify, used_of) {
        heard.add(shopify, of_used(used));
    }
    let salesforce = "sforce-limit-info";
    if let Some(used) = heard.read(headers, salesforce, api_usage) {
        heard.add(salesforce, of_used(used));
    }
}

/// What a job says that other headers, or values of the body, mean.
pub fn read_said<'a>(
    said: impl IntoIterator<Item = &'a SignalSource>,
    texts: &impl Texts,
    clock: AnswerClock,
    heard: &mut Signals,
) {
    for said in said {
        let family = Family {
            unit: match said.unit.as_str() {
                "" => "requests",
                unit => unit,
            },
            limit: &said.limit,
            remaining: &said.remaining,
            used: &said.used,
            resets: [&said.reset, ""],
        };
        family.read(texts, clock, heard);
    }
}

impl Family<'_> {
    fn read(&self, texts: &impl Texts, clock: AnswerClock, heard: &mut Signals) {
        let has = |name: &str| !name.is_empty() && texts.text(name).is_some();
        if !has(self.limit) && !has(self.remaining) {
            return;
        }
        let remaining = heard.read(texts, self.remaining, count);
        let used = if has(self.used) {
            heard.read(texts, self.used, count)
        } else {
            None
        };
        let limit = heard.read(texts, self.limit, first_count);
        let reset = self.resets.iter().find(|name| has(name));
        let reset = reset.and_then(|name| heard.read(texts, name, |text| moment(text, clock)));
        let info = RateLimitInfo {
            limit: limit.or_else(|| Some(used?.saturating_add(remaining?))),
            remaining: remaining.or_else(|| limit?.checked_sub(used?)),
            reset,
        };
        heard.add(self.remaining, Signal::new(self.unit.to_owned(), info));
    }
}

/// `100`, or `100, 100;w=60`, of which the first is the one that is counted.
fn first_count(text: &str) -> Result<u64, String> {
    let first = text.split([',', ';']).next().unwrap_or_default();
    count(first.trim())
}

/// `api-usage=18/5000; per-app-api-usage=...`
fn api_usage(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split([',', ';']).map(str::trim);
    let mut named = parts.filter_map(|part| part.split_once('='));
    match named.find(|(name, _)| name.trim() == "api-usage") {
        Some((_, usage)) => used_of(usage),
        None => Err(format!("\"{text}\" names no api-usage")),
    }
}

fn of_used((used, limit): (u64, u64)) -> Signal {
    let info = RateLimitInfo {
        limit: Some(limit),
        remaining: Some(limit.saturating_sub(used)),
        reset: None,
    };
    Signal::new("requests", info)
}
