//! What the head of an HTTP answer says of a server's limits: refusals, and the state that its
//! headers tell. Pure: time is an argument.
//!
//! | headers | sent by | reset |
//! |---|---|---|
//! | `RateLimit`, `RateLimit-Policy` | IETF draft, its named and its older form | delta |
//! | `RateLimit-Limit`, `-Remaining`, `-Reset` | the draft's first form | delta |
//! | `X-RateLimit-*`, `X-Rate-Limit-*` | GitHub, Reddit, X, Discord, many more | any |
//! | `anthropic-ratelimit-UNIT-*` | Anthropic | RFC 3339 |
//! | `x-ratelimit-*-requests`, `-tokens` | OpenAI | `6m0s` |
//! | `Sforce-Limit-Info` | Salesforce, `api-usage=18/5000` | none |
//! | `X-Shopify-Shop-Api-Call-Limit` | Shopify, `32/40` | none |
//!
//! A time may have any spelling that a server uses (`moment.rs`). An implausible value
//! is an [`InvalidHeader`] and has no effect.

use std::time::{Duration, SystemTime};

use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};

use crate::gate::Permit;
use crate::outcome::Outcome;

mod header_rules;
mod headers;
mod limit_signal;
mod moment;

use header_rules::FamilyHeaders;
pub use header_rules::{HeaderRules, HeardHeaders};
pub use headers::{named_policies, read_sources};
pub use limit_signal::{
    InvalidHeader, LimitSignal, LimitSignals, NamedPolicy, NamedTexts, SignalSource,
};
pub use moment::{AnswerClock, MAX_WAIT, parse_pause};

/// The signals in the headers of an answer that arrived at `now`: in those of a job's own
/// sources, and in the families of headers above.
#[must_use]
pub fn read_headers(headers: HeardHeaders<'_>, now: SystemTime) -> LimitSignals {
    let mut found = LimitSignals::default();
    let rules = headers.rules();
    if !rules.sources().is_empty() {
        let clock = AnswerClock::of(headers, now);
        let of_headers = rules.sources().iter().filter(|source| !source.is_of_body());
        headers::read_sources(of_headers, &headers, clock, &mut found);
    }
    if has_families(headers) {
        let clock = AnswerClock::of(headers, now);
        headers::read(FamilyHeaders(headers), clock, &mut found);
    }
    found
}

/// Whether [`read_headers`] has anything to read. Most answers have no such header.
#[must_use]
pub fn may_tell(headers: HeardHeaders<'_>) -> bool {
    !headers.rules().sources().is_empty() || has_families(headers)
}

/// Whether an answer has a header of the common families, if they are read: each has "limit" in
/// its name.
fn has_families(headers: HeardHeaders<'_>) -> bool {
    headers.rules().reads_families() && headers.map().keys().any(names_limit)
}

/// Whether a name has "limit" in it. If so, one of each five letters in a row is one of its.
fn names_limit(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    name.chunks_exact(5).any(|five| b"limt".contains(&five[4]))
        && name.windows(5).any(|five| five == b"limit")
}

/// The pause that `Retry-After` asks for, in full.
#[must_use]
pub fn retry_after(headers: HeardHeaders<'_>, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER.as_str())?.to_str().ok()?;
    parse_pause(text, headers, now)
}

/// The time until the last exhausted limit resets.
#[must_use]
pub fn exhausted_reset(headers: HeardHeaders<'_>, now: SystemTime) -> Option<Duration> {
    let infos = read_headers(headers, now).signals.into_iter();
    let exhausted = infos.filter(|signal| signal.info.remaining == Some(0));
    exhausted.filter_map(|signal| signal.info.reset).max()
}

impl Outcome {
    /// The outcome of a request with this answer, with the pause that its headers ask for.
    ///
    /// ```
    /// use std::time::Duration;
    /// use throng_limit::{Outcome, RateLimiter};
    ///
    /// let limiter = RateLimiter::builder().limit("100/1s".parse()?).build()?;
    /// let permit = limiter.try_acquire(1)?;
    /// # let answer = http::Response::builder().status(429).header("retry-after", "30").body(())?;
    /// let outcome = Outcome::of(&answer);
    /// let retry_after = Some(Duration::from_secs(30));
    /// assert_eq!(outcome, Outcome::Refused { retry_after });
    /// permit.finish(outcome);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> Outcome {
        Outcome::of_head(response.status(), response.headers())
    }

    /// The outcome of a request whose answer has this status and these headers, for clients with
    /// a response of their own.
    ///
    /// ```
    /// use http::{HeaderMap, StatusCode};
    /// use throng_limit::Outcome;
    ///
    /// assert_eq!(Outcome::of_head(StatusCode::OK, &HeaderMap::new()), Outcome::Answered);
    /// ```
    #[must_use]
    pub fn of_head(status: StatusCode, headers: &HeaderMap) -> Outcome {
        let rules = HeaderRules::default();
        Outcome::heard(status, rules.heard(headers), crate::time::calendar())
    }

    fn heard(status: StatusCode, headers: HeardHeaders<'_>, now: SystemTime) -> Outcome {
        let pause = retry_after(headers, now);
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                let retry_after = pause.or_else(|| exhausted_reset(headers, now));
                Outcome::Refused { retry_after }
            }
            status => Outcome::of_status(status.as_u16(), pause),
        }
    }
}

impl Permit {
    /// Ends the attempt by the head of its answer, with all that the head says of limits:
    /// `Retry-After` and the headers of the `RateLimit` families, in any of their spellings.
    ///
    /// A 429, and a 503 with `Retry-After`, are refusals: no attempt gets a permit until the
    /// server wants one. After a 502, 503 or 504 the request may still arrive, and counts as
    /// lost. Drop the permit once the body has been read.
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, StatusCode};
    /// use throng_limit::RateLimiter;
    ///
    /// let limiter = RateLimiter::builder().limit("100/1s".parse()?).build()?;
    /// let mut headers = HeaderMap::new();
    /// headers.insert("retry-after", HeaderValue::from_static("30"));
    /// limiter.try_acquire(1)?.answered_with(StatusCode::TOO_MANY_REQUESTS, &headers);
    /// assert!(limiter.snapshot().paused.is_some_and(|pause| pause.as_secs() >= 29));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn answered_with(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.answered_at(status, headers, crate::time::calendar());
    }

    fn answered_at(&mut self, status: StatusCode, headers: &HeaderMap, now: SystemTime) {
        let rules = HeaderRules::default();
        let heard = rules.heard(headers);
        self.inform_of(&read_headers(heard, now));
        self.end_with(Outcome::heard(status, heard, now));
    }

    /// Tells the limits what an answer says of each of them.
    #[doc(hidden)]
    pub fn inform_of(&mut self, found: &LimitSignals) {
        for signal in &found.signals {
            let unit = self.units().iter().position(|unit| signal.is_of_unit(unit));
            self.inform(unit, signal.info);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LimitState, RateLimiter};
    use http::HeaderValue;

    fn end(status: u16, header: Option<(&'static str, &'static str)>) -> (LimitState, RateLimiter) {
        let limiter = RateLimiter::builder().limit("5/1h".parse().unwrap()).build().unwrap();
        let mut headers = HeaderMap::new();
        headers.extend(
            header.map(|(name, value)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            }),
        );
        let mut permit = limiter.try_acquire(1).unwrap();
        permit.answered_with(StatusCode::from_u16(status).unwrap(), &headers);
        drop(permit);
        (limiter.snapshot().limits[0].clone(), limiter)
    }

    #[test]
    fn a_name_with_limit_in_it_is_found_wherever_that_stands() {
        let names = |name: &str| names_limit(&HeaderName::try_from(name).unwrap());
        for at in 0..12 {
            for after in ["", "s", "-x"] {
                assert!(names(&format!("{}limit{after}", "x".repeat(at))));
                assert!(!names(&format!("{}limt{after}", "i".repeat(at))));
            }
        }
    }

    #[test]
    fn an_answer_ends_its_permit_by_its_status() {
        for (status, header, lost, paused) in [
            (200, None, 0, false),
            (404, None, 0, false),
            (502, None, 1, false),
            (503, None, 1, false),
            (429, None, 0, true),
            (503, Some(("retry-after", "7")), 0, true),
        ] {
            let (limit, limiter) = end(status, header);
            assert_eq!(limit.lost, lost, "{status}");
            assert_eq!(limiter.snapshot().paused.is_some(), paused, "{status}");
        }
    }

    #[test]
    fn the_servers_count_holds_where_it_is_stricter() {
        let (_, limiter) = end(200, Some(("ratelimit", "\"hour\";r=1;t=3600")));
        limiter.try_acquire(1).unwrap().answered();
        assert!(limiter.try_acquire(1).is_err(), "the server has said that one is left");
    }
}
