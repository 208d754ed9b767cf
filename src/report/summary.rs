//! All that is told of a run, with the names that programs read.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::facts::{
    FailureReport, LatencyReport, LimitReport, RateReport, RowReport, RunEnding, SendReport,
    WorkerReport,
};
use crate::error::Error;
use crate::metrics::Warning;
use crate::metrics::wait_time::TimeShare;
use crate::tally::{AggregateResult, Tally};

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// How the rows ended.
    #[serde(flatten)]
    pub rows: RowReport,
    /// What was sent for them.
    #[serde(flatten)]
    pub sent: SendReport,
    /// How fast; unknown if only records are left.
    #[serde(flatten)]
    pub pace: Option<RateReport>,
    /// How the limits were kept.
    pub limits: Vec<LimitReport>,
    /// Whether certificates were left unchecked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// Headers that said what can't be, which was not believed.
    pub doubts: BTreeMap<String, String>,
    /// What was odd about the answers, and yet failed no row.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// How long the last attempts took; none if none was answered.
    pub latency_ms: Option<LatencyReport>,
    /// What the summary asks for, by name.
    #[serde(serialize_with = "by_name")]
    pub aggregates: Vec<AggregateResult>,
    /// Why rows failed, the most frequent reason first.
    pub failures: Vec<FailureReport>,
    /// What the time of all workers went to, the most first; nothing if only
    /// records are left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<TimeShare>,
    /// What binds, and what would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Who sent how much.
    pub workers: Vec<WorkerReport>,
    /// Where it all is, and how to go on.
    #[serde(flatten)]
    pub ending: RunEnding,
}

impl Report {
    /// All that the records themselves tell; the run adds what it knows:
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
    /// None that a report can cause.
    pub fn json(&self) -> Result<String, Error> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Error::stopped(format!("the summary cannot be written: {error}")))
    }
}

fn by_name<S: Serializer>(answers: &[AggregateResult], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(answers.iter().map(|answer| (&answer.name, answer)))
}
