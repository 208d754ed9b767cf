//! The limiter as a program uses it, by its builder.

use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::{AcquireError, Cost, Outcome, RateLimiter, RateLimiterBuilder, UnknownUnit};

fn limited(limits: &[&str]) -> RateLimiterBuilder {
    let limits = limits.iter().map(|limit| limit.parse().unwrap());
    limits.fold(RateLimiter::builder(), RateLimiterBuilder::limit)
}

fn not_in_time<T>(result: Result<T, AcquireError>) -> Option<Duration> {
    match result.err() {
        Some(AcquireError::NotInTime { free_in }) => free_in,
        other => panic!("it is not in time: {other:?}"),
    }
}

#[test]
fn a_cost_names_its_units_and_a_name_that_no_limit_has_is_an_error() {
    let limiter = limited(&["5/1h", "100 tokens/1h"]).build().unwrap();
    let missing = AcquireError::MissingCost { unit: "tokens".into() };
    assert_eq!(limiter.try_acquire(1).err(), Some(missing));
    let unknown = UnknownUnit { unit: "tokns".into() };
    let cost = Cost::one().with("tokns", 1).with("tokens", 1);
    assert_eq!(limiter.try_acquire(cost).err(), Some(AcquireError::UnknownUnit(unknown.clone())));
    let too_many = limiter.try_acquire(Cost::one().with("tokens", 101)).err();
    let too_many = too_many.unwrap().to_string();
    assert!(too_many.starts_with("it costs 101 tokens"), "{too_many}");
    let mut permit = limiter.try_acquire(Cost::one().with("tokens", 100)).unwrap();
    assert_eq!(permit.settle("tokns", 1), Err(unknown));
    permit.settle("tokens", 30).unwrap();
    permit.finish(Outcome::Answered);
    let cost = |tokens| Cost::from(4).with("tokens", tokens);
    not_in_time(limiter.try_acquire(cost(71)));
    limiter.try_acquire(cost(70)).unwrap().answered();
    not_in_time(limiter.try_acquire(Cost::one().with("tokens", 0)));
    // Where no requests are limited, they need no name.
    let tokens = limited(&["100 tokens/1h"]).build().unwrap();
    let cost = Cost::one().with("tokens", 101).with("requests", 7).with("tokens", 100);
    tokens.try_acquire(cost).unwrap().answered();
}

#[test]
fn a_limit_for_each_key_needs_a_key() {
    let limit = "1/1h".parse().unwrap();
    let limiter = limited(&["3/1h"]).limit_per_key(limit).build().unwrap();
    assert_eq!(limiter.try_acquire(1).err(), Some(AcquireError::MissingKey));
    for key in ["a", "b", "c"] {
        limiter.keyed(key).try_acquire(1).unwrap().answered();
    }
    not_in_time(limiter.keyed("a").try_acquire(1));
    not_in_time(limiter.keyed("d").try_acquire(1));
}

#[test]
fn a_permit_is_had_now_or_not_at_all() {
    let limiter = limited(&["1/1h"]).build().unwrap();
    limiter.try_acquire(1).unwrap().cancel();
    let permit = limiter.try_acquire(1).unwrap();
    assert_eq!(not_in_time(limiter.try_acquire(1)), None, "unanswered");
    permit.finish(Outcome::Answered);
    let free_in = not_in_time(limiter.try_acquire(1)).unwrap();
    assert!(free_in > Duration::from_secs(3_500), "{free_in:?}");
    assert!(matches!(
        limited(&["1/run"]).build().unwrap().try_acquire(2).err(),
        Some(AcquireError::BudgetExhausted { limit }) if limit == "1/run"
    ));
}

#[test]
fn threads_wait_without_a_runtime() {
    let limiter = limited(&["2/50ms"]).build().unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| limiter.blocking_acquire(1).unwrap().answered());
        }
    });
    assert!(start.elapsed() >= Duration::from_millis(150));
    assert_eq!(limiter.snapshot().limits[0].most, 2);
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
fn a_future_waits_without_a_runtime() {
    let limiter = limited(&["1/50ms"]).build().unwrap();
    let start = Instant::now();
    let waker = Waker::from(std::sync::Arc::new(Unpark(std::thread::current())));
    for _ in 0..4 {
        let mut acquire = std::pin::pin!(limiter.acquire(1));
        let mut context = Context::from_waker(&waker);
        loop {
            match acquire.as_mut().poll(&mut context) {
                Poll::Ready(permit) => break permit.unwrap().answered(),
                Poll::Pending => std::thread::park(),
            }
        }
    }
    assert!(start.elapsed() >= Duration::from_millis(150));
    limiter.keyed("any").pause_for(Duration::from_secs(60));
    let mut late = Box::pin(limiter.acquire(1));
    assert!(late.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(late);
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_and_no_other() {
    let limiter = limited(&["1/1h"]).build().unwrap();
    limiter.acquire(1).await.unwrap().answered();
    let start = tokio::time::Instant::now();
    let deadline = (start + Duration::from_secs(2)).into_std();
    let waits = limiter.acquire_until(1, deadline);
    let (waits, at_once) = tokio::join!(waits, async {
        not_in_time(limiter.try_acquire(1));
        limiter.waiting()
    });
    assert!(not_in_time(waits) > Some(Duration::from_secs(3_000)));
    assert_eq!((at_once, limiter.waiting()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_has_arrived_and_work_that_is_dropped_is_lost() {
    let limiter = limited(&["100/1h"]).build().unwrap();
    let lost = || limiter.snapshot().limits[0].lost;
    let result = limiter.run(1, async |_| Ok::<_, ()>("answer")).await;
    assert_eq!((result, lost()), (Ok(Ok("answer")), 0));
    let result = limiter.run(1, async |_| Err::<(), _>("timeout")).await;
    assert_eq!((result, lost()), (Ok(Err("timeout")), 1));
    let refused = limiter.run(1, async |permit| {
        permit.cancel();
        Err::<(), _>("no connection")
    });
    assert_eq!((refused.await, lost()), (Ok(Err("no connection")), 1));
    {
        let never = limiter.run(1, async |_| std::future::pending::<Result<(), ()>>().await);
        let mut never = std::pin::pin!(never);
        let polled = never.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Pending);
    }
    assert_eq!(lost(), 2);
    // It may be a task's.
    let task = tokio::spawn(async move {
        let answer = limiter.run(1, async |permit| {
            permit.sent();
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, ()>(7)
        });
        answer.await
    });
    assert_eq!(task.await.unwrap(), Ok(Ok(7)));
}

#[test]
fn a_pause_holds_up_all_and_shows() {
    let limiter = limited(&[]).build().unwrap();
    limiter.try_acquire(1).unwrap().answered();
    limiter.pause_for(Duration::from_secs(60));
    let snapshot = limiter.snapshot();
    assert!(snapshot.paused.unwrap() > Duration::from_secs(50));
    assert!(not_in_time(limiter.try_acquire(1)) > Some(Duration::from_secs(50)));
    let refused = limited(&["5/1s"]).build().unwrap();
    let retry_after = Some(Duration::from_secs(60));
    let outcome = Outcome::Refused { retry_after };
    refused.try_acquire(1).unwrap().finish(outcome);
    assert!(not_in_time(refused.try_acquire(1)) > Some(Duration::from_secs(50)));
    assert!(serde_json::to_value(snapshot).is_ok());
}
