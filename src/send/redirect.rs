//! The target of a redirect, and the parts of the request that are sent to it. Pure.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use percent_encoding::{CONTROLS, percent_encode};

use super::Answer;
use super::route::Origin;

/// Whether the next request keeps the job's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectTrust {
    /// The request goes to the origin that the job names.
    Own,
    /// The request goes to another origin: no header of the job, no body, no signature.
    Foreign,
}

/// The trust in a new address, given that in the present one.
#[must_use]
pub fn trust(to: &Uri, own: &Uri) -> RedirectTrust {
    if Origin::of(to) == Origin::of(own) { RedirectTrust::Own } else { RedirectTrust::Foreign }
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfollowed {
    /// The answer is no redirect.
    NoRedirect,
    /// As many were followed as the job allows.
    TooMany,
    /// Its address is no URL, or not one of HTTP.
    NoUrl,
    /// It leaves TLS.
    LeavesTls,
    /// Its address has a user or a password.
    Credentials,
    /// The body would go to another origin.
    Body,
    /// The job doesn't allow its host.
    Host,
}

impl Unfollowed {
    /// The reason, as messages have it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Unfollowed::NoRedirect => "which is not followed",
            Unfollowed::TooMany => {
                "after as many redirects as send.follow (--follow) allows; they may go in a circle"
            }
            Unfollowed::NoUrl => "which is no http:// or https:// URL",
            Unfollowed::LeavesTls => "which is not followed, as it leaves TLS",
            Unfollowed::Credentials => "which is not followed, as it has a user or a password",
            Unfollowed::Body => "which is not followed, as the body would go to another server",
            Unfollowed::Host => {
                "which is not followed, as request.allow-host (--allow-host) has no such host"
            }
        }
    }
}

/// The request that an answer redirects to.
///
/// # Errors
/// Why there is none.
pub fn next(
    request: &Request<Bytes>,
    trust: RedirectTrust,
    answer: &Answer,
) -> Result<(Request<Bytes>, RedirectTrust), Unfollowed> {
    let keeps_method = match answer.status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            *request.method() == Method::GET || *request.method() == Method::HEAD
        }
        _ => return Err(Unfollowed::NoRedirect),
    };
    let location = answer.headers.get(LOCATION).ok_or(Unfollowed::NoRedirect)?;
    moved(request, trust, &readable(location.as_bytes()), keeps_method)
}

/// An address as a text: bytes that are none in UTF-8 are percent-encoded.
fn readable(location: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(location) {
        Ok(text) => text.into(),
        Err(_) => percent_encode(location, CONTROLS).into(),
    }
}

/// The request at the address of a next page, with the parts that a redirect would
/// keep. `None` if the address is not followed.
#[must_use]
pub fn to(
    request: &Request<Bytes>,
    trust: RedirectTrust,
    location: &str,
) -> Option<(Request<Bytes>, RedirectTrust)> {
    moved(request, trust, location, true).ok()
}

/// The request that asks for an address by GET, with the headers that a redirect would keep.
/// `None` if the address is not followed.
#[must_use]
pub fn get(
    request: &Request<Bytes>,
    trust: RedirectTrust,
    location: &str,
) -> Option<(Request<Bytes>, RedirectTrust)> {
    moved(request, trust, location, false).ok()
}

fn moved(
    request: &Request<Bytes>,
    trust: RedirectTrust,
    location: &str,
    keeps_method: bool,
) -> Result<(Request<Bytes>, RedirectTrust), Unfollowed> {
    let uri = target(request.uri(), location)?;
    let trust =
        if Origin::of(&uri) == Origin::of(request.uri()) { trust } else { RedirectTrust::Foreign };
    let mut next = Request::new(Bytes::new());
    *next.uri_mut() = uri;
    *next.method_mut() = if keeps_method { request.method().clone() } else { Method::GET };
    if trust == RedirectTrust::Own {
        *next.headers_mut() = headers(request.headers(), keeps_method);
    }
    match (keeps_method, trust, request.body().is_empty()) {
        (true, RedirectTrust::Own, _) => *next.body_mut() = request.body().clone(),
        // A body can contain secrets like a header; without it the request makes no sense.
        (true, RedirectTrust::Foreign, false) => return Err(Unfollowed::Body),
        _ => {}
    }
    Ok((next, trust))
}

fn target(from: &Uri, location: &str) -> Result<Uri, Unfollowed> {
    let from_url = url::Url::parse(&from.to_string());
    let to = from_url.and_then(|from| from.join(location));
    let mut to = to.map_err(|_| Unfollowed::NoUrl)?;
    to.set_fragment(None);
    let uri: Uri = to.as_str().parse().map_err(|_| Unfollowed::NoUrl)?;
    if Origin::of(&uri).is_none() {
        Err(Unfollowed::NoUrl)
    } else if from.scheme_str() == Some("https") && to.scheme() != "https" {
        Err(Unfollowed::LeavesTls)
    } else if !to.username().is_empty() || to.password().is_some() {
        Err(Unfollowed::Credentials)
    } else {
        Ok(uri)
    }
}

fn headers(from: &HeaderMap, with_body: bool) -> HeaderMap {
    let mut headers = from.clone();
    if !with_body {
        headers.remove(CONTENT_TYPE);
        headers.remove(CONTENT_LENGTH);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(
        method: Method,
        status: u16,
        to: &str,
    ) -> Result<(Request<Bytes>, RedirectTrust), Unfollowed> {
        let request = Request::builder()
            .method(method)
            .uri("https://api.h/a/b?c=d")
            .header("x-id", "7")
            .header(CONTENT_TYPE, "text/plain")
            .body(Bytes::from_static(b"body"))
            .unwrap();
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]),
            body: Bytes::new(),
            latency: std::time::Duration::ZERO,
            unfollowed: None,
        };
        next(&request, RedirectTrust::Own, &answer)
    }

    #[test]
    fn the_same_origin_gets_the_same_request() {
        let (request, trust) = hop(Method::POST, 307, "../x?y=z#part").unwrap();
        assert_eq!(request.uri(), "https://api.h/x?y=z");
        assert_eq!((request.method(), trust), (&Method::POST, RedirectTrust::Own));
        assert_eq!(request.headers()["x-id"], "7");
        assert_eq!(request.body(), "body");
        let (request, _) = hop(Method::POST, 303, "https://API.h:443/x").unwrap();
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.headers()["x-id"], "7");
        assert!(!request.headers().contains_key(CONTENT_TYPE));
        assert!(request.body().is_empty());
    }

    #[test]
    fn another_origin_gets_no_header_or_body_of_the_job() {
        for to in ["https://evil.h/x", "//evil.h/x", "https://api.h:444/x", "https://api.h.evil.h/"]
        {
            let (request, trust) = hop(Method::POST, 302, to).unwrap();
            assert_eq!(trust, RedirectTrust::Foreign, "{to}");
            assert!(request.headers().is_empty() && request.body().is_empty(), "{to}");
        }
        let refused = hop(Method::POST, 308, "https://evil.h/").unwrap_err();
        assert_eq!(refused, Unfollowed::Body, "its body stays here");
    }

    #[test]
    fn some_redirects_are_not_followed() {
        for (to, why) in [
            ("http://api.h/x", Unfollowed::LeavesTls),
            ("file:///etc/passwd", Unfollowed::NoUrl),
            ("ftp://h/", Unfollowed::NoUrl),
            ("https://[", Unfollowed::NoUrl),
            ("https://me:pw@api.h/", Unfollowed::Credentials),
        ] {
            assert_eq!(hop(Method::GET, 302, to).unwrap_err(), why, "{to}");
        }
        assert_eq!(hop(Method::GET, 200, "/x").unwrap_err(), Unfollowed::NoRedirect);
        assert_eq!(hop(Method::GET, 304, "/x").unwrap_err(), Unfollowed::NoRedirect);
    }

    #[test]
    fn an_address_is_encoded_as_a_url_is() {
        for (location, expected) in [
            (&b"/a b/\xc3\xa9"[..], "https://api.h/a%20b/%C3%A9"),
            (b"/a b/\xe9", "https://api.h/a%20b/%E9"),
            (b"?x=[1]|2", "https://api.h/a/b?x=[1]|2"),
        ] {
            let from = "https://api.h/a/b?c=d".parse().unwrap();
            assert_eq!(target(&from, &readable(location)).unwrap(), expected);
        }
    }
}
