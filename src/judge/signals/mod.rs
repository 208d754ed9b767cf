//! The state of a server's limits, as its answers tell it. Pure: time is an argument.
//!
//! | headers | sent by | reset |
//! |---|---|---|
//! | `RateLimit`, `RateLimit-Policy` | IETF draft, its named and its older form | delta |
//! | `RateLimit-Limit`, `-Remaining`, `-Reset` | the draft's first form | delta |
//! | `X-RateLimit-*`, `X-Rate-Limit-*` | GitHub, Reddit, X, Discord, many more | any |
//! | `anthropic-ratelimit-UNIT-*` | Anthropic | RFC 3339 |
//! | `x-ratelimit-*-requests`, `-tokens` | OpenAI | `6m0s` |
//! | `Sforce-Limit-Info` | Salesforce, `api-usage=18/5000` | none |
//! | `X-Shopify-Shop-Api-Call-Limit` | Shopify, `32/40` | none |
//!
//! A time may have any spelling that a server uses (`moment.rs`). An implausible value
//! is an [`InvalidHeader`] and has no effect.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use http::header::HeaderName;
use serde_json::Value;

use crate::error::Error;
use crate::extract::{AnswerContext, Extractor};
use crate::record::Failure;

mod header_rules;
mod headers;
mod limit_signal;
mod moment;
#[cfg(test)]
mod tests;

use header_rules::FamilyHeaders;
pub use header_rules::{HeaderRules, HeardHeaders};
pub use headers::named_policies;
use limit_signal::NamedTexts;
pub use limit_signal::{InvalidHeader, LimitSignal, LimitSignals, NamedPolicy, SignalSource};
use moment::AnswerClock;
pub use moment::{MAX_WAIT, parse_pause};

/// The compiled entries of `[[signal]]` that read bodies.
pub struct BodySignals {
    sources: Vec<SignalSource>,
    /// The programs by their texts.
    programs: BTreeMap<String, Extractor>,
}

/// The headers of an answer, and the values of the programs for its body.
struct AnswerTexts<'a> {
    headers: HeardHeaders<'a>,
    values: BTreeMap<&'a str, String>,
}

/// The signals in the headers of an answer that arrived at `now`: in those of a job's own
/// sources, and in the families of headers above.
#[must_use]
pub fn read_headers(headers: HeardHeaders<'_>, now: SystemTime) -> LimitSignals {
    let mut found = LimitSignals::default();
    let rules = headers.rules();
    if !rules.sources().is_empty() {
        let clock = AnswerClock::of(headers, now);
        let of_headers = rules.sources().iter().filter(|source| !source.is_of_body());
        headers::read_sources(of_headers, &headers, clock, &mut found);
    }
    // Most answers have no such header; each has this in its name.
    let of_limit =
        |name: &HeaderName| name.as_str().as_bytes().windows(5).any(|part| part == b"limit");
    if rules.reads_families() && headers.map().keys().any(of_limit) {
        let clock = AnswerClock::of(headers, now);
        headers::read(FamilyHeaders(headers), clock, &mut found);
    }
    found
}

impl BodySignals {
    /// Compiles the entries of a job that read bodies; none if there is no such entry.
    ///
    /// # Errors
    /// Which entry holds no jq program.
    pub fn new(sources: &[SignalSource]) -> Result<Option<BodySignals>, Error> {
        let mut signals = BodySignals { sources: Vec::new(), programs: BTreeMap::new() };
        for (number, source) in (1..).zip(sources).filter(|(_, it)| it.is_of_body()) {
            for code in source.names().into_iter().filter(|name| name.starts_with('.')) {
                let program =
                    Extractor::of_body(&[("value?".to_owned(), code.into())].into_iter().collect())
                        .map_err(|error| Error::plan(format!("signal {number}: {error}")))?;
                signals.programs.insert(code.to_owned(), program);
            }
            signals.sources.push(source.clone());
        }
        Ok((!signals.sources.is_empty()).then_some(signals))
    }

    /// The signals in the body of an answer that arrived at `now`.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn signals(
        &self,
        headers: HeardHeaders<'_>,
        body: &[u8],
        context: &AnswerContext<'_>,
        now: SystemTime,
    ) -> Result<LimitSignals, Failure> {
        let mut values = BTreeMap::new();
        for (code, program) in &self.programs {
            values.extend(
                text(program.extract_one(body, context)?).map(|text| (code.as_str(), text)),
            );
        }
        let answer = AnswerTexts { headers, values };
        let mut found = LimitSignals::default();
        let clock = AnswerClock::of(headers, now);
        headers::read_sources(&self.sources, &answer, clock, &mut found);
        Ok(found)
    }
}

impl NamedTexts for AnswerTexts<'_> {
    fn text(&self, name: &str) -> Option<Result<Cow<'_, str>, String>> {
        if name.starts_with('.') {
            self.values.get(name).map(|text| Ok(text.as_str().into()))
        } else {
            self.headers.text(name)
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}
