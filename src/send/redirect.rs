//! The target of a redirect, and the parts of the request that are sent to it. Pure.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, Request, StatusCode, Uri};

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

/// The request that an answer redirects to; `None` without a redirect, or if it is not followed.
#[must_use]
pub fn next(
    request: &Request<Bytes>,
    trust: RedirectTrust,
    answer: &Answer,
) -> Option<(Request<Bytes>, RedirectTrust)> {
    let keeps_method = match answer.status {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => {
            *request.method() == Method::GET || *request.method() == Method::HEAD
        }
        _ => return None,
    };
    let location = answer.headers.get(LOCATION)?.to_str().ok()?;
    moved(request, trust, location, keeps_method)
}

/// The request at the address of a next page, with the parts that a redirect would
/// keep. `None` if the address is not followed.
#[must_use]
pub fn to(
    request: &Request<Bytes>,
    trust: RedirectTrust,
    location: &str,
) -> Option<(Request<Bytes>, RedirectTrust)> {
    moved(request, trust, location, true)
}

/// The request that asks for an address by GET, with the headers that a redirect would keep.
/// `None` if the address is not followed.
#[must_use]
pub fn get(
    request: &Request<Bytes>,
    trust: RedirectTrust,
    location: &str,
) -> Option<(Request<Bytes>, RedirectTrust)> {
    moved(request, trust, location, false)
}

fn moved(
    request: &Request<Bytes>,
    trust: RedirectTrust,
    location: &str,
    keeps_method: bool,
) -> Option<(Request<Bytes>, RedirectTrust)> {
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
        (true, RedirectTrust::Foreign, false) => return None,
        _ => {}
    }
    Some((next, trust))
}

fn target(from: &Uri, location: &str) -> Option<Uri> {
    let mut to = url::Url::parse(&from.to_string()).ok()?.join(location).ok()?;
    to.set_fragment(None);
    let leaves_tls = from.scheme_str() == Some("https") && to.scheme() != "https";
    let uri: Uri = to.as_str().parse().ok()?;
    let credentials = !to.username().is_empty() || to.password().is_some();
    (!leaves_tls && !credentials).then_some(uri).filter(|uri| Origin::of(uri).is_some())
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

    fn hop(method: Method, status: u16, to: &str) -> Option<(Request<Bytes>, RedirectTrust)> {
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
        assert!(hop(Method::POST, 308, "https://evil.h/").is_none(), "its body stays here");
    }

    #[test]
    fn some_redirects_are_not_followed() {
        for to in ["http://api.h/x", "file:///etc/passwd", "ftp://h/", "https://me:pw@api.h/"] {
            assert!(hop(Method::GET, 302, to).is_none(), "{to}");
        }
        assert!(hop(Method::GET, 200, "/x").is_none());
        assert!(hop(Method::GET, 304, "/x").is_none());
    }
}
