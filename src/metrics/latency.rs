//! A histogram of latencies with buckets of constant relative width, written by one thread and
//! read by any. Pure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bits of a bucket's number within a doubling of the latency: 16 buckets.
const BITS: u32 = 4;
/// Number of buckets: up to 2³² µs, more than an hour. Longer latencies are in the last one.
const BUCKETS: usize = ((32 - BITS as usize) << BITS) + (1 << BITS);

/// The latencies so far, in microseconds.
#[derive(Debug)]
pub struct LatencyHistogram {
    buckets: Vec<AtomicU64>,
    /// The sum of all latencies, in microseconds.
    sum: AtomicU64,
}

impl Default for LatencyHistogram {
    fn default() -> LatencyHistogram {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        LatencyHistogram { buckets, sum: AtomicU64::new(0) }
    }
}

impl LatencyHistogram {
    /// Adds a latency.
    pub fn add(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(micros)) {
            add(bucket, 1);
        }
        add(&self.sum, micros);
    }

    /// The sum of all latencies.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum.load(Ordering::Relaxed))
    }

    /// Adds the count of each bucket to these counts.
    pub fn add_to(&self, counts: &mut Vec<u64>) {
        counts.resize(BUCKETS, 0);
        for (sum, count) in counts.iter_mut().zip(&self.buckets) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
}

/// The latency in seconds that all latencies of a bucket lie below.
pub fn upper_bound(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    let shift = (bucket >> BITS).saturating_sub(1);
    let first = bucket - (shift << BITS);
    ((first + 1) << shift) as f64 / 1e6
}

/// The bucket of a latency in microseconds.
fn bucket_of(micros: u64) -> usize {
    let shift = (u64::BITS - 1 - (micros | 1).leading_zeros()).saturating_sub(BITS);
    let bucket = (u64::from(shift) << BITS) + (micros >> shift);
    (bucket as usize).min(BUCKETS - 1)
}

fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_lies_below_the_bound_of_its_bucket_and_not_far_below() {
        for exponent in 0..32 {
            for micros in [1_u64 << exponent, (1 << exponent) + 1, (3_u64 << exponent) / 2] {
                let bucket = bucket_of(micros);
                let seconds = micros as f64 / 1e6;
                assert!(seconds < upper_bound(bucket), "{micros}");
                assert!(bucket == 0 || seconds >= upper_bound(bucket - 1), "{micros}");
                assert!(upper_bound(bucket) <= seconds * 1.0626 + 1e-6, "{micros}");
            }
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
        let powers: Vec<f64> = (0..BUCKETS).map(upper_bound).collect();
        assert!(powers.contains(&0.001024) && powers.contains(&1.048576));
    }

    #[test]
    fn counts_of_several_threads_are_added() {
        let (one, two) = (LatencyHistogram::default(), LatencyHistogram::default());
        one.add(Duration::from_millis(250));
        two.add(Duration::from_millis(250));
        two.add(Duration::from_secs(100_000));
        let mut counts = Vec::new();
        [&one, &two].iter().for_each(|it| it.add_to(&mut counts));
        assert_eq!(counts.iter().sum::<u64>(), 3);
        assert_eq!(counts[bucket_of(250_000)], 2);
        assert_eq!(two.sum(), Duration::from_millis(100_000_250));
    }
}
