//! Families of headers with one value each. Pure.

use http::HeaderMap;

use super::limit_signal::{
    LimitSignal, LimitSignals, NamedTexts, SignalSource, count, used_and_limit,
};
use super::moment::{AnswerClock, moment};
use crate::limit::RateLimitInfo;

/// The names of one family's headers; an empty name is not used.
struct Family<'a> {
    unit: &'a str,
    limit: &'a str,
    remaining: &'a str,
    used: &'a str,
    /// The first one that exists counts.
    resets: [&'a str; 2],
}

const fn family(
    unit: &'static str,
    limit: &'static str,
    remaining: &'static str,
    used: &'static str,
    resets: [&'static str; 2],
) -> Family<'static> {
    Family { unit, limit, remaining, used, resets }
}

/// The known families. Header names are compared without case.
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

pub fn read(headers: &HeaderMap, clock: AnswerClock, found: &mut LimitSignals) {
    for family in FAMILIES {
        family.read(headers, clock, found);
    }
    let shopify = "x-shopify-shop-api-call-limit";
    if let Some(used) = found.parse(headers, shopify, used_and_limit) {
        found.add(shopify, signal_of_usage(used));
    }
    let salesforce = "sforce-limit-info";
    if let Some(used) = found.parse(headers, salesforce, api_usage) {
        found.add(salesforce, signal_of_usage(used));
    }
}

/// Adds the signals of a job's own sources.
pub fn read_sources<'a>(
    sources: impl IntoIterator<Item = &'a SignalSource>,
    texts: &impl NamedTexts,
    clock: AnswerClock,
    found: &mut LimitSignals,
) {
    for source in sources {
        let family = Family {
            unit: match source.unit.as_str() {
                "" => "requests",
                unit => unit,
            },
            limit: &source.limit,
            remaining: &source.remaining,
            used: &source.used,
            resets: [&source.reset, ""],
        };
        family.read(texts, clock, found);
    }
}

impl Family<'_> {
    fn read(&self, texts: &impl NamedTexts, clock: AnswerClock, found: &mut LimitSignals) {
        let has = |name: &str| !name.is_empty() && texts.text(name).is_some();
        if !has(self.limit) && !has(self.remaining) {
            return;
        }
        let remaining = found.parse(texts, self.remaining, count);
        let used = if has(self.used) { found.parse(texts, self.used, count) } else { None };
        let limit = found.parse(texts, self.limit, first_count);
        let reset = self.resets.iter().find(|name| has(name));
        let reset = reset.and_then(|name| found.parse(texts, name, |text| moment(text, clock)));
        let info = RateLimitInfo {
            limit: limit.or_else(|| Some(used?.saturating_add(remaining?))),
            remaining: remaining.or_else(|| limit?.checked_sub(used?)),
            reset,
        };
        found.add(self.remaining, LimitSignal::new(self.unit.to_owned(), info));
    }
}

/// The first count of `100`, or of `100, 100;w=60`.
fn first_count(text: &str) -> Result<u64, String> {
    let first = text.split([',', ';']).next().unwrap_or_default();
    count(first.trim())
}

/// The used units and the limit of `api-usage=18/5000; per-app-api-usage=...`.
fn api_usage(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split([',', ';']).map(str::trim);
    let mut named = parts.filter_map(|part| part.split_once('='));
    match named.find(|(name, _)| name.trim() == "api-usage") {
        Some((_, usage)) => used_and_limit(usage),
        None => Err(format!("\"{text}\" names no api-usage")),
    }
}

fn signal_of_usage((used, limit): (u64, u64)) -> LimitSignal {
    let info = RateLimitInfo {
        limit: Some(limit),
        remaining: Some(limit.saturating_sub(used)),
        reset: None,
    };
    LimitSignal::new("requests", info)
}
