//! Placeholders in a rendered request, which signing replaces by values that are known only
//! then. Pure.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Uri};

use crate::render::percent_encode;

/// Replaces a placeholder by this value wherever it stands in the request, escaped for the
/// place.
///
/// # Errors
/// The place in which the value can't stand.
pub fn fill_in(request: &mut Request<Bytes>, placeholder: &str, value: &str) -> Result<(), String> {
    for (name, header) in request.headers_mut() {
        if let Some(filled) = in_header(header, placeholder, value) {
            *header = filled.ok_or_else(|| {
                format!("the secret for the header {name} holds a control character")
            })?;
        }
    }
    if let Some(uri) = in_uri(request.uri(), placeholder, value) {
        *request.uri_mut() = uri;
    }
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if let Some(body) = in_body(request.body(), kind.unwrap_or_default(), placeholder, value) {
        *request.body_mut() = body;
    }
    Ok(())
}

/// The header with the value, if it has the placeholder; none within if it can't hold it.
fn in_header(header: &HeaderValue, placeholder: &str, value: &str) -> Option<Option<HeaderValue>> {
    let text = header.to_str().ok().filter(|text| text.contains(placeholder))?;
    let filled = HeaderValue::from_bytes(text.replace(placeholder, value).as_bytes());
    Some(filled.ok().map(|mut filled| {
        filled.set_sensitive(true);
        filled
    }))
}

fn in_uri(uri: &Uri, placeholder: &str, value: &str) -> Option<Uri> {
    if !uri.path_and_query()?.as_str().contains(placeholder) {
        return None;
    }
    uri.to_string().replace(placeholder, &percent_encode(value)).parse().ok()
}

fn in_body(body: &Bytes, kind: &str, placeholder: &str, value: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.contains(placeholder))?;
    let kind = kind.to_ascii_lowercase();
    let escaped = if kind.contains("json") {
        let quoted = serde_json::Value::from(value).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    } else if kind.contains("x-www-form-urlencoded") {
        percent_encode(value)
    } else if kind.contains("xml") || kind.contains("html") {
        value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    } else {
        value.to_owned()
    };
    Some(text.replace(placeholder, &escaped).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_escaped_for_its_place() {
        for (kind, body) in [
            ("application/json; charset=utf-8", r#"{"a":"x\"y&<z"}"#),
            ("application/x-www-form-urlencoded", r#"{"a":"x%22y%26%3Cz"}"#),
            ("text/xml", r#"{"a":"x&quot;y&amp;&lt;z"}"#),
            ("text/plain", r#"{"a":"x"y&<z"}"#),
        ] {
            let mut request = Request::post("http://h/PLACE?q=PLACE")
                .header("x-key", "Token PLACE")
                .header(CONTENT_TYPE, kind)
                .body(Bytes::from_static(br#"{"a":"PLACE"}"#))
                .unwrap();
            fill_in(&mut request, "PLACE", "x\"y&<z").unwrap();
            assert_eq!(request.uri(), "http://h/x%22y%26%3Cz?q=x%22y%26%3Cz");
            assert_eq!(request.headers()["x-key"], "Token x\"y&<z");
            assert!(request.headers()["x-key"].is_sensitive());
            assert_eq!(request.body(), body, "{kind}");
        }
    }

    #[test]
    fn a_header_takes_no_line_break() {
        let mut request =
            Request::get("http://h/").header("x-key", "PLACE").body(Bytes::new()).unwrap();
        let why = fill_in(&mut request, "PLACE", "a\nb").unwrap_err();
        assert!(why.contains("x-key"), "{why}");
    }
}
