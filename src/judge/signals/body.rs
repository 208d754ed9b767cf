//! Signals that stand in an answer's body, such as the points that a GraphQL API has
//! left. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use http::HeaderMap;
use serde_json::Value;

use super::moment::AnswerClock;
use super::{SignalSource, Signals, Texts, families};
use crate::error::Error;
use crate::extract::{Extractor, Settings};
use crate::record::Failure;

/// The entries of `[[signal]]` that look into bodies, checked.
#[derive(Default)]
pub struct Bodies {
    said: Vec<SignalSource>,
    /// By what is written.
    programs: BTreeMap<String, Extractor>,
}

/// What an answer has: its headers, and its body.
struct AnswerTexts<'a> {
    headers: &'a HeaderMap,
    values: BTreeMap<&'a str, String>,
}

impl Bodies {
    /// Of a job's entries those that look into bodies.
    ///
    /// # Errors
    /// What is no jq program.
    pub fn new(said: &[SignalSource]) -> Result<Bodies, Error> {
        let mut bodies = Bodies::default();
        for (number, said) in (1..).zip(said).filter(|(_, said)| said.is_of_body()) {
            for code in said
                .names()
                .into_iter()
                .filter(|name| name.starts_with('.'))
            {
                let settings: Settings =
                    std::iter::once(("value?".to_owned(), code.into())).collect();
                let program = Extractor::new(&settings)
                    .map_err(|error| Error::plan(format!("signal {number}: {error}")))?;
                bodies.programs.insert(code.to_owned(), program);
            }
            bodies.said.push(said.clone());
        }
        Ok(bodies)
    }

    /// Whether no entry looks into bodies.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// What the body of an answer that came at `now` says of limits.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn signals(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Signals, Failure> {
        let mut values = BTreeMap::new();
        for (code, program) in &self.programs {
            let value = program.extract_any(body)?.into_iter().next();
            values.extend(value.and_then(text).map(|text| (code.as_str(), text)));
        }
        let answer = AnswerTexts { headers, values };
        let mut heard = Signals::default();
        let clock = AnswerClock::of(headers, now);
        families::read_said(&self.said, &answer, clock, &mut heard);
        Ok(heard)
    }
}

impl Texts for AnswerTexts<'_> {
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

    use super::super::Signal;
    use super::*;
    use crate::limit::RateLimitInfo;

    fn said() -> SignalSource {
        SignalSource {
            unit: "points".into(),
            limit: ".throttle.most".into(),
            remaining: ".throttle.left".into(),
            reset: "x-ends".into(),
            ..SignalSource::default()
        }
    }

    #[test]
    fn values_of_the_body_are_read_as_headers_are() {
        let bodies = Bodies::new(&[said()]).unwrap();
        let headers: HeaderMap = [("x-ends".parse().unwrap(), "20s".parse().unwrap())]
            .into_iter()
            .collect();
        let now = SystemTime::UNIX_EPOCH;
        let hear = |body: &str| bodies.signals(&headers, body.as_bytes(), now).unwrap();
        let heard = hear(r#"{"throttle": {"most": 2000.0, "left": "1980"}}"#);
        let info = RateLimitInfo {
            limit: Some(2_000),
            remaining: Some(1_980),
            reset: Some(Duration::from_secs(20)),
        };
        let expected = Signal::new("points", info);
        assert_eq!((heard.signals, heard.odd), (vec![expected], vec![]));
        for silent in ["no json", "{}", r#"{"throttle": null}"#] {
            assert_eq!(hear(silent), Signals::default(), "{silent}");
        }
        let odd = hear(r#"{"throttle": {"most": 10, "left": -1}}"#).odd;
        assert_eq!(
            (&*odd[0].header, &*odd[0].why),
            (".throttle.left", "\"-1\" is no count")
        );
    }

    #[test]
    fn what_is_no_program_is_said() {
        let wrong = SignalSource {
            limit: ".a[".into(),
            ..said()
        };
        let error = Bodies::new(&[SignalSource::default(), wrong])
            .err()
            .unwrap();
        assert!(error.to_string().contains("signal 2: "), "{error}");
    }
}
