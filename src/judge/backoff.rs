//! Pauses between attempts: exponential, with full jitter. Pure.

use std::time::Duration;

const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(30);

/// The pause after `retries` earlier retries: anything from nothing up to
/// 0.5 s x 2^retries, and never more than 30 s; `chance` (0 to 1) says where in
/// between, so that clients that failed together don't come back together.
#[must_use]
pub fn backoff(retries: u32, chance: f64) -> Duration {
    let doubled = BASE.saturating_mul(2u32.saturating_pow(retries));
    doubled.min(CAP).mul_f64(chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_a_cap_and_keeps_to_its_chance() {
        let seconds = |retries, chance| backoff(retries, chance).as_secs_f64();
        assert_eq!(
            [0, 1, 2, 6, 99].map(|n| seconds(n, 1.0)),
            [0.5, 1.0, 2.0, 30.0, 30.0]
        );
        assert_eq!([0.0, 0.5].map(|chance| seconds(2, chance)), [0.0, 1.0]);
    }
}
