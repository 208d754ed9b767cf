//! An object at an `http://` or `https://` URL. Does I/O: the network.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderName, HeaderValue, LAST_MODIFIED, LOCATION, RANGE,
};
use http::{HeaderMap, Request, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use url::Url;

use super::exchange::{Exchange, exchange, in_words, transport};
use super::object::{ObjectVersion, OpenError, OpenedObject, RemoteObject};
use crate::record::FailureKind;
use crate::send::redirect::{self, RedirectTrust};
use crate::send::{SendError, Transport};

/// Maximum number of redirects in a row.
const MAX_REDIRECTS: usize = 10;

/// An object at a URL.
pub struct HttpObject {
    uri: Uri,
    /// The user and the password of the URL.
    credentials: Option<HeaderValue>,
    transport: Arc<Transport>,
}

impl fmt::Debug for HttpObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpObject").field("host", &self.uri.host()).finish_non_exhaustive()
    }
}

impl HttpObject {
    /// # Errors
    /// That the URL can't be asked for.
    pub fn new(mut url: Url) -> Result<HttpObject, String> {
        let credentials = (!url.username().is_empty()).then(|| credentials(&url)).transpose()?;
        // A URL of this scheme has a host, so that it can be without them.
        let _ = (url.set_username(""), url.set_password(None));
        url.set_fragment(None);
        let uri: Uri = url.as_str().parse().map_err(|_| "it is no URL".to_owned())?;
        let transport = transport(Some(&uri), None).map_err(|error| error.to_string())?;
        Ok(HttpObject { uri, credentials, transport })
    }

    fn request(&self, from: u64) -> Request<Bytes> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(credentials) = &self.credentials {
            headers.insert(AUTHORIZATION, credentials.clone());
        }
        if from > 0
            && let Ok(range) = HeaderValue::try_from(format!("bytes={from}-"))
        {
            headers.insert(RANGE, range);
        }
        request
    }

    /// The answer to a request, or to the one that it is redirected to.
    fn answer(&self, mut request: Request<Bytes>) -> Result<Exchange, OpenError> {
        let mut trust = RedirectTrust::Own;
        for _ in 0..=MAX_REDIRECTS {
            let (headers, uri) = (request.headers().clone(), request.uri().clone());
            let answer = exchange(&self.transport, request).recv_blocking();
            let answer = match answer {
                Ok(answer) => answer.map_err(not_sent)?,
                Err(_) => return Err(OpenError::Passing("it was not answered".into())),
            };
            let location = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection());
            let Some(location) = location else {
                return Ok(answer);
            };
            let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
            let mut from = Request::new(Bytes::new());
            (*from.uri_mut(), *from.headers_mut()) = (uri, headers);
            let Some(next) = redirect::get(&from, trust, &location) else {
                return Err(OpenError::Final(format!(
                    "the server redirects to {:?}, where throng does not go: to an address without TLS after one with it, or with a password",
                    without_query(&location)
                )));
            };
            (request, trust) = next;
            // What is asked for is no secret, and the same at the new address.
            let kept = [ACCEPT_ENCODING, RANGE];
            for (name, value) in from.headers().iter().filter(|(name, _)| kept.contains(name)) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        Err(OpenError::Final(format!("it redirects more than {MAX_REDIRECTS} times")))
    }
}

impl RemoteObject for HttpObject {
    fn open(&self, from: u64) -> Result<OpenedObject, OpenError> {
        let Exchange { status, headers, body } = self.answer(self.request(from))?;
        let is_part = status == StatusCode::PARTIAL_CONTENT;
        if status == StatusCode::RANGE_NOT_SATISFIABLE && from > 0 {
            return Err(OpenError::changed());
        }
        if status != StatusCode::OK && !(is_part && from > 0) {
            return Err(refused(status));
        }
        let range = is_part.then(|| content_range(&headers)).flatten();
        let (from, size) = match (is_part, range) {
            (false, _) => (0, number(&text(&headers, &CONTENT_LENGTH).unwrap_or_default())),
            (true, Some((start, size))) => (start, size),
            (true, None) => (from, None),
        };
        Ok(OpenedObject {
            version: ObjectVersion {
                tag: text(&headers, &ETAG),
                modified: text(&headers, &LAST_MODIFIED),
                size,
            },
            content_type: text(&headers, &CONTENT_TYPE),
            encoding: text(&headers, &CONTENT_ENCODING),
            from,
            chunks: body,
        })
    }
}

fn credentials(url: &Url) -> Result<HeaderValue, String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pair = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or("")));
    let value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair)));
    let mut value = value.map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// The place of the first byte of a partial answer, and the size of the whole.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = text(headers, &CONTENT_RANGE)?;
    let (range, size) = range.strip_prefix("bytes ")?.split_once('/')?;
    Some((number(range.split_once('-')?.0)?, number(size)))
}

fn not_sent(error: SendError) -> OpenError {
    let why = in_words(&error);
    match error.kind {
        FailureKind::Tls | FailureKind::Input => OpenError::Final(why),
        _ => OpenError::Passing(why),
    }
}

/// Why this status is no object, and what to do.
fn refused(status: StatusCode) -> OpenError {
    let what_to_do = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "the server refuses it: a signed URL must be whole (in quotes in a shell), made for GET, and not out of date; a user and a password go into the URL, https://USER:PASSWORD@HOST/"
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => "there is nothing at this URL: check it",
        StatusCode::NO_CONTENT => "there is nothing in it: check the URL",
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return OpenError::Passing(format!("the server answers {status}: try it again later"));
        }
        _ => "this is no answer with rows: check the URL",
    };
    OpenError::Final(format!("the server answers {status}: {what_to_do}"))
}

/// A URL without what may be secret in it.
fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_answer_says_where_it_begins() {
        let range = |text: &'static str| {
            let header = (CONTENT_RANGE, HeaderValue::from_static(text));
            content_range(&HeaderMap::from_iter([header]))
        };
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(range("bytes */10"), None);
        assert_eq!(range("rows 1-2/3"), None);
    }
}
