//! The limiter under a paused clock.

mod api;
mod order;
mod permits;
mod waiting;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::json;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::*;
use crate::{Policy, Settings, Time};

/// A limiter whose clock is the paused runtime's.
fn limiter_of(settings: serde_json::Value) -> RateLimiter {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    let start = Instant::now();
    RateLimiter::with_clock(policy.limits(), move || Time::ZERO.after(start.elapsed()))
}

fn limiter(rate: &str) -> RateLimiter {
    limiter_of(json!({ "rate": rate }))
}

fn tokens(tokens: u64) -> Cost {
    Cost::new([1, tokens], [])
}

fn of_key(key: &str) -> Cost {
    Cost::new([1], [key.into()])
}

/// Lets the tasks run in their order, each until it waits; gives the order in which they
/// had their permits, and in which second.
async fn through(limiter: &RateLimiter, costs: &[Cost]) -> Vec<(usize, u64)> {
    let order = Rc::new(RefCell::new(Vec::new()));
    let start = Instant::now();
    let local = LocalSet::new();
    for (i, cost) in costs.iter().cloned().enumerate() {
        let (limiter, order) = (limiter.clone(), order.clone());
        local.spawn_local(async move {
            let mut permit = limiter.acquire(cost).await.unwrap();
            order.borrow_mut().push((i, start.elapsed().as_secs()));
            permit.sent();
            permit.answered();
        });
    }
    local.await;
    order.take()
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
