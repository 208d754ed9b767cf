//! Dialects: how known APIs report their limits, refuse and ban, as data. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::account::Refused;
use crate::answer::MockAnswer;
use crate::numbers::DialectNumbers;
use crate::recorder::ArrivalInfo;
use crate::reply::Reply;
use crate::{ParseError, ServerLimit};

/// Each dialect by its name.
const DIALECTS: [(&str, &str); 14] = [
    ("alphavantage", include_str!("dialects/alphavantage.toml")),
    ("anthropic", include_str!("dialects/anthropic.toml")),
    ("discord", include_str!("dialects/discord.toml")),
    ("edgar", include_str!("dialects/edgar.toml")),
    ("github", include_str!("dialects/github.toml")),
    ("notion", include_str!("dialects/notion.toml")),
    ("openai", include_str!("dialects/openai.toml")),
    ("polygon", include_str!("dialects/polygon.toml")),
    ("reddit", include_str!("dialects/reddit.toml")),
    ("salesforce", include_str!("dialects/salesforce.toml")),
    ("shopify", include_str!("dialects/shopify.toml")),
    ("shopify-graphql", include_str!("dialects/shopify-graphql.toml")),
    ("stripe", include_str!("dialects/stripe.toml")),
    ("x", include_str!("dialects/x.toml")),
];

/// How an API reports its limits. From text: its name, such as `github`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Dialect {
    /// The limits, unless the settings have their own.
    #[serde(deserialize_with = "limits")]
    pub limits: Vec<ServerLimit>,
    /// Whether refused requests count as well.
    pub refusals_count: bool,
    /// An account with more refusals than this is banned.
    #[serde(deserialize_with = "limit")]
    pub bans: Option<ServerLimit>,
    /// The answer to an admitted request. Its headers are also those of a refusal.
    answer: AnswerTemplate,
    /// The refusals of each limit; the last one is that of all further limits.
    refusal: Vec<AnswerTemplate>,
    /// The answer to a banned account.
    ban: AnswerTemplate,
}

/// Status, headers and body of an answer. [`DialectNumbers`] replace names in braces.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnswerTemplate {
    status: Option<u16>,
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

impl Dialect {
    /// The names of all dialects.
    pub fn names() -> impl Iterator<Item = &'static str> {
        DIALECTS.iter().map(|(name, _)| *name)
    }

    /// Rewords the answer to an admitted request.
    pub(crate) fn admit(&self, answer: MockAnswer, info: &ArrivalInfo) -> MockAnswer {
        let numbers = DialectNumbers::of(info, 0, Duration::ZERO);
        self.answer.apply(answer, &numbers)
    }

    /// The answer to a refused request.
    pub(crate) fn refuse(&self, refused: Refused, info: &ArrivalInfo) -> MockAnswer {
        let answer = MockAnswer::problem(StatusCode::TOO_MANY_REQUESTS, "over the limit");
        let numbers = DialectNumbers::of(info, refused.limit, refused.wait);
        if refused.banned {
            return self.ban.apply(answer, &numbers);
        }
        let answer = self.answer.apply_headers(answer, &numbers);
        match self.refusal.get(refused.limit).or(self.refusal.last()) {
            Some(template) => template.apply(answer, &numbers),
            None => answer,
        }
    }
}

impl AnswerTemplate {
    fn apply(&self, answer: MockAnswer, numbers: &DialectNumbers) -> MockAnswer {
        let mut answer = self.apply_headers(answer, numbers);
        if let Some(status) = self.status.and_then(|s| StatusCode::from_u16(s).ok()) {
            answer = answer.of_status(status);
        }
        if let Some(body) = &self.body {
            answer.body = Reply::Whole(numbers.fill(body).into());
        }
        answer
    }

    fn apply_headers(&self, mut answer: MockAnswer, numbers: &DialectNumbers) -> MockAnswer {
        for (name, text) in &self.headers {
            let name: Result<HeaderName, _> = name.parse();
            let value = HeaderValue::try_from(numbers.fill(text));
            if let (Ok(name), Ok(value)) = (name, value) {
                answer = answer.with(name, value);
            }
        }
        answer
    }
}

impl FromStr for Dialect {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Dialect, ParseError> {
        let known = DIALECTS.iter().find(|(name, _)| *name == text.trim());
        let names = || DIALECTS.map(|(name, _)| name).join(", ");
        let (_, file) = known
            .ok_or_else(|| ParseError::new(&format!("a dialect is one of {}", names()), text))?;
        toml::from_str(file).map_err(|error| ParseError::new(&error.to_string(), text))
    }
}

fn limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ServerLimit>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parse = |text: &String| text.parse().map_err(D::Error::custom);
    texts.iter().map(parse).collect()
}

fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ServerLimit>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_is_read_and_leaves_no_name_in_braces() {
        let info = ArrivalInfo {
            clock: Duration::from_secs(1_700_000_000),
            admitted: Ok(()),
            counts: Vec::new(),
        };
        let numbers = DialectNumbers::of(&info, 0, Duration::ZERO);
        for name in Dialect::names() {
            let dialect: Dialect = name.parse().unwrap();
            assert!(!dialect.limits.is_empty(), "{name}");
            let words = dialect.refusal.iter().chain([&dialect.answer, &dialect.ban]);
            for text in words.flat_map(|words| words.headers.values().chain(&words.body)) {
                let filled = numbers.fill(text);
                let open = filled.find('{').is_some_and(|at| {
                    let rest = &filled[at + 1..];
                    rest.starts_with(|c: char| c.is_ascii_lowercase())
                });
                assert!(!open, "{name}: {filled}");
            }
        }
        let error = "gitlab".parse::<Dialect>().unwrap_err().to_string();
        assert!(error.contains("alphavantage, anthropic"), "{error}");
    }
}
