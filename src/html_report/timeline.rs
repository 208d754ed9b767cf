//! Numbers by time, in a bounded number of buckets whose width doubles as time goes on. Pure.

use std::collections::BTreeMap;

/// Maximum number of buckets that are not empty.
const MAX_BUCKETS: usize = 512;
/// The width of the first buckets: 1/64 s, in microseconds.
const FIRST_WIDTH: i64 = 15_625;

/// What a bucket holds.
pub(super) trait Bucket: Default {
    /// Adds the bucket that follows.
    fn merge(&mut self, later: Self);
}

/// Buckets by time. Only those that something was added to take memory, so pauses cost none.
pub(super) struct Timeline<T> {
    width: i64,
    buckets: BTreeMap<i64, T>,
}

impl<T: Bucket> Timeline<T> {
    pub fn new() -> Timeline<T> {
        Timeline { width: FIRST_WIDTH, buckets: BTreeMap::new() }
    }

    /// The width of each bucket, in microseconds.
    pub fn width(&self) -> i64 {
        self.width
    }

    /// The buckets that are not empty, in order, by their number: the one of number `n` begins
    /// `n` widths after 1970.
    pub fn buckets(&self) -> &BTreeMap<i64, T> {
        &self.buckets
    }

    /// The bucket of this time, in microseconds since 1970.
    pub fn at(&mut self, time: i64) -> &mut T {
        while self.buckets.len() >= MAX_BUCKETS && !self.buckets.contains_key(&self.number(time)) {
            self.widen();
        }
        let number = self.number(time);
        self.buckets.entry(number).or_default()
    }

    /// Adds the parts, in microseconds, that the interval has in each bucket.
    pub fn spread(&mut self, from: i64, to: i64, add: impl Fn(&mut T, i64)) {
        while to.saturating_sub(from) / self.width > MAX_BUCKETS as i64 {
            self.widen();
        }
        let mut time = from;
        while time < to {
            let end = ((self.number(time) + 1) * self.width).min(to);
            add(self.at(time), end - time);
            time = end;
        }
    }

    /// Makes two buckets one.
    pub fn widen(&mut self) {
        self.width = self.width.saturating_mul(2);
        for (number, bucket) in std::mem::take(&mut self.buckets) {
            self.buckets.entry(number.div_euclid(2)).or_default().merge(bucket);
        }
    }

    fn number(&self, time: i64) -> i64 {
        time.div_euclid(self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Bucket for i64 {
        fn merge(&mut self, later: i64) {
            *self += later;
        }
    }

    #[test]
    fn buckets_are_few_however_long_it_takes() {
        let mut line = Timeline::<i64>::new();
        for second in 0..100_000 {
            *line.at(second * 1_000_000) += 1;
        }
        assert_eq!(line.width(), FIRST_WIDTH << 14);
        assert!(line.buckets().len() <= MAX_BUCKETS, "{}", line.buckets().len());
        assert_eq!(line.buckets().values().sum::<i64>(), 100_000);
        assert_eq!(line.buckets()[&0], 256);
    }

    #[test]
    fn a_pause_makes_no_bucket_wider() {
        let mut line = Timeline::<i64>::new();
        [0, 30_000, i64::MAX / 2].into_iter().for_each(|time| *line.at(time) += 1);
        assert_eq!((line.width(), line.buckets().len()), (FIRST_WIDTH, 3));
    }

    #[test]
    fn an_interval_has_its_parts_in_the_buckets_that_it_crosses() {
        let mut line = Timeline::<i64>::new();
        line.spread(-5_000, FIRST_WIDTH + 10, |sum, part| *sum += part);
        let parts: Vec<_> = line.buckets().iter().map(|(number, part)| (*number, *part)).collect();
        assert_eq!(parts, [(-1, 5_000), (0, FIRST_WIDTH), (1, 10)]);
        line.spread(0, 3_600_000_000, |sum, part| *sum += part);
        assert!(line.buckets().len() <= MAX_BUCKETS);
        assert_eq!(line.buckets().values().sum::<i64>(), 3_600_000_000 + 5_000 + FIRST_WIDTH + 10);
    }
}
