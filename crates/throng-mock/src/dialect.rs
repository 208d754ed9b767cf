//! Dialects: how known APIs report their limits, refuse and ban, as data. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::account::{Count, Refused};
use crate::answer::MockAnswer;
use crate::judge::ArrivalInfo;
use crate::reply::Reply;
use crate::{ParseError, ServerLimit};

/// Each dialect by its name.
const DIALECTS: [(&str, &str); 24] = [
    ("airtable", include_str!("dialects/airtable.toml")),
    ("alphavantage", include_str!("dialects/alphavantage.toml")),
    ("anthropic", include_str!("dialects/anthropic.toml")),
    ("binance", include_str!("dialects/binance.toml")),
    ("discord", include_str!("dialects/discord.toml")),
    ("edgar", include_str!("dialects/edgar.toml")),
    ("gemini", include_str!("dialects/gemini.toml")),
    ("github", include_str!("dialects/github.toml")),
    ("googlemaps", include_str!("dialects/googlemaps.toml")),
    ("hubspot", include_str!("dialects/hubspot.toml")),
    ("jira", include_str!("dialects/jira.toml")),
    ("mistral", include_str!("dialects/mistral.toml")),
    ("notion", include_str!("dialects/notion.toml")),
    ("openai", include_str!("dialects/openai.toml")),
    ("openweather", include_str!("dialects/openweather.toml")),
    ("polygon", include_str!("dialects/polygon.toml")),
    ("reddit", include_str!("dialects/reddit.toml")),
    ("salesforce", include_str!("dialects/salesforce.toml")),
    ("shopify", include_str!("dialects/shopify.toml")),
    ("shopify-graphql", include_str!("dialects/shopify-graphql.toml")),
    ("slack", include_str!("dialects/slack.toml")),
    ("spotify", include_str!("dialects/spotify.toml")),
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

/// The values of the names in braces in a dialect's texts.
///
/// | name | such as |
/// |---|---|
/// | `{limit}`, `{left}`, `{used}` | `100` |
/// | `{reset}`, `{wait}` | `3`: seconds, rounded up |
/// | `{reset-float}`, `{wait-float}` | `2.501` |
/// | `{reset-go}` | `6m0.5s` |
/// | `{reset-epoch}`, `{reset-epoch-ms}` | since 1970 |
/// | `{reset-date}`, `{reset-rfc3339}` | as in HTTP and RFC 3339 |
struct DialectNumbers {
    /// The time on the server's clock, since 1970.
    clock: Duration,
    count: Count,
    wait: Duration,
}

impl DialectNumbers {
    /// The numbers of the limit at this index, with the time until it admits a request.
    fn of(info: &ArrivalInfo, limit: usize, wait: Duration) -> DialectNumbers {
        let none = Count { units: 0, left: 0, reset: Duration::ZERO };
        DialectNumbers {
            clock: info.clock,
            count: info.counts.get(limit).copied().unwrap_or(none),
            wait,
        }
    }

    /// The text with its names replaced by numbers.
    fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let name = after.split_once('}').map(|(name, _)| name);
            let number = name.and_then(|name| Some((name, self.number(name)?)));
            match number {
                Some((name, number)) => {
                    filled.push_str(&number);
                    rest = &after[name.len() + 1..];
                }
                // A brace of JSON.
                None => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled + rest
    }

    fn number(&self, name: &str) -> Option<String> {
        let Count { units, left, reset } = self.count;
        let end = self.clock + reset;
        let date = UNIX_EPOCH + Duration::from_secs(ceil(end));
        Some(match name {
            "limit" => units.to_string(),
            "left" => left.to_string(),
            "used" => units.saturating_sub(left).to_string(),
            "reset" => ceil(reset).to_string(),
            "reset-float" => float(reset),
            "reset-go" => go(reset),
            "reset-epoch" => ceil(end).to_string(),
            "reset-epoch-ms" => (end.as_nanos().div_ceil(1_000_000)).to_string(),
            "reset-date" => httpdate::fmt_http_date(date),
            "reset-rfc3339" => humantime::format_rfc3339_seconds(date).to_string(),
            "wait" => ceil(self.wait).to_string(),
            "wait-float" => float(self.wait),
            _ => return None,
        })
    }
}

/// Whole seconds, rounded up: by then the reported time has come.
fn ceil(time: Duration) -> u64 {
    time.as_nanos().div_ceil(1_000_000_000) as u64
}

/// Three decimals, rounded up.
fn float(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    format!("{}.{:03}", millis / 1_000, millis % 1_000)
}

/// A duration as Go writes it, rounded up to milliseconds.
fn go(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    let (minutes, seconds) = (millis / 60_000, (millis % 60_000) as f64 / 1_000.0);
    match (minutes, millis) {
        (_, 0..1_000) => format!("{millis}ms"),
        (0, _) => format!("{seconds}s"),
        (minutes, _) => format!("{minutes}m{seconds}s"),
    }
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
        assert!(error.contains("airtable, alphavantage"), "{error}");
    }

    #[test]
    fn each_number_is_written_in_each_notation() {
        let count = Count { units: 100, left: 37, reset: Duration::from_micros(360_500_001) };
        let numbers = DialectNumbers {
            clock: Duration::from_secs(1_700_000_000),
            count,
            wait: Duration::from_millis(1_500),
        };
        for (text, filled) in [
            ("{used}/{limit}, {left}", "63/100, 37"),
            ("{reset} {reset-float} {reset-go}", "361 360.501 6m0.501s"),
            ("{reset-epoch} {reset-epoch-ms}", "1700000361 1700000360501"),
            (
                "{reset-rfc3339}, {reset-date}",
                "2023-11-14T22:19:21Z, Tue, 14 Nov 2023 22:19:21 GMT",
            ),
            ("{\"wait\": {wait-float}}", "{\"wait\": 1.500}"),
            ("{wait}{other", "2{other"),
        ] {
            assert_eq!(numbers.fill(text), filled);
        }
        assert_eq!([20, 1_500].map(|ms| go(Duration::from_millis(ms))), ["20ms", "1.5s"]);
    }
}
