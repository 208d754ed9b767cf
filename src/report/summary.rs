//! The report of a run, with its names in JSON.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::facts::{
    FailureReport, LatencyReport, LimitReport, RateReport, RowReport, RunEnding, SendReport,
    WorkerReport,
};
use crate::error::Error;
use crate::metrics::{TimeShare, Warning};
use crate::tally::{AggregateResult, Tally};

/// The report of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The outcome of the rows.
    #[serde(flatten)]
    pub rows: RowReport,
    /// The requests of the rows.
    #[serde(flatten)]
    pub sent: SendReport,
    /// The speed; unknown if only records are left.
    #[serde(flatten)]
    pub pace: Option<RateReport>,
    /// The observance of the limits.
    pub limits: Vec<LimitReport>,
    /// Whether certificates were left unchecked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// Headers with invalid values, which were ignored.
    #[serde(rename = "doubts")]
    pub header_warnings: BTreeMap<String, String>,
    /// Anomalies of answers that failed no row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The latency of the last attempts; none if none was answered.
    pub latency_ms: Option<LatencyReport>,
    /// The results of the job's summary, by name.
    #[serde(serialize_with = "by_name")]
    pub aggregates: Vec<AggregateResult>,
    /// The kinds of failures, the most frequent first.
    pub failures: Vec<FailureReport>,
    /// The time of all workers by reason, the largest share first; empty if only
    /// records are left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<TimeShare>,
    /// The advice: the largest share, and what would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The work of each worker.
    pub workers: Vec<WorkerReport>,
    /// The place of the records, and the way to continue.
    #[serde(flatten)]
    pub ending: RunEnding,
}

impl Report {
    /// The part of a report that follows from records. A run adds the rest:
    /// `Report { pace, limits, workers, ending, ..Report::of(&tally) }`.
    #[must_use]
    pub fn of(tally: &Tally) -> Report {
        let counts = tally.counts();
        let kind = |kind| FailureReport::new(kind, counts.failed);
        Report {
            rows: RowReport::new(counts),
            sent: SendReport::new(counts),
            latency_ms: LatencyReport::of(tally.latency()),
            aggregates: tally.answers(),
            failures: tally.failures().into_iter().map(kind).collect(),
            ..Report::default()
        }
    }

    /// The report for programs: JSON, indented.
    ///
    /// # Errors
    /// If the JSON can't be written, which no report causes.
    pub fn json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Error::stopped(format!("the summary cannot be written: {error}")))
    }
}

fn by_name<S: Serializer>(answers: &[AggregateResult], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(answers.iter().map(|answer| (&answer.name, answer)))
}
