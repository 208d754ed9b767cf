//! The number of different texts: exact for few, an estimate for many.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};

/// Maximum number of hashes that are kept; the estimate's standard error is 1/√MOST, 1.6 %.
const MOST: usize = 4096;

/// The smallest hashes of the texts so far. Their density gives the estimate if
/// there are more.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Distinct {
    smallest: BTreeSet<u64>,
    is_full: bool,
}

impl Distinct {
    pub(super) fn add(&mut self, text: &str) {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        self.add_hash(hasher.finish());
    }

    /// Adds the other's texts.
    pub(super) fn merge(&mut self, other: Distinct) {
        self.is_full |= other.is_full;
        other.smallest.into_iter().for_each(|hash| self.add_hash(hash));
    }

    pub(super) fn count(&self) -> f64 {
        match self.smallest.last() {
            Some(&last) if self.is_full => {
                let width = last as f64 / u64::MAX as f64;
                ((MOST - 1) as f64 / width).round()
            }
            _ => self.smallest.len() as f64,
        }
    }

    pub(super) fn is_exact(&self) -> bool {
        !self.is_full
    }

    fn add_hash(&mut self, hash: u64) {
        let is_out = self.is_full && self.smallest.last().is_some_and(|&last| hash > last);
        if !is_out && self.smallest.insert(hash) && self.smallest.len() > MOST {
            self.smallest.pop_last();
            self.is_full = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: std::ops::Range<usize>) -> Distinct {
        let mut all = Distinct::default();
        numbers.for_each(|number| all.add(&number.to_string()));
        all
    }

    #[test]
    fn few_are_counted() {
        let mut all = of(0..MOST);
        all.merge(of(0..MOST));
        assert_eq!(all.count(), MOST as f64);
        assert!(all.is_exact());
    }

    #[test]
    fn many_are_estimated() {
        let all = of(0..100_000);
        assert!((all.count() / 1e5 - 1.0).abs() < 0.05, "{}", all.count());
        assert!(!all.is_exact());
    }

    #[test]
    fn merged_counts_equal_one_count_of_all() {
        for (first, second) in [(0..10, 5..20), (0..3000, 2000..6000), (0..9000, 0..20)] {
            let mut merged = of(first.clone());
            merged.merge(of(second.clone()));
            let mut one = of(first);
            second.for_each(|number| one.add(&number.to_string()));
            assert_eq!(merged, one);
        }
    }
}
