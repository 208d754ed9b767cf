//! (6) An answer, or the lack of one, to a verdict. Pure: time and chance are arguments.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::record::{Failure, FailureKind};
use crate::send::{Answer, Delivery, SendError};

mod backoff;
mod refusal;
mod rules;
mod settings;
pub mod signals;

pub use backoff::backoff;
pub use refusal::is_refusal;
pub use rules::{Closes, Meaning, RefusalRule, RefusalRules, Ruling};
pub use settings::{Settings, Unknown};

/// What an attempt means for its row.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The answer is good.
    Done,
    /// Try again after this pause.
    Again(Duration),
    /// The row fails.
    GiveUp(Failure),
}

/// One row's attempts so far, as far as they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tries {
    used: u32,
    /// Whether sending it twice does no more than sending it once.
    idempotent: bool,
}

impl Tries {
    /// Of requests of this method.
    #[must_use]
    pub fn of(method: &Method) -> Tries {
        Tries {
            used: 0,
            idempotent: method.is_idempotent(),
        }
    }

    /// Of a request that may be repeated, whatever its method.
    #[must_use]
    pub fn repeatable() -> Tries {
        Tries {
            used: 0,
            idempotent: true,
        }
    }
}

/// The judge of a plan.
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

    /// Whether a request that may have been done is sent again.
    #[must_use]
    pub fn resends(&self, tries: Tries) -> bool {
        tries.idempotent
            || self.settings.unknown == Unknown::Resend
            || self.settings.idempotency_key.is_some()
    }

    /// How long a request that may have been done can be sent again, if not for ever.
    #[must_use]
    pub fn key_ttl(&self) -> Option<Duration> {
        let is_kept = self.settings.unknown == Unknown::Fail;
        self.settings.idempotency_ttl.filter(|_| is_kept)
    }

    /// Whether the log must know of a request before it is sent.
    #[must_use]
    pub fn announces(&self, tries: Tries) -> bool {
        !self.resends(tries) || (self.key_ttl().is_some() && !tries.idempotent)
    }

    /// Why a run should rather end than wait for the limit any longer, if it should.
    #[must_use]
    pub fn too_long(&self, pause: Option<Duration>, refusals: u32) -> Option<String> {
        let Settings {
            max_wait,
            max_refusals,
            ..
        } = self.settings;
        if let Some(pause) = pause.filter(|pause| *pause > max_wait) {
            return Some(format!(
                "the server asks to be left alone for {}, which is longer than {} (retry.max-wait or --max-wait)",
                humantime::format_duration(pause),
                humantime::format_duration(max_wait),
            ));
        }
        (refusals > max_refusals).then(|| {
            format!("the server refused {refusals} times in a row (retry.max-refusals or --max-refusals allows {max_refusals}): is the rate right?")
        })
    }

    /// What one attempt means. `chance` lies between 0 and 1.
    #[must_use]
    pub fn verdict(
        &self,
        tries: &mut Tries,
        outcome: &Result<Answer, SendError>,
        chance: f64,
    ) -> Verdict {
        let failure = match outcome {
            Ok(answer) if answer.status.is_success() => return Verdict::Done,
            Ok(answer) if is_replayed(answer) => return Verdict::GiveUp(replayed(answer)),
            Ok(answer) => answer.failure(),
            Err(trouble) => trouble.failure(),
        };
        match delivery(outcome) {
            Delivery::Final => Verdict::GiveUp(failure),
            Delivery::Unknown if !self.resends(*tries) => {
                Verdict::GiveUp(unknown(outcome, failure))
            }
            _ if tries.used >= self.settings.retries => Verdict::GiveUp(failure),
            _ => {
                tries.used += 1;
                Verdict::Again(backoff(tries.used - 1, chance))
            }
        }
    }
}

/// What the server may have seen of an attempt, and whether there is room for another.
#[must_use]
pub fn delivery(outcome: &Result<Answer, SendError>) -> Delivery {
    match outcome {
        Err(trouble) => trouble.delivery,
        Ok(answer) => match answer.status {
            StatusCode::REQUEST_TIMEOUT => Delivery::NotSent,
            status if status.is_server_error() => Delivery::Unknown,
            _ => Delivery::Final,
        },
    }
}

/// Whether the server has stored this answer for the request's key: it will say the
/// same whenever it is asked.
fn is_replayed(answer: &Answer) -> bool {
    let header = answer.headers.get("idempotent-replayed");
    header.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

fn replayed(answer: &Answer) -> Failure {
    let Failure { kind, detail } = answer.failure();
    let detail = format!("the answer that the server keeps for this Idempotency-Key: {detail}");
    Failure { kind, detail }
}

/// A status says what happened by itself; silence doesn't.
fn unknown(outcome: &Result<Answer, SendError>, failure: Failure) -> Failure {
    match outcome {
        Ok(_) => failure,
        Err(_) => Failure::new(
            FailureKind::OutcomeUnknown,
            format!(
                "{}: {}; the server may have done it, so it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)",
                failure.kind, failure.detail
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
        })
    }

    fn trouble(delivery: Delivery) -> Result<Answer, SendError> {
        Err(SendError {
            kind: FailureKind::Timeout,
            detail: "no answer within 30s".into(),
            delivery,
        })
    }

    fn verdicts(
        method: Method,
        unknown: Unknown,
        outcome: &Result<Answer, SendError>,
    ) -> Vec<Verdict> {
        let settings = Settings {
            retries: 2,
            unknown,
            ..Settings::default()
        };
        let judge = Judge::new(settings);
        let mut tries = Tries::of(&method);
        let mut verdicts = Vec::new();
        loop {
            let verdict = judge.verdict(&mut tries, outcome, 1.0);
            let again = matches!(verdict, Verdict::Again(_));
            verdicts.push(verdict);
            if !again {
                return verdicts;
            }
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_then_given_up() {
        let pauses = [500, 1_000].map(|ms| Verdict::Again(Duration::from_millis(ms)));
        for outcome in [
            status(500),
            status(503),
            status(408),
            trouble(Delivery::Unknown),
            trouble(Delivery::NotSent),
        ] {
            let all = verdicts(Method::GET, Unknown::Fail, &outcome);
            assert_eq!(all[..2], pauses);
            assert!(matches!(all[2], Verdict::GiveUp(_)), "{all:?}");
        }
    }

    #[test]
    fn an_answer_that_the_server_has_stored_ends_the_row() {
        let mut stored = status(500);
        let headers = &mut stored.as_mut().unwrap().headers;
        headers.insert("idempotent-replayed", "true".parse().unwrap());
        let all = verdicts(Method::POST, Unknown::Resend, &stored);
        let [Verdict::GiveUp(failure)] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!(failure.kind, FailureKind::Status(500));
        assert!(failure.detail.contains("keeps for this Idempotency-Key"));
    }

    #[test]
    fn what_will_not_change_fails_at_once() {
        for code in [301, 400, 401, 404, 422] {
            let failure = Failure::new(FailureKind::Status(code), "");
            assert_eq!(
                verdicts(Method::GET, Unknown::Fail, &status(code)),
                [Verdict::GiveUp(failure)]
            );
        }
        let end = verdicts(Method::GET, Unknown::Fail, &trouble(Delivery::Final));
        assert!(
            matches!(&end[..], [Verdict::GiveUp(failure)] if failure.kind == FailureKind::Timeout)
        );
    }

    #[test]
    fn a_post_that_may_have_landed_is_not_sent_again_unless_told() {
        for (method, unknown, outcome, attempts, kind) in [
            (
                Method::POST,
                Unknown::Fail,
                trouble(Delivery::Unknown),
                1,
                FailureKind::OutcomeUnknown,
            ),
            (
                Method::POST,
                Unknown::Fail,
                trouble(Delivery::NotSent),
                3,
                FailureKind::Timeout,
            ),
            (
                Method::POST,
                Unknown::Fail,
                status(500),
                1,
                FailureKind::Status(500),
            ),
            (
                Method::POST,
                Unknown::Resend,
                trouble(Delivery::Unknown),
                3,
                FailureKind::Timeout,
            ),
            (
                Method::PATCH,
                Unknown::Fail,
                status(503),
                1,
                FailureKind::Status(503),
            ),
            (
                Method::PUT,
                Unknown::Fail,
                status(503),
                3,
                FailureKind::Status(503),
            ),
        ] {
            let all = verdicts(method, unknown, &outcome);
            assert_eq!(all.len(), attempts);
            let Some(Verdict::GiveUp(failure)) = all.last() else {
                panic!("{all:?}")
            };
            assert_eq!(failure.kind, kind);
        }
    }
}
