//! Who gets a permit next, and when.

use serde_json::json;
use tokio::time::Instant;

use super::{limiter, limiter_of, of_key, through, tokens};
use crate::{AcquireError, Cost};

#[tokio::test(start_paused = true)]
async fn serves_in_order_and_in_time() {
    let ones = vec![Cost::from(1); 6];
    let order = through(&limiter("2/1s"), &ones).await;
    assert_eq!(order, [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_busy_key_holds_up_no_other() {
    let limiter = limiter_of(json!({"rate": ["4/1s", {"rate": "1/10s", "per": "{{ t }}"}]}));
    let costs = ["a", "a", "a", "b", "c", "d", "e"].map(of_key);
    let order = through(&limiter, &costs).await;
    assert_eq!(order, [(0, 0), (3, 0), (4, 0), (5, 0), (6, 1), (1, 10), (2, 20)]);
}

#[tokio::test(start_paused = true)]
async fn the_free_key_of_a_pool_is_used() {
    let limiter = limiter_of(json!({"rate": "1/10s", "keys": ["a", "b", "c"]}));
    let mut keys = Vec::new();
    let start = Instant::now();
    for _ in 0..6 {
        let mut permit = limiter.acquire(1).await.unwrap();
        keys.push((permit.key().unwrap(), start.elapsed().as_secs()));
        permit.sent();
        permit.answered();
    }
    assert_eq!(keys, [(0, 0), (1, 0), (2, 0), (0, 10), (1, 10), (2, 10)]);
}

#[tokio::test(start_paused = true)]
async fn small_attempts_overtake_a_large_one_but_not_for_ever() {
    let limiter = limiter_of(json!({
        "rate": "100 tokens/10s", "cost": {"tokens": "1"}, "shape": "burst",
    }));
    let mut costs = vec![tokens(40), tokens(100)];
    costs.extend(vec![tokens(1); 200]);
    let order = through(&limiter, &costs).await;
    let large = order.iter().position(|(i, _)| *i == 1).unwrap();
    // 60 tokens are left beside the first; they go to small ones at once.
    assert_eq!((order[0], large), ((0, 0), 1 + 60));
    assert!(order[1..61].iter().all(|(_, second)| *second == 0));
    assert_eq!(order[large].1, 10, "and then no other passes it");
}

#[tokio::test(start_paused = true)]
async fn a_large_attempt_is_overtaken_a_bounded_number_of_times() {
    let limiter = limiter_of(json!({
        "rate": "100 tokens/10s", "cost": {"tokens": "1"}, "shape": "burst",
    }));
    let mut costs = vec![tokens(1), tokens(100)];
    costs.extend(vec![tokens(1); 300]);
    let order = through(&limiter, &costs).await;
    let large = order.iter().position(|(i, _)| *i == 1).unwrap();
    assert_eq!(large, 1 + 64);
}

#[tokio::test(start_paused = true)]
async fn no_limit_is_charged_while_another_says_wait() {
    let limiter = limiter_of(json!({"rate": ["1/1s", "3/10s"], "shape": "burst"}));
    let ones = vec![Cost::from(1); 4];
    let order = through(&limiter, &ones).await;
    assert_eq!(order, [(0, 0), (1, 1), (2, 2), (3, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_can_never_be_had_is_denied_at_once() {
    let limiter = limiter_of(json!({"rate": ["2/run", "5 tokens/1s"], "cost": {"tokens": "1"}}));
    let too_many = AcquireError::ExceedsCapacity { unit: "tokens".into(), asked: 6, capacity: 5 };
    assert_eq!(limiter.acquire(tokens(6)).await.err(), Some(too_many));
    for _ in 0..2 {
        let mut permit = limiter.acquire(tokens(1)).await.unwrap();
        permit.sent();
        permit.answered();
    }
    let used_up = AcquireError::BudgetExhausted { limit: "2/run".into() };
    assert_eq!(limiter.acquire(tokens(1)).await.err(), Some(used_up));
}
