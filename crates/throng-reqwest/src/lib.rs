//! A [`reqwest_middleware`] whose requests take permits of a [`RateLimiter`], so that a server
//! never counts more than its limits.
//!
//! ```
//! use reqwest_middleware::ClientBuilder;
//! use throng_limit::RateLimiter;
//! use throng_reqwest::RateLimitMiddleware;
//! # let server = throng_mock::Mock::start(throng_mock::Settings::default(), "127.0.0.1:0")?;
//! # let url = format!("{}/v6/finance/quote/?symbols=AAPL", server.url());
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//!
//! let limiter = RateLimiter::builder().limit("50/1s".parse()?).build()?;
//! let client = ClientBuilder::new(throng_reqwest::client().build()?)
//!     .with(RateLimitMiddleware::new(limiter))
//!     .build();
//!
//! let response = client.get(url).send().await?;
//! assert_eq!(response.status(), 200);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The permits end by themselves: by the head of the answer, with what it says of limits (429,
//! `Retry-After`, the `RateLimit` headers); as lost, where no answer comes or the future is
//! dropped; given back, where no connection could be made. The answer's body keeps the request's
//! place [in flight](throng_limit::RateLimiterBuilder::in_flight) until it is read or dropped.
//!
//! Put the middleware last, beneath those that repeat requests, so that each attempt takes a
//! permit of its own. `reqwest` itself follows redirects and sends some requests again, which no
//! middleware sees: [`client`] begins a client that does neither.

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Body, Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};
use throng_limit::{Cost, RateLimiter};
use throng_tower::PermitBody;

/// A client that sends each request once: it follows no redirects, and repeats nothing by itself.
pub fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
}

/// Has requests take permits of a limiter.
pub struct RateLimitMiddleware {
    limiter: RateLimiter,
    cost: OfRequest<Cost>,
    key: Option<OfRequest<String>>,
}

/// Gives something of a request.
type OfRequest<T> = Box<dyn Fn(&Request) -> T + Send + Sync>;

impl RateLimitMiddleware {
    /// A middleware whose requests cost one each.
    #[must_use]
    pub fn new(limiter: RateLimiter) -> RateLimitMiddleware {
        RateLimitMiddleware { limiter, cost: Box::new(|_| Cost::one()), key: None }
    }

    /// Sets the cost of a request.
    ///
    /// ```
    /// # use throng_limit::{Cost, RateLimiter};
    /// # use throng_reqwest::RateLimitMiddleware;
    /// let limiter = RateLimiter::builder().limit("90000 tokens/1m".parse()?).build()?;
    /// let middleware = RateLimitMiddleware::new(limiter).cost(|request| {
    ///     let size = request.body().and_then(|body| body.as_bytes()).map_or(0, <[u8]>::len);
    ///     Cost::one().with("tokens", size as u64 / 4)
    /// });
    /// # let _middleware = middleware;
    /// # Ok::<(), throng_limit::LimitError>(())
    /// ```
    #[must_use]
    pub fn cost(self, cost: impl Fn(&Request) -> Cost + Send + Sync + 'static) -> Self {
        RateLimitMiddleware { cost: Box::new(cost), ..self }
    }

    /// Sets the key of a request, for limits that each key has for itself.
    #[must_use]
    pub fn key(self, key: impl Fn(&Request) -> String + Send + Sync + 'static) -> Self {
        RateLimitMiddleware { key: Some(Box::new(key)), ..self }
    }
}

#[async_trait]
impl Middleware for RateLimitMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let cost = (self.cost)(&request);
        let acquired = match &self.key {
            Some(key) => self.limiter.keyed(&key(&request)).acquire_sent(cost).await,
            None => self.limiter.acquire_sent(cost).await,
        };
        let mut permit = acquired.map_err(Error::middleware)?;
        match next.run(request, extensions).await {
            Ok(response) => {
                permit.answered_with(response.status(), response.headers());
                Ok(with_body(response, |body| Body::wrap(PermitBody::new(body, permit))))
            }
            Err(error) => {
                if matches!(&error, Error::Reqwest(error) if error.is_connect()) {
                    permit.cancel();
                }
                Err(error)
            }
        }
    }
}

/// The response with another body, and the same URL.
fn with_body(response: Response, change: impl FnOnce(Body) -> Body) -> Response {
    let url = response.url().clone();
    let mut response = http::Response::<Body>::from(response).map(change);
    let of_url = http::Response::builder();
    let of_url = reqwest::ResponseBuilderExt::url(of_url, url);
    if let Some(extensions) = of_url.extensions_ref() {
        response.extensions_mut().extend(extensions.clone());
    }
    Response::from(response)
}
