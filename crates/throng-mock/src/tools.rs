//! Routes for tests of clients.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER,
};
use serde::Serialize;

use crate::answer::MockAnswer;
use crate::body_stream;
use crate::chance::KeyCounts;
use crate::recorder::lock;
use crate::reply::Reply;
use crate::request::ClientRequest;
use crate::tokens;

/// Answers these routes, else with 404. `tries` counts requests to `/flaky` and `/token`.
pub(crate) fn answer(request: &ClientRequest, tries: &Mutex<KeyCounts>) -> MockAnswer {
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    match parts[..] {
        ["echo", ..] => echo(request),
        ["v1", "chat", "completions"] => tokens::complete(request),
        ["status", code] => status(request, code),
        ["redirect", code] => redirect(request, code),
        ["bytes", n] => bytes(request, n),
        ["file", name] => file(request, name),
        ["slow", ms] => slow(ms),
        ["drop"] => MockAnswer::connection_dropped(),
        ["close"] => MockAnswer::empty().with(CONNECTION, HeaderValue::from_static("close")),
        ["flaky", n, id] => flaky(request, tries, n, id),
        ["token"] => token(request, tries),
        _ => MockAnswer::problem(StatusCode::NOT_FOUND, "there is no such route; GET / lists them"),
    }
}

/// The body of `/echo`.
#[derive(Serialize)]
struct Echo<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: BTreeMap<&'a str, Vec<String>>,
    body: String,
}

fn echo(request: &ClientRequest) -> MockAnswer {
    let body = request.body.as_deref().unwrap_or_default();
    MockAnswer::value(&Echo {
        method: request.method.as_str(),
        path: request.path(),
        query: request.query(),
        headers: texts(&request.headers),
        body: String::from_utf8_lossy(body).into_owned(),
    })
}

fn texts(headers: &HeaderMap) -> BTreeMap<&str, Vec<String>> {
    let mut texts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        texts.entry(name.as_str()).or_default().push(value);
    }
    texts
}

fn status(request: &ClientRequest, code: &str) -> MockAnswer {
    let Some(status) = read_status(code) else {
        return bad_status(code);
    };
    let body = request.param("body").map(|body| body.into_owned());
    let answer = MockAnswer::json(status, body.unwrap_or_else(|| "{}".to_owned()));
    copy_param(request, "retry_after", RETRY_AFTER, answer)
}

fn redirect(request: &ClientRequest, code: &str) -> MockAnswer {
    match read_status(code) {
        Some(status) => copy_param(request, "to", LOCATION, MockAnswer::json(status, "{}")),
        None => bad_status(code),
    }
}

fn bytes(request: &ClientRequest, n: &str) -> MockAnswer {
    let Ok(n) = n.parse() else {
        return not_a_number(n);
    };
    let Some(encoding) = request.param("encoding") else {
        return MockAnswer::new(StatusCode::OK, Reply::Pieces(body_stream::uncompressed(n)));
    };
    let compressed =
        body_stream::compressed(n, &encoding).zip(HeaderValue::from_str(&encoding).ok());
    match compressed {
        Some((pieces, encoding)) => {
            MockAnswer::new(StatusCode::OK, Reply::Pieces(pieces)).with(CONTENT_ENCODING, encoding)
        }
        None => bad("an encoding is gzip, br, zstd or deflate", &encoding),
    }
}

fn file(request: &ClientRequest, name: &str) -> MockAnswer {
    let size = request.param("size").map_or(Ok(1_000), |size| size.parse());
    let Ok(size) = size else {
        return bad("a size is a number of bytes", "another");
    };
    let answer = match request.param("encoding") {
        None => MockAnswer::new(StatusCode::OK, Reply::Pieces(body_stream::file(name, size))),
        Some(encoding) => {
            let pieces = body_stream::compressed_file(name, size, &encoding);
            let Some((pieces, named)) = pieces.zip(HeaderValue::from_str(&encoding).ok()) else {
                return bad("an encoding is gzip, br, zstd or deflate", &encoding);
            };
            MockAnswer::new(StatusCode::OK, Reply::Pieces(pieces)).with(CONTENT_ENCODING, named)
        }
    };
    let bytes = HeaderValue::from_static("application/octet-stream");
    copy_param(request, "type", CONTENT_TYPE, answer.with(CONTENT_TYPE, bytes))
}

/// The time passes after the arrival, with the request in flight.
fn slow(ms: &str) -> MockAnswer {
    match ms.parse() {
        Ok(ms) => MockAnswer { wait: Duration::from_millis(ms), ..MockAnswer::empty() },
        Err(_) => not_a_number(ms),
    }
}

fn flaky(request: &ClientRequest, tries: &Mutex<KeyCounts>, n: &str, id: &str) -> MockAnswer {
    let Ok(failures) = n.parse::<u64>() else {
        return not_a_number(n);
    };
    let before = lock(tries).count_up(id);
    if before < failures {
        let code = request.param("status");
        return status(request, code.as_deref().unwrap_or("503"));
    }
    MockAnswer::value(&serde_json::json!({ "id": id, "tries": before + 1 }))
}

/// A new OAuth 2 token each time, valid for the seconds in the query.
fn token(request: &ClientRequest, tries: &Mutex<KeyCounts>) -> MockAnswer {
    let before = lock(tries).count_up("token");
    let seconds = request.param("expires_in");
    let seconds: Option<u64> = seconds.and_then(|seconds| seconds.parse().ok());
    MockAnswer::value(&serde_json::json!({
        "access_token": format!("token-{}", before + 1),
        "token_type": "Bearer",
        "expires_in": seconds.unwrap_or(3_600),
    }))
}

/// Copies a parameter of the query, if it is present, into a header.
fn copy_param(
    request: &ClientRequest,
    param: &str,
    header: HeaderName,
    answer: MockAnswer,
) -> MockAnswer {
    let Some(value) = request.param(param) else {
        return answer;
    };
    match HeaderValue::from_str(&value) {
        Ok(value) => answer.with(header, value),
        Err(_) => bad("a header has no control characters", &value),
    }
}

/// A status from 200 to 599: informational ones are not final answers.
fn read_status(code: &str) -> Option<StatusCode> {
    let code = code.parse().ok().filter(|code| (200..600).contains(code))?;
    StatusCode::from_u16(code).ok()
}

fn bad_status(code: &str) -> MockAnswer {
    bad("a status is 200 to 599", code)
}

fn not_a_number(given: &str) -> MockAnswer {
    bad("a number is needed", given)
}

fn bad(right: &str, given: &str) -> MockAnswer {
    MockAnswer::problem(StatusCode::BAD_REQUEST, &format!("{right}, not {given:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(uri: &str, tries: &Mutex<KeyCounts>) -> MockAnswer {
        answer(&ClientRequest::test(uri, ""), tries)
    }

    fn status_of(uri: &str) -> u16 {
        ask(uri, &Mutex::default()).status.as_u16()
    }

    #[test]
    fn an_invalid_parameter_is_a_bad_request() {
        for uri in [
            "/status/99",
            "/status/600",
            "/status/ok",
            "/status/200?retry_after=%0A",
            "/redirect/3x",
            "/bytes/many",
            "/bytes/5?encoding=rot13",
            "/file/a?size=big",
            "/file/a?encoding=rot13",
            "/slow/ly",
            "/flaky/x/1",
        ] {
            assert_eq!(status_of(uri), 400, "{uri}");
        }
        assert_eq!(status_of("/"), 404);
        assert_eq!(status_of("/status"), 404);
    }

    #[test]
    fn flaky_fails_the_requested_number_of_times() {
        let tries = Mutex::default();
        let next = |uri| ask(uri, &tries).status.as_u16();
        assert_eq!(next("/flaky/2/a"), 503);
        assert_eq!(next("/flaky/2/a?status=429"), 429);
        assert_eq!(next("/flaky/1/b"), 503);
        assert_eq!(next("/flaky/2/a"), 200);
        assert_eq!(next("/flaky/1/b"), 200);
    }

    #[test]
    fn each_token_is_new() {
        let tries = Mutex::default();
        for (uri, token, seconds) in
            [("/token", "token-1", 3_600), ("/token?expires_in=7", "token-2", 7)]
        {
            let body = ask(uri, &tries).test_value();
            assert_eq!(
                (&body["access_token"], &body["expires_in"]),
                (&token.into(), &seconds.into())
            );
        }
    }

    #[test]
    fn slow_waits_for_the_requested_time() {
        let answer = ask("/slow/250", &Mutex::default());
        assert_eq!(answer.wait, Duration::from_millis(250));
    }
}
