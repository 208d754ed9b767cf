//! One function, folded over the values of a group.

use serde_json::Value;

use super::answer::{Accuracy, Figure};
use super::distinct::Distinct;
use super::function::Function;
use super::numbers::NumberStats;
use super::sketch::Quantiles;
use super::value::{number, text};

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
        match value.and_then(|value| self.kept.add(value, scratch)) {
            Some(()) => self.values += 1,
            None => self.skipped += 1,
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
}
