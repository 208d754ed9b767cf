//! One row of the table of answers, as a job file and a flag spell it. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::status_set::StatusSet;
use crate::limit::duration;

/// One entry of `[[answer]]`: the answers that it fits, and what they mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AnswerRule {
    /// The statuses of the answers; any if none is given.
    #[cfg_attr(
        feature = "cli",
        schemars(
            with = "crate::limit::schema::OneOrMany<crate::limit::schema::Either<u16, String>>"
        )
    )]
    #[serde(default, skip_serializing_if = "StatusSet::is_empty")]
    pub status: StatusSet,
    /// Headers that the answer must have, all of them.
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::OneOrMany<String>"))]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_more")]
    pub header: Vec<HeaderPattern>,
    /// A jq program over the body that must give neither null nor false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The meaning of such an answer.
    pub then: Meaning,
    /// What a refusal means for the run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub means: RefusalMeaning,
    /// The requests that a refusal holds for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub closes: RefusalScope,
    /// A jq program over the body that gives the pause: seconds, or a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// The pause where the answer states none.
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub pause: Option<Duration>,
    /// The name by which rows fail: `rule NAME` in place of the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The meaning of a refusal for the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RefusalMeaning {
    /// The run waits and goes on.
    #[default]
    Limited,
    /// The quota is used up for a long time: the run stops and reports until when.
    QuotaGone,
    /// The server has banned the client: the run stops at once.
    Banned,
}

/// The requests that a refusal holds for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RefusalScope {
    /// The requests with the same key, where limits or signals hold for each key.
    #[default]
    Key,
    /// All requests of the run.
    Run,
}

/// What an answer means for its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// The answer is a result: values are extracted.
    Ok,
    /// The request is sent again, after a pause, as often as `retries` allows.
    Retry,
    /// The server has nothing for this row, which is done without values.
    Missing,
    /// The list of pages ends before this answer.
    End,
    /// The row fails.
    Fail,
    /// The server refuses because of its limit: all requests that it holds for wait.
    Refusal,
    /// The run stops; the row is asked for when it is resumed.
    Stop,
}

impl Meaning {
    /// All of them, in the order of the documentation.
    pub const ALL: [Meaning; 7] = [
        Meaning::Ok,
        Meaning::Retry,
        Meaning::Missing,
        Meaning::End,
        Meaning::Fail,
        Meaning::Refusal,
        Meaning::Stop,
    ];

    /// The name as jobs and flags have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Meaning::Ok => "ok",
            Meaning::Retry => "retry",
            Meaning::Missing => "missing",
            Meaning::End => "end",
            Meaning::Fail => "fail",
            Meaning::Refusal => "refusal",
            Meaning::Stop => "stop",
        }
    }
}

/// A header that an answer must have: its name, and its value with `*` for any text.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderPattern {
    name: HeaderName,
    value: String,
}

impl HeaderPattern {
    /// A header of this name whose value is like this; an empty value is like any.
    ///
    /// # Errors
    /// The name can't be a header's.
    pub fn new(name: &str, value: &str) -> Result<HeaderPattern, String> {
        let name = name.trim().parse().map_err(|_| format!("{name:?} is no name of a header"))?;
        let value = if value.trim().is_empty() { "*" } else { value.trim() };
        Ok(HeaderPattern { name, value: value.to_owned() })
    }

    /// The header's name.
    pub(super) fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Whether one of the answer's headers matches.
    fn matches(&self, headers: &HeaderMap) -> bool {
        let texts = headers.get_all(&self.name).iter().map(|value| value.to_str());
        texts.flatten().any(|text| is_like(text.trim(), &self.value))
    }
}

/// Whether a text is like a pattern with `*` for any text; the case of letters is ignored.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.to_ascii_lowercase(), pattern.to_ascii_lowercase());
    let Some((start, rest)) = pattern.split_once('*') else {
        return text == pattern;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(end)
}

impl FromStr for HeaderPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<HeaderPattern, String> {
        let (name, value) = text.split_once(':').unwrap_or((text, ""));
        HeaderPattern::new(name, value)
    }
}

impl fmt::Display for HeaderPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

impl Serialize for HeaderPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HeaderPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<HeaderPattern, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// One value, or a list of them.
fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HeaderPattern>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        One(String),
        Many(Vec<String>),
    }
    let texts = match Written::deserialize(deserializer) {
        Ok(Written::One(text)) => vec![text],
        Ok(Written::Many(texts)) => texts,
        Err(_) => return Err(D::Error::custom("write \"name: value\", or a list of such texts")),
    };
    texts.iter().map(|text| text.parse()).collect::<Result<_, String>>().map_err(D::Error::custom)
}

impl AnswerRule {
    /// A rule that fits every answer, with this meaning.
    pub(super) fn any(then: Meaning) -> AnswerRule {
        AnswerRule {
            status: StatusSet::default(),
            header: Vec::new(),
            when: None,
            then,
            means: RefusalMeaning::default(),
            closes: RefusalScope::default(),
            wait: None,
            pause: None,
            name: None,
        }
    }

    /// Whether the status and the headers of an answer match.
    pub(super) fn matches(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        (self.status.is_empty() || self.status.has(status))
            && self.header.iter().all(|header| header.matches(headers))
    }

    /// Refuses a rule that says nothing of the answers that it fits, or whose pause is of no
    /// use.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.status.is_empty() && self.header.is_empty() && self.when.is_none() {
            return Err(
                "it fits every answer: give it status, headers, or when (jq over the body)".into(),
            );
        }
        if let Some(name) = &self.name {
            check_name(name)?;
            if !matches!(self.then, Meaning::Fail | Meaning::Retry) {
                return Err(format!(
                    "no row fails by {:?}: leave the name out, or write fail or retry",
                    self.then.name()
                ));
            }
        }
        let pauses = matches!(self.then, Meaning::Retry | Meaning::Refusal);
        if !pauses && (self.pause.is_some() || self.wait.is_some()) {
            return Err(format!(
                "nothing waits after {:?}: leave pause and wait out, or write retry or refusal",
                self.then.name()
            ));
        }
        Ok(())
    }
}

/// Maximum number of characters of a rule's name, by which failures are counted.
const MAX_NAME: usize = 60;

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = !name.trim().is_empty() && !name.chars().any(char::is_control);
    if is_plain && name.chars().count() <= MAX_NAME {
        Ok(())
    } else {
        Err(format!("its name is to be one line of 1 to {MAX_NAME} characters"))
    }
}

/// `[STATUS] [HEADER: VALUE or JQ] = MEANING [PAUSE] [NAME]`
impl FromStr for AnswerRule {
    type Err = String;

    fn from_str(text: &str) -> Result<AnswerRule, String> {
        let names = Meaning::ALL.map(Meaning::name).join(", ");
        let wrong = || {
            format!(
                "write '404 = missing', '200 .error = fail' or 'x-error: quota* = stop', where the last word is one of {names}"
            )
        };
        let (fits, then) = text.rsplit_once('=').ok_or_else(wrong)?;
        let mut words = then.split_whitespace();
        let named = |word| Meaning::ALL.into_iter().find(|meaning| meaning.name() == word);
        let then = words.next().and_then(named).ok_or_else(wrong)?;
        let mut rest: Vec<&str> = words.collect();
        let pause = rest.first().map(|pause| humantime::parse_duration(pause));
        let mut rule = AnswerRule::any(then);
        match pause {
            Some(Ok(pause)) => {
                rule.pause = Some(pause);
                rest.remove(0);
            }
            Some(Err(_)) if then != Meaning::Fail => {
                return Err(format!("{:?} is no pause: write '202 = retry 5s'", rest[0]));
            }
            Some(Err(_)) | None => {}
        }
        rule.name = Some(rest.join(" ")).filter(|name| !name.is_empty());
        let mut rest = fits.trim();
        let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if first.starts_with(|c: char| c.is_ascii_digit()) || first == "any" {
            rule.status = first.parse()?;
            rest = after.trim();
        }
        if is_header(rest) {
            rule.header = vec![rest.parse()?];
        } else if !rest.is_empty() {
            rule.when = Some(rest.to_owned());
        }
        rule.check()?;
        Ok(rule)
    }
}

/// Whether a text begins with the name of a header and a colon, which no jq program does.
fn is_header(text: &str) -> bool {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name = text.split_once(':').map(|(name, _)| name);
    name.is_some_and(|name| !name.is_empty() && name.chars().all(is_of_name))
}

/// The rule as the flag spells it.
impl fmt::Display for AnswerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fits = Vec::new();
        if !self.status.is_empty() {
            fits.push(self.status.to_string());
        }
        fits.extend(self.header.iter().map(HeaderPattern::to_string));
        fits.extend(self.when.clone());
        write!(f, "{} = {}", fits.join(" "), self.then.name())?;
        if let Some(pause) = self.pause {
            write!(f, " {}", duration::exact(pause))?;
        }
        match &self.name {
            Some(name) => write!(f, " {name}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_is_spelled_alike_in_a_flag_and_in_a_job() {
        for (flag, job) in [
            ("404 = missing", json!({"status": 404, "then": "missing"})),
            ("404=missing", json!({"status": ["404"], "then": "missing"})),
            ("500,503 = retry 5s", json!({"status": [500, 503], "then": "retry", "pause": "5s"})),
            (
                "403 x-error: quota* = stop",
                json!({"status": "403", "header": "X-Error: quota*", "then": "stop"}),
            ),
            ("x-error: * = fail", json!({"header": ["x-error"], "then": "fail"})),
            (
                "2xx .error == \"no = none\" = missing",
                json!({"status": "2xx", "when": ".error == \"no = none\"", "then": "missing"}),
            ),
            (
                "200 .error = fail no such item",
                json!({"status": 200, "when": ".error", "then": "fail", "name": "no such item"}),
            ),
            (
                "202 = retry 1s still made",
                json!({"status": 202, "then": "retry", "pause": "1s", "name": "still made"}),
            ),
            ("$status == 418 = ok", json!({"when": "$status == 418", "then": "ok"})),
        ] {
            let of_flag: AnswerRule = flag.parse().unwrap();
            let of_job: AnswerRule = serde_json::from_value(job).unwrap();
            assert_eq!(of_flag, of_job, "{flag}");
            assert_eq!(of_flag.to_string().parse::<AnswerRule>().unwrap(), of_flag);
            assert_eq!(serde_json::from_value::<AnswerRule>(json!(of_flag)).unwrap(), of_flag);
        }
    }

    #[test]
    fn a_wrong_rule_says_why() {
        for (flag, why) in [
            ("404", "the last word is one of ok, retry, missing, end, fail, refusal, stop"),
            ("404 = gone", "the last word is one of"),
            (".a == \"missing\"", "the last word is one of"),
            ("404 = missing 5s", "nothing waits after"),
            ("202 = retry soon", "\"soon\" is no pause"),
            ("500 = fail 5s", "nothing waits after"),
            ("200 = refusal 5s a name", "no row fails by \"refusal\""),
            ("= missing", "it fits every answer"),
            ("999 = ok", "is no HTTP status"),
        ] {
            let error = flag.parse::<AnswerRule>().unwrap_err();
            assert!(error.contains(why), "{flag}: {error}");
        }
    }

    #[test]
    fn a_header_is_like_its_pattern() {
        for (pattern, text, matches) in [
            ("quota*", "Quota exceeded", true),
            ("quota", "quota exceeded", false),
            ("*quota*", "the daily quota is used", true),
            ("*/json", "application/json", true),
            ("*/json", "application/json; charset=utf-8", false),
            ("a*b*c", "a-c-b", false),
            ("a*b*b", "ab", false),
            ("", "anything", true),
            ("*", "", true),
        ] {
            let header = HeaderPattern::new("x-error", pattern).unwrap();
            let headers =
                HeaderMap::from_iter([("x-error".parse().unwrap(), text.parse().unwrap())]);
            assert_eq!(header.matches(&headers), matches, "{pattern:?} {text:?}");
            assert!(!header.matches(&HeaderMap::new()));
        }
    }
}
