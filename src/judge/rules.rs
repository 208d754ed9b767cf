//! The rules by which answers are refusals, and the pauses that they ask for. Pure: time
//! is an argument.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::refusal::{RefusalMeaning, RefusalRule, RefusalScope, is_refusal};
use super::signals::{parse_pause, read_headers};
use crate::error::Error;
use crate::extract::{self, Extractor};
use crate::record::Failure;

/// The decision of the rules on an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The answer is no refusal.
    Accepted,
    /// The decision needs the body.
    NeedsBody,
    /// The answer is a refusal, with the pause that the server asks for, if it does.
    Refused(RefusalMeaning, RefusalScope, Option<Duration>),
}

/// The compiled rules of a job.
pub struct RefusalRules {
    rules: Vec<CheckedRule>,
}

struct CheckedRule {
    rule: RefusalRule,
    when: Option<Extractor>,
    wait: Option<Extractor>,
}

impl RefusalRules {
    /// The rules without those of a job.
    pub const DEFAULT: RefusalRules = RefusalRules { rules: Vec::new() };

    /// Compiles the jq programs of the rules.
    ///
    /// # Errors
    /// Which rule is wrong, and where.
    pub fn new(rules: &[RefusalRule]) -> Result<RefusalRules, Error> {
        let checked = (1..).zip(rules).map(|(number, rule)| {
            CheckedRule::new(rule).map_err(|why| Error::plan(format!("refusal {number}: {why}")))
        });
        Ok(RefusalRules { rules: checked.collect::<Result<_, _>>()? })
    }

    /// The ruling on the head of an answer that arrived at `now`.
    #[must_use]
    pub fn of_head(&self, status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Ruling {
        // Without the body no program runs, and none fails.
        let ruling = self.rule(status, headers, None, now);
        ruling.unwrap_or(Ruling::NeedsBody)
    }

    /// The ruling on a whole answer that arrived at `now`.
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
        for checked in self.rules.iter().filter(|checked| checked.rule.matches(status, headers)) {
            let Some(body) = body.or((!checked.needs_body()).then_some(b"")) else {
                return Ok(Ruling::NeedsBody);
            };
            if checked.matches_body(body)? {
                let by_body = checked.wait(body, headers, now)?;
                let wait = retry_after(headers, now)
                    .or(by_body)
                    .or_else(|| exhausted_reset(headers, now))
                    .or(checked.rule.pause);
                let RefusalRule { means, closes, .. } = checked.rule;
                return Ok(Ruling::Refused(means, closes, wait));
            }
        }
        Ok(if is_refusal(status, headers) {
            let wait = retry_after(headers, now).or_else(|| exhausted_reset(headers, now));
            Ruling::Refused(RefusalMeaning::Limited, RefusalScope::Key, wait)
        } else {
            Ruling::Accepted
        })
    }
}

impl CheckedRule {
    fn new(rule: &RefusalRule) -> Result<CheckedRule, String> {
        if rule.status.is_empty() && rule.headers.is_empty() && rule.when.is_none() {
            return Err(
                "it fits every answer: give it status, headers, or when (jq over the body)".into(),
            );
        }
        if let Some(status) = rule.status.iter().find(|s| !(100..600).contains(*s)) {
            return Err(format!("{status} is no HTTP status"));
        }
        Ok(CheckedRule {
            when: program("when", rule.when.as_deref())?,
            wait: program("wait", rule.wait.as_deref())?,
            rule: rule.clone(),
        })
    }

    fn needs_body(&self) -> bool {
        self.when.is_some() || self.wait.is_some()
    }

    fn matches_body(&self, body: &[u8]) -> Result<bool, Failure> {
        let Some(when) = &self.when else {
            return Ok(true);
        };
        Ok(!matches!(value(when, body)?, Value::Null | Value::Bool(false)))
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
            Value::Number(number) => parse_pause(&number.to_string(), headers, now),
            Value::String(text) => parse_pause(&text, headers, now),
            _ => None,
        })
    }
}

/// The first value of a program, or null.
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

/// The pause that `Retry-After` asks for, in full.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    parse_pause(text, headers, now)
}

/// The time until the last exhausted limit resets.
fn exhausted_reset(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let infos = read_headers(headers, &[], now).signals.into_iter();
    let exhausted = infos.filter(|signal| signal.info.remaining == Some(0));
    exhausted.filter_map(|signal| signal.info.reset).max()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

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
            Ruling::NeedsBody => rules.of_answer(status, &headers, body.as_bytes(), now).unwrap(),
            ruling => ruling,
        }
    }

    fn limited(seconds: u64) -> Ruling {
        Ruling::Refused(
            RefusalMeaning::Limited,
            RefusalScope::Key,
            Some(Duration::from_secs(seconds)),
        )
    }

    #[test]
    fn without_rules_a_429_is_a_refusal_with_the_most_exact_pause() {
        let rules = RefusalRules::new(&[]).unwrap();
        let left = |left| ("x-ratelimit-remaining", left);
        let reset = ("x-ratelimit-reset", "30");
        for (status, headers, expected) in [
            (429, &[][..], Ruling::Refused(RefusalMeaning::Limited, RefusalScope::Key, None)),
            (429, &[("retry-after", "7"), left("0"), reset], limited(7)),
            (429, &[left("0"), reset], limited(30)),
            (
                429,
                &[left("5"), reset],
                Ruling::Refused(RefusalMeaning::Limited, RefusalScope::Key, None),
            ),
            (403, &[left("0"), reset], Ruling::Accepted),
            (503, &[("retry-after", "7")], limited(7)),
            (200, &[("retry-after", "7")], Ruling::Accepted),
        ] {
            assert_eq!(ruling(&rules, status, headers, ""), expected, "{status} {headers:?}");
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
        let gone = Ruling::Refused(RefusalMeaning::QuotaGone, RefusalScope::Key, None);
        let banned = Ruling::Refused(RefusalMeaning::Banned, RefusalScope::Run, None);
        let reset = ("x-ratelimit-reset", "2000000030");
        for (status, headers, body, expected) in [
            (418, &[][..], "", banned),
            (403, &[("X-RateLimit-Remaining", "0"), reset], "", limited(30)),
            (403, &[("x-ratelimit-remaining", "7"), reset], "", Ruling::Accepted),
            (403, &[("retry-after", "9")], "", limited(9)),
            (200, &[], r#"{"Information": "25 requests per day"}"#, gone),
            (200, &[], r#"{"Note": "slow down"}"#, limited(60)),
            (200, &[], r#"{"price": 7}"#, Ruling::Accepted),
            (200, &[], "no json", Ruling::Accepted),
            (
                400,
                &[],
                r#"{"error": "slow", "retry_after": 1.5}"#,
                Ruling::Refused(
                    RefusalMeaning::Limited,
                    RefusalScope::Key,
                    Some(Duration::from_millis(1_500)),
                ),
            ),
            (
                400,
                &[],
                r#"{"error": "slow", "retry_after": -1}"#,
                Ruling::Refused(RefusalMeaning::Limited, RefusalScope::Key, None),
            ),
            (400, &[], r#"{"error": "bad"}"#, Ruling::Accepted),
            (429, &[], "", Ruling::Refused(RefusalMeaning::Limited, RefusalScope::Key, None)),
        ] {
            assert_eq!(
                ruling(&rules, status, headers, body),
                expected,
                "{status} {headers:?} {body}"
            );
        }
    }

    #[test]
    fn a_wrong_rule_is_named() {
        for (text, why) in [
            ("[[refusal]]\npause = \"1s\"", "refusal 1: it fits every answer"),
            ("[[refusal]]\nstatus = [7]", "7 is no HTTP status"),
            ("[[refusal]]\nwhen = \".a[\"", "not a jq program"),
            ("[[refusal]]\nstatus = [403]\nmeans = \"annoyed\"", "unknown variant"),
        ] {
            let error = rules(text).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
