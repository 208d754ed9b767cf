//! The middleware before a real server that judges.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed, and says where")]

use std::time::Duration;

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use throng_limit::RateLimiter;
use throng_mock::{Mock, Settings};
use throng_reqwest::RateLimitMiddleware;

fn server(limit: &str) -> Mock {
    server_after("0", limit)
}

/// A server that answers after this time.
fn server_after(latency: &str, limit: &str) -> Mock {
    let (limits, latency) = (vec![limit.parse().unwrap()], latency.parse().unwrap());
    let settings = Settings { limits, latency, anything: true, ..Settings::default() };
    Mock::start(settings, "127.0.0.1:0").unwrap()
}

fn client(limiter: &RateLimiter) -> ClientWithMiddleware {
    ClientBuilder::new(throng_reqwest::client().build().unwrap())
        .with(RateLimitMiddleware::new(limiter.clone()))
        .build()
}

fn limiter(limit: &str) -> RateLimiter {
    let linger = Duration::from_millis(200);
    RateLimiter::builder().limit(limit.parse().unwrap()).linger(linger).build().unwrap()
}

#[tokio::test]
async fn a_server_never_counts_more_than_its_limit() {
    let server = server("sliding:10/300ms");
    let client = client(&limiter("10/300ms"));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..25 {
        let (client, url) = (client.clone(), format!("{}/{number}", server.url()));
        tasks.spawn(async move {
            let response = client.get(&url).send().await.unwrap();
            assert_eq!((response.url().as_str(), response.status().as_u16()), (url.as_str(), 200));
            assert!(!response.bytes().await.unwrap().is_empty());
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    let judgement = server.judgement();
    assert_eq!((judgement.requests, judgement.refused), (25, 0));
    assert!(judgement.windows[0].most <= 10, "{judgement:?}");
}

#[tokio::test]
async fn what_was_not_sent_is_given_back_and_what_was_cut_off_is_lost() {
    let server = server_after("60s", "sliding:1000/1s");
    let limiter = limiter("2/10s");
    let client = client(&limiter);
    let cut_off = client.get(server.url()).timeout(Duration::from_millis(1)).send().await;
    assert!(cut_off.is_err());
    let dropped = tokio::time::timeout(Duration::ZERO, client.get(server.url()).send()).await;
    assert!(dropped.is_err());
    assert_eq!(limiter.snapshot().limits[0].lost, 2);
    let limiter = self::limiter("1/10s");
    assert!(self::client(&limiter).get("http://127.0.0.1:1/").send().await.is_err());
    assert!(limiter.try_acquire(1).is_ok(), "nothing was sent");
}

#[tokio::test]
async fn a_refusal_pauses_all_that_use_the_limiter() {
    let server = server("sliding:1/1m");
    let limiter = limiter("100/1s");
    let client = client(&limiter);
    let status = async || client.get(server.url()).send().await.unwrap().status().as_u16();
    assert_eq!((status().await, status().await), (200, 429));
    assert!(limiter.snapshot().paused > Some(Duration::from_secs(30)));
    let third = tokio::time::timeout(Duration::from_millis(50), status()).await;
    assert!(third.is_err() && server.judgement().requests == 2);
}

#[tokio::test]
async fn a_place_in_flight_is_free_once_the_body_is_read() {
    let server = server("sliding:1000/1s");
    let limiter = RateLimiter::builder().in_flight(1).build().unwrap();
    let client = client(&limiter);
    let response = client.get(server.url()).send().await.unwrap();
    assert!(limiter.try_acquire(1).is_err(), "its body is still to come");
    response.text().await.unwrap();
    assert!(limiter.try_acquire(1).is_ok());
}
