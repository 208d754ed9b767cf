//! A pool of API keys: each attempt uses one that its limits allow. Pure.

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::render::KEY_PLACEHOLDER;

/// The keys of a job.
#[derive(Clone, Default)]
pub(super) struct KeyPool {
    keys: Vec<String>,
}

impl KeyPool {
    pub fn new(keys: &[String]) -> KeyPool {
        KeyPool { keys: keys.to_vec() }
    }

    /// Replaces the placeholder by this key, wherever it stands in the request.
    pub fn fill_in(&self, request: &mut Request<Bytes>, key: usize) {
        let Some(key) = self.keys.get(key) else {
            return;
        };
        for value in request.headers_mut().values_mut() {
            if let Some(filled) = in_header(value, key) {
                *value = filled;
            }
        }
        if let Some(uri) = in_uri(request.uri(), key) {
            *request.uri_mut() = uri;
        }
        if let Some(body) = in_body(request.body(), key) {
            *request.body_mut() = body;
        }
    }
}

fn in_header(value: &HeaderValue, key: &str) -> Option<HeaderValue> {
    let text = value.to_str().ok().filter(|text| text.contains(KEY_PLACEHOLDER))?;
    let mut filled = HeaderValue::try_from(text.replace(KEY_PLACEHOLDER, key)).ok()?;
    filled.set_sensitive(true);
    Some(filled)
}

fn in_uri(uri: &Uri, key: &str) -> Option<Uri> {
    if !uri.path_and_query()?.as_str().contains(KEY_PLACEHOLDER) {
        return None;
    }
    let key = utf8_percent_encode(key, NON_ALPHANUMERIC).to_string();
    uri.to_string().replace(KEY_PLACEHOLDER, &key).parse().ok()
}

fn in_body(body: &Bytes, key: &str) -> Option<Bytes> {
    let text = std::str::from_utf8(body).ok()?;
    text.contains(KEY_PLACEHOLDER).then(|| text.replace(KEY_PLACEHOLDER, key).into())
}

impl std::fmt::Debug for KeyPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyPool({})", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_replaces_every_placeholder() {
        let pool = KeyPool::new(&["first".into(), "se cond".into()]);
        let mut request =
            Request::get(format!("http://h/{KEY_PLACEHOLDER}/x?key={KEY_PLACEHOLDER}&a=1"))
                .header("authorization", format!("Bearer {KEY_PLACEHOLDER}"))
                .header("accept", "*/*")
                .body(Bytes::from(format!("{{\"k\":\"{KEY_PLACEHOLDER}\"}}")))
                .unwrap();
        pool.fill_in(&mut request, 1);
        assert_eq!(request.uri(), "http://h/se%20cond/x?key=se%20cond&a=1");
        assert_eq!(request.headers()["authorization"], "Bearer se cond");
        assert!(request.headers()["authorization"].is_sensitive());
        assert_eq!(request.headers()["accept"], "*/*");
        assert_eq!(request.body(), "{\"k\":\"se cond\"}");
        assert!(!format!("{pool:?}").contains("first"));
    }
}
