//! What a permit costs that nobody has to wait for: taken, taken and given back, and
//! the whole life of one, on one thread and with another that contends for the gate.
//! `cargo bench --bench gate`
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use criterion::Criterion;
use throng::limit::{Guard, Permit, RateLimiter};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (name, limits) in [
        ("no limit", &[][..]),
        ("one limit", &["1000000/1ms"]),
        ("three limits", &["1000000/1ms", "bucket:1000000/1ms", "1000000/1ms@clock"]),
    ] {
        let gate = gate(limits);
        criterion.bench_function(&format!("taking, {name}"), |bencher| {
            bencher.iter_custom(|times| taking(&gate, times));
        });
        criterion.bench_function(&format!("permit, {name}"), |bencher| {
            bencher.iter(|| black_box(take(&gate)).cancel());
        });
        criterion.bench_function(&format!("whole life, {name}"), |bencher| {
            bencher.iter(|| live(&gate));
        });
        let rival = Rival::of(&gate);
        criterion.bench_function(&format!("taking, {name}, contended"), |bencher| {
            bencher.iter_custom(|times| taking(&gate, times));
        });
        criterion.bench_function(&format!("permit, {name}, contended"), |bencher| {
            bencher.iter(|| black_box(take(&gate)).cancel());
        });
        drop(rival);
    }
    criterion.final_summary();
}

fn gate(limits: &[&str]) -> RateLimiter {
    let limits: Vec<_> = limits.iter().map(|limit| limit.parse().unwrap()).collect();
    RateLimiter::new(&limits, Guard::Strict).unwrap()
}

/// Asks until nobody has to wait.
fn take(gate: &RateLimiter) -> Permit {
    loop {
        let asked = pin!(gate.acquire(1));
        let polled = asked.poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(permit) = polled {
            return permit.unwrap();
        }
    }
}

/// How long it takes to take so many; giving them back is left out.
fn taking(gate: &RateLimiter, times: u64) -> Duration {
    const AT_A_TIME: u64 = 64;
    let mut permits = Vec::with_capacity(AT_A_TIME as usize);
    let (mut left, mut took) = (times, Duration::ZERO);
    while left > 0 {
        let some = left.min(AT_A_TIME);
        let start = Instant::now();
        (0..some).for_each(|_| permits.push(take(gate)));
        took += start.elapsed();
        permits.drain(..).for_each(|mut permit: Permit| permit.cancel());
        left -= some;
    }
    took
}

fn live(gate: &RateLimiter) {
    let mut permit = take(gate);
    permit.sent();
    permit.answered();
}

/// Another thread that does the same, until it is dropped.
struct Rival {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Rival {
    fn of(gate: &RateLimiter) -> Rival {
        let (gate, stop) = (gate.clone(), Arc::new(AtomicBool::new(false)));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                black_box(take(&gate)).cancel();
            }
        });
        Rival { stop, thread: Some(thread) }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}
