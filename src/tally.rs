//! (9) Records to counts, latencies, aggregates and kinds of failure.
//!
//! A [`Tally`] of some records merged with that of others is the tally of all
//! of them. Its memory is bounded, whatever the records are.

mod function;
pub use function::Function;

mod aggregate;
pub use aggregate::{Aggregate, Settings};

mod value;

mod numbers;

mod sketch;
pub use sketch::Quantiles;

mod distinct;

mod answer;
pub use answer::{Accuracy, AggregateResult, Figure, Figures, ResultGroup};

mod fold;

mod groups;

mod failures;
pub use failures::{Example, FailureGroup};

use crate::record::Record;
use failures::Failures;
use groups::GroupedAggregate;

/// Records, folded.
#[derive(Debug, Clone)]
pub struct Tally {
    counts: Counts,
    latency: Quantiles,
    aggregates: Vec<GroupedAggregate>,
    failures: Failures,
}

/// How many records there were, and how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All records.
    pub rows: u64,
    /// Those with a result.
    pub ok: u64,
    /// Those with a failure.
    pub failed: u64,
    /// Attempts of all of them.
    pub attempts: u64,
    /// Attempts after the first one of each.
    pub retries: u64,
}

impl Tally {
    /// A tally of nothing yet, for records with these extracted `values`.
    #[must_use]
    pub fn new(aggregates: &[Aggregate], values: &[String]) -> Tally {
        let groups = |aggregate| GroupedAggregate::new(aggregate, values);
        Tally {
            counts: Counts::default(),
            latency: Quantiles::default(),
            aggregates: aggregates.iter().map(groups).collect(),
            failures: Failures::default(),
        }
    }

    /// Takes one record in.
    pub fn add(&mut self, record: &Record) {
        self.counts.add(record);
        if let Some(latency) = record.latency {
            self.latency.add(latency.as_secs_f64() * 1000.0);
        }
        match &record.outcome {
            Ok(values) => {
                self.aggregates.iter_mut().for_each(|groups| groups.add(values, &record.row.fields))
            }
            Err(failure) => self.failures.add(&record.row, failure),
        }
    }

    /// Takes in another tally of the same aggregates.
    pub fn merge(&mut self, other: Tally) {
        self.counts.merge(other.counts);
        self.latency.merge(&other.latency);
        self.failures.merge(other.failures);
        let pairs = self.aggregates.iter_mut().zip(other.aggregates);
        pairs.for_each(|(mine, theirs)| mine.merge(theirs));
    }

    /// How many records there were.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The latencies of all records that have one, in milliseconds.
    #[must_use]
    pub fn latency(&self) -> &Quantiles {
        &self.latency
    }

    /// What the aggregates came to, in their order.
    #[must_use]
    pub fn answers(&self) -> Vec<AggregateResult> {
        self.aggregates.iter().map(GroupedAggregate::answer).collect()
    }

    /// The kinds of failure, the most frequent first.
    #[must_use]
    pub fn failures(&self) -> Vec<FailureGroup> {
        self.failures.kinds()
    }
}

impl Counts {
    fn add(&mut self, record: &Record) {
        self.rows += 1;
        match record.outcome {
            Ok(_) => self.ok += 1,
            Err(_) => self.failed += 1,
        }
        self.attempts += u64::from(record.attempts);
        self.retries += u64::from(record.attempts.saturating_sub(1));
    }

    fn merge(&mut self, other: Counts) {
        self.rows += other.rows;
        self.ok += other.ok;
        self.failed += other.failed;
        self.attempts += other.attempts;
        self.retries += other.retries;
    }
}

#[cfg(test)]
mod tests;
