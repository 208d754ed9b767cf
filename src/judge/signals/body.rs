//! Signals in the body of an answer, such as the remaining points of a GraphQL API. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use http::HeaderMap;
use serde_json::Value;

use super::families;
use super::limit_signal::{LimitSignals, NamedTexts, SignalSource};
use super::moment::AnswerClock;
use crate::error::Error;
use crate::extract::{Extractor, Settings};
use crate::record::Failure;

/// The compiled entries of `[[signal]]` that read bodies.
#[derive(Default)]
pub struct BodySignals {
    sources: Vec<SignalSource>,
    /// The programs by their texts.
    programs: BTreeMap<String, Extractor>,
}

/// The headers of an answer, and the values of the programs for its body.
struct AnswerTexts<'a> {
    headers: &'a HeaderMap,
    values: BTreeMap<&'a str, String>,
}

impl BodySignals {
    /// Compiles the entries of a job that read bodies.
    ///
    /// # Errors
    /// Which entry holds no jq program.
    pub fn new(sources: &[SignalSource]) -> Result<BodySignals, Error> {
        let mut signals = BodySignals::default();
        for (number, source) in (1..).zip(sources).filter(|(_, it)| it.is_of_body()) {
            for code in source.names().into_iter().filter(|name| name.starts_with('.')) {
                let settings: Settings =
                    std::iter::once(("value?".to_owned(), code.into())).collect();
                let program = Extractor::new(&settings)
                    .map_err(|error| Error::plan(format!("signal {number}: {error}")))?;
                signals.programs.insert(code.to_owned(), program);
            }
            signals.sources.push(source.clone());
        }
        Ok(signals)
    }

    /// Whether no entry reads bodies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The signals in the body of an answer that arrived at `now`.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn signals(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<LimitSignals, Failure> {
        let mut values = BTreeMap::new();
        for (code, program) in &self.programs {
            let value = program.extract_any(body)?.into_iter().next();
            values.extend(value.and_then(text).map(|text| (code.as_str(), text)));
        }
        let answer = AnswerTexts { headers, values };
        let mut found = LimitSignals::default();
        let clock = AnswerClock::of(headers, now);
        families::read_sources(&self.sources, &answer, clock, &mut found);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::LimitSignal;
    use super::*;
    use crate::limit::RateLimitInfo;

    fn source() -> SignalSource {
        SignalSource {
            unit: "points".into(),
            limit: ".throttle.most".into(),
            remaining: ".throttle.left".into(),
            reset: "x-ends".into(),
            ..SignalSource::default()
        }
    }

    #[test]
    fn values_of_the_body_are_parsed_like_headers() {
        let bodies = BodySignals::new(&[source()]).unwrap();
        let headers: HeaderMap =
            [("x-ends".parse().unwrap(), "20s".parse().unwrap())].into_iter().collect();
        let now = SystemTime::UNIX_EPOCH;
        let read = |body: &str| bodies.signals(&headers, body.as_bytes(), now).unwrap();
        let found = read(r#"{"throttle": {"most": 2000.0, "left": "1980"}}"#);
        let info = RateLimitInfo {
            limit: Some(2_000),
            remaining: Some(1_980),
            reset: Some(Duration::from_secs(20)),
        };
        let expected = LimitSignal::new("points", info);
        assert_eq!((found.signals, found.invalid), (vec![expected], vec![]));
        for other in ["no json", "{}", r#"{"throttle": null}"#] {
            assert_eq!(read(other), LimitSignals::default(), "{other}");
        }
        let invalid = read(r#"{"throttle": {"most": 10, "left": -1}}"#).invalid;
        assert_eq!(
            (&*invalid[0].header, &*invalid[0].why),
            (".throttle.left", "\"-1\" is no count")
        );
    }

    #[test]
    fn a_wrong_program_is_an_error() {
        let wrong = SignalSource { limit: ".a[".into(), ..source() };
        let error = BodySignals::new(&[SignalSource::default(), wrong]).err().unwrap();
        assert!(error.to_string().contains("signal 2: "), "{error}");
    }
}
