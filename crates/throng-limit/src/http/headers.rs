//! The forms of headers with the state of a limit. Pure.
//!
//! Families have one header for each value. The IETF draft has lists, as of its tenth version
//! `RateLimit: "minute";r=50;t=30`, explained by
//! `RateLimit-Policy: "minute";q=100;w=60;qu="requests"`, and before the eighth
//! `RateLimit: limit=100, remaining=50, reset=30`.

use std::time::Duration;

use http::HeaderMap;

use super::header_rules::FamilyHeaders;
use super::limit_signal::{
    LimitSignal, LimitSignals, NamedPolicy, NamedTexts, SignalSource, count,
};
use super::moment::{AnswerClock, MAX_WAIT, moment};
use crate::limiter::RateLimitInfo;

const RATE_LIMIT: &str = "ratelimit";
const POLICY: &str = "ratelimit-policy";
const LIMIT: &str = "ratelimit-limit";

/// The names of one family's headers; an empty name is not used.
struct Family<'a> {
    unit: &'a str,
    limit: &'a str,
    remaining: &'a str,
    used: &'a str,
    /// The first one that exists counts.
    resets: [&'a str; 2],
    /// The time that 1 stands for in a reset, where that is no second.
    reset_unit: Option<Duration>,
}

/// The known families: unit, limit, remaining, used, and two names of the reset. Header names
/// are compared without case.
#[rustfmt::skip]
const FAMILIES: [[&str; 6]; 9] = [
    ["requests", "ratelimit-limit", "ratelimit-remaining", "", "ratelimit-reset", ""],
    ["requests", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-used",
     "x-ratelimit-reset-after", "x-ratelimit-reset"],
    ["requests", "x-rate-limit-limit", "x-rate-limit-remaining", "", "x-rate-limit-reset", ""],
    ["requests", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "",
     "x-ratelimit-reset-requests", ""],
    ["tokens", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "",
     "x-ratelimit-reset-tokens", ""],
    ["requests", "anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining", "",
     "anthropic-ratelimit-requests-reset", ""],
    ["tokens", "anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining", "",
     "anthropic-ratelimit-tokens-reset", ""],
    ["input-tokens", "anthropic-ratelimit-input-tokens-limit",
     "anthropic-ratelimit-input-tokens-remaining", "",
     "anthropic-ratelimit-input-tokens-reset", ""],
    ["output-tokens", "anthropic-ratelimit-output-tokens-limit",
     "anthropic-ratelimit-output-tokens-remaining", "",
     "anthropic-ratelimit-output-tokens-reset", ""],
];

/// Parses the text of one header.
type ParseInfo = fn(&str) -> Result<RateLimitInfo, String>;

/// Headers with the used units and the limit in one value.
const USAGES: [(&str, ParseInfo); 2] =
    [("x-shopify-shop-api-call-limit", usage), ("sforce-limit-info", api_usage)];

/// One entry of a list: its name and its parameters.
#[derive(Debug, Default, PartialEq, Eq)]
struct ListEntry<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

/// The names of all known headers.
pub fn names() -> impl Iterator<Item = &'static str> {
    let of_families = FAMILIES.iter().flat_map(|family| &family[1..]).copied();
    let of_usages = USAGES.iter().map(|(name, _)| *name);
    of_families.chain(of_usages).chain([RATE_LIMIT, POLICY]).filter(|name| !name.is_empty())
}

/// Adds the signals of all known headers.
pub fn read(headers: FamilyHeaders<'_>, clock: AnswerClock, found: &mut LimitSignals) {
    read_draft(headers, found);
    for [unit, limit, remaining, used, reset, other_reset] in FAMILIES {
        let resets = [reset, other_reset];
        let family = Family { unit, limit, remaining, used, resets, reset_unit: None };
        family.read(&headers, clock, found);
    }
    for (header, parse) in USAGES {
        if let Some(info) = found.parse(&headers, header, parse) {
            found.add(header, LimitSignal::new("requests", info));
        }
    }
    add_policies(headers, found);
}

/// Adds the windows that policies name: to the signals with the same limit, or as signals of
/// their own. A policy is `"minute";q=100;w=60`, in older versions of the draft `100;w=60`,
/// which may also stand behind the limit in `RateLimit-Limit: 100, 100;w=60`.
fn add_policies(headers: FamilyHeaders<'_>, found: &mut LimitSignals) {
    for name in [POLICY, LIMIT] {
        for entry in headers.texts(name).flat_map(items) {
            let limit = entry.get("q").unwrap_or(entry.name);
            let (Ok(limit), Some(window)) = (count(limit), entry.get("w")) else {
                continue;
            };
            let unit = entry.get("qu").unwrap_or("requests");
            let signals = &mut found.signals;
            let same = |it: &&mut LimitSignal| it.info.limit == Some(limit) && it.is_of_unit(unit);
            match (seconds(window), signals.iter_mut().find(same)) {
                (Err(why), _) => found.add_invalid(name, why),
                (Ok(window), Some(signal)) if signal.info.window.is_none() => {
                    signal.info.window = Some(window);
                }
                (Ok(window), Some(signal)) if signal.info.window == Some(window) => {}
                (Ok(window), _) => {
                    let (limit, window) = (Some(limit), Some(window));
                    let info = RateLimitInfo { limit, window, ..RateLimitInfo::default() };
                    found.add(name, LimitSignal::new(unit.to_owned(), info));
                }
            }
        }
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
            reset_unit: source.reset_unit,
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
        let reset = reset
            .and_then(|name| found.parse(texts, name, |text| moment(text, self.reset_unit, clock)));
        let info = RateLimitInfo {
            limit: limit.or_else(|| Some(used?.saturating_add(remaining?))),
            remaining: remaining.or_else(|| limit?.checked_sub(used?)),
            reset,
            window: None,
        };
        found.add(self.remaining, LimitSignal::new(self.unit.to_owned(), info));
    }
}

/// The first count of `100`, or of `100, 100;w=60`.
fn first_count(text: &str) -> Result<u64, String> {
    let first = text.split([',', ';']).next().unwrap_or_default();
    count(first.trim())
}

/// The state in `used/limit`.
fn usage(text: &str) -> Result<RateLimitInfo, String> {
    let parts = text.split_once('/');
    let (used, limit) = parts.ok_or_else(|| format!("\"{text}\" is not used/limit"))?;
    let (used, limit) = (count(used.trim())?, count(limit.trim())?);
    let remaining = Some(limit.saturating_sub(used));
    Ok(RateLimitInfo { limit: Some(limit), remaining, ..RateLimitInfo::default() })
}

/// The state in `api-usage=18/5000; per-app-api-usage=...`.
fn api_usage(text: &str) -> Result<RateLimitInfo, String> {
    let parts = text.split([',', ';']).map(str::trim);
    let mut named = parts.filter_map(|part| part.split_once('='));
    match named.find(|(name, _)| name.trim() == "api-usage") {
        Some((_, text)) => usage(text),
        None => Err(format!("\"{text}\" names no api-usage")),
    }
}

/// The policies for requests that the draft's header names, in both of its forms:
/// `"minute";q=100;w=60` and `100;w=60`.
#[must_use]
pub fn named_policies(headers: &HeaderMap) -> Vec<NamedPolicy> {
    let texts = headers.get_all(POLICY).iter().filter_map(|value| value.to_str().ok());
    let policies: Vec<ListEntry> = texts.flat_map(items).collect();
    let named = policies.iter().filter_map(|policy| {
        let units = policy.get("q").unwrap_or(policy.name).parse().ok()?;
        let period = seconds(policy.get("w")?).ok()?;
        let counts_requests = policy.get("qu").is_none_or(|unit| unit == "requests");
        (counts_requests && !period.is_zero()).then_some(NamedPolicy { units, period })
    });
    named.collect()
}

/// Adds the signals of the draft's headers.
fn read_draft(headers: FamilyHeaders<'_>, found: &mut LimitSignals) {
    let policies: Vec<ListEntry> = headers.texts(POLICY).flat_map(items).collect();
    let entries: Vec<ListEntry> = headers.texts(RATE_LIMIT).flat_map(items).collect();
    if entries.iter().any(|entry| entry.name.contains('=')) {
        read_old_form(&entries, found);
        return;
    }
    for entry in &entries {
        let policy = policies.iter().find(|policy| policy.name == entry.name);
        match signal_of(entry, policy) {
            Ok(signal) => found.add(RATE_LIMIT, signal),
            Err(why) => found.add_invalid(RATE_LIMIT, why),
        }
    }
}

fn signal_of(entry: &ListEntry, policy: Option<&ListEntry>) -> Result<LimitSignal, String> {
    let of_policy = |name| policy.and_then(|policy| policy.get(name));
    let unit = of_policy("qu").unwrap_or("requests").to_owned();
    let info = RateLimitInfo {
        remaining: entry.get("r").map(count).transpose()?,
        limit: of_policy("q").map(count).transpose()?,
        reset: entry.get("t").map(seconds).transpose()?,
        window: of_policy("w").map(seconds).transpose()?,
    };
    Ok(LimitSignal::new(unit, info))
}

/// Adds the signal of `limit=100, remaining=50, reset=30`.
fn read_old_form(entries: &[ListEntry], found: &mut LimitSignals) {
    let value = |name| {
        let pairs = entries.iter().filter_map(|entry| entry.name.split_once('='));
        pairs.filter(|(key, _)| key.trim() == name).map(|(_, value)| value.trim()).next()
    };
    let info = || {
        Ok(RateLimitInfo {
            limit: value("limit").map(count).transpose()?,
            remaining: value("remaining").map(count).transpose()?,
            reset: value("reset").map(seconds).transpose()?,
            window: None,
        })
    };
    match info() {
        Ok(info) => found.add(RATE_LIMIT, LimitSignal::new("requests", info)),
        Err(why) => found.add_invalid(RATE_LIMIT, why),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let length = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    length
        .filter(|length| *length <= MAX_WAIT)
        .ok_or_else(|| format!("\"{text}\" is no number of seconds up to 32 days"))
}

fn items(text: &str) -> impl Iterator<Item = ListEntry<'_>> {
    split_unquoted(text, ',').map(|entry| {
        let mut parts = split_unquoted(entry, ';');
        let name = parts.next().map_or("", unquoted);
        let pairs = parts.filter_map(|part| part.split_once('='));
        let parameters = pairs.map(|(key, value)| (key.trim(), unquoted(value)));
        ListEntry { name, parameters: parameters.collect() }
    })
}

/// The parts of a text between separators outside of quotes.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches('"')
}

impl ListEntry<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.parameters.iter();
        pairs.find(|(key, _)| *key == name).map(|(_, value)| *value)
    }
}
