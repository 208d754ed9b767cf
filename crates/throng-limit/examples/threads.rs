//! Threads without a runtime, and tenants that each have a limit of their own.
//! `cargo run -p throng-limit --example threads`

use std::thread;
use std::time::Instant;

use throng_limit::{AcquireError, RateLimiter};

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = RateLimiter::builder()
        .limit("20/100ms".parse()?)
        .limit_per_key("2/100ms".parse()?)
        .build()?;
    let start = Instant::now();
    thread::scope(|scope| {
        let tenants = ["ada", "bob", "eve"].map(|tenant| limiter.keyed(tenant));
        let threads = tenants.map(|limiter| {
            scope.spawn(move || {
                for _ in 0..6 {
                    limiter.blocking_acquire(1)?.answered();
                }
                Ok::<(), AcquireError>(())
            })
        });
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let took = start.elapsed();
    println!("6 requests of each tenant, 2 in any 100 ms, took {took:.0?}");
    // Whoever can't wait asks for a permit that is free now.
    while let Ok(permit) = limiter.keyed("ada").try_acquire(1) {
        permit.finish(throng_limit::Outcome::Answered);
    }
    for limit in limiter.snapshot().limits {
        println!("{}: at most {} of {} in a period", limit.name, limit.most, limit.units);
    }
    Ok(())
}
