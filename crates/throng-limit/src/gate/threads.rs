//! The gate under a model checker: threads take its lock in every order that
//! chance finds, and a wake-up that gets lost is a deadlock, which is found.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p throng-limit --lib --target-dir target/shuttle threads`

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;

use super::*;
use crate::{Availability, Policy, RateLimitInfo, Settings, Time};

const SCHEDULES: usize = 100_000;

/// A gate that lets so many in at once, and needs no timer.
fn gate(in_flight: u64) -> RateLimiter {
    let settings = Settings { in_flight: Some(in_flight), ..Settings::default() };
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    RateLimiter::with_clock(policy.limits(), || Time::ZERO)
}

/// Goes through the gate, and counts how many are behind it.
fn pass(gate: &RateLimiter, inside: &AtomicU64, most: u64) {
    go_in(block_on(gate.acquire(1)).unwrap(), inside, most);
}

fn go_in(mut permit: Permit, inside: &AtomicU64, most: u64) {
    assert!(inside.fetch_add(1, Ordering::SeqCst) < most);
    permit.sent();
    permit.answered();
    inside.fetch_sub(1, Ordering::SeqCst);
}

/// Asks, waits or not, and goes away.
fn change_mind(gate: &RateLimiter, ask: impl Into<Cost>) {
    let mut asking = pin!(gate.acquire(ask));
    let asked = asking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    if let Poll::Ready(permit) = asked {
        permit.unwrap().cancel();
    }
}

#[test]
fn no_wake_up_is_lost_and_nobody_passes_too_early() {
    for most in [1, 2] {
        shuttle::check_random(
            move || {
                let (gate, inside) = (gate(most), Arc::new(AtomicU64::new(0)));
                let threads: Vec<_> = (0..3)
                    .map(|_| {
                        let (gate, inside) = (gate.clone(), inside.clone());
                        thread::spawn(move || (0..2).for_each(|_| pass(&gate, &inside, most)))
                    })
                    .collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                assert_eq!(gate.waiting(), 0);
            },
            SCHEDULES / 4,
        );
    }
}

/// Acquires from a limiter without a wait.
fn pass_at_once(gate: &RateLimiter, units: u64) -> Permit {
    let asked = pin!(gate.acquire(units));
    let polled = asked.poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(permit) = polled else {
        panic!("nothing holds it up");
    };
    let mut permit = permit.unwrap();
    permit.sent();
    permit.answered();
    permit
}

fn left(remaining: u64) -> RateLimitInfo {
    let reset = Some(Duration::from_secs(9));
    RateLimitInfo { remaining: Some(remaining), reset, ..RateLimitInfo::default() }
}

#[test]
fn what_was_taken_without_limits_counts_once_the_server_tells_of_one() {
    shuttle::check_random(
        || {
            let gate = RateLimiter::with_clock(LimitSet::none(), || Time::ZERO);
            let told = gate.clone();
            let telling =
                thread::spawn(move || pass_at_once(&told, 1).inform(Some(0), left(1_000)));
            // Costs are the limits' matter from the beginning.
            let passing: Vec<_> = [1, 2]
                .into_iter()
                .map(|units| {
                    let gate = gate.clone();
                    thread::spawn(move || (0..2).for_each(|_| drop(pass_at_once(&gate, units))))
                })
                .collect();
            for thread in passing.into_iter().chain([telling]) {
                thread.join().unwrap();
            }
            // Nothing is in flight: so the server's count is believed as it is.
            pass_at_once(&gate, 1).inform(Some(0), left(1));
            drop(pass_at_once(&gate, 1));
            // Whoever waits now would need a timer.
            let taken = gate.core.lock().limits.take(Time::ZERO, &Cost::from(1));
            let until = Time::ZERO.after(Duration::from_secs(9));
            assert_eq!(taken.err().map(|blocked| blocked.when), Some(Availability::At(until)));
        },
        SCHEDULES / 2,
    );
}

#[test]
fn who_changes_their_mind_takes_nothing_and_stops_nobody() {
    shuttle::check_random(
        || {
            let (gate, inside) = (gate(1), Arc::new(AtomicU64::new(0)));
            let fickle: Vec<_> = (0..2)
                .map(|_| {
                    let gate = gate.clone();
                    thread::spawn(move || change_mind(&gate, 1))
                })
                .collect();
            let steady: Vec<_> = (0..2)
                .map(|_| {
                    let (gate, inside) = (gate.clone(), inside.clone());
                    thread::spawn(move || pass(&gate, &inside, 1))
                })
                .collect();
            for thread in fickle.into_iter().chain(steady) {
                thread.join().unwrap();
            }
            assert_eq!(gate.waiting(), 0);
            pass(&gate, &inside, 1);
        },
        SCHEDULES / 2,
    );
}

/// Is refused, for no time at all; then a few go first, and the others wait for them.
fn is_refused(gate: &RateLimiter) {
    let mut permit = block_on(gate.acquire(1)).unwrap();
    permit.sent();
    permit.refused(Some(Duration::ZERO), 0.0);
}

#[test]
fn a_refusal_where_nothing_was_limited_stops_nobody_for_good() {
    shuttle::check_random(
        || {
            let gate = RateLimiter::with_clock(LimitSet::none(), || Time::ZERO);
            let many = Arc::new(AtomicU64::new(0));
            let threads: Vec<_> = [true, true, false, false]
                .into_iter()
                .map(|refused| {
                    let (gate, many) = (gate.clone(), many.clone());
                    thread::spawn(move || {
                        if refused {
                            is_refused(&gate)
                        } else {
                            (0..2).for_each(|_| pass(&gate, &many, 9))
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(gate.waiting(), 0);
            let mut state = gate.core.lock();
            let fresh = state.limits.take(Time::ZERO, &Cost::from(1)).is_ok();
            assert!(fresh, "all are over, so whoever comes may go");
        },
        SCHEDULES / 4,
    );
}

/// Waits as one task, and goes on waiting as another.
fn pass_elsewhere(gate: &RateLimiter, inside: &AtomicU64) {
    let mut asking = pin!(gate.acquire(1));
    let asked = asking.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let permit = match asked {
        Poll::Ready(permit) => permit,
        Poll::Pending => block_on(asking),
    };
    go_in(permit.unwrap(), inside, 1);
}

#[test]
fn who_is_polled_elsewhere_is_woken_there() {
    shuttle::check_random(
        || {
            let (gate, inside) = (gate(1), Arc::new(AtomicU64::new(0)));
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (gate, inside) = (gate.clone(), inside.clone());
                    thread::spawn(move || pass_elsewhere(&gate, &inside))
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(gate.waiting(), 0);
        },
        SCHEDULES / 4,
    );
}

/// What several do with a gate at once.
#[derive(Debug, Clone, Copy)]
enum Does {
    Passes,
    GivesBack,
    ChangesMind,
    Closes,
}

impl Does {
    fn go(self, gate: &RateLimiter, key: &'static str, inside: &AtomicU64) {
        let ask = || Cost::new([1], [key.into()]);
        match self {
            Does::Passes => {
                go_in(block_on(gate.acquire(ask())).unwrap(), inside, 1);
            }
            Does::GivesBack => {
                let mut permit = block_on(gate.acquire(ask())).unwrap();
                permit.sent();
                permit.cancel();
            }
            Does::ChangesMind => change_mind(gate, ask()),
            Does::Closes => gate.close(),
        }
    }
}

#[test]
fn one_key_s_queue_moves_on_whatever_others_do() {
    shuttle::check_random(
        || {
            let settings = Settings {
                in_flight: Some(1),
                per: Some("{{ tenant }}".into()),
                ..Settings::default()
            };
            let policy = Policy::new(&settings, Duration::ZERO).unwrap();
            let gate = RateLimiter::with_clock(policy.limits(), || Time::ZERO);
            let inside = ["a", "b"].map(|key| (key, Arc::new(AtomicU64::new(0))));
            let threads: Vec<_> = [
                (Does::Passes, 0),
                (Does::Passes, 0),
                (Does::ChangesMind, 0),
                (Does::GivesBack, 0),
                (Does::Passes, 1),
                (Does::Closes, 1),
            ]
            .into_iter()
            .map(|(does, key)| {
                let (gate, (key, inside)) = (gate.clone(), inside[key].clone());
                thread::spawn(move || does.go(&gate, key, &inside))
            })
            .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(gate.waiting(), 0);
        },
        SCHEDULES / 4,
    );
}
