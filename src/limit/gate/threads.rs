//! The gate under a model checker: threads take its lock in every order that
//! chance finds, and a wake-up that gets lost is a deadlock, which is found.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --lib --target-dir target/shuttle threads`

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::thread;

use super::*;

const SCHEDULES: usize = 100_000;

/// A gate that lets so many in at once, and needs no timer.
fn gate(in_flight: u64) -> Gate {
    let settings = Settings {
        in_flight: Some(in_flight),
        ..Settings::default()
    };
    let policy = Policy::new(&settings, Duration::ZERO).unwrap();
    Gate::with_clock(policy.limits(), || Time::ZERO)
}

/// Goes through the gate, and counts how many are behind it.
fn pass(gate: &Gate, inside: &AtomicU64, most: u64) {
    let mut permit = block_on(gate.permit(1)).unwrap();
    assert!(inside.fetch_add(1, Ordering::SeqCst) < most);
    permit.sent();
    permit.answered();
    inside.fetch_sub(1, Ordering::SeqCst);
}

/// Asks, waits or not, and goes away.
fn change_mind(gate: &Gate) {
    let mut asking = pin!(gate.permit(1));
    let _ = asking
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
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
                threads
                    .into_iter()
                    .for_each(|thread| thread.join().unwrap());
                assert_eq!(gate.waiting(), 0);
            },
            SCHEDULES / 4,
        );
    }
}

#[test]
fn who_changes_their_mind_takes_nothing_and_stops_nobody() {
    shuttle::check_random(
        || {
            let (gate, inside) = (gate(1), Arc::new(AtomicU64::new(0)));
            let fickle: Vec<_> = (0..2)
                .map(|_| {
                    let gate = gate.clone();
                    thread::spawn(move || change_mind(&gate))
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
