//! The table of answers: what an answer means, by its status, its headers and its body; the
//! pauses that it asks for, and when refusals end the run. Pure: time is an argument.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer_rule::{AnswerRule, HeaderPattern, Meaning, RefusalMeaning, RefusalScope};
use super::signals::{
    HeaderRules, HeardHeaders, InvalidHeader, exhausted_reset, parse_pause, retry_after,
};
use crate::error::Error;
use crate::extract::{AnswerContext, Extractor, stream_error};
use crate::limit::duration;
use crate::record::{Failure, FailureKind, excerpt};
use crate::send::Answer;

/// The last rows of every table, as a flag would spell them: the first one that fits counts.
pub const BUILT_IN: [(&str, &str); 6] = [
    ("2xx = ok", "a success"),
    ("429 = refusal", "too many requests"),
    ("503 retry-after: * = refusal", "a server that says when to come back"),
    ("idempotent-replayed: true = fail", "the answer that is kept for an Idempotency-Key"),
    ("408,5xx = retry", "failures that may pass"),
    ("any = fail", "all others"),
];

/// One entry of `[[refusal]]`: the answers by which a server refuses a request. It is a row of
/// the table of answers, after those of `[[answer]]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub pause: Option<Duration>,
}

/// Whether an answer is a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The answer is no refusal.
    Accepted,
    /// The decision needs the body.
    NeedsBody,
    /// The answer is a refusal, with the pause that the server asks for, if it does.
    Refused(RefusalMeaning, RefusalScope, Option<Duration>),
}

/// The decision of the table on a whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What the answer means for its row.
    pub then: Meaning,
    /// What a refusal means for the run.
    pub means: RefusalMeaning,
    /// The requests that a refusal holds for.
    pub closes: RefusalScope,
    /// The pause before the next request.
    pub pause: Option<Duration>,
    /// The row of the table that fits the answer.
    pub row: TableRow,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableRow {
    /// An entry of `[[answer]]`, from 1.
    Answer(usize),
    /// An entry of `[[refusal]]`, from 1.
    Refusal(usize),
    /// A row that every table has, from 0.
    BuiltIn(usize),
}

impl Default for Decision {
    /// That of the last row: the row fails.
    fn default() -> Decision {
        FAIL
    }
}

impl Decision {
    /// The decision as the limiter needs it.
    #[must_use]
    pub fn ruling(&self) -> Ruling {
        match self.then {
            Meaning::Refusal => Ruling::Refused(self.means, self.closes, self.pause),
            _ => Ruling::Accepted,
        }
    }

    /// Whether a rule of the job decided.
    #[must_use]
    pub fn is_of_job(&self) -> bool {
        !matches!(self.row, TableRow::BuiltIn(_))
    }
}

/// The compiled table of a job.
pub struct AnswerTable {
    rows: Vec<CheckedRule>,
    headers: HeaderRules,
    max_wait: Duration,
    max_refusals: u32,
}

struct CheckedRule {
    row: TableRow,
    rule: AnswerRule,
    when: Option<Extractor>,
    wait: Option<Extractor>,
}

/// The rows that every table has.
static LAST_ROWS: LazyLock<Vec<CheckedRule>> = LazyLock::new(|| {
    let rules = BUILT_IN.iter().enumerate();
    let parsed = rules.filter_map(|(index, (rule, _))| Some((index, rule.parse().ok()?)));
    let checked = parsed.map(|(index, rule)| CheckedRule {
        row: TableRow::BuiltIn(index),
        rule,
        when: None,
        wait: None,
    });
    checked.collect()
});

/// The decision on an answer that no row fits: there is none, as the last row fits all.
const FAIL: Decision = Decision {
    then: Meaning::Fail,
    means: RefusalMeaning::Limited,
    closes: RefusalScope::Key,
    pause: None,
    row: TableRow::BuiltIn(BUILT_IN.len() - 1),
};

/// Maximum number of characters of a stream's error in a message.
const MAX_DATA: usize = 200;

/// The error in which an answer ended that is a stream.
fn error_at_end(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    stream_error(body, headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()))
}

impl AnswerTable {
    /// Compiles the jq programs of the rules. The run ends at a longer pause than `max_wait`,
    /// and after more than `max_refusals` in a row. Pauses are read in the `headers` that the
    /// job believes.
    ///
    /// # Errors
    /// Which rule is wrong, and where.
    pub fn new(
        answers: &[AnswerRule],
        refusals: &[RefusalRule],
        headers: HeaderRules,
        max_wait: Duration,
        max_refusals: u32,
    ) -> Result<AnswerTable, Error> {
        let mut rows = Vec::new();
        for (number, rule) in (1..).zip(answers) {
            let checked = CheckedRule::new(TableRow::Answer(number), rule.clone());
            rows.push(
                checked.map_err(|why| Error::plan(format!("answer {number} (--answer): {why}")))?,
            );
        }
        for (number, rule) in (1..).zip(refusals) {
            let checked =
                rule.checked().and_then(|it| CheckedRule::new(TableRow::Refusal(number), it));
            rows.push(checked.map_err(|why| Error::plan(format!("refusal {number}: {why}")))?);
        }
        Ok(AnswerTable { rows, headers, max_wait, max_refusals })
    }

    /// Whether an answer is a refusal, as far as its head tells, which arrived at `now`.
    #[must_use]
    pub fn of_head(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        now: impl Fn() -> SystemTime,
    ) -> Ruling {
        let mut may_be_refused = false;
        let mut is_open = false;
        for checked in self.rows(status, headers) {
            let refuses = checked.rule.then == Meaning::Refusal;
            if checked.needs_body() {
                is_open |= checked.when.is_some();
                may_be_refused |= refuses;
            }
            if checked.when.is_some() {
                continue;
            }
            return if may_be_refused || (refuses && is_open) {
                Ruling::NeedsBody
            } else {
                let decision = checked.decision(self.headers.heard(headers), None, now);
                decision.ruling()
            };
        }
        Ruling::Accepted
    }

    /// Whether an answer is a success by its head alone, whatever its body says.
    #[must_use]
    pub fn accepts_head(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let first = self.rows(status, headers).next();
        first.is_some_and(|checked| checked.when.is_none() && checked.rule.then == Meaning::Ok)
    }

    /// The decision on a whole answer, which arrived `now`; programs may read its context.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn decide(
        &self,
        context: &AnswerContext<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        now: impl Fn() -> SystemTime,
    ) -> Result<Decision, Failure> {
        let heard = self.headers.heard(headers);
        for checked in self.rows(status, headers) {
            if checked.matches_body(body, context)? {
                if checked.is_usual_success() && error_at_end(headers, body).is_some() {
                    return Ok(FAIL);
                }
                let by_body = checked.wait(body, context, heard, &now)?;
                return Ok(checked.decision(heard, by_body, now));
            }
        }
        Ok(FAIL)
    }

    /// The failure of a row whose answer is a stream that ended in an error, if no rule of the job
    /// says what that means.
    #[must_use]
    pub fn stream_error(&self, answer: &Answer, decision: Decision) -> Option<Failure> {
        if decision != FAIL || !answer.status.is_success() {
            return None;
        }
        let error = error_at_end(&answer.headers, &answer.body)?;
        let detail = format!("the server ended its stream by {}", excerpt(&error, MAX_DATA));
        Some(Failure::new(FailureKind::Rule("stream error".to_owned()), detail))
    }

    /// Whether a whole answer that arrived at `now` is a refusal.
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
        let context = AnswerContext::of(status, headers);
        Ok(self.decide(&context, status, headers, body, || now)?.ruling())
    }

    /// The rows whose status and headers fit an answer.
    fn rows<'a>(
        &'a self,
        status: StatusCode,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = &'a CheckedRule> {
        let heard = self.headers.heard(headers);
        let own = self.rows.iter().filter(move |checked| checked.rule.matches(status, headers));
        own.chain(LAST_ROWS.iter().filter(move |checked| checked.matches_heard(status, heard)))
    }

    /// A row of the table as the flag spells it, with its place.
    #[must_use]
    pub fn describe(&self, row: TableRow) -> String {
        let mut rows = self.rows.iter().chain(LAST_ROWS.iter());
        let rule = rows.find(|checked| checked.row == row).map(|checked| checked.rule.to_string());
        let rule = rule.unwrap_or_default();
        match row {
            TableRow::Answer(number) => format!("answer {number}: {rule}"),
            TableRow::Refusal(number) => format!("refusal {number}: {rule}"),
            TableRow::BuiltIn(_) => format!("built in: {rule}"),
        }
    }

    /// The failure of a row by a decision: if its rule has a name, that is the kind.
    #[must_use]
    pub fn named(&self, failure: Failure, decision: Decision) -> Failure {
        let rule = self.rows.iter().find(|checked| checked.row == decision.row);
        match rule.and_then(|checked| checked.rule.name.clone()) {
            Some(name) => Failure { kind: FailureKind::Rule(name), ..failure },
            None => failure,
        }
    }

    /// Why the run ends rather than waits, after refusals with this pause, if it does.
    #[must_use]
    pub fn stop_reason(&self, pause: Option<Duration>, refusals: u32) -> Option<String> {
        let (max_wait, max_refusals) = (self.max_wait, self.max_refusals);
        if let Some(pause) = pause.filter(|pause| *pause > max_wait) {
            // What a date comes to has a fraction that says nothing.
            let pause = Duration::from_secs(pause.as_secs() + u64::from(pause.subsec_nanos() > 0));
            return Some(format!(
                "the server asks for a pause of {}, which is longer than {} (retry.max-wait or --max-wait)",
                duration::exact(pause),
                duration::exact(max_wait),
            ));
        }
        (refusals > max_refusals).then(|| {
            let times = if refusals == 1 { "once" } else { &format!("{refusals} times in a row") };
            format!("the server refused {times}, where requests in flight together count as one (retry.max-refusals or --max-refusals allows {max_refusals}): is the rate right?")
        })
    }
}

/// The decision of the rows that every table has, which read the `headers` alone.
#[must_use]
pub fn built_in_decision(
    status: StatusCode,
    headers: HeardHeaders<'_>,
    now: SystemTime,
) -> Decision {
    let found = LAST_ROWS.iter().find(|checked| checked.matches_heard(status, headers));
    found.map_or(FAIL, |checked| checked.decision(headers, None, || now))
}

impl RefusalRule {
    /// A 503 is a refusal, whether it states a pause or not.
    pub(crate) fn unavailable() -> RefusalRule {
        RefusalRule { status: vec![503], ..RefusalRule::default() }
    }

    /// The row of the table that it is.
    fn checked(&self) -> Result<AnswerRule, String> {
        if let Some(status) = self.status.iter().find(|s| !(100..600).contains(*s)) {
            return Err(format!("{status} is no HTTP status"));
        }
        let headers = self.headers.iter();
        let header = headers.map(|(name, value)| HeaderPattern::new(name, value));
        Ok(AnswerRule {
            status: self.status.as_slice().into(),
            header: header.collect::<Result<_, _>>()?,
            when: self.when.clone(),
            means: self.means,
            closes: self.closes,
            wait: self.wait.clone(),
            pause: self.pause,
            ..AnswerRule::any(Meaning::Refusal)
        })
    }
}

impl CheckedRule {
    fn new(row: TableRow, rule: AnswerRule) -> Result<CheckedRule, String> {
        rule.check()?;
        Ok(CheckedRule {
            row,
            when: compile("when", rule.when.as_deref())?,
            wait: compile("wait", rule.wait.as_deref())?,
            rule,
        })
    }

    /// Whether it is the row that takes any success for one, of no job.
    fn is_usual_success(&self) -> bool {
        self.row == TableRow::BuiltIn(0)
    }

    /// Whether the status and the headers that are believed match.
    fn matches_heard(&self, status: StatusCode, headers: HeardHeaders<'_>) -> bool {
        self.rule.matches(status, headers.map())
            && self.rule.header.iter().all(|header| headers.get(header.name()).is_some())
    }

    fn needs_body(&self) -> bool {
        self.when.is_some() || self.wait.is_some()
    }

    fn matches_body(&self, body: &[u8], context: &AnswerContext<'_>) -> Result<bool, Failure> {
        let Some(when) = &self.when else {
            return Ok(true);
        };
        Ok(!matches!(when.extract_one_in(body, context)?, Value::Null | Value::Bool(false)))
    }

    /// The pause that the body states.
    fn wait(
        &self,
        body: &[u8],
        context: &AnswerContext<'_>,
        headers: HeardHeaders<'_>,
        now: impl Fn() -> SystemTime,
    ) -> Result<Option<Duration>, Failure> {
        let Some(wait) = &self.wait else {
            return Ok(None);
        };
        Ok(match wait.extract_one_in(body, context)? {
            Value::Number(number) => parse_pause(&number.to_string(), headers, now()),
            Value::String(text) => parse_pause(&text, headers, now()),
            _ => None,
        })
    }

    fn decision(
        &self,
        headers: HeardHeaders<'_>,
        by_body: Option<Duration>,
        now: impl Fn() -> SystemTime,
    ) -> Decision {
        let AnswerRule { then, means, closes, .. } = self.rule;
        let pause = match (then, self.row) {
            (Meaning::Refusal, _) => retry_after(headers, now())
                .or(by_body)
                .or_else(|| exhausted_reset(headers, now()))
                .or(self.rule.pause),
            (Meaning::Retry, TableRow::Answer(_)) => {
                retry_after(headers, now()).or(by_body).or(self.rule.pause)
            }
            _ => None,
        };
        Decision { then, means, closes, pause, row: self.row }
    }
}

fn compile(name: &str, code: Option<&str>) -> Result<Option<Extractor>, String> {
    let program = code.map(|code| Extractor::of_one(name, code)).transpose();
    program.map_err(|error| error.to_string())
}

/// The `Retry-After` of a refusal, if it names no pause that can be read.
#[must_use]
pub fn invalid_pause(headers: HeardHeaders<'_>, now: SystemTime) -> Option<InvalidHeader> {
    let value = headers.get(RETRY_AFTER.as_str())?;
    if retry_after(headers, now).is_some() {
        return None;
    }
    let text = String::from_utf8_lossy(value.as_bytes());
    let why = format!("\"{text}\" is no pause");
    Some(InvalidHeader { header: RETRY_AFTER.to_string(), why })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn rules(text: &str) -> Result<AnswerTable, String> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Job {
            answer: Vec<AnswerRule>,
            refusal: Vec<RefusalRule>,
        }
        let job: Job = toml::from_str(text).map_err(|error| error.to_string())?;
        AnswerTable::new(&job.answer, &job.refusal, HeaderRules::default(), Duration::MAX, 20)
            .map_err(|error| error.to_string())
    }

    fn ruling(rules: &AnswerTable, status: u16, headers: &[(&str, &str)], body: &str) -> Ruling {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let status = StatusCode::from_u16(status).unwrap();
        match rules.of_head(status, &headers, || now) {
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
        let rules = AnswerTable::new(&[], &[], HeaderRules::default(), Duration::MAX, 20).unwrap();
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
        let rules = AnswerTable::new(&[], &[], headers, Duration::MAX, 20).unwrap();
        let retry_after = ("retry-after", "86400");
        let unnamed = Ruling::Refused(RefusalMeaning::Limited, RefusalScope::Key, None);
        assert_eq!(ruling(&rules, 429, &[retry_after], ""), unnamed);
        let left = [retry_after, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30")];
        assert_eq!(ruling(&rules, 429, &left, ""), limited(30));
        assert_eq!(ruling(&rules, 503, &[retry_after], ""), Ruling::Accepted);
    }

    fn meaning(table: &AnswerTable, status: u16, headers: &[(&str, &str)], body: &str) -> Decision {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let status = StatusCode::from_u16(status).unwrap();
        let context = AnswerContext::of(status, &headers);
        let now = || SystemTime::UNIX_EPOCH;
        table.decide(&context, status, &headers, body.as_bytes(), now).unwrap()
    }

    #[test]
    fn the_documentation_has_every_built_in_row() {
        let documented = include_str!("../../docs/answers.md");
        for (rule, about) in BUILT_IN {
            let (fits, meaning) = rule.rsplit_once(" = ").unwrap();
            let fits = fits.split_once(' ').filter(|(status, _)| !status.ends_with(':'));
            let fits = fits.map_or_else(
                || format!("`{}`", rule.rsplit_once(" = ").unwrap().0),
                |(status, header)| format!("`{status}` `{header}`"),
            );
            let line = format!("| {fits} | `{meaning}` | {about} |");
            assert!(documented.contains(&line), "{line}");
        }
    }

    #[test]
    fn every_built_in_row_decides() {
        assert_eq!(LAST_ROWS.len(), BUILT_IN.len());
        let table = rules("").unwrap();
        for (status, headers, then, row) in [
            (204, &[][..], Meaning::Ok, 0),
            (429, &[], Meaning::Refusal, 1),
            (503, &[("retry-after", "1")], Meaning::Refusal, 2),
            (500, &[("idempotent-replayed", "True")], Meaning::Fail, 3),
            (408, &[], Meaning::Retry, 4),
            (599, &[], Meaning::Retry, 4),
            (301, &[], Meaning::Fail, 5),
            (999, &[], Meaning::Fail, 5),
        ] {
            let decision = meaning(&table, status, headers, "");
            assert_eq!((decision.then, decision.row), (then, TableRow::BuiltIn(row)), "{status}");
        }
    }

    #[test]
    fn the_first_row_that_fits_decides() {
        let table = rules(
            r#"
            [[answer]]
            status = 404
            when = '.error == "no such id"'
            then = "missing"
            [[answer]]
            status = "4xx"
            header = "x-error: quota*"
            then = "stop"
            [[answer]]
            when = '$status == 200 and $headers["x-page"] == "last"'
            then = "end"
            [[answer]]
            status = 200
            when = 'test("Busy")'
            then = "retry"
            pause = "5s"
            [[answer]]
            status = 429
            then = "retry"
            [[refusal]]
            status = [404]
            "#,
        )
        .unwrap();
        let missing = r#"{"error": "no such id"}"#;
        for (status, headers, body, then, row) in [
            (404, &[][..], missing, Meaning::Missing, TableRow::Answer(1)),
            (404, &[("x-error", "Quota exceeded")], "{}", Meaning::Stop, TableRow::Answer(2)),
            (404, &[], "{}", Meaning::Refusal, TableRow::Refusal(1)),
            (200, &[("X-Page", "last")], "{}", Meaning::End, TableRow::Answer(3)),
            (200, &[], "<html>Busy", Meaning::Retry, TableRow::Answer(4)),
            (200, &[], "{}", Meaning::Ok, TableRow::BuiltIn(0)),
            (429, &[("retry-after", "9")], "", Meaning::Retry, TableRow::Answer(5)),
        ] {
            let decision = meaning(&table, status, headers, body);
            assert_eq!((decision.then, decision.row), (then, row), "{status} {headers:?} {body}");
        }
        let pause = |headers, body| meaning(&table, 200, headers, body).pause;
        assert_eq!(pause(&[], "<html>Busy"), Some(Duration::from_secs(5)));
        assert_eq!(pause(&[("retry-after", "9")], "<html>Busy"), Some(Duration::from_secs(9)));
        assert_eq!(table.describe(TableRow::Answer(2)), "answer 2: 4xx x-error: quota* = stop");
    }

    #[test]
    fn the_head_decides_unless_the_body_may_make_it_a_refusal() {
        let now = SystemTime::UNIX_EPOCH;
        let of_head = |table: &AnswerTable, status| {
            table.of_head(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), || now)
        };
        let fails = rules("[[answer]]\nwhen = \".error\"\nthen = \"fail\"").unwrap();
        assert_eq!(of_head(&fails, 200), Ruling::Accepted);
        assert_eq!(of_head(&fails, 429), Ruling::NeedsBody);
        let refuses = rules("[[answer]]\nwhen = \".error\"\nthen = \"refusal\"").unwrap();
        assert_eq!(of_head(&refuses, 200), Ruling::NeedsBody);
        let ends = rules("[[answer]]\nstatus = 429\nthen = \"missing\"").unwrap();
        assert_eq!(of_head(&ends, 429), Ruling::Accepted);
    }

    #[test]
    fn a_wrong_rule_is_named() {
        for (text, why) in [
            ("[[refusal]]\npause = \"1s\"", "refusal 1: it fits every answer"),
            ("[[refusal]]\nstatus = [7]", "7 is no HTTP status"),
            ("[[refusal]]\nwhen = \".a[\"", "not a jq program"),
            ("[[refusal]]\nstatus = [403]\nmeans = \"annoyed\"", "unknown variant"),
            ("[[answer]]\nthen = \"ok\"", "answer 1 (--answer): it fits every answer"),
            ("[[answer]]\nstatus = 404", "missing field `then`"),
            ("[[answer]]\nstatus = 404\nthen = \"gone\"", "unknown variant"),
            ("[[answer]]\nstatus = \"4x\"\nthen = \"ok\"", "is no HTTP status"),
            ("[[answer]]\nheader = \"a b: c\"\nthen = \"ok\"", "is no name of a header"),
            ("[[answer]]\nwhen = \".a[\"\nthen = \"ok\"", "not a jq program"),
            ("[[answer]]\nstatus = 404\nthen = \"ok\"\npause = \"1s\"", "nothing waits after"),
        ] {
            let error = rules(text).err().unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
