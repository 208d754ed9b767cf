//! The state of a server's limits, and the sources that a job names for it. Pure.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limiter::RateLimitInfo;

/// The state of one limit, as an answer tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitSignal {
    /// The unit that the limit counts: `requests`, `tokens`, `input-tokens`.
    pub unit: Cow<'static, str>,
    /// The limit and its current window.
    pub info: RateLimitInfo,
}

/// A policy that a header names: `20;w=5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedPolicy {
    /// Requests in a window.
    pub units: u64,
    /// The length of the window.
    pub period: Duration,
}

/// The state of all limits that an answer tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LimitSignals {
    /// The plausible signals.
    pub signals: Vec<LimitSignal>,
    /// The headers with implausible values.
    pub invalid: Vec<InvalidHeader>,
}

/// One entry of `[[signal]]`: an API's own headers with the state of a limit, or values of
/// the body, by jq programs that begin with a dot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SignalSource {
    /// The unit, as the rates name it; requests by default.
    pub unit: String,
    /// The header with the limit of a window, or its jq program.
    pub limit: String,
    /// The header with the remaining units, or its jq program.
    pub remaining: String,
    /// The header with the used units, or its jq program.
    pub used: String,
    /// The header with the end of the window, or its jq program.
    pub reset: String,
    /// The time that 1 stands for where the reset is a number; a second by default.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::DurationText>"))]
    #[serde(rename = "reset-unit", with = "humantime_serde")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset_unit: Option<Duration>,
}

/// A header with an implausible value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InvalidHeader {
    /// The name of the header.
    pub header: String,
    /// Why its value is implausible.
    pub why: String,
}

/// The named texts of an answer: its headers, or values of its body.
pub trait NamedTexts {
    /// The text of this name, if it exists; the error is that it is no text.
    fn text(&self, name: &str) -> Option<Result<Cow<'_, str>, String>>;
}

impl SignalSource {
    /// The names of the headers and programs.
    pub fn names(&self) -> [&str; 4] {
        [&self.limit, &self.remaining, &self.used, &self.reset].map(String::as_str)
    }

    /// Whether any name is a jq program over the body.
    pub fn is_of_body(&self) -> bool {
        self.names().iter().any(|name| name.starts_with('.'))
    }
}

impl LimitSignal {
    /// The signal of a limit of this unit.
    #[must_use]
    pub fn new(unit: impl Into<Cow<'static, str>>, info: RateLimitInfo) -> LimitSignal {
        let unit = unit.into();
        LimitSignal { unit, info }
    }

    /// Whether the unit has this name, however its words are joined.
    #[must_use]
    pub fn is_of_unit(&self, unit: &str) -> bool {
        let plain = |c: char| if matches!(c, '_' | ' ') { '-' } else { c };
        self.unit.chars().map(plain).eq(unit.chars().map(plain))
    }
}

impl LimitSignals {
    /// Adds a signal if it is plausible: no more units can remain than the limit has.
    pub fn add(&mut self, header: &str, signal: LimitSignal) {
        match (signal.info.limit, signal.info.remaining) {
            (None, None) => {}
            (Some(limit), Some(left)) if left > limit => {
                self.add_invalid(header, format!("{left} left of {limit}"));
            }
            (Some(0), _) => self.add_invalid(header, "a limit of 0".to_owned()),
            _ => self.signals.push(signal),
        }
    }

    /// Adds a header with an implausible value.
    pub fn add_invalid(&mut self, header: &str, why: String) {
        self.invalid.push(InvalidHeader { header: header.to_owned(), why });
    }

    /// The parsed value of a header, if it exists; an unreadable one is added to the
    /// invalid ones.
    pub fn parse<T>(
        &mut self,
        texts: &impl NamedTexts,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = texts.text(name)?;
        match text.and_then(|text| parse(text.trim())) {
            Ok(read) => Some(read),
            Err(why) => {
                self.add_invalid(name, why);
                None
            }
        }
    }
}

/// A count: whole, or written with decimals, as some servers do.
pub fn count(text: &str) -> Result<u64, String> {
    /// Larger counts are implausible.
    const MAX: f64 = 1e15;
    match text.parse::<f64>() {
        Ok(number) if (0.0..MAX).contains(&number) => Ok(number.floor() as u64),
        _ => Err(format!("\"{text}\" is no count")),
    }
}
