//! The least time that a limit allows. Pure.

use std::time::Duration;

use super::{Guard, Rate};

/// The shortest time in which `rows` requests can pass these rates, when each
/// answer takes `latency`; `None` without a limit.
///
/// Under `strict` each of N slots is used once every X + latency:
/// (ceil(rows/N) - 1)(X + latency) + latency. Under `sent` a cycle is X.
#[must_use]
pub fn best_possible(
    rates: &[Rate],
    guard: Guard,
    rows: u64,
    latency: Duration,
) -> Option<Duration> {
    rates
        .iter()
        .map(|rate| {
            let full_cycles = rows.div_ceil(rate.units).saturating_sub(1);
            let cycle = match guard {
                Guard::Strict => rate.period + latency,
                Guard::Sent => rate.period,
            };
            cycle.mul_f64(full_cycles as f64) + latency
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_limit_binds() {
        let rates = ["22/5s".parse().unwrap(), "1000/1m".parse().unwrap()];
        let bound = |rows, guard, ms| {
            best_possible(&rates, guard, rows, Duration::from_millis(ms))
                .unwrap()
                .as_secs_f64()
        };
        assert_eq!(bound(500, Guard::Strict, 0), 110.0);
        assert_eq!(bound(500, Guard::Strict, 250), 22.0 * 5.25 + 0.25);
        assert_eq!(bound(500, Guard::Sent, 250), 110.25);
        assert_eq!(bound(22, Guard::Strict, 0), 0.0);
        assert_eq!(best_possible(&[], Guard::Strict, 9, Duration::ZERO), None);
    }
}
