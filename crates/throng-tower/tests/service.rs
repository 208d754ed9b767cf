//! The layer before a real server that judges.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed, and says where")]

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::TokioExecutor;
use throng_limit::{Cost, RateLimiter};
use throng_mock::{Mock, Settings};
use throng_tower::{RateLimitLayer, RateLimited};
use tower::{Layer, ServiceExt};

type Body = Empty<bytes::Bytes>;
type Http = Client<HttpConnector, Body>;

fn server(limit: &str) -> Mock {
    let limits = vec![limit.parse().unwrap()];
    let settings = Settings { limits, anything: true, ..Settings::default() };
    Mock::start(settings, "127.0.0.1:0").unwrap()
}

fn service(limiter: &RateLimiter) -> RateLimited<Http, Body, ClientError> {
    let client = Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
    RateLimitLayer::new(limiter.clone())
        .not_sent(|error: &ClientError| error.is_connect())
        .layer(client)
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Empty::new()).unwrap()
}

fn limiter(limit: &str) -> RateLimiter {
    let linger = Duration::from_millis(200);
    RateLimiter::builder().limit(limit.parse().unwrap()).linger(linger).build().unwrap()
}

#[tokio::test]
async fn a_server_never_counts_more_than_its_limit() {
    let server = server("sliding:10/300ms");
    let limiter = limiter("10/300ms");
    let service = service(&limiter);
    let ask = |number: usize| {
        let (service, url) = (service.clone(), format!("{}/{number}", server.url()));
        async move {
            let response = service.oneshot(get(&url)).await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    (0..25).for_each(|number| drop(tasks.spawn(ask(number))));
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let judgement = server.judgement();
    assert_eq!((judgement.requests, judgement.refused), (25, 0));
    assert!(judgement.windows[0].most <= 10, "{judgement:?}");
}

#[tokio::test]
async fn a_future_that_is_dropped_may_have_sent_its_request() {
    let server = server("sliding:1000/1s");
    let limiter = limiter("2/10s");
    let service = service(&limiter);
    let response = service.clone().oneshot(get(&server.url()));
    // No time for an answer: the request is perhaps written.
    let cancelled = tokio::time::timeout(Duration::ZERO, response).await;
    assert!(cancelled.is_err());
    assert_eq!(limiter.snapshot().limits[0].lost, 1);
    let nowhere = service.oneshot(get("http://127.0.0.1:1/")).await;
    assert!(nowhere.is_err());
    assert_eq!(limiter.snapshot().limits[0].lost, 1, "of that nothing was sent");
    assert!(limiter.try_acquire(1).is_ok() && limiter.try_acquire(1).is_err());
}

#[tokio::test]
async fn a_refusal_pauses_all_that_use_the_limiter() {
    let server = server("sliding:1/1m");
    let limiter = limiter("100/1s");
    let service = service(&limiter);
    let status = async || service.clone().oneshot(get(&server.url())).await.unwrap().status();
    assert_eq!(status().await, 200);
    assert_eq!(status().await, StatusCode::TOO_MANY_REQUESTS);
    assert!(limiter.snapshot().paused > Some(Duration::from_secs(30)));
    let third = tokio::time::timeout(Duration::from_millis(50), status()).await;
    assert!(third.is_err(), "it waits");
    assert_eq!(server.judgement().requests, 2);
}

#[tokio::test]
async fn a_place_in_flight_is_free_when_the_body_ends_or_is_dropped() {
    let server = server("sliding:1000/1s");
    let limiter = RateLimiter::builder().in_flight(1).build().unwrap();
    let service = service(&limiter);
    let url = format!("{}/v6/finance/quote/?symbols=AAPL", server.url());
    let ask = async || service.clone().oneshot(get(&url)).await.unwrap();
    let response = ask().await;
    assert!(limiter.try_acquire(1).is_err(), "its body is still to come");
    response.into_body().collect().await.unwrap();
    drop(ask().await);
    assert!(limiter.try_acquire(1).is_ok());
}

#[tokio::test]
async fn a_request_costs_what_the_layer_says() {
    let server = server("sliding:1000/1s");
    let limits = ["100/1m", "1000 tokens/1m"].map(|limit| limit.parse().unwrap());
    let limiter = limits.into_iter().fold(RateLimiter::builder(), |it, limit| it.limit(limit));
    let limiter = limiter.build().unwrap();
    let client: Http = Client::builder(TokioExecutor::new()).build_http();
    let layer = RateLimitLayer::new(limiter.clone()).cost(|_| Cost::one().with("tokens", 250));
    layer.layer(client).oneshot(get(&server.url())).await.unwrap();
    let most: Vec<u64> = limiter.snapshot().limits.iter().map(|limit| limit.most).collect();
    assert_eq!(most, [1, 250]);
}
