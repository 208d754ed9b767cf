//! (6) The outcome of an attempt to a verdict. Pure: time and chance are arguments.

use std::time::Duration;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::limit::MaxWait;
use crate::record::{Failure, FailureKind};
use crate::send::{Answer, Delivery, SendError};
use crate::wording::worded;

mod answer_rule;
mod answers;
mod breaker;
mod max_failures;
pub mod signals;
mod status_set;

pub use answer_rule::{AnswerRule, Meaning, RefusalMeaning, RefusalScope};
pub use answers::{
    AnswerTable, BUILT_IN, Decision, RefusalRule, Ruling, TableRow, built_in_decision,
    invalid_pause,
};
pub use breaker::{
    Admission, Breaker, Conclusion, OriginFailure, OutageState, Standing, Suspicion, Ticket,
};
pub use max_failures::MaxFailures;
pub use status_set::StatusSet;

/// Maximum pause after the first attempt; it doubles with each retry.
const BACKOFF_BASE: Duration = Duration::from_millis(500);
/// Maximum pause that the server may ask for, where the job names none.
const MAX_SERVER_WAIT: Duration = Duration::from_secs(3_600);
/// Maximum pause between attempts.
const BACKOFF_CAP: Duration = Duration::from_secs(30);

/// The `[retry]` part of a job: when to try again, and when to give up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Maximum number of attempts after a row's first one; refusals don't count.
    pub retries: u32,
    /// Maximum time that a request waits for a limit, or for the server; a longer wait stops
    /// the run. Without it, the maximum is an hour for the server, and none for a limit.
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    #[serde(with = "humantime_serde")]
    pub max_wait: Option<Duration>,
    /// Maximum number of refusals in a row; more stop the run.
    pub max_refusals: u32,
    /// Maximum number of rows that may fail, or their share; more stop the run.
    #[cfg_attr(
        feature = "cli",
        schemars(with = "Option<crate::limit::schema::Either<u64, String>>")
    )]
    pub max_failures: Option<MaxFailures>,
    /// Whether the run ends when its first answers all fail alike.
    pub brake: bool,
    /// Number of attempts in a row without a success after which an origin is out; 0 if it
    /// never is.
    pub outage_failures: u32,
    /// Minimum time from the first of them.
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::DurationText"))]
    #[serde(with = "humantime_serde")]
    pub outage_after: Duration,
    /// The treatment of a request that is not idempotent and whose outcome is unknown.
    pub unknown: UnknownOutcome,
    /// A template for an `Idempotency-Key` header, by which the server recognises a
    /// request, or `auto`; requests whose outcome is unknown are then sent again.
    pub idempotency_key: Option<String>,
    /// The time for which the server keeps a key; a request whose outcome is unknown is
    /// not sent again later.
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    #[serde(with = "humantime_serde")]
    pub idempotency_ttl: Option<Duration>,
}

/// The treatment of a POST whose outcome is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum UnknownOutcome {
    /// The row fails, so that nothing is done twice.
    #[default]
    Fail,
    /// The request is sent again like a GET.
    Resend,
}

/// The consequence of an attempt for its row.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The row is done: the answer is a success.
    Done,
    /// Another attempt follows after this pause.
    Retry(Duration),
    /// The row ends without values.
    GiveUp(Failure),
    /// The run stops, and the row has no record.
    Stop,
}

/// An answer and the decision on it, or why none came.
pub type Judged<'a> = Result<(&'a Answer, Decision), &'a SendError>;

/// The attempts of one row so far that count as retries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    used: u32,
    /// Whether sending the request twice does no more than sending it once.
    idempotent: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            retries: 4,
            max_wait: None,
            max_refusals: 20,
            max_failures: None,
            brake: true,
            outage_failures: 20,
            outage_after: Duration::from_secs(1),
            unknown: UnknownOutcome::Fail,
            idempotency_key: None,
            idempotency_ttl: None,
        }
    }
}

impl Settings {
    /// Maximum pause that the server may ask for.
    #[must_use]
    pub fn max_server_wait(&self) -> Duration {
        self.max_wait.unwrap_or(MAX_SERVER_WAIT)
    }
}

impl Tries {
    /// No attempt yet of a request with this method.
    #[must_use]
    pub fn of(method: &Method) -> Tries {
        Tries { used: 0, idempotent: method.is_idempotent() }
    }

    /// This number of attempts of a request that may be repeated.
    #[must_use]
    pub fn after(used: u32) -> Tries {
        Tries { used, idempotent: true }
    }

    /// No attempt yet of a request that may be repeated, of any method.
    #[must_use]
    pub fn repeatable() -> Tries {
        Tries { used: 0, idempotent: true }
    }
}

/// Judges the attempts of a plan.
#[derive(Debug, Clone)]
pub struct Judge {
    settings: Settings,
}

impl Judge {
    /// A judge by these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Judge {
        Judge { settings }
    }

    /// Whether a request whose outcome is unknown is sent again.
    #[must_use]
    pub fn resends(&self, tries: Tries) -> bool {
        tries.idempotent
            || self.settings.unknown == UnknownOutcome::Resend
            || self.settings.idempotency_key.is_some()
    }

    /// The breaker of an origin; none if the job wants none.
    #[must_use]
    pub fn breaker(&self) -> Option<Breaker> {
        let Settings { outage_failures, outage_after, .. } = self.settings;
        (outage_failures > 0).then(|| Breaker::new(outage_failures, outage_after))
    }

    /// Whether an attempt that ended in this way may be followed by another.
    #[must_use]
    pub fn may_go_again(&self, tries: Tries, delivery: Delivery) -> bool {
        delivery != Delivery::Unknown || self.resends(tries)
    }

    /// Maximum time that a request waits for its permit.
    #[must_use]
    pub fn max_wait(&self) -> MaxWait {
        let server = Some(self.settings.max_server_wait());
        MaxWait { limit: self.settings.max_wait, server }
    }

    /// The time for which a request whose outcome is unknown can be sent again, if it is
    /// bounded.
    #[must_use]
    pub fn key_ttl(&self) -> Option<Duration> {
        let is_kept = self.settings.unknown == UnknownOutcome::Fail;
        self.settings.idempotency_ttl.filter(|_| is_kept)
    }

    /// Whether an intent must be logged before the request is sent.
    #[must_use]
    pub fn needs_intent(&self, tries: Tries) -> bool {
        !self.resends(tries) || (self.key_ttl().is_some() && !tries.idempotent)
    }

    /// The verdict on one attempt. `chance` lies between 0 and 1.
    #[must_use]
    pub fn verdict(&self, tries: &mut Tries, judged: Judged<'_>, chance: f64) -> Verdict {
        let (failure, pause) = match judged {
            Err(error) => (error.failure(), None),
            Ok((answer, decision)) => match decision.then {
                Meaning::Ok => return Verdict::Done,
                Meaning::Stop => return Verdict::Stop,
                Meaning::Missing => return nothing(FailureKind::Missing, answer),
                Meaning::End => return nothing(FailureKind::EndOfPages, answer),
                Meaning::Fail => return Verdict::GiveUp(failure(answer)),
                Meaning::Retry | Meaning::Refusal => (answer.failure(), decision.pause),
            },
        };
        let is_too_long = pause.is_some_and(|pause| pause > self.settings.max_server_wait());
        match delivery(judged) {
            Delivery::Final => Verdict::GiveUp(failure),
            Delivery::Unknown if !self.resends(*tries) => {
                Verdict::GiveUp(unknown_failure(judged, failure))
            }
            _ if tries.used >= self.settings.retries || is_too_long => Verdict::GiveUp(failure),
            _ => {
                tries.used += 1;
                Verdict::Retry(pause.unwrap_or_else(|| backoff(tries.used - 1, chance)))
            }
        }
    }
}

/// The delivery of an attempt, which decides whether another may follow. By a rule of the job
/// that says to try again, the server did nothing.
#[must_use]
pub fn delivery(judged: Judged<'_>) -> Delivery {
    match judged {
        Err(error) => error.delivery,
        Ok((_, decision)) if decision.is_of_job() => match decision.then {
            Meaning::Retry | Meaning::Refusal | Meaning::Stop => Delivery::Rejected,
            _ => Delivery::Final,
        },
        Ok((answer, _)) => match answer.status {
            StatusCode::REQUEST_TIMEOUT => Delivery::NotSent,
            status if status.is_server_error() => Delivery::Unknown,
            _ => Delivery::Final,
        },
    }
}

/// The verdict on an answer by which a row ends without values and without a failure.
fn nothing(kind: FailureKind, answer: &Answer) -> Verdict {
    let Failure { kind: status, detail } = answer.failure();
    let detail = if detail.is_empty() { status.to_string() } else { format!("{status}: {detail}") };
    Verdict::GiveUp(Failure::new(kind, detail))
}

/// The pause after `retries` retries, exponential with full jitter: `chance` (0 to 1) times
/// 0.5 s x 2^retries, at most 30 s, so that clients that failed together spread out.
#[must_use]
pub fn backoff(retries: u32, chance: f64) -> Duration {
    let doubled = BACKOFF_BASE.saturating_mul(2u32.saturating_pow(retries));
    doubled.min(BACKOFF_CAP).mul_f64(chance.clamp(0.0, 1.0))
}

/// The failure of a row with this answer. One that the server has stored for the request's key
/// comes again with each attempt.
fn failure(answer: &Answer) -> Failure {
    let Failure { kind, detail } = answer.failure();
    let header = answer.headers.get("idempotent-replayed");
    let is_replayed = header.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if is_replayed {
        let detail = format!("the answer that the server keeps for this Idempotency-Key: {detail}");
        Failure { kind, detail }
    } else {
        Failure { kind, detail }
    }
}

/// The failure of a request whose outcome is unknown; a status is a failure by itself.
fn unknown_failure(judged: Judged<'_>, failure: Failure) -> Failure {
    match judged {
        Ok(_) => failure,
        Err(_) => Failure::new(
            FailureKind::OutcomeUnknown,
            format!(
                "{}: {}; {}",
                failure.kind,
                failure.detail,
                worded(
                    "the server may have done it, so it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)"
                )
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16) -> Result<Answer, SendError> {
        Ok(Answer {
            status: StatusCode::from_u16(code).unwrap(),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            latency: Duration::ZERO,
            unfollowed: None,
        })
    }

    fn error(delivery: Delivery) -> Result<Answer, SendError> {
        Err(SendError {
            kind: FailureKind::Timeout,
            detail: "no answer within 30s".into(),
            delivery,
        })
    }

    fn judged(outcome: &Result<Answer, SendError>) -> Judged<'_> {
        let rules = signals::HeaderRules::default();
        outcome.as_ref().map(|answer| {
            let heard = rules.heard(&answer.headers);
            (answer, built_in_decision(answer.status, heard, std::time::UNIX_EPOCH))
        })
    }

    fn verdicts(
        method: Method,
        unknown: UnknownOutcome,
        outcome: &Result<Answer, SendError>,
    ) -> Vec<Verdict> {
        let settings = Settings { retries: 2, unknown, ..Settings::default() };
        let judge = Judge::new(settings);
        let mut tries = Tries::of(&method);
        let mut verdicts = Vec::new();
        loop {
            let verdict = judge.verdict(&mut tries, judged(outcome), 1.0);
            let again = matches!(verdict, Verdict::Retry(_));
            verdicts.push(verdict);
            if !again {
                return verdicts;
            }
        }
    }

    #[test]
    fn a_passing_failure_is_tried_again_and_then_given_up() {
        let pauses = [500, 1_000].map(|ms| Verdict::Retry(Duration::from_millis(ms)));
        for outcome in [
            status(500),
            status(503),
            status(408),
            error(Delivery::Unknown),
            error(Delivery::NotSent),
        ] {
            let all = verdicts(Method::GET, UnknownOutcome::Fail, &outcome);
            assert_eq!(all[..2], pauses);
            assert!(matches!(all[2], Verdict::GiveUp(_)), "{all:?}");
        }
    }

    #[test]
    fn an_answer_that_the_server_has_stored_ends_the_row() {
        let mut stored = status(500);
        let headers = &mut stored.as_mut().unwrap().headers;
        headers.insert("idempotent-replayed", "true".parse().unwrap());
        let all = verdicts(Method::POST, UnknownOutcome::Resend, &stored);
        let [Verdict::GiveUp(failure)] = &all[..] else { panic!("{all:?}") };
        assert_eq!(failure.kind, FailureKind::Status(500));
        assert!(failure.detail.contains("keeps for this Idempotency-Key"));
    }

    #[test]
    fn a_lasting_failure_fails_at_once() {
        for code in [301, 400, 401, 404, 422] {
            let failure = Failure::new(FailureKind::Status(code), "");
            assert_eq!(
                verdicts(Method::GET, UnknownOutcome::Fail, &status(code)),
                [Verdict::GiveUp(failure)]
            );
        }
        let end = verdicts(Method::GET, UnknownOutcome::Fail, &error(Delivery::Final));
        assert!(
            matches!(&end[..], [Verdict::GiveUp(failure)] if failure.kind == FailureKind::Timeout)
        );
    }

    #[test]
    fn a_post_that_may_have_landed_is_not_sent_again_by_default() {
        for (method, unknown, outcome, attempts, kind) in [
            (
                Method::POST,
                UnknownOutcome::Fail,
                error(Delivery::Unknown),
                1,
                FailureKind::OutcomeUnknown,
            ),
            (Method::POST, UnknownOutcome::Fail, error(Delivery::NotSent), 3, FailureKind::Timeout),
            (Method::POST, UnknownOutcome::Fail, status(500), 1, FailureKind::Status(500)),
            (
                Method::POST,
                UnknownOutcome::Resend,
                error(Delivery::Unknown),
                3,
                FailureKind::Timeout,
            ),
            (Method::PATCH, UnknownOutcome::Fail, status(503), 1, FailureKind::Status(503)),
            (Method::PUT, UnknownOutcome::Fail, status(503), 3, FailureKind::Status(503)),
        ] {
            let all = verdicts(method, unknown, &outcome);
            assert_eq!(all.len(), attempts);
            let Some(Verdict::GiveUp(failure)) = all.last() else { panic!("{all:?}") };
            assert_eq!(failure.kind, kind);
        }
    }

    #[test]
    fn the_backoff_doubles_up_to_a_cap() {
        let seconds = |retries, chance| backoff(retries, chance).as_secs_f64();
        assert_eq!([0, 1, 2, 6, 99].map(|n| seconds(n, 1.0)), [0.5, 1.0, 2.0, 30.0, 30.0]);
        assert_eq!([0.0, 0.5].map(|chance| seconds(2, chance)), [0.0, 1.0]);
    }
}
