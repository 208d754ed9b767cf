//! The gate under a paused clock, and its line.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::*;
use crate::{Policy, Settings, Time};

/// A gate whose clock is the paused runtime's.
fn gate_of(settings: serde_json::Value) -> RateLimiter {
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    let start = Instant::now();
    RateLimiter::with_clock(policy.limits(), move || Time::ZERO.after(start.elapsed()))
}

fn gate(rate: &str) -> RateLimiter {
    gate_of(json!({ "rate": rate }))
}

fn tokens(tokens: u64) -> Cost {
    Cost::new([1, tokens], [])
}

fn of_key(key: &str) -> Cost {
    Cost::new([1], [key.into()])
}

/// Lets the tasks run in their order, each until it waits; gives who came
/// through, and in which second.
async fn through(gate: &RateLimiter, asks: &[Cost]) -> Vec<(usize, u64)> {
    let order = Rc::new(RefCell::new(Vec::new()));
    let start = Instant::now();
    let local = LocalSet::new();
    for (i, ask) in asks.iter().cloned().enumerate() {
        let (gate, order) = (gate.clone(), order.clone());
        local.spawn_local(async move {
            let mut permit = gate.acquire(ask).await.unwrap();
            order.borrow_mut().push((i, start.elapsed().as_secs()));
            permit.sent();
            permit.answered();
        });
    }
    local.await;
    order.take()
}

#[tokio::test(start_paused = true)]
async fn serves_in_order_and_in_time() {
    let ones = vec![Cost::from(1); 6];
    let order = through(&gate("2/1s"), &ones).await;
    assert_eq!(order, [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_takes_nothing_and_stops_nobody() {
    let gate = gate("1/1s");
    let mut first = gate.acquire(1).await.unwrap();
    LocalSet::new()
        .run_until(async {
            let wait = |gate: &RateLimiter| {
                let gate = gate.clone();
                spawn_local(async move { drop(gate.acquire(1).await.unwrap()) })
            };
            let (second, third) = (wait(&gate), wait(&gate));
            tokio::task::yield_now().await;
            assert_eq!(gate.waiting(), 2);
            second.abort();
            first.cancel();
            third.await.unwrap();
        })
        .await;
    assert_eq!(gate.waiting(), 0);
    gate.acquire(1).await.unwrap().cancel();
}

#[tokio::test(start_paused = true)]
async fn who_was_served_and_never_looks_gives_it_back() {
    let gate = gate("1/1s");
    let mut first = gate.acquire(1).await.unwrap();
    let mut waiting = Box::pin(gate.acquire(1));
    assert!(futures_poll(&mut waiting).is_pending());
    first.cancel();
    drop(first);
    drop(waiting);
    gate.acquire(1).await.unwrap().cancel();
    assert_eq!(gate.waiting(), 0);
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_holds_everyone_up() {
    let start = Instant::now();
    let gate = gate("5/1s");
    let mut permit = gate.acquire(1).await.unwrap();
    permit.sent();
    assert_eq!(permit.refused(Some(Duration::from_secs(3)), 0.0), 1);
    gate.acquire(1).await.unwrap().cancel();
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn without_limits_the_server_s_word_still_holds_everyone_up() {
    let start = Instant::now();
    let gate = gate_of(json!({}));
    let mut early = gate.acquire(1).await.unwrap();
    let mut refused = gate.acquire(1).await.unwrap();
    early.sent();
    refused.sent();
    assert_eq!(refused.refused(Some(Duration::from_secs(3)), 0.0), 1);
    gate.acquire(1).await.unwrap().cancel();
    assert!(start.elapsed() >= Duration::from_secs(3));
    early.answered();
    assert!(early.arrival().unwrap().latest > early.arrival().unwrap().earliest);
}

#[tokio::test(start_paused = true)]
async fn without_limits_what_is_in_flight_may_be_missing_in_the_server_s_count() {
    let start = Instant::now();
    let gate = gate_of(json!({}));
    drop(gate.acquire(1).await.unwrap());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(gate.acquire(1).await.unwrap());
    }
    let told = crate::RateLimitInfo {
        limit: None,
        remaining: Some(3),
        reset: Some(Duration::from_secs(7)),
    };
    held[0].inform(Some(0), told);
    gate.acquire(1).await.unwrap().cancel();
    assert_eq!(start.elapsed().as_secs(), 0, "one of three is left");
    drop(held);
    gate.acquire(1).await.unwrap().cancel();
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_concerns_its_key_and_nobody_else() {
    let start = Instant::now();
    let gate = gate_of(json!({"rate": {"rate": "5/1s", "per": "{{ t }}"}}));
    let mut permit = gate.acquire(of_key("a")).await.unwrap();
    permit.sent();
    permit.refused(Some(Duration::from_secs(3)), 0.0);
    let order = through(&gate, &[of_key("a"), of_key("b"), of_key("a"), of_key("b")]).await;
    assert_eq!(order, [(1, 0), (3, 0), (0, 3), (2, 3)]);
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_permit_is_lost_if_it_was_sent() {
    let start = Instant::now();
    let gate = gate("1/1s");
    let mut permit = gate.acquire(1).await.unwrap();
    permit.sent();
    drop(permit);
    assert_eq!(gate.state()[0].lost, 1);
    gate.acquire(1).await.unwrap().cancel();
    assert!(start.elapsed() >= Duration::from_secs(31));
}

#[tokio::test(start_paused = true)]
async fn a_busy_key_stops_nobody_else() {
    let gate = gate_of(json!({"rate": ["4/1s", {"rate": "1/10s", "per": "{{ t }}"}]}));
    let asks = ["a", "a", "a", "b", "c", "d", "e"].map(of_key);
    let order = through(&gate, &asks).await;
    assert_eq!(
        order,
        [(0, 0), (3, 0), (4, 0), (5, 0), (6, 1), (1, 10), (2, 20)]
    );
}

#[tokio::test(start_paused = true)]
async fn the_free_key_of_a_pool_is_used() {
    let gate = gate_of(json!({"rate": "1/10s", "keys": ["a", "b", "c"]}));
    let mut keys = Vec::new();
    let start = Instant::now();
    for _ in 0..6 {
        let mut permit = gate.acquire(1).await.unwrap();
        keys.push((permit.key().unwrap(), start.elapsed().as_secs()));
        permit.sent();
        permit.answered();
    }
    assert_eq!(keys, [(0, 0), (1, 0), (2, 0), (0, 10), (1, 10), (2, 10)]);
}

#[tokio::test(start_paused = true)]
async fn small_ones_overtake_a_large_one_but_not_for_ever() {
    let gate = gate_of(json!({
        "rate": "100 tokens/10s", "cost": {"tokens": "1"}, "shape": "burst",
    }));
    let mut asks = vec![tokens(40), tokens(100)];
    asks.extend(vec![tokens(1); 200]);
    let order = through(&gate, &asks).await;
    let large = order.iter().position(|(i, _)| *i == 1).unwrap();
    // 60 tokens are left beside the first; they go to small ones at once.
    assert_eq!((order[0], large), ((0, 0), 1 + 60));
    assert!(order[1..61].iter().all(|(_, second)| *second == 0));
    assert_eq!(order[large].1, 10, "and then nobody passes it any more");
}

#[tokio::test(start_paused = true)]
async fn a_large_one_is_overtaken_a_bounded_number_of_times() {
    let gate = gate_of(json!({
        "rate": "100 tokens/10s", "cost": {"tokens": "1"}, "shape": "burst",
    }));
    let mut asks = vec![tokens(1), tokens(100)];
    asks.extend(vec![tokens(1); 300]);
    let order = through(&gate, &asks).await;
    let large = order.iter().position(|(i, _)| *i == 1).unwrap();
    assert_eq!(large, 1 + 64);
}

#[tokio::test(start_paused = true)]
async fn what_can_never_be_had_is_denied_at_once() {
    let gate = gate_of(json!({"rate": ["2/run", "5 tokens/1s"], "cost": {"tokens": "1"}}));
    assert_eq!(gate.acquire(tokens(6)).await.err(), Some(AcquireError));
    for _ in 0..2 {
        let mut permit = gate.acquire(tokens(1)).await.unwrap();
        permit.sent();
        permit.answered();
    }
    assert_eq!(gate.acquire(tokens(1)).await.err(), Some(AcquireError));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_spent_when_one_limit_says_wait() {
    let gate = gate_of(json!({"rate": ["1/1s", "3/10s"], "shape": "burst"}));
    let ones = vec![Cost::from(1); 4];
    let order = through(&gate, &ones).await;
    assert_eq!(order, [(0, 0), (1, 1), (2, 2), (3, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_true_cost_lets_the_next_one_go() {
    let gate = gate_of(json!({"rate": "100 tokens/10s", "cost": {"tokens": "1"}}));
    let start = Instant::now();
    let mut permit = gate.acquire(tokens(100)).await.unwrap();
    permit.sent();
    permit.answered();
    permit.settle(1, 10);
    drop(permit);
    gate.acquire(tokens(90)).await.unwrap().cancel();
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_went_off_in_vain_is_set_again() {
    let gate = gate_of(json!({
        "rate": "100 tokens/10s", "cost": {"tokens": "1"}, "shape": "burst",
    }));
    let start = Instant::now();
    let mut first = gate.acquire(tokens(100)).await.unwrap();
    first.sent();
    first.answered();
    let large = async {
        drop(gate.acquire(tokens(100)).await.unwrap());
        start.elapsed().as_secs()
    };
    let small = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        first.settle(1, 50);
        let mut small = gate.acquire(tokens(30)).await.unwrap();
        small.sent();
        tokio::time::sleep(Duration::from_secs(1)).await;
        // From here to the small one's answer nobody knows when the large one may go.
        drop(first);
        tokio::time::sleep(Duration::from_secs(6)).await;
        small.answered();
    };
    let (waited, ()) = tokio::join!(large, small);
    assert_eq!(waited, 22);
}

/// Counts how often it wakes its task.
struct Counting(AtomicU64);

impl std::task::Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_waiters_are_each_woken_once_and_in_order() {
    const WAITERS: usize = 100_000;
    let gate = gate("1/1s");
    let mut first = gate.acquire(1).await.unwrap();
    first.sent();
    let wakers: Vec<Arc<Counting>> = (0..WAITERS).map(|_| Arc::new(Counting(0.into()))).collect();
    let mut waiting: Vec<_> = (0..WAITERS).map(|_| Box::pin(gate.acquire(1))).collect();
    for (turn, counting) in waiting.iter_mut().zip(&wakers) {
        let waker = Waker::from(counting.clone());
        assert!(
            Pin::new(turn)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    assert_eq!(gate.waiting(), WAITERS);
    first.cancel();
    for (i, (mut turn, counting)) in waiting.into_iter().zip(&wakers).enumerate() {
        assert_eq!(counting.0.load(Ordering::Relaxed), 1, "waiter {i} is woken");
        let waker = Waker::from(counting.clone());
        let served = Pin::new(&mut turn).poll(&mut Context::from_waker(&waker));
        let Poll::Ready(Ok(mut permit)) = served else {
            panic!("waiter {i} has its permit");
        };
        let next = wakers.get(i + 1).map(|next| next.0.load(Ordering::Relaxed));
        assert!(
            next.is_none_or(|woken| woken == 0),
            "nobody is woken for nothing"
        );
        permit.cancel();
    }
    assert_eq!(gate.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_calendar_that_is_set_back_or_forth_frees_nothing_early() {
    for (step, until) in [(-4, 14), (4, 16), (3_600, 10)] {
        let settings: Settings = serde_json::from_value(json!({
            "rate": [{"rate": "1/10s@clock", "skew": "0s"}],
        }))
        .unwrap();
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
        let start = Instant::now();
        let clock = move || Time::ZERO.after(start.elapsed());
        let calendar = move || {
            if start.elapsed() < Duration::from_secs(5) {
                Timestamp::UNIX_EPOCH
            } else {
                Timestamp::from_second(step).unwrap()
            }
        };
        let gate = RateLimiter::with_calendar(policy.limits(), clock, calendar);
        let take = async || {
            let mut permit = gate.acquire(1).await.unwrap();
            permit.sent();
            permit.answered();
        };
        take().await;
        // It is looked at when something happens, at the latest when time is up.
        tokio::time::sleep(Duration::from_secs(6)).await;
        take().await;
        assert_eq!(start.elapsed().as_secs(), until, "{step}");
    }
}
