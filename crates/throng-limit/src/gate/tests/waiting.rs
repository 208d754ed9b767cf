//! Waiters that are woken, dropped, or not polled any more.

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::json;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::Instant;

use super::{futures_poll, limiter, limiter_of, tokens};
use crate::{
    AcquireError, LeaseReply, LeaseRequest, MaxWait, Quota, QuotaHandle, QuotaStore, RateLimiter,
    ScopeKey, Time,
};

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

/// No longer than this for a limit, and than this for the server.
fn at_most(limit: u64, server: u64) -> MaxWait {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    MaxWait { limit: seconds(limit), server: seconds(server) }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_is_denied_once_nothing_in_flight_can_end_it() {
    let limiter = limiter_of(json!({"rate": {"rate": "2/100s", "skew": "0s"}, "shape": "burst"}));
    limiter.set_max_wait(at_most(10, 10));
    let take = || limiter.try_acquire(1).unwrap();
    let (mut answered, mut unsent) = (take(), take());
    answered.sent();
    answered.answered();
    drop(answered);
    let mut third = Box::pin(limiter.acquire(1));
    let mut fourth = Box::pin(limiter.acquire(1));
    assert!(futures_poll(&mut third).is_pending() && futures_poll(&mut fourth).is_pending());
    // The attempt in flight gives its unit back: the wait was not too long.
    unsent.cancel();
    drop(unsent);
    let mut permit = third.await.unwrap();
    permit.sent();
    permit.answered();
    assert!(futures_poll(&mut fourth).is_pending());
    drop(permit);
    let denied = fourth.await.unwrap_err();
    let AcquireError::WaitTooLong { limit, free_in } = denied else { panic!("{denied}") };
    assert_eq!(limit.as_deref(), Some("2/1m40s"));
    assert!((100..101).contains(&free_in.as_secs()), "{free_in:?}");
    assert_eq!(limiter.waiting(), 0);
    // Near its end, the same wait is none that is too long.
    tokio::time::advance(Duration::from_secs(91)).await;
    limiter.acquire(1).await.unwrap().cancel();
}

#[tokio::test(start_paused = true)]
async fn a_limit_and_the_server_have_longest_waits_of_their_own() {
    let limiter = limiter_of(json!({"rate": "100/1s"}));
    limiter.set_max_wait(MaxWait { limit: None, ..at_most(0, 60) });
    limiter.pause_for(Duration::from_secs(59));
    limiter.acquire(1).await.unwrap().answered();
    limiter.pause_for(Duration::from_secs(61));
    let free_in = Duration::from_secs(61);
    let denied = AcquireError::WaitTooLong { limit: None, free_in };
    assert_eq!(limiter.acquire(1).await.unwrap_err(), denied);
    limiter.set_max_wait(at_most(10, 3_600));
    limiter.acquire(1).await.unwrap().answered();
}

/// A store whose units are all used for a day, and perhaps leased by other runs.
#[derive(Debug, Clone, Default)]
struct UsedUp {
    others_lease: Arc<AtomicBool>,
}

impl QuotaStore for UsedUp {
    fn account(&self, _: &Quota, _: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>> {
        Some(Box::new(self.clone()))
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}

impl QuotaHandle for UsedUp {
    fn exchange(&mut self, now: Time, _: &LeaseRequest<'_>) -> LeaseReply {
        LeaseReply::Later(Some(now.after(Duration::from_secs(86_400))))
    }

    fn others_lease(&self) -> bool {
        self.others_lease.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_other_runs_may_end_sooner_is_not_too_long() {
    let limiter = limiter("15/1d");
    let store = UsedUp { others_lease: Arc::new(AtomicBool::new(true)) };
    limiter.use_store(Arc::new(store.clone()));
    limiter.set_max_wait(at_most(1, 1));
    let waiting = tokio::time::timeout(Duration::from_secs(3_600), limiter.acquire(1)).await;
    assert!(waiting.is_err(), "{waiting:?}");
    store.others_lease.store(false, Ordering::Relaxed);
    let denied = limiter.acquire(1).await.unwrap_err();
    // The limit was looked at some seconds ago.
    let AcquireError::WaitTooLong { free_in, .. } = denied else { panic!("{denied}") };
    assert!((86_380..=86_400).contains(&free_in.as_secs()), "{free_in:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_wait_is_too_long_is_denied_while_others_are_in_flight() {
    let rate = json!({"rate": "1/100s", "per": "{{ tenant }}", "skew": "0s"});
    let limiter = limiter_of(json!({ "rate": rate }));
    limiter.set_max_wait(at_most(10, 10));
    let mut other = limiter.keyed("b").acquire(1).await.unwrap();
    other.sent();
    let mut first = limiter.keyed("a").acquire(1).await.unwrap();
    first.sent();
    let a = limiter.keyed("a");
    let mut second = Box::pin(a.acquire(1));
    assert!(futures_poll(&mut second).is_pending());
    first.answered();
    drop(first);
    assert!(matches!(second.await, Err(AcquireError::WaitTooLong { .. })));
    drop(other);
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
