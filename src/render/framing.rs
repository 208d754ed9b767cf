//! Headers that say where a request goes and where it ends: a row has no say in them.
//! Pure.

use http::header::{CONTENT_LENGTH, HeaderName};

/// Headers of the connection, and of a message's beginning and end. `proxy-*` are of
/// their kind.
const NAMES: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header frames the request, or means another server.
pub fn frames(name: &HeaderName) -> bool {
    NAMES.contains(&name.as_str()) || name.as_str().starts_with("proxy-")
}

/// Refuses a header of the job that would break its own requests.
pub fn check(
    name: &HeaderName,
    value: &str,
    uses_rows: bool,
    has_body: bool,
) -> Result<(), String> {
    if uses_rows && frames(name) {
        return Err(
            "it says where a request goes or where it ends, and can't hold a value of a row".into(),
        );
    }
    let is_true = value == "0" && !has_body;
    if *name == CONTENT_LENGTH && !is_true {
        return Err("throng counts each body itself: leave it out".into());
    }
    Ok(())
}
