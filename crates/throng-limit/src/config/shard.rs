//! One of several runs that do the rows of one job, each on its own machine. Pure.

use std::fmt;
use std::str::FromStr;

use crate::error::LimitError;

/// The place of a run among those that share the rows and the limits of one job: `3/8` is the
/// third of eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// The shard with this number, from 1 to `count`; none if there is no such shard.
    #[must_use]
    pub fn new(index: u64, count: u64) -> Option<Shard> {
        (1..=count).contains(&index).then_some(Shard { index, count })
    }

    /// Its number, from 1 to [`Shard::count`].
    #[must_use]
    pub fn index(self) -> u64 {
        self.index
    }

    /// Number of shards.
    #[must_use]
    pub fn count(self) -> u64 {
        self.count
    }

    /// Where its part of `whole` begins, and where it ends. The parts of all shards follow one
    /// another, and differ by at most 1.
    #[must_use]
    pub fn range(self, whole: u64) -> std::ops::Range<u64> {
        let end = |shards: u64| {
            let end = u128::from(whole) * u128::from(shards) / u128::from(self.count);
            u64::try_from(end).unwrap_or(whole)
        };
        end(self.index - 1)..end(self.index)
    }

    /// The size of its part of `whole`. The parts of all shards add up to `whole`.
    #[must_use]
    pub fn part(self, whole: u64) -> u64 {
        let range = self.range(whole);
        range.end - range.start
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Shard, LimitError> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            Shard::new(index.trim().parse().ok()?, count.trim().parse().ok()?)
        });
        numbers.ok_or_else(|| LimitError::InvalidShard { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_one_another_and_add_up() {
        for (whole, count) in [(22, 8), (0, 3), (1, 3), (1000, 7), (u64::MAX, 1_000)] {
            let mut next = 0;
            let smallest = whole / count;
            for index in 1..=count {
                let shard = Shard::new(index, count).unwrap();
                let range = shard.range(whole);
                assert_eq!(range.start, next);
                assert!((smallest..=smallest + 1).contains(&shard.part(whole)));
                next = range.end;
            }
            assert_eq!(next, whole);
        }
    }

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!("3/8".parse::<Shard>().unwrap().to_string(), "3/8");
        for text in ["0/8", "9/8", "3", "a/b", "1/0", "-1/3", ""] {
            let error = text.parse::<Shard>().unwrap_err().to_string();
            assert!(error.contains("from 1/N to N/N"), "{error}");
        }
    }
}
