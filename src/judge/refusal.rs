//! What is a refusal everywhere. Pure.

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

/// Whether an answer is a refusal: a 429, or a 503 that says when to come back.
#[must_use]
pub fn is_refusal(status: StatusCode, headers: &HeaderMap) -> bool {
    match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => headers.contains_key(RETRY_AFTER),
        _ => false,
    }
}
