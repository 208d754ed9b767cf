//! The state of a server's limits, as its answers tell it. Pure: time is an argument.
//!
//! The headers are read by [`crate::limit::http`], and bodies here, by programs of the job.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;

use crate::error::Error;
use crate::extract::{AnswerContext, Extractor};
use crate::record::Failure;

#[cfg(test)]
mod tests;

use crate::limit::http::{AnswerClock, NamedTexts, read_sources};
pub use crate::limit::http::{
    HeaderRules, HeardHeaders, InvalidHeader, LimitSignal, LimitSignals, MAX_WAIT, NamedPolicy,
    SignalSource, exhausted_reset, may_tell, named_policies, parse_pause, read_headers,
    retry_after,
};

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
        read_sources(&self.sources, &answer, clock, &mut found);
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
