//! What the limits learn from a permit, and from what the server says by it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::task::LocalSet;
use tokio::time::Instant;

use super::{limiter, limiter_of, of_key, through, tokens};
use crate::gate::cost::Snapshot;
use crate::gate::limit_group::{LimitGroup, Member};
use crate::{
    Availability, Cost, End, LimitSet, Policy, RateLimitInfo, RateLimiter, Settings, Time,
};

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
        window: None,
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

fn at(millis: u64) -> Time {
    Time::from_nanos(millis * 1_000_000)
}

#[test]
fn a_refusal_closes_it_for_as_long_as_it_says() {
    let mut group = LimitGroup::default();
    let cost = Cost::from(1);
    group.refused(at(100), at(0), Some(Duration::from_secs(7)), 0.0);
    group.refused(at(200), at(0), Some(Duration::from_secs(2)), 0.0);
    assert_eq!(group.earliest(at(300), &cost), Availability::At(at(7_100)));
    assert_eq!(group.earliest(at(7_100), &cost), Availability::Now);
}

/// A group of these limits.
fn group_of(rates: &[&str]) -> LimitGroup {
    let rate = rates.iter().map(|rate| rate.parse().unwrap()).collect();
    let settings = Settings { rate, ..Default::default() };
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    let rules = policy.rules().iter();
    let members = rules.map(|rule| Member { unit: rule.unit, kind: rule.limiter() });
    LimitGroup::new(members.collect())
}

#[test]
fn a_limit_that_the_server_names_is_the_nearest_of_ours_and_only_tightens() {
    for (limit, learnt) in [
        (500, [Some(500), None]),
        (700, [None, Some(700)]),
        (100, [None, None]),
        (5_000, [None, None]),
    ] {
        let mut group = group_of(&["600/1h", "900/1m"]);
        let info = RateLimitInfo { limit: Some(limit), ..RateLimitInfo::default() };
        let (cost, snapshot) = (Cost::from(1), Snapshot::default());
        group.inform(at(0), &cost, &snapshot, Some(0), info, false);
        let amounts: Vec<_> = group.members().iter().map(|m| m.kind.stats().learnt).collect();
        assert_eq!(amounts, learnt, "{limit}");
    }
}

#[test]
fn a_limit_that_the_server_names_with_its_window_is_believed_whatever_the_factor() {
    let minute = Duration::from_secs(60);
    for (limit, window, learnt) in [
        (9, minute, [None, Some(9)]),
        (500, 60 * minute, [Some(500), None]),
        // It is near, but of another window; or no smaller.
        (500, minute / 60, [None, None]),
        (900, minute, [None, None]),
    ] {
        let mut group = group_of(&["600/1h", "900/1m"]);
        let (limit_named, window) = (Some(limit), Some(window));
        let info = RateLimitInfo { limit: limit_named, window, ..RateLimitInfo::default() };
        let (cost, snapshot) = (Cost::from(1), Snapshot::default());
        group.inform(at(0), &cost, &snapshot, Some(0), info, false);
        let stats: Vec<_> = group.members().iter().map(|m| m.kind.stats()).collect();
        assert_eq!(stats.iter().map(|it| it.learnt).collect::<Vec<_>>(), learnt, "{limit}");
        assert_eq!(stats.iter().map(|it| it.named).collect::<Vec<_>>(), learnt, "{limit}");
    }
}

/// Requests and tokens; a request that reserves 10 tokens, of which its answer tells.
fn requests_and_tokens() -> (LimitSet, Cost) {
    let settings = serde_json::json!({"rate": ["100/1s", "1000 tokens/1s"], "shape": "burst"});
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let limits = Policy::new(&settings, Duration::ZERO).unwrap().limits();
    (limits, Cost::new([1, 10], None))
}

/// Refusals of each limit that its own count can't explain, and its costs in percent.
fn learnt(limits: &LimitSet) -> Vec<(u64, Option<u64>)> {
    limits.state().iter().map(|it| (it.unexplained, it.cost_percent)).collect()
}

#[test]
fn a_refusal_for_the_sake_of_tokens_teaches_the_limits_of_requests_nothing() {
    let (mut limits, cost) = requests_and_tokens();
    let mut acquired = limits.take(at(10), &cost).unwrap();
    acquired.snapshot.lacking.push(1);
    limits.refused(at(20), &cost, &mut acquired, at(10), None, 0.0);
    assert_eq!(learnt(&limits), [(0, None), (1, None)]);
    assert_eq!(limits.state()[0].kinds_to_try, None);
}

#[test]
fn a_refusal_while_costs_are_reserved_too_low_is_about_them_and_says_by_how_much() {
    let (mut limits, cost) = requests_and_tokens();
    for units in [30, 34] {
        let mut acquired = limits.take(at(10), &cost).unwrap();
        limits.ended(at(20), &cost, &mut acquired, End::Answered);
        limits.settle(at(20), &cost, &mut acquired, 1, units);
    }
    assert_eq!(learnt(&limits), [(0, None), (0, None)]);
    let mut acquired = limits.take(at(30), &cost).unwrap();
    limits.refused(at(40), &cost, &mut acquired, at(30), None, 0.0);
    assert_eq!(learnt(&limits), [(0, None), (1, Some(320))]);
}

#[test]
fn a_plain_limit_that_is_refused_within_its_own_count_names_the_kinds_that_would_explain_it() {
    let (mut limits, cost) = requests_and_tokens();
    let mut acquired = limits.take(at(10), &cost).unwrap();
    limits.refused(at(20), &cost, &mut acquired, at(10), None, 0.0);
    let kinds = limits.state()[0].kinds_to_try.clone().unwrap();
    assert!(kinds.starts_with("--rate counter:100/1s, or --rate bucket:100/1s"), "{kinds}");
}
