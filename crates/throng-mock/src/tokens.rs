//! Requests that use more or less of what is limited, as language models do.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::answer::MockAnswer;
use crate::chance::hash;
use crate::request::ClientRequest;

/// The most that a request may use: `max_tokens` in its JSON body, or the parameter
/// `tokens` of its query; 1 if it names neither.
fn allowed(asked: &ClientRequest) -> u64 {
    let of_query = asked.param("tokens").and_then(|tokens| tokens.parse().ok());
    let of_body = || {
        let body: Value = serde_json::from_slice(asked.body.as_deref()?).ok()?;
        body["max_tokens"].as_u64()
    };
    of_query.or_else(of_body).unwrap_or(1)
}

/// What it does use: half of that to all of it, always the same for the same request.
pub(crate) fn used(asked: &ClientRequest) -> u64 {
    let allowed = allowed(asked);
    let body = String::from_utf8_lossy(asked.body.as_deref().unwrap_or_default());
    let chance = hash(&format!("{}{body}", asked.query())) % 1_001;
    allowed.min((allowed * (1_000 + chance)).div_ceil(2_000).max(1))
}

/// A completion that says what it used.
pub(crate) fn complete(asked: &ClientRequest) -> MockAnswer {
    if asked
        .body
        .as_deref()
        .is_none_or(|body| serde_json::from_slice::<Value>(body).is_err())
    {
        return MockAnswer::problem(StatusCode::BAD_REQUEST, "a completion is asked for in JSON");
    }
    MockAnswer::value(&json!({
        "choices": [{ "message": { "role": "assistant", "content": "Yes." } }],
        "usage": { "total_tokens": used(asked) },
    }))
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use hyper::header::HeaderMap;

    use super::*;

    fn asked(uri: &str, body: &str) -> ClientRequest {
        ClientRequest {
            method: Method::POST,
            uri: uri.parse().unwrap(),
            headers: HeaderMap::new(),
            body: Some(body.to_owned().into()),
            symbols: None,
        }
    }

    #[test]
    fn a_request_uses_half_of_what_it_may_to_all_of_it() {
        for number in 0..100 {
            let body = json!({ "max_tokens": 200, "prompt": number }).to_string();
            let asked = asked("/v1/chat/completions", &body);
            assert!((100..=200).contains(&used(&asked)));
            assert_eq!(used(&asked), used(&asked));
        }
        assert_eq!(used(&asked("/echo?tokens=1", "")), 1);
        assert_eq!(used(&asked("/echo", "no JSON")), 1);
        assert_eq!(used(&asked("/echo?tokens=0", "")), 0);
    }
}
