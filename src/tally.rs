//! (9) Records to counts, latencies, aggregates and kinds of failure.
//!
//! A [`Tally`] of some records merged with that of others is the tally of all of them. Its
//! memory is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

mod aggregate;
mod failures;
mod figures;
mod fold;
mod groups;
mod sketch;
mod value;

use crate::record::{FailureKind, Record};
pub use aggregate::{Aggregate, Settings};
use failures::Failures;
pub use failures::{Example, FailureGroup};
pub use figures::{Accuracy, AggregateResult, Figure, Figures, ResultGroup};
use groups::GroupedAggregate;
pub use sketch::Quantiles;
pub(crate) use value::{cut, number, text};

/// Maximum number of targets whose records are counted.
const MAX_TARGETS: usize = 100;

/// The counts, latencies, aggregates and failures of records.
#[derive(Debug, Clone)]
pub struct Tally {
    counts: Counts,
    latency: Quantiles,
    aggregates: Vec<GroupedAggregate>,
    failures: Failures,
    /// Number of records that are ok, by the target that answered.
    targets: BTreeMap<Arc<str>, u64>,
}

/// Number of records by outcome, and of their attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records.
    pub rows: u64,
    /// Records with a result, or of rows that are missing.
    pub ok: u64,
    /// Records of rows that are missing, by a rule of the job.
    pub missing: u64,
    /// Records with a failure.
    pub failed: u64,
    /// Attempts of all records.
    pub attempts: u64,
    /// Attempts after the first one of each record.
    pub retries: u64,
}

impl Tally {
    /// An empty tally of records with these extracted `values`.
    #[must_use]
    pub fn new(aggregates: &[Aggregate], values: &[String]) -> Tally {
        let groups = |aggregate| GroupedAggregate::new(aggregate, values);
        Tally {
            counts: Counts::default(),
            latency: Quantiles::default(),
            aggregates: aggregates.iter().map(groups).collect(),
            failures: Failures::default(),
            targets: BTreeMap::new(),
        }
    }

    /// Of records of which only the numbers are known.
    #[must_use]
    pub fn of_counts(counts: Counts) -> Tally {
        Tally { counts, ..Tally::new(&[], &[]) }
    }

    /// Adds one record.
    pub fn add(&mut self, record: &Record) {
        self.counts.add(record);
        if let Some(target) = record.target.as_ref().filter(|_| record.is_ok()) {
            self.add_of_target(target, 1);
        }
        if let Some(latency) = record.latency {
            self.latency.add(latency.as_secs_f64() * 1000.0);
        }
        match &record.outcome {
            Ok(values) => {
                self.aggregates.iter_mut().for_each(|groups| groups.add(values, &record.row.fields))
            }
            Err(_) if record.is_missing() => {}
            Err(failure) => self.failures.add(&record.row, failure),
        }
    }

    fn add_of_target(&mut self, target: &Arc<str>, rows: u64) {
        // What a file of someone else says may be no list of targets.
        if let Some(count) = self.targets.get_mut(target) {
            *count += rows;
        } else if self.targets.len() < MAX_TARGETS {
            self.targets.insert(target.clone(), rows);
        }
    }

    /// Adds the records of another tally of the same aggregates.
    pub fn merge(&mut self, other: Tally) {
        self.counts.merge(other.counts);
        self.latency.merge(&other.latency);
        self.failures.merge(other.failures);
        other.targets.iter().for_each(|(target, rows)| self.add_of_target(target, *rows));
        let pairs = self.aggregates.iter_mut().zip(other.aggregates);
        pairs.for_each(|(mine, theirs)| mine.merge(theirs));
    }

    /// Number of records by outcome, and of their attempts.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Number of records that are ok, by the target that answered.
    #[must_use]
    pub fn targets(&self) -> BTreeMap<String, u64> {
        self.targets.iter().map(|(name, rows)| (name.to_string(), *rows)).collect()
    }

    /// The latencies of all records that have one, in milliseconds.
    #[must_use]
    pub fn latency(&self) -> &Quantiles {
        &self.latency
    }

    /// The results of the aggregates, in their order.
    #[must_use]
    pub fn results(&self) -> Vec<AggregateResult> {
        self.aggregates.iter().map(GroupedAggregate::result).collect()
    }

    /// The kinds of failure with their numbers of rows, the most frequent first.
    #[must_use]
    pub fn failure_counts(&self) -> Vec<(FailureKind, u64)> {
        self.failures.counts()
    }

    /// The kinds of failure, the most frequent first.
    #[must_use]
    pub fn failures(&self) -> Vec<FailureGroup> {
        self.failures.kinds()
    }
}

impl Counts {
    /// The counts of `rows` rows, of which `failed` failed and `missing` have no values.
    #[must_use]
    pub fn of(rows: u64, failed: u64, missing: u64) -> Counts {
        Counts { rows, ok: rows.saturating_sub(failed), failed, missing, ..Counts::default() }
    }

    fn add(&mut self, record: &Record) {
        self.rows += 1;
        if record.is_ok() {
            self.ok += 1;
        } else {
            self.failed += 1;
        }
        self.missing += u64::from(record.is_missing());
        self.attempts += u64::from(record.attempts);
        self.retries += u64::from(record.attempts.saturating_sub(1));
    }

    fn merge(&mut self, other: Counts) {
        self.rows += other.rows;
        self.ok += other.ok;
        self.missing += other.missing;
        self.failed += other.failed;
        self.attempts += other.attempts;
        self.retries += other.retries;
    }
}

#[cfg(test)]
mod tests;
