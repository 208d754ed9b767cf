//! A tower [`Layer`] whose requests take permits of a [`RateLimiter`], so that a server never
//! counts more than its limits.
//!
//! ```
//! use http::Request;
//! use http_body_util::Empty;
//! use hyper_util::client::legacy::Client;
//! use hyper_util::rt::TokioExecutor;
//! use throng_limit::RateLimiter;
//! use throng_tower::RateLimitLayer;
//! use tower::{Layer, ServiceExt};
//! # let server = throng_mock::Mock::start(throng_mock::Settings::default(), "127.0.0.1:0")?;
//! # let url = format!("{}/v6/finance/quote/?symbols=AAPL", server.url());
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//!
//! let limiter = RateLimiter::builder().limit("50/1s".parse()?).build()?;
//! let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
//! let service = RateLimitLayer::new(limiter).layer(client);
//!
//! let response = service.oneshot(Request::get(url).body(Empty::new())?).await?;
//! assert_eq!(response.status(), 200);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The permits end by themselves:
//!
//! | what happens | the permit |
//! |---|---|
//! | an answer comes | is answered; the limiter learns what its headers say of limits |
//! | a 429, or a 503 with `Retry-After` | is refused: no request goes out until the server wants one |
//! | a 502, 503 or 504; an error; a future that is dropped | is lost: the request may still arrive |
//! | an error of which [`not_sent`](RateLimitLayer::not_sent) says so | is given back |
//! | the body ends, or is dropped | frees its place in [`in_flight`](throng_limit::RateLimiterBuilder::in_flight) |
//!
//! Put the layer beneath whatever repeats requests (retries, redirects), so that each attempt
//! takes a permit of its own. A client that repeats requests by itself must be told not to.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use throng_limit::{AcquireError, Cost, RateLimiter};
use tower_layer::Layer;
use tower_service::Service;

mod body;

pub use body::PermitBody;

/// Wraps a service whose requests are to take permits.
///
/// `B` is the body of the requests, and `E` the error of the service.
pub struct RateLimitLayer<B, E> {
    rules: Arc<Rules<B, E>>,
}

/// The cost and the key of each request, and the errors after which nothing was sent.
struct Rules<B, E> {
    limiter: RateLimiter,
    cost: OfRequest<B, Cost>,
    key: Option<OfRequest<B, String>>,
    not_sent: OfError<E>,
}

/// Gives something of a request.
type OfRequest<B, T> = Box<dyn Fn(&Request<B>) -> T + Send + Sync>;

/// Says something of an error.
type OfError<E> = Box<dyn Fn(&E) -> bool + Send + Sync>;

impl<B, E> RateLimitLayer<B, E> {
    /// A layer whose requests cost one each, and all of whose errors may mean that the request was
    /// sent.
    #[must_use]
    pub fn new(limiter: RateLimiter) -> RateLimitLayer<B, E> {
        let rules = Rules {
            limiter,
            cost: Box::new(|_| Cost::one()),
            key: None,
            not_sent: Box::new(|_| false),
        };
        RateLimitLayer { rules: Arc::new(rules) }
    }

    /// Sets the cost of a request.
    ///
    /// ```
    /// # use http::Request;
    /// # use throng_limit::{Cost, RateLimiter};
    /// # use throng_tower::RateLimitLayer;
    /// let limiter = RateLimiter::builder().limit("90000 tokens/1m".parse()?).build()?;
    /// let layer = RateLimitLayer::<String, std::io::Error>::new(limiter)
    ///     .cost(|request: &Request<String>| {
    ///         Cost::one().with("tokens", request.body().len() as u64 / 4)
    ///     });
    /// # let _layer = layer;
    /// # Ok::<(), throng_limit::LimitError>(())
    /// ```
    #[must_use]
    pub fn cost(self, cost: impl Fn(&Request<B>) -> Cost + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.cost = Box::new(cost))
    }

    /// Sets the key of a request, for limits that each key has for itself.
    #[must_use]
    pub fn key(self, key: impl Fn(&Request<B>) -> String + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.key = Some(Box::new(key)))
    }

    /// Sets which errors mean that nothing was sent, such as those of a connection that could not
    /// be made: their permits are given back.
    #[must_use]
    pub fn not_sent(self, not_sent: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.with(|rules| rules.not_sent = Box::new(not_sent))
    }

    fn with(mut self, change: impl FnOnce(&mut Rules<B, E>)) -> Self {
        // Before it is cloned nothing else holds the rules.
        if let Some(rules) = Arc::get_mut(&mut self.rules) {
            change(rules);
        }
        self
    }
}

impl<B, E> Clone for RateLimitLayer<B, E> {
    fn clone(&self) -> Self {
        RateLimitLayer { rules: self.rules.clone() }
    }
}

impl<S, B, E> Layer<S> for RateLimitLayer<B, E> {
    type Service = RateLimited<S, B, E>;

    fn layer(&self, inner: S) -> RateLimited<S, B, E> {
        RateLimited { inner, rules: self.rules.clone() }
    }
}

/// A service whose requests take permits: see [`RateLimitLayer`].
pub struct RateLimited<S, B, E> {
    inner: S,
    rules: Arc<Rules<B, E>>,
}

impl<S: Clone, B, E> Clone for RateLimited<S, B, E> {
    fn clone(&self) -> Self {
        RateLimited { inner: self.inner.clone(), rules: self.rules.clone() }
    }
}

/// The future of an answer.
type Answer<R, E> = Pin<Box<dyn Future<Output = Result<Response<PermitBody<R>>, Error<E>>> + Send>>;

impl<S, B, R> Service<Request<B>> for RateLimited<S, B, S::Error>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: http_body::Body,
    S::Error: 'static,
{
    type Response = Response<PermitBody<R>>;
    type Error = Error<S::Error>;
    type Future = Answer<R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Error::Service)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that is ready is the one that is called.
        let next = self.inner.clone();
        let (mut inner, rules) = (mem::replace(&mut self.inner, next), self.rules.clone());
        Box::pin(async move {
            let cost = (rules.cost)(&request);
            let acquired = match &rules.key {
                Some(key) => rules.limiter.keyed(&key(&request)).acquire_sent(cost).await,
                None => rules.limiter.acquire_sent(cost).await,
            };
            let mut permit = acquired.map_err(Error::Limit)?;
            match inner.call(request).await {
                Ok(response) => {
                    permit.answered_with(response.status(), response.headers());
                    Ok(response.map(|body| PermitBody::new(body, permit)))
                }
                Err(error) => {
                    if (rules.not_sent)(&error) {
                        permit.cancel();
                    }
                    Err(Error::Service(error))
                }
            }
        })
    }
}

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// No permit can be had; nothing was sent.
    Limit(AcquireError),
    /// The service has failed.
    Service(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Limit(error) => error.fmt(f),
            Error::Service(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Limit(error) => error.source(),
            Error::Service(error) => error.source(),
        }
    }
}
