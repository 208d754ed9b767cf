//! The hash by which requests are the same: method, URL, headers and body, without secrets and
//! without what differs from one sending to the next. Pure.

use bytes::Bytes;
use http::Request;
use http::header::{CONTENT_TYPE, DATE, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, USER_AGENT};

use crate::secret::Secrets;

/// The hash of a request, of 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestKey(pub [u8; 16]);

/// Headers that say nothing of what is asked for.
const VOLATILE: [HeaderName; 9] = [
    DATE,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    USER_AGENT,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-correlation-id"),
    HeaderName::from_static("x-request-id"),
];

impl RequestKey {
    /// The hash of a request that is not signed yet.
    pub fn of(request: &Request<Bytes>, secrets: &Secrets) -> RequestKey {
        let boundary = boundary(request);
        let without = |text: &[u8]| secrets.hide_in(without_boundary(text, boundary.as_deref()));
        let mut hash = blake3::Hasher::new();
        let mut add = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(request.method().as_str().as_bytes());
        add(&without(request.uri().to_string().as_bytes()));
        let mut headers: Vec<_> = request
            .headers()
            .iter()
            .filter(|(name, _)| !VOLATILE.contains(name))
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        headers.sort_by_key(|(name, _)| *name);
        add(&(headers.len() as u64).to_le_bytes());
        for (name, value) in headers {
            add(name.as_bytes());
            add(&without(value));
        }
        add(&without(request.body()));
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        RequestKey(key)
    }

    /// The hash of this request where its answer stands in for that to another one, at another
    /// server.
    pub fn in_place_of(self, asked: RequestKey) -> RequestKey {
        let mut hash = blake3::Hasher::new();
        hash.update(&asked.0);
        hash.update(&self.0);
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        RequestKey(key)
    }
}

/// The boundary between the parts of a body, which is another one for each request.
fn boundary(request: &Request<Bytes>) -> Option<Vec<u8>> {
    let kind = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    let (before, boundary) = kind.split_once("boundary=")?;
    let is_multipart = before.trim_start().to_ascii_lowercase().starts_with("multipart/");
    let boundary = boundary.trim_matches('"');
    (is_multipart && boundary.len() >= MIN_BOUNDARY).then(|| boundary.as_bytes().to_vec())
}

/// A shorter boundary may stand in a body by chance.
const MIN_BOUNDARY: usize = 16;

fn without_boundary(text: &[u8], boundary: Option<&[u8]>) -> Bytes {
    let Some(boundary) = boundary else {
        return Bytes::copy_from_slice(text);
    };
    let mut left = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(boundary.len()).position(|part| part == boundary) {
        left.extend_from_slice(&rest[..at]);
        rest = &rest[at + boundary.len()..];
    }
    left.extend_from_slice(rest);
    left.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(request: http::request::Builder, body: &'static str) -> RequestKey {
        let secrets = Secrets::default();
        secrets.add("s3cret-key");
        secrets.add("n3wer-key");
        RequestKey::of(&request.body(Bytes::from_static(body.as_bytes())).unwrap(), &secrets)
    }

    #[test]
    fn secrets_and_what_changes_by_itself_are_no_part_of_a_request() {
        let get = |uri: &str| Request::get(uri);
        let plain = key(get("http://h/a?key=s3cret-key&n=1"), "");
        assert_eq!(plain, key(get("http://h/a?key=n3wer-key&n=1"), ""));
        let volatile = get("http://h/a?key=s3cret-key&n=1")
            .header("idempotency-key", "7")
            .header("if-none-match", "\"x\"");
        assert_eq!(plain, key(volatile, ""));
        for other in [
            key(get("http://h/a?key=s3cret-key&n=2"), ""),
            key(Request::post("http://h/a?key=s3cret-key&n=1"), ""),
            key(get("http://h/a?key=s3cret-key&n=1").header("accept", "text/csv"), ""),
            key(get("http://h/a?key=s3cret-key&n=1"), "x"),
        ] {
            assert_ne!(plain, other);
        }
    }

    #[test]
    fn the_boundary_of_a_multipart_body_is_no_part_of_it() {
        let post = |boundary: &str| {
            let kind = format!("multipart/form-data; boundary={boundary}");
            Request::post("http://h/").header(CONTENT_TYPE, kind)
        };
        let one = key(post("0123456789abcdef"), "--0123456789abcdef\r\n\r\nx");
        assert_eq!(one, key(post("fedcba9876543210"), "--fedcba9876543210\r\n\r\nx"));
        assert_ne!(one, key(post("fedcba9876543210"), "--fedcba9876543210\r\n\r\ny"));
    }
}
