//! One function, folded over the values of a group, mergeable with the fold of other values.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};

use serde_json::Value;

use super::aggregate::Function;
use super::figures::{Accuracy, Figure};
use super::sketch::Quantiles;
use super::value::{number, text};

/// Maximum number of hashes that are kept; the estimate's standard error is 1/√MAX_HASHES, 1.6 %.
const MAX_HASHES: usize = 4096;

/// A function of the values so far.
#[derive(Debug, Clone)]
pub(super) struct Fold {
    function: Function,
    values: u64,
    skipped: u64,
    kept: FoldState,
}

/// The state that the function needs.
#[derive(Debug, Clone)]
enum FoldState {
    Nothing,
    Numbers(NumberStats),
    Quantiles(Quantiles),
    Distinct(Distinct),
}

/// The statistics of the numbers so far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct NumberStats {
    count: u64,
    mean: f64,
    /// The sum of squared distances from the mean (Welford).
    squares: f64,
    sum: CompensatedSum,
    min: f64,
    max: f64,
}

/// A sum with its rounding error (Neumaier).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct CompensatedSum {
    total: f64,
    lost: f64,
}

/// The smallest hashes of the texts so far. Their density gives the estimate if
/// there are more.
#[derive(Debug, Clone, Default, PartialEq)]
struct Distinct {
    smallest: BTreeSet<u64>,
    is_full: bool,
}

impl Fold {
    pub(super) fn new(function: Function) -> Fold {
        let kept = match function {
            Function::Count => FoldState::Nothing,
            Function::Distinct => FoldState::Distinct(Distinct::default()),
            Function::Quantile(_) => FoldState::Quantiles(Quantiles::default()),
            _ => FoldState::Numbers(NumberStats::default()),
        };
        Fold { function, values: 0, skipped: 0, kept }
    }

    /// Adds the value of one result, if it has one.
    pub(super) fn add(&mut self, value: Option<&Value>, scratch: &mut String) {
        if let Some(value) = value
            && self.kept.add(value, scratch).is_some()
        {
            self.values += 1;
        } else {
            self.skipped += 1;
        }
    }

    pub(super) fn merge(&mut self, other: Fold) {
        self.values += other.values;
        self.skipped += other.skipped;
        self.kept.merge(other.kept);
    }

    /// Whether no result was added.
    pub(super) fn is_empty(&self) -> bool {
        self.values + self.skipped == 0
    }

    pub(super) fn figure(&self) -> Figure {
        Figure {
            value: self.value(),
            values: self.values,
            skipped: self.skipped,
            accuracy: if self.kept.is_exact() { Accuracy::Exact } else { Accuracy::Approximate },
        }
    }

    fn value(&self) -> Option<f64> {
        match (&self.kept, self.function) {
            (FoldState::Nothing, _) => Some(self.values as f64),
            (FoldState::Distinct(distinct), _) => Some(distinct.count()),
            (FoldState::Quantiles(quantiles), Function::Quantile(share)) => quantiles.at(share),
            (FoldState::Numbers(numbers), Function::Sum) => Some(numbers.sum()),
            (FoldState::Numbers(numbers), Function::Mean) => numbers.mean(),
            (FoldState::Numbers(numbers), Function::Min) => numbers.min(),
            (FoldState::Numbers(numbers), Function::Max) => numbers.max(),
            (FoldState::Numbers(numbers), Function::Stddev) => numbers.stddev(),
            _ => None,
        }
    }
}

impl FoldState {
    fn add(&mut self, value: &Value, scratch: &mut String) -> Option<()> {
        match self {
            FoldState::Nothing => {}
            FoldState::Numbers(numbers) => numbers.add(number(value)?),
            FoldState::Quantiles(quantiles) => quantiles.add(number(value)?),
            FoldState::Distinct(distinct) => distinct.add(text(value, scratch)),
        }
        Some(())
    }

    fn merge(&mut self, other: FoldState) {
        match (self, other) {
            (FoldState::Numbers(mine), FoldState::Numbers(theirs)) => mine.merge(theirs),
            (FoldState::Quantiles(mine), FoldState::Quantiles(theirs)) => mine.merge(&theirs),
            (FoldState::Distinct(mine), FoldState::Distinct(theirs)) => mine.merge(theirs),
            // Counts are merged by the caller; other pairs are not of one aggregate.
            _ => {}
        }
    }

    fn is_exact(&self) -> bool {
        match self {
            FoldState::Nothing | FoldState::Numbers(_) => true,
            FoldState::Quantiles(quantiles) => quantiles.is_exact(),
            FoldState::Distinct(distinct) => distinct.is_exact(),
        }
    }
}

impl Default for NumberStats {
    fn default() -> NumberStats {
        NumberStats {
            count: 0,
            mean: 0.0,
            squares: 0.0,
            sum: CompensatedSum::default(),
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl NumberStats {
    fn add(&mut self, number: f64) {
        self.count += 1;
        let distance = number - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (number - self.mean);
        self.sum.add(number);
        self.min = self.min.min(number);
        self.max = self.max.max(number);
    }

    /// Adds the other's numbers (Chan et al.).
    fn merge(&mut self, other: NumberStats) {
        let count = self.count + other.count;
        if count == 0 {
            return;
        }
        let share = other.count as f64 / count as f64;
        let distance = other.mean - self.mean;
        self.squares += other.squares + distance * distance * self.count as f64 * share;
        self.mean += distance * share;
        self.count = count;
        self.sum.add(other.sum.total);
        self.sum.add(other.sum.lost);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    fn sum(&self) -> f64 {
        self.sum.total + self.sum.lost
    }

    fn mean(&self) -> Option<f64> {
        self.some(self.mean)
    }

    fn min(&self) -> Option<f64> {
        self.some(self.min)
    }

    fn max(&self) -> Option<f64> {
        self.some(self.max)
    }

    /// The sample standard deviation; none for fewer than two numbers.
    fn stddev(&self) -> Option<f64> {
        let freedom = self.count.checked_sub(1).filter(|&freedom| freedom > 0)?;
        Some((self.squares / freedom as f64).sqrt())
    }

    fn some(&self, value: f64) -> Option<f64> {
        (self.count > 0).then_some(value)
    }
}

impl CompensatedSum {
    fn add(&mut self, number: f64) {
        let total = self.total + number;
        self.lost += if self.total.abs() >= number.abs() {
            (self.total - total) + number
        } else {
            (number - total) + self.total
        };
        self.total = total;
    }
}

impl Distinct {
    fn add(&mut self, text: &str) {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        self.add_hash(hasher.finish());
    }

    /// Adds the other's texts.
    fn merge(&mut self, other: Distinct) {
        self.is_full |= other.is_full;
        other.smallest.into_iter().for_each(|hash| self.add_hash(hash));
    }

    fn count(&self) -> f64 {
        match self.smallest.last() {
            Some(&last) if self.is_full => {
                let width = last as f64 / u64::MAX as f64;
                ((MAX_HASHES - 1) as f64 / width).round()
            }
            _ => self.smallest.len() as f64,
        }
    }

    fn is_exact(&self) -> bool {
        !self.is_full
    }

    fn add_hash(&mut self, hash: u64) {
        let is_out = self.is_full && self.smallest.last().is_some_and(|&last| hash > last);
        if !is_out && self.smallest.insert(hash) && self.smallest.len() > MAX_HASHES {
            self.smallest.pop_last();
            self.is_full = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn figure(function: &str, values: &[Value]) -> Value {
        let mut fold = Fold::new(function.parse().unwrap());
        for value in values {
            fold.add(Some(value).filter(|value| !value.is_null()), &mut String::new());
        }
        json!(fold.figure())
    }

    #[test]
    fn each_function_has_its_result() {
        let values = [json!(1), json!("2.5"), json!(4), json!("n/a"), json!(null), json!(4)];
        for (function, value, taken) in [
            ("count", json!(5), 5),
            ("distinct", json!(4), 5),
            ("sum", json!(11.5), 4),
            ("mean", json!(2.875), 4),
            ("min", json!(1), 4),
            ("max", json!(4), 4),
            ("p50", json!(3.25), 4),
        ] {
            let expected = json!({
                "value": value, "values": taken, "skipped": 6 - taken, "accuracy": "exact",
            });
            assert_eq!(figure(function, &values), expected, "{function}");
        }
    }

    #[test]
    fn no_values_have_a_count_but_no_mean() {
        for (function, value) in [
            ("count", json!(0)),
            ("sum", json!(0)),
            ("mean", json!(null)),
            ("p99", json!(null)),
            ("stddev", json!(null)),
        ] {
            assert_eq!(figure(function, &[])["value"], value, "{function}");
        }
    }

    fn stats(numbers: &[f64]) -> NumberStats {
        let mut all = NumberStats::default();
        numbers.iter().for_each(|&number| all.add(number));
        all
    }

    #[test]
    fn known_numbers_have_known_statistics() {
        let numbers = stats(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(numbers.mean(), Some(5.0));
        assert_eq!(numbers.sum(), 40.0);
        assert_eq!((numbers.min(), numbers.max()), (Some(2.0), Some(9.0)));
        let stddev = numbers.stddev().unwrap();
        assert!((stddev - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn no_numbers_have_no_mean_and_one_number_no_deviation() {
        assert_eq!((stats(&[]).mean(), stats(&[]).min(), stats(&[]).sum()), (None, None, 0.0));
        assert_eq!((stats(&[3.0]).mean(), stats(&[3.0]).stddev()), (Some(3.0), None));
    }

    #[test]
    fn small_numbers_beside_large_ones_are_kept() {
        assert_eq!(stats(&[1e16, 1.0, 1.0, -1e16]).sum(), 2.0);
        let far = stats(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0]);
        assert!((far.stddev().unwrap() - 30.0_f64.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn merging_nothing_changes_nothing() {
        let (mut all, nothing) = (stats(&[1.0, 2.0]), NumberStats::default());
        all.merge(nothing);
        assert_eq!(all, stats(&[1.0, 2.0]));
        let mut nothing = nothing;
        nothing.merge(all);
        assert_eq!(nothing.mean(), Some(1.5));
    }

    fn distinct(numbers: std::ops::Range<usize>) -> Distinct {
        let mut all = Distinct::default();
        numbers.for_each(|number| all.add(&number.to_string()));
        all
    }

    #[test]
    fn few_are_counted() {
        let mut all = distinct(0..MAX_HASHES);
        all.merge(distinct(0..MAX_HASHES));
        assert_eq!(all.count(), MAX_HASHES as f64);
        assert!(all.is_exact());
    }

    #[test]
    fn many_are_estimated() {
        let all = distinct(0..100_000);
        assert!((all.count() / 1e5 - 1.0).abs() < 0.05, "{}", all.count());
        assert!(!all.is_exact());
    }

    #[test]
    fn merged_counts_equal_one_count_of_all() {
        for (first, second) in [(0..10, 5..20), (0..3000, 2000..6000), (0..9000, 0..20)] {
            let mut merged = distinct(first.clone());
            merged.merge(distinct(second.clone()));
            let mut one = distinct(first);
            second.for_each(|number| one.add(&number.to_string()));
            assert_eq!(merged, one);
        }
    }
}
