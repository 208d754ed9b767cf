//! Refusals: the answers that are one, the pauses that they ask for, and when they end the
//! run. Pure: time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::signals::{HeaderRules, HeardHeaders, parse_pause, read_headers};
use crate::error::Error;
use crate::extract::Extractor;
use crate::limit::duration;
use crate::record::Failure;

/// One entry of `[[refusal]]`: the answers by which a server refuses a request. The first
/// rule that matches counts; a 429, and a 503 with `Retry-After`, need no rule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RefusalRule {
    /// The statuses of the answers; any if none is given.
    pub status: Vec<u16>,
    /// Headers that the answer must have with these values; an empty value matches any.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// A jq program over the body that must give neither null nor false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The meaning of the refusal.
    pub means: RefusalMeaning,
    /// The requests that the refusal holds for.
    pub closes: RefusalScope,
    /// A jq program over the body that gives the pause: seconds, or a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
    /// The pause where the answer states none.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub pause: Option<Duration>,
}

/// The meaning of a refusal for the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[serde(rename_all = "kebab-case")]
pub enum RefusalScope {
    /// The requests with the same key, where limits or signals hold for each key.
    #[default]
    Key,
    /// All requests of the run.
    Run,
}

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
    headers: HeaderRules,
    max_wait: Duration,
    max_refusals: u32,
}

struct CheckedRule {
    rule: RefusalRule,
    when: Option<Extractor>,
    wait: Option<Extractor>,
}

impl RefusalRules {
    /// Compiles the jq programs of the rules. The run ends at a longer pause than `max_wait`,
    /// and after more than `max_refusals` in a row. Pauses are read in the `headers` that the
    /// job believes.
    ///
    /// # Errors
    /// Which rule is wrong, and where.
    pub fn new(
        rules: &[RefusalRule],
        headers: HeaderRules,
        max_wait: Duration,
        max_refusals: u32,
    ) -> Result<RefusalRules, Error> {
        let checked = (1..).zip(rules).map(|(number, rule)| {
            CheckedRule::new(rule).map_err(|why| Error::plan(format!("refusal {number}: {why}")))
        });
        Ok(RefusalRules {
            rules: checked.collect::<Result<_, _>>()?,
            headers,
            max_wait,
            max_refusals,
        })
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
        let heard = self.headers.heard(headers);
        for checked in self.rules.iter().filter(|checked| checked.rule.matches(status, headers)) {
            let Some(body) = body.or((!checked.needs_body()).then_some(b"")) else {
                return Ok(Ruling::NeedsBody);
            };
            if checked.matches_body(body)? {
                let by_body = checked.wait(body, heard, now)?;
                let wait = retry_after(heard, now)
                    .or(by_body)
                    .or_else(|| exhausted_reset(heard, now))
                    .or(checked.rule.pause);
                let RefusalRule { means, closes, .. } = checked.rule;
                return Ok(Ruling::Refused(means, closes, wait));
            }
        }
        Ok(default_ruling(status, heard, now))
    }

    /// Why the run ends rather than waits, after refusals with this pause, if it does.
    #[must_use]
    pub fn stop_reason(&self, pause: Option<Duration>, refusals: u32) -> Option<String> {
        let (max_wait, max_refusals) = (self.max_wait, self.max_refusals);
        if let Some(pause) = pause.filter(|pause| *pause > max_wait) {
            return Some(format!(
                "the server asks for a pause of {}, which is longer than {} (retry.max-wait or --max-wait)",
                duration::exact(pause),
                duration::exact(max_wait),
            ));
        }
        (refusals > max_refusals).then(|| {
            format!("the server refused {refusals} times in a row, where requests in flight together count as one (retry.max-refusals or --max-refusals allows {max_refusals}): is the rate right?")
        })
    }
}

/// The ruling on an answer without the rules of a job: a 429 is a refusal, and a 503 with
/// `Retry-After`.
#[must_use]
pub fn default_ruling(status: StatusCode, headers: HeardHeaders<'_>, now: SystemTime) -> Ruling {
    let is_refusal = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => headers.get(RETRY_AFTER.as_str()).is_some(),
        _ => false,
    };
    if !is_refusal {
        return Ruling::Accepted;
    }
    let wait = retry_after(headers, now).or_else(|| exhausted_reset(headers, now));
    Ruling::Refused(RefusalMeaning::Limited, RefusalScope::Key, wait)
}

impl RefusalRule {
    /// Whether the status and the headers of an answer match.
    fn matches(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let has = |(name, wanted): (&String, &String)| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.is_some_and(|value| wanted.is_empty() || value.trim() == wanted)
        };
        (self.status.is_empty() || self.status.contains(&status.as_u16()))
            && self.headers.iter().all(has)
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
            when: compile("when", rule.when.as_deref())?,
            wait: compile("wait", rule.wait.as_deref())?,
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
        Ok(!matches!(when.extract_one(body)?, Value::Null | Value::Bool(false)))
    }

    fn wait(
        &self,
        body: &[u8],
        headers: HeardHeaders<'_>,
        now: SystemTime,
    ) -> Result<Option<Duration>, Failure> {
        let Some(wait) = &self.wait else {
            return Ok(None);
        };
        Ok(match wait.extract_one(body)? {
            Value::Number(number) => parse_pause(&number.to_string(), headers, now),
            Value::String(text) => parse_pause(&text, headers, now),
            _ => None,
        })
    }
}

fn compile(name: &str, code: Option<&str>) -> Result<Option<Extractor>, String> {
    let program = code.map(|code| Extractor::of_one(name, code)).transpose();
    program.map_err(|error| error.to_string())
}

/// The pause that `Retry-After` asks for, in full.
fn retry_after(headers: HeardHeaders<'_>, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER.as_str())?.to_str().ok()?;
    parse_pause(text, headers, now)
}

/// The time until the last exhausted limit resets.
fn exhausted_reset(headers: HeardHeaders<'_>, now: SystemTime) -> Option<Duration> {
    let infos = read_headers(headers, now).signals.into_iter();
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
        RefusalRules::new(&job.refusal, HeaderRules::default(), Duration::MAX, 20)
            .map_err(|error| error.to_string())
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
        let rules = RefusalRules::new(&[], HeaderRules::default(), Duration::MAX, 20).unwrap();
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
    fn a_retry_after_that_a_job_ignores_names_no_pause() {
        let headers = HeaderRules::new(&[], &["retry-after".to_owned()]).unwrap();
        let rules = RefusalRules::new(&[], headers, Duration::MAX, 20).unwrap();
        let retry_after = ("retry-after", "86400");
        let unnamed = Ruling::Refused(RefusalMeaning::Limited, RefusalScope::Key, None);
        assert_eq!(ruling(&rules, 429, &[retry_after], ""), unnamed);
        let left = [retry_after, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30")];
        assert_eq!(ruling(&rules, 429, &left, ""), limited(30));
        assert_eq!(ruling(&rules, 503, &[retry_after], ""), Ruling::Accepted);
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
