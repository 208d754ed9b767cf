//! A request as it is sent: its default headers, the form of its target, its body, and the
//! interim answers to it.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, USER_AGENT,
};
use http::uri::Authority;
use http::{Extensions, HeaderMap, Method, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::TrySendError;

use super::acked::WireMark;
use super::header_case;
use super::proxy::HttpProxy;
use super::route::Origin;
use crate::render::{SuppressHeaders, WrittenNames};
use crate::zstandard;

/// The value of `accept-encoding`: the encodings that an answer's body may have.
const ACCEPTED: &str =
    if zstandard::MISSING.is_none() { "gzip, br, zstd, deflate" } else { "gzip, br, deflate" };

/// The head of an answer, with its body to be read.
pub type RequestHead = Response<Incoming>;

/// The head of the answer to a request that was written, or the request with an error.
pub type WriteResult = Result<RequestHead, TrySendError<Request<Outgoing>>>;

/// The default headers of requests to one origin, for requests without their own.
pub struct Defaults {
    http1: HeaderMap,
    http2: HeaderMap,
}

impl Defaults {
    /// The default headers of requests to this origin.
    pub fn of(origin: &Origin) -> Defaults {
        const AGENT: &str = concat!("throng/", env!("CARGO_PKG_VERSION"));
        let http2 = HeaderMap::from_iter([
            (USER_AGENT, HeaderValue::from_static(AGENT)),
            (ACCEPT, HeaderValue::from_static("*/*")),
            (ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED)),
        ]);
        let mut http1 = http2.clone();
        // HTTP/2 has the host in `:authority`.
        if let Ok(host) = HeaderValue::try_from(origin.authority()) {
            http1.insert(HOST, host);
        }
        Defaults { http1, http2 }
    }

    /// A request as it is sent over HTTP/1.1: with the default headers, its URL in this form, and
    /// this body.
    pub fn http1<B>(&self, request: &Request<Bytes>, form: &RequestTarget, body: B) -> Request<B> {
        let headers = complete(request, &self.http1);
        let mut sent = copy(request, form.uri(request.uri()), headers, body);
        if let Some(credentials) = form.credentials() {
            sent.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        if let Some(names) = request.extensions().get::<WrittenNames>() {
            sent.extensions_mut().extend(names.extensions(header_case::extensions).clone());
        }
        sent
    }

    /// A request as it is sent over HTTP/2: with the default headers.
    pub fn http2<B>(&self, request: &Request<Bytes>, body: B) -> Request<B> {
        let headers = complete(request, &self.http2);
        let mut sent = copy(request, request.uri().clone(), headers, body);
        name_host(&mut sent);
        sent
    }
}

/// A copy of a request with this URL, these headers and this body.
fn copy<B>(request: &Request<Bytes>, uri: Uri, headers: HeaderMap, body: B) -> Request<B> {
    let mut sent = Request::new(body);
    *sent.method_mut() = request.method().clone();
    *sent.uri_mut() = uri;
    *sent.version_mut() = request.version();
    *sent.headers_mut() = headers;
    *sent.extensions_mut() = request.extensions().clone();
    sent
}

/// The headers of a request, and the default ones that it lacks.
fn complete(request: &Request<Bytes>, defaults: &HeaderMap) -> HeaderMap {
    let without = request.extensions().get::<SuppressHeaders>();
    let has_no_length = request.body().is_empty()
        && matches!(*request.method(), Method::POST | Method::PUT | Method::PATCH);
    if request.headers().is_empty() && without.is_none() && !has_no_length {
        return defaults.clone();
    }
    let mut headers = request.headers().clone();
    // Without a body hyper writes none, and some servers answer 411 (RFC 9110, 8.6).
    if has_no_length && !headers.contains_key(TRANSFER_ENCODING) {
        headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
    }
    let is_wanted = |name: &HeaderName| {
        *name == HOST || without.is_none_or(|without| !without.0.contains(name))
    };
    for (name, value) in defaults.iter().filter(|(name, _)| is_wanted(name)) {
        headers.entry(name).or_insert_with(|| value.clone());
    }
    headers
}

/// Moves the job's own `Host` to `:authority`, the only place of the host in HTTP/2
/// (RFC 9113, 8.3.1).
fn name_host<B>(request: &mut Request<B>) {
    let host = request.headers().get(HOST);
    let Some(host) = host.and_then(|host| Authority::try_from(host.as_bytes()).ok()) else {
        return;
    };
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(host);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
        request.headers_mut().remove(HOST);
    }
}

/// The form of the target in HTTP/1.1's request line.
#[derive(Debug, Clone)]
pub enum RequestTarget {
    /// The path alone, for the server itself or a tunnel.
    Origin,
    /// The whole URL for a proxy, with the credentials for it.
    Absolute(HttpProxy),
}

impl RequestTarget {
    /// A URL in this form.
    fn uri(&self, uri: &Uri) -> Uri {
        match self {
            RequestTarget::Absolute(_) => uri.clone(),
            RequestTarget::Origin => {
                let path = uri.path_and_query().cloned();
                path.map_or_else(|| Uri::from_static("/"), Uri::from)
            }
        }
    }

    /// What the proxy wants to know of us, if there is one.
    fn credentials(&self) -> Option<&HeaderValue> {
        match self {
            RequestTarget::Absolute(proxy) => proxy.credentials.as_ref(),
            RequestTarget::Origin => None,
        }
    }
}

/// A whole body; none where there is nothing to send. It is boxed, as a connection of HTTP/1.1 has
/// room for 32 requests, through all of which it goes.
pub struct Outgoing(Option<Box<WholeBody>>);

/// A body that is sent in one piece. Its mark is dropped with it when all of the request is
/// buffered for writing.
struct WholeBody {
    bytes: Full<Bytes>,
    _mark: Option<WireMark>,
}

impl Outgoing {
    pub fn new(bytes: Bytes, mark: Option<WireMark>) -> Outgoing {
        let is_there = !bytes.is_empty() || mark.is_some();
        let whole = || Box::new(WholeBody { bytes: Full::new(bytes), _mark: mark });
        Outgoing(is_there.then(whole))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Some(whole) => Pin::new(&mut whole.bytes).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|whole| whole.bytes.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |whole| whole.bytes.size_hint())
    }
}

/// Maximum number of interim answers to one request.
pub const MAX_INTERIM: u32 = 10;

/// The interim answers to one request.
#[derive(Debug, Default)]
pub struct Interim {
    pub received: AtomicU32,
    is_over: AtomicBool,
    /// Wakes the task that waits for the answer.
    waker: Mutex<Option<Waker>>,
}

impl Interim {
    /// The work's result; none if there are too many interim answers first.
    pub async fn keep<F: Future>(&self, mut work: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| {
            if self.is_over.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            let polled = work.as_mut().poll(cx).map(Some);
            if polled.is_pending() {
                self.waker().replace(cx.waker().clone());
                if self.is_over.load(Ordering::Acquire) {
                    return Poll::Ready(None);
                }
            }
            polled
        })
        .await
    }

    /// Counts an interim answer; one more than `max` of them are too many.
    pub fn receive(&self, max: u32) {
        if self.received.fetch_add(1, Ordering::Relaxed) == max {
            self.is_over.store(true, Ordering::Release);
            self.waker().take().into_iter().for_each(Waker::wake);
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the interim answers of an HTTP/1.1 connection, to one request after the other.
pub struct InterimWatch {
    interim: Arc<Interim>,
    /// The extension of each request by which it is counted, made once.
    extensions: Extensions,
}

impl InterimWatch {
    pub fn new() -> InterimWatch {
        let interim = Arc::<Interim>::default();
        let (counted, mut request) = (interim.clone(), Request::new(()));
        hyper::ext::on_informational(&mut request, move |_| counted.receive(MAX_INTERIM));
        InterimWatch { interim, extensions: std::mem::take(request.extensions_mut()) }
    }

    /// Counts from now on those to this request.
    pub fn watch<B>(&self, request: &mut Request<B>) -> Arc<Interim> {
        self.interim.received.store(0, Ordering::Relaxed);
        self.interim.is_over.store(false, Ordering::Release);
        let extensions = self.extensions.clone();
        if request.extensions().is_empty() {
            *request.extensions_mut() = extensions;
        } else {
            request.extensions_mut().extend(extensions);
        }
        self.interim.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper_util::client::proxy::matcher::Matcher;

    fn sent(request: &Request<Bytes>, origin: &str, is_http1: bool) -> Request<()> {
        let defaults = Defaults::of(&Origin::of(&origin.parse().unwrap()).unwrap());
        if is_http1 {
            defaults.http1(request, &RequestTarget::Origin, ())
        } else {
            defaults.http2(request, ())
        }
    }

    fn added(request: Request<Bytes>, is_http1: bool) -> HeaderMap {
        sent(&request, "http://API.h:81/x", is_http1).headers().clone()
    }

    #[test]
    fn the_job_s_own_headers_win() {
        let mut request = Request::new(Bytes::new());
        assert_eq!(added(request.clone(), true).len(), 4);
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("me"));
        let headers = added(request, true);
        assert_eq!(headers[USER_AGENT], "me");
        assert_eq!(headers[ACCEPT_ENCODING], ACCEPTED);
        assert_eq!(headers[HOST], "api.h:81");
    }

    #[test]
    fn a_request_that_could_have_a_body_says_that_it_has_none() {
        let length = |method, body| {
            let mut request = Request::new(Bytes::from_static(body));
            *request.method_mut() = method;
            added(request, true).get(CONTENT_LENGTH).cloned()
        };
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            assert_eq!(length(method.clone(), b"").unwrap(), "0");
            assert_eq!(length(method, b"x"), None, "hyper counts it");
        }
        assert_eq!(length(Method::GET, b""), None);
        assert_eq!(length(Method::DELETE, b""), None);
    }

    #[test]
    fn suppressed_headers_are_left_out() {
        let mut request = Request::new(Bytes::new());
        request.extensions_mut().insert(SuppressHeaders(Arc::new([USER_AGENT, HOST])));
        let headers = added(request, true);
        assert!(!headers.contains_key(USER_AGENT) && headers.contains_key(ACCEPT_ENCODING));
        assert!(headers.contains_key(HOST), "no request is one without it");
    }

    #[test]
    fn http_2_names_the_host_by_itself() {
        let headers = added(Request::new(Bytes::new()), false);
        assert!(!headers.contains_key(HOST) && headers.contains_key(USER_AGENT));
    }

    #[test]
    fn with_http_2_the_job_s_host_is_the_authority() {
        let given = |is_http1| {
            let url = "https://10.0.0.7:8443/a?b";
            let request = Request::get(url).header(HOST, "api.h").body(Bytes::new()).unwrap();
            let request = sent(&request, url, is_http1);
            (request.uri().to_string(), request.headers().get(HOST).cloned())
        };
        assert_eq!(given(false), ("https://api.h/a?b".to_owned(), None));
        let (uri, host) = given(true);
        assert_eq!(uri, "/a?b");
        assert_eq!(host.unwrap(), "api.h");
    }

    #[test]
    fn a_proxy_sees_the_whole_url_and_a_server_its_path() {
        let request = Request::get("http://h:81/a?b=c").body(Bytes::new()).unwrap();
        let defaults = Defaults::of(&Origin::of(request.uri()).unwrap());
        let matcher = Matcher::builder().all("http://p:3128").build();
        let proxy = matcher.intercept(&Uri::from_static("http://h:81/")).unwrap();
        for (form, uri) in [
            (RequestTarget::Origin, "/a?b=c"),
            (RequestTarget::Absolute(HttpProxy::of(&proxy)), "http://h:81/a?b=c"),
        ] {
            assert_eq!(defaults.http1(&request, &form, ()).uri(), uri);
        }
    }
}
