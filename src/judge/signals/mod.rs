//! What a server says of its limits in the headers of an answer. Pure: time is
//! an argument.
//!
//! | headers | said by | reset |
//! |---|---|---|
//! | `RateLimit`, `RateLimit-Policy` | IETF draft, its named and its older form | delta |
//! | `RateLimit-Limit`, `-Remaining`, `-Reset` | the draft's first form | delta |
//! | `X-RateLimit-*`, `X-Rate-Limit-*` | GitHub, Reddit, X, Discord, many more | any |
//! | `anthropic-ratelimit-UNIT-*` | Anthropic | RFC 3339 |
//! | `x-ratelimit-*-requests`, `-tokens` | OpenAI | `6m0s` |
//! | `Sforce-Limit-Info` | Salesforce, `api-usage=18/5000` | none |
//! | `X-Shopify-Shop-Api-Call-Limit` | Shopify, `32/40` | none |
//!
//! A moment may be written in any way that some server writes it in
//! (`moment.rs`). What makes no sense is not believed, and noted.

use std::borrow::Cow;
use std::time::SystemTime;

use http::HeaderMap;
use http::header::HeaderName;
use serde::{Deserialize, Serialize};

use crate::limit::RateLimitInfo;

mod body;
mod draft;
mod families;
mod moment;
#[cfg(test)]
mod tests;

pub use body::Bodies;
pub use moment::{LONGEST, pause};

/// What an answer says of one limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signal {
    /// What it counts: `requests`, `tokens`, `input-tokens`.
    pub unit: Cow<'static, str>,
    /// What the server tells of it.
    pub info: RateLimitInfo,
}

/// All that an answer says of limits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signals {
    /// What can be believed.
    pub signals: Vec<Signal>,
    /// What can't: a header, its value and why.
    pub odd: Vec<InvalidHeader>,
}

/// One entry of `[[signal]]`: headers of an API's own in which it tells its count, or
/// values of the body, by jq that begins with a dot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignalSource {
    /// What they count, as the rates name it; requests unless told otherwise.
    pub unit: String,
    /// The header with the most in a window, or where it stands in the body.
    pub limit: String,
    /// The one with what is left of it.
    pub remaining: String,
    /// The one with what is used of it.
    pub used: String,
    /// The one with the end of the window.
    pub reset: String,
}

/// A header that says what can't be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InvalidHeader {
    /// The header.
    pub header: String,
    /// What is wrong with it.
    pub why: String,
}

/// What the headers of an answer that came at `now` say of limits, in those that
/// many servers use, and in those that the job names.
#[must_use]
pub fn signals(headers: &HeaderMap, said: &[SignalSource], now: SystemTime) -> Signals {
    let mut heard = Signals::default();
    if !said.is_empty() {
        let clock = moment::AnswerClock::of(headers, now);
        let of_headers = said.iter().filter(|said| !said.is_of_body());
        families::read_said(of_headers, headers, clock, &mut heard);
    }
    // Most answers say nothing, and every header of interest has this in its name.
    let of_limit = |name: &HeaderName| {
        name.as_str()
            .as_bytes()
            .windows(5)
            .any(|part| part == b"limit")
    };
    if headers.keys().any(of_limit) {
        let clock = moment::AnswerClock::of(headers, now);
        draft::read(headers, &mut heard);
        families::read(headers, clock, &mut heard);
    }
    heard
}

/// Where the texts are that a server tells its count in.
trait Texts {
    /// The text of that name; none if there is none, and why not if it is none.
    fn text(&self, name: &str) -> Option<Result<Cow<'_, str>, String>>;
}

impl Texts for HeaderMap {
    fn text(&self, name: &str) -> Option<Result<Cow<'_, str>, String>> {
        let text = self.get(name)?.to_str().map(Cow::Borrowed);
        Some(text.map_err(|_| "it is no text".to_owned()))
    }
}

impl SignalSource {
    fn names(&self) -> [&str; 4] {
        [&self.limit, &self.remaining, &self.used, &self.reset].map(String::as_str)
    }

    fn is_of_body(&self) -> bool {
        self.names().iter().any(|name| name.starts_with('.'))
    }
}

impl Signal {
    fn new(unit: impl Into<Cow<'static, str>>, info: RateLimitInfo) -> Signal {
        Signal {
            unit: unit.into(),
            info,
        }
    }

    /// Whether the unit has this name, however its words are joined.
    #[must_use]
    pub fn is_of(&self, unit: &str) -> bool {
        let plain = |c: char| if matches!(c, '_' | ' ') { '-' } else { c };
        self.unit.chars().map(plain).eq(unit.chars().map(plain))
    }

    fn says_something(&self) -> bool {
        self.info.remaining.is_some() || self.info.limit.is_some()
    }
}

impl Signals {
    /// Keeps what can be true: no more can be left than there is in all.
    fn add(&mut self, header: &str, signal: Signal) {
        if !signal.says_something() {
            return;
        }
        match (signal.info.limit, signal.info.remaining) {
            (Some(limit), Some(left)) if left > limit => {
                self.doubt(header, format!("{left} left of {limit}"));
            }
            (Some(0), _) => self.doubt(header, "a limit of 0".to_owned()),
            _ => self.signals.push(signal),
        }
    }

    fn doubt(&mut self, header: &str, why: String) {
        self.odd.push(InvalidHeader {
            header: header.to_owned(),
            why,
        });
    }

    /// What a header says, if it is there; noted if it can't be read.
    fn read<T>(
        &mut self,
        texts: &impl Texts,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = texts.text(name)?;
        match text.and_then(|text| parse(text.trim())) {
            Ok(read) => Some(read),
            Err(why) => {
                self.doubt(name, why);
                None
            }
        }
    }
}

/// A count: whole, or written with decimals, as some servers do.
fn count(text: &str) -> Result<u64, String> {
    /// Nobody allows as many.
    const MOST: f64 = 1e15;
    match text.parse::<f64>() {
        Ok(number) if (0.0..MOST).contains(&number) => Ok(number.floor() as u64),
        _ => Err(format!("\"{text}\" is no count")),
    }
}

/// `a/b`: so many used of so many.
fn used_of(text: &str) -> Result<(u64, u64), String> {
    let (used, limit) = text
        .split_once('/')
        .ok_or_else(|| format!("\"{text}\" is not used/limit"))?;
    Ok((count(used.trim())?, count(limit.trim())?))
}
