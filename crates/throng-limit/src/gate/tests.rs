//! The limiter under a paused clock.

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
use crate::{AcquireError, Policy, Settings, Time};

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

#[tokio::test(start_paused = true)]
async fn serves_in_order_and_in_time() {
    let ones = vec![Cost::from(1); 6];
    let order = through(&limiter("2/1s"), &ones).await;
    assert_eq!(order, [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_takes_nothing_and_holds_up_no_other() {
    let limiter = limiter("1/1s");
    let mut first = limiter.acquire(1).await.unwrap();
    LocalSet::new()
        .run_until(async {
            let wait = |limiter: &RateLimiter| {
                let limiter = limiter.clone();
                spawn_local(async move { drop(limiter.acquire(1).await.unwrap()) })
            };
            let (second, third) = (wait(&limiter), wait(&limiter));
            tokio::task::yield_now().await;
            assert_eq!(limiter.waiting(), 2);
            second.abort();
            first.cancel();
            third.await.unwrap();
        })
        .await;
    assert_eq!(limiter.waiting(), 0);
    limiter.acquire(1).await.unwrap().cancel();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_before_it_fetches_its_units_gives_them_back() {
    let limiter = limiter("1/1s");
    let mut first = limiter.acquire(1).await.unwrap();
    let mut waiting = Box::pin(limiter.acquire(1));
    assert!(futures_poll(&mut waiting).is_pending());
    first.cancel();
    drop(first);
    drop(waiting);
    limiter.acquire(1).await.unwrap().cancel();
    assert_eq!(limiter.waiting(), 0);
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_closes_the_limiter() {
    let start = Instant::now();
    let limiter = limiter("5/1s");
    let mut permit = limiter.acquire(1).await.unwrap();
    permit.sent();
    assert_eq!(permit.refused(Some(Duration::from_secs(3)), 0.0), 1);
    limiter.acquire(1).await.unwrap().cancel();
    assert!(start.elapsed() >= Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_closes_a_limiter_without_limits() {
    let start = Instant::now();
    let limiter = limiter_of(json!({}));
    let mut early = limiter.acquire(1).await.unwrap();
    let mut refused = limiter.acquire(1).await.unwrap();
    early.sent();
    refused.sent();
    assert_eq!(refused.refused(Some(Duration::from_secs(3)), 0.0), 1);
    limiter.acquire(1).await.unwrap().cancel();
    assert!(start.elapsed() >= Duration::from_secs(3));
    early.answered();
    assert!(early.arrival().unwrap().latest > early.arrival().unwrap().earliest);
}

#[tokio::test(start_paused = true)]
async fn without_limits_attempts_in_flight_may_be_missing_in_the_server_s_count() {
    let start = Instant::now();
    let limiter = limiter_of(json!({}));
    drop(limiter.acquire(1).await.unwrap());
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(limiter.acquire(1).await.unwrap());
    }
    let told = crate::RateLimitInfo {
        limit: None,
        remaining: Some(3),
        reset: Some(Duration::from_secs(7)),
    };
    held[0].inform(Some(0), told);
    limiter.acquire(1).await.unwrap().cancel();
    assert_eq!(start.elapsed().as_secs(), 0, "one of three is left");
    drop(held);
    limiter.acquire(1).await.unwrap().cancel();
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_concerns_its_key_and_no_other() {
    let start = Instant::now();
    let limiter = limiter_of(json!({"rate": {"rate": "5/1s", "per": "{{ t }}"}}));
    let mut permit = limiter.acquire(of_key("a")).await.unwrap();
    permit.sent();
    permit.refused(Some(Duration::from_secs(3)), 0.0);
    let order = through(&limiter, &[of_key("a"), of_key("b"), of_key("a"), of_key("b")]).await;
    assert_eq!(order, [(1, 0), (3, 0), (0, 3), (2, 3)]);
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_permit_is_lost_if_it_was_sent() {
    let start = Instant::now();
    let limiter = limiter("1/1s");
    let mut permit = limiter.acquire(1).await.unwrap();
    permit.sent();
    drop(permit);
    assert_eq!(limiter.state()[0].lost, 1);
    limiter.acquire(1).await.unwrap().cancel();
    assert!(start.elapsed() >= Duration::from_secs(31));
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

#[tokio::test(start_paused = true)]
async fn no_limit_is_charged_while_another_says_wait() {
    let limiter = limiter_of(json!({"rate": ["1/1s", "3/10s"], "shape": "burst"}));
    let ones = vec![Cost::from(1); 4];
    let order = through(&limiter, &ones).await;
    assert_eq!(order, [(0, 0), (1, 1), (2, 2), (3, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_settled_cost_lets_the_next_attempt_go() {
    let limiter = limiter_of(json!({"rate": "100 tokens/10s", "cost": {"tokens": "1"}}));
    let start = Instant::now();
    let mut permit = limiter.acquire(tokens(100)).await.unwrap();
    permit.sent();
    permit.answered();
    permit.settle("tokens", 10).unwrap();
    drop(permit);
    limiter.acquire(tokens(90)).await.unwrap().cancel();
    assert_eq!(start.elapsed().as_secs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_rang_in_vain_is_set_again() {
    let limiter = limiter_of(json!({
        "rate": "100 tokens/10s", "cost": {"tokens": "1"}, "shape": "burst",
    }));
    let start = Instant::now();
    let mut first = limiter.acquire(tokens(100)).await.unwrap();
    first.sent();
    first.answered();
    let large = async {
        drop(limiter.acquire(tokens(100)).await.unwrap());
        start.elapsed().as_secs()
    };
    let small = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        first.settle("tokens", 50).unwrap();
        let mut small = limiter.acquire(tokens(30)).await.unwrap();
        small.sent();
        tokio::time::sleep(Duration::from_secs(1)).await;
        // From here to the small attempt's answer, the time of the large one is not known.
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
    let limiter = limiter("1/1s");
    let mut first = limiter.acquire(1).await.unwrap();
    first.sent();
    let wakers: Vec<Arc<Counting>> = (0..WAITERS).map(|_| Arc::new(Counting(0.into()))).collect();
    let mut waiting: Vec<_> = (0..WAITERS).map(|_| Box::pin(limiter.acquire(1))).collect();
    for (turn, counting) in waiting.iter_mut().zip(&wakers) {
        let waker = Waker::from(counting.clone());
        assert!(Pin::new(turn).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(limiter.waiting(), WAITERS);
    first.cancel();
    for (i, (mut turn, counting)) in waiting.into_iter().zip(&wakers).enumerate() {
        assert_eq!(counting.0.load(Ordering::Relaxed), 1, "waiter {i} is woken");
        let waker = Waker::from(counting.clone());
        let served = Pin::new(&mut turn).poll(&mut Context::from_waker(&waker));
        let Poll::Ready(Ok(mut permit)) = served else {
            panic!("waiter {i} has its permit");
        };
        let next = wakers.get(i + 1).map(|next| next.0.load(Ordering::Relaxed));
        assert!(next.is_none_or(|woken| woken == 0), "no waiter is woken in vain");
        permit.cancel();
    }
    assert_eq!(limiter.waiting(), 0);
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
        let limiter = RateLimiter::with_calendar(policy.limits(), clock, calendar);
        let take = async || {
            let mut permit = limiter.acquire(1).await.unwrap();
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

/// Arrivals at a server, by virtual time.
type Arrivals = Rc<RefCell<Vec<Instant>>>;

/// The most arrivals in any half-open window of this length.
fn most_within(arrivals: &Arrivals, window: Duration) -> usize {
    let mut arrivals = arrivals.take();
    arrivals.sort();
    let within = |start: &Instant| {
        let later = arrivals.iter().filter(|arrival| *arrival >= start);
        later.filter(|arrival| **arrival < *start + window).count()
    };
    arrivals.iter().map(within).max().unwrap_or(0)
}

/// Three hundred requests by a program that tells its permits nothing. A request arrives up
/// to a second after it was sent, and `held` says whether the permit is kept until then.
async fn naive_requests(held: bool) -> usize {
    let limiter = limiter_of(json!({"rate": "50/1s", "shape": "burst"}));
    let arrivals = Arrivals::default();
    let local = LocalSet::new();
    for i in 0..300 {
        let (limiter, arrivals) = (limiter.clone(), arrivals.clone());
        local.spawn_local(async move {
            let permit = limiter.acquire(1).await.unwrap();
            let permit = held.then_some(permit);
            tokio::time::sleep(Duration::from_millis(i * 37 % 1_000)).await;
            arrivals.borrow_mut().push(Instant::now());
            drop(permit);
        });
    }
    local.await;
    most_within(&arrivals, Duration::from_secs(1))
}

#[tokio::test(start_paused = true)]
async fn permits_that_are_dropped_in_silence_keep_the_limit() {
    assert_eq!(naive_requests(true).await, 50);
    assert_eq!(naive_requests(false).await, 50);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_permit_counts_as_lost_unless_it_was_cancelled() {
    let limiter = limiter("1/1s");
    let start = Instant::now();
    limiter.acquire(1).await.unwrap().cancel();
    drop(limiter.acquire(1).await.unwrap());
    assert_eq!((limiter.state()[0].lost, start.elapsed().as_secs()), (1, 0));
    limiter.acquire(1).await.unwrap().answered();
    assert_eq!(start.elapsed().as_secs(), 31, "a second, and linger");
    limiter.acquire(1).await.unwrap().answered();
    assert_eq!(start.elapsed().as_secs(), 32);
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_word_of_sending_is_an_end() {
    for settings in [
        json!({"spacing": "1s"}),
        json!({"rate": "1/1s", "guard": "sent"}),
        json!({"rate": "bucket:1/1s", "guard": "sent"}),
    ] {
        let limiter = limiter_of(settings);
        let start = Instant::now();
        for _ in 0..3 {
            limiter.acquire(1).await.unwrap().answered();
        }
        assert_eq!(start.elapsed().as_secs(), 2);
    }
}

/// A waiter that was polled once and is not polled any more, and its place in the queue.
async fn abandoned(limiter: &RateLimiter) -> Pin<Box<impl Future<Output = impl Sized>>> {
    let mut waiter = Box::pin(limiter.acquire(1));
    std::future::poll_fn(|context| {
        assert!(waiter.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
    waiter
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_not_polled_holds_up_no_other() {
    for count in [1, 30] {
        let limiter = limiter("1/1s");
        let start = Instant::now();
        limiter.acquire(1).await.unwrap().answered();
        let mut waiters = Vec::new();
        for _ in 0..count {
            waiters.push(abandoned(&limiter).await);
        }
        // In the same task, as in a select.
        limiter.acquire(1).await.unwrap().answered();
        let turns = 100 * count;
        assert_eq!(start.elapsed().as_millis() / 10, (1_000 + turns) / 10);
        // And now no turn is wasted on them any more.
        limiter.acquire(1).await.unwrap().answered();
        assert_eq!(start.elapsed().as_millis() / 10, (2_000 + turns) / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_not_polled_holds_up_no_other() {
    let limiter = limiter("1/1s");
    let start = Instant::now();
    limiter.acquire(1).await.unwrap().answered();
    // A task that waits for something else, with ten waiters that it doesn't poll meanwhile.
    let busy = async {
        let mut waiters = Vec::new();
        for _ in 0..10 {
            waiters.push(abandoned(&limiter).await);
        }
        tokio::time::sleep(Duration::from_secs(3_600)).await;
    };
    let others = async {
        tokio::task::yield_now().await;
        for _ in 0..5 {
            limiter.acquire(1).await.unwrap().answered();
        }
        start.elapsed()
    };
    let local = LocalSet::new();
    let took = local.run_until(async {
        let took = tokio::select! { () = busy => None, took = others => Some(took) };
        took.unwrap()
    });
    let took = took.await;
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_is_not_driven_holds_up_no_other() {
    let limiter = limiter("1/1s");
    let start = Instant::now();
    limiter.acquire(1).await.unwrap().answered();
    let mut waiter = Box::pin(limiter.acquire(1));
    let idle = std::thread::scope(|scope| {
        let polls = scope.spawn(|| {
            let mut idle = tokio::runtime::Builder::new_current_thread();
            let idle = idle.enable_time().build().unwrap();
            let entered = idle.enter();
            assert!(futures_poll(&mut waiter).is_pending());
            drop(entered);
            idle
        });
        polls.join().unwrap()
    });
    limiter.acquire(1).await.unwrap().answered();
    assert!(start.elapsed() < Duration::from_secs(2));
    // Its runtime is gone; polled here, it gets its permit.
    idle.shutdown_background();
    waiter.await.unwrap().answered();
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_missed_its_turn_keeps_its_place() {
    let limiter = limiter("1/1s");
    let start = Instant::now();
    limiter.acquire(1).await.unwrap().answered();
    let mut late = Box::pin(limiter.acquire(1));
    assert!(futures_poll(&mut late).is_pending());
    let mut behind = Box::pin(limiter.acquire(1));
    for _ in 0..2 {
        tokio::select! {
            permit = &mut behind => { permit.unwrap().answered(); break; }
            () = tokio::time::sleep(Duration::from_secs(5)) => {}
        }
    }
    let again = limiter.acquire(1);
    let order = RefCell::new(Vec::new());
    tokio::join!(
        async {
            again.await.unwrap().answered();
            order.borrow_mut().push("again");
        },
        async {
            late.await.unwrap().answered();
            order.borrow_mut().push("late");
        },
    );
    assert_eq!(order.take(), ["late", "again"]);
    assert!(start.elapsed() < Duration::from_secs(5));
}
