//! Which answers are refusals, what they mean, and how long to wait: by the job's
//! rules, and by those that hold everywhere. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::refusal::is_refusal;
use super::signals::{pause, signals};
use crate::error::Error;
use crate::extract::{self, Extractor};
use crate::record::Failure;

/// One entry of `[[refusal]]`: answers that mean that the server won't take more.
/// The first rule that fits counts; a 429, and a 503 that says when to come back,
/// are refusals without any.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RefusalRule {
    /// The statuses that it is for; none is any.
    pub status: Vec<u16>,
    /// Headers that must be there with these values, or any with an empty one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// jq over the body that must give neither null nor false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What it means.
    pub means: Meaning,
    /// Whom it concerns.
    pub closes: Closes,
    /// jq over the body for when to come back: seconds from now, or a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// How long to wait where the answer doesn't say.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub pause: Option<Duration>,
}

/// What a refusal means for the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// Wait, and go on.
    #[default]
    Limited,
    /// There is no more for a long time: the run stops, and says until when.
    QuotaGone,
    /// The server wants nothing more of us: the run stops at once.
    Banned,
}

/// Whom a refusal concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Closes {
    /// Those with the same key, where limits or signals hold for each.
    #[default]
    Key,
    /// All of the run.
    Run,
}

/// What the rules make of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// It is no refusal.
    Taken,
    /// Its body will tell.
    Open,
    /// It is one; with the pause that the server asks for, if it does.
    Refused(Meaning, Closes, Option<Duration>),
}

/// The rules of a job, checked.
pub struct RefusalRules {
    rules: Vec<CheckedRule>,
}

struct CheckedRule {
    rule: RefusalRule,
    when: Option<Extractor>,
    wait: Option<Extractor>,
}

impl RefusalRules {
    /// What holds everywhere.
    pub const GENERAL: RefusalRules = RefusalRules { rules: Vec::new() };

    /// Compiles what is jq in them.
    ///
    /// # Errors
    /// Which rule is wrong, and where.
    pub fn new(rules: &[RefusalRule]) -> Result<RefusalRules, Error> {
        let checked = (1..).zip(rules).map(|(number, rule)| {
            rule.check()
                .map_err(|why| Error::plan(format!("refusal {number}: {why}")))
        });
        Ok(RefusalRules {
            rules: checked.collect::<Result<_, _>>()?,
        })
    }

    /// What the head of an answer that came at `now` means.
    #[must_use]
    pub fn of_head(&self, status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Ruling {
        // Without the body no program runs.
        let ruling = self.rule(status, headers, None, now);
        ruling.unwrap_or(Ruling::Open)
    }

    /// The same for the whole answer.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn of_answer(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: SystemTime,
    ) -> Result<Ruling, Failure> {
        self.rule(status, headers, Some(body), now)
    }

    fn rule(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: Option<&[u8]>,
        now: SystemTime,
    ) -> Result<Ruling, Failure> {
        for checked in self.rules.iter().filter(|c| c.rule.fits(status, headers)) {
            let Some(body) = body.or((!checked.needs_body()).then_some(b"")) else {
                return Ok(Ruling::Open);
            };
            if checked.says(body)? {
                let by_body = checked.wait(body, headers, now)?;
                let wait = header_pause(headers, now)
                    .or(by_body)
                    .or_else(|| reset(headers, now))
                    .or(checked.rule.pause);
                let RefusalRule { means, closes, .. } = checked.rule;
                return Ok(Ruling::Refused(means, closes, wait));
            }
        }
        Ok(if is_refusal(status, headers) {
            let wait = header_pause(headers, now).or_else(|| reset(headers, now));
            Ruling::Refused(Meaning::Limited, Closes::Key, wait)
        } else {
            Ruling::Taken
        })
    }
}

impl RefusalRule {
    fn check(&self) -> Result<CheckedRule, String> {
        if self.status.is_empty() && self.headers.is_empty() && self.when.is_none() {
            return Err(
                "it fits every answer: give it status, headers, or when (jq over the body)".into(),
            );
        }
        if let Some(status) = self.status.iter().find(|s| !(100..600).contains(*s)) {
            return Err(format!("{status} is no HTTP status"));
        }
        Ok(CheckedRule {
            when: program("when", self.when.as_deref())?,
            wait: program("wait", self.wait.as_deref())?,
            rule: self.clone(),
        })
    }

    fn fits(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let has = |(name, wanted): (&String, &String)| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.is_some_and(|value| wanted.is_empty() || value.trim() == wanted)
        };
        (self.status.is_empty() || self.status.contains(&status.as_u16()))
            && self.headers.iter().all(has)
    }
}

impl CheckedRule {
    fn needs_body(&self) -> bool {
        self.when.is_some() || self.wait.is_some()
    }

    fn says(&self, body: &[u8]) -> Result<bool, Failure> {
        let Some(when) = &self.when else {
            return Ok(true);
        };
        Ok(!matches!(
            value(when, body)?,
            Value::Null | Value::Bool(false)
        ))
    }

    fn wait(
        &self,
        body: &[u8],
        headers: &HeaderMap,
        now: SystemTime,
    ) -> Result<Option<Duration>, Failure> {
        let Some(wait) = &self.wait else {
            return Ok(None);
        };
        Ok(match value(wait, body)? {
            Value::Number(number) => pause(&number.to_string(), headers, now),
            Value::String(text) => pause(&text, headers, now),
            _ => None,
        })
    }
}

/// A program's value, or null where it has none.
fn value(program: &Extractor, body: &[u8]) -> Result<Value, Failure> {
    let values = program.extract_any(body)?;
    Ok(values.into_iter().next().unwrap_or_default())
}

fn program(name: &str, code: Option<&str>) -> Result<Option<Extractor>, String> {
    let Some(code) = code else {
        return Ok(None);
    };
    let settings: extract::Settings = std::iter::once((format!("{name}?"), code.into())).collect();
    let compiled = Extractor::new(&settings).map_err(|error| error.to_string())?;
    Ok(Some(compiled))
}

/// What `Retry-After` asks for, in full.
fn header_pause(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    pause(text, headers, now)
}

/// When the last of those limits comes back of which nothing is left.
fn reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let heard = signals(headers, &[], now).signals.into_iter();
    let used_up = heard.filter(|signal| signal.info.remaining == Some(0));
    used_up.filter_map(|signal| signal.info.reset).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<RefusalRules, String> {
        #[derive(Deserialize)]
        struct Job {
            refusal: Vec<RefusalRule>,
        }
        let job: Job = toml::from_str(text).map_err(|error| error.to_string())?;
        RefusalRules::new(&job.refusal).map_err(|error| error.to_string())
    }

    fn ruling(rules: &RefusalRules, status: u16, headers: &[(&str, &str)], body: &str) -> Ruling {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let status = StatusCode::from_u16(status).unwrap();
        match rules.of_head(status, &headers, now) {
            Ruling::Open => rules
                .of_answer(status, &headers, body.as_bytes(), now)
                .unwrap(),
            ruling => ruling,
        }
    }

    fn limited(seconds: u64) -> Ruling {
        Ruling::Refused(
            Meaning::Limited,
            Closes::Key,
            Some(Duration::from_secs(seconds)),
        )
    }

    #[test]
    fn without_rules_a_429_counts_and_the_most_exact_word_on_when_to_come_back() {
        let rules = RefusalRules::new(&[]).unwrap();
        let left = |left| ("x-ratelimit-remaining", left);
        let reset = ("x-ratelimit-reset", "30");
        for (status, headers, expected) in [
            (
                429,
                &[][..],
                Ruling::Refused(Meaning::Limited, Closes::Key, None),
            ),
            (429, &[("retry-after", "7"), left("0"), reset], limited(7)),
            (429, &[left("0"), reset], limited(30)),
            (
                429,
                &[left("5"), reset],
                Ruling::Refused(Meaning::Limited, Closes::Key, None),
            ),
            (403, &[left("0"), reset], Ruling::Taken),
            (503, &[("retry-after", "7")], limited(7)),
            (200, &[("retry-after", "7")], Ruling::Taken),
        ] {
            assert_eq!(
                ruling(&rules, status, headers, ""),
                expected,
                "{status} {headers:?}"
            );
        }
    }

    #[test]
    fn rules_tell_limited_from_gone_from_banned() {
        let rules = rules(
            r#"
            [[refusal]]
            status = [418]
            means = "banned"
            closes = "run"
            [[refusal]]
            status = [403]
            headers = { x-ratelimit-remaining = "0" }
            [[refusal]]
            status = [403]
            headers = { retry-after = "" }
            [[refusal]]
            status = [200]
            when = '.Information | test("per day")'
            means = "quota-gone"
            [[refusal]]
            status = [200]
            when = ".Note"
            pause = "60s"
            [[refusal]]
            status = [400]
            when = '.error == "slow"'
            wait = ".retry_after"
            "#,
        )
        .unwrap();
        let gone = Ruling::Refused(Meaning::QuotaGone, Closes::Key, None);
        let banned = Ruling::Refused(Meaning::Banned, Closes::Run, None);
        let reset = ("x-ratelimit-reset", "2000000030");
        for (status, headers, body, expected) in [
            (418, &[][..], "", banned),
            (
                403,
                &[("X-RateLimit-Remaining", "0"), reset],
                "",
                limited(30),
            ),
            (
                403,
                &[("x-ratelimit-remaining", "7"), reset],
                "",
                Ruling::Taken,
            ),
            (403, &[("retry-after", "9")], "", limited(9)),
            (200, &[], r#"{"Information": "25 requests per day"}"#, gone),
            (200, &[], r#"{"Note": "slow down"}"#, limited(60)),
            (200, &[], r#"{"price": 7}"#, Ruling::Taken),
            (200, &[], "no json", Ruling::Taken),
            (
                400,
                &[],
                r#"{"error": "slow", "retry_after": 1.5}"#,
                Ruling::Refused(
                    Meaning::Limited,
                    Closes::Key,
                    Some(Duration::from_millis(1_500)),
                ),
            ),
            (
                400,
                &[],
                r#"{"error": "slow", "retry_after": -1}"#,
                Ruling::Refused(Meaning::Limited, Closes::Key, None),
            ),
            (400, &[], r#"{"error": "bad"}"#, Ruling::Taken),
            (
                429,
                &[],
                "",
                Ruling::Refused(Meaning::Limited, Closes::Key, None),
            ),
        ] {
            assert_eq!(
                ruling(&rules, status, headers, body),
                expected,
                "{status} {headers:?} {body}"
            );
        }
    }

    #[test]
    fn a_rule_that_is_wrong_says_which_and_why() {
        for (text, why) in [
            (
                "[[refusal]]\npause = \"1s\"",
                "refusal 1: it fits every answer",
            ),
            ("[[refusal]]\nstatus = [7]", "7 is no HTTP status"),
            ("[[refusal]]\nwhen = \".a[\"", "not a jq program"),
            (
                "[[refusal]]\nstatus = [403]\nmeans = \"annoyed\"",
                "unknown variant",
            ),
        ] {
            let error = rules(text).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
