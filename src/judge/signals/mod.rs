//! The state of a server's limits, as its answers tell it. Pure: time is an argument.
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

use std::time::SystemTime;

use http::HeaderMap;
use http::header::HeaderName;

mod body;
mod draft;
mod families;
mod limit_signal;
mod moment;
#[cfg(test)]
mod tests;

pub use body::BodySignals;
pub use limit_signal::{InvalidHeader, LimitSignal, LimitSignals, SignalSource};
pub use moment::{MAX_WAIT, parse_pause};

/// The signals in the headers of an answer that arrived at `now`: in the families of
/// headers above, and in those of `sources`.
#[must_use]
pub fn read_headers(
    headers: &HeaderMap,
    sources: &[SignalSource],
    now: SystemTime,
) -> LimitSignals {
    let mut found = LimitSignals::default();
    if !sources.is_empty() {
        let clock = moment::AnswerClock::of(headers, now);
        let of_headers = sources.iter().filter(|said| !said.is_of_body());
        families::read_sources(of_headers, headers, clock, &mut found);
    }
    // Most answers have no such header; each has this in its name.
    let of_limit =
        |name: &HeaderName| name.as_str().as_bytes().windows(5).any(|part| part == b"limit");
    if headers.keys().any(of_limit) {
        let clock = moment::AnswerClock::of(headers, now);
        draft::read(headers, &mut found);
        families::read(headers, clock, &mut found);
    }
    found
}
