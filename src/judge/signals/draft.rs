//! The headers of the IETF draft, `RateLimit` and `RateLimit-Policy`, each a list. Pure.
//!
//! As of its tenth version: `RateLimit: "minute";r=50;t=30`, explained by
//! `RateLimit-Policy: "minute";q=100;w=60;qu="requests"`. Before the eighth:
//! `RateLimit: limit=100, remaining=50, reset=30`.

use std::time::Duration;

use http::HeaderMap;

use super::limit_signal::{LimitSignal, LimitSignals, count};
use super::moment::MAX_WAIT;
use crate::limit::RateLimitInfo;

const RATE_LIMIT: &str = "ratelimit";
const POLICY: &str = "ratelimit-policy";

/// One entry of a list: its name and its parameters.
#[derive(Debug, Default, PartialEq, Eq)]
struct ListEntry<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

pub fn read(headers: &HeaderMap, found: &mut LimitSignals) {
    let texts = |name| headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    let policies: Vec<ListEntry> = texts(POLICY).flat_map(items).collect();
    let entries: Vec<ListEntry> = texts(RATE_LIMIT).flat_map(items).collect();
    if entries.iter().any(|entry| entry.name.contains('=')) {
        read_old_form(&entries, found);
        return;
    }
    for entry in &entries {
        let policy = policies.iter().find(|policy| policy.name == entry.name);
        let signal = signal_of(entry, policy);
        match signal {
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
