//! The parts of a report, with the names that programs read.

use serde::{Serialize, Serializer};

use crate::tally::{Counts, Example, FailureGroup, Quantiles};

/// How the rows ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RowReport {
    /// Rows with a record of this run.
    pub rows: u64,
    /// Those with a result.
    pub ok: u64,
    /// Those without.
    pub failed: u64,
    /// Rows that an earlier run had done already.
    pub skipped: u64,
    /// Those of them that failed then.
    pub skipped_failed: u64,
}

/// What was sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SendReport {
    /// Requests, every attempt of every row.
    pub requests: u64,
    /// Those that were not the first of their row.
    pub retries: u64,
    /// Those that the server refused for its limit (429).
    pub refused: u64,
}

/// How fast it went.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RateReport {
    /// How long the run took.
    #[serde(serialize_with = "rounded")]
    pub seconds: f64,
    /// How long any run would have taken that keeps the limits.
    #[serde(serialize_with = "maybe_rounded")]
    pub best_possible_seconds: Option<f64>,
    /// The limit that makes it take so long.
    pub bound_by: Option<String>,
    /// What would have taken less time, where that is worth knowing.
    pub advice: Option<String>,
    /// Requests over seconds.
    #[serde(serialize_with = "rounded")]
    pub requests_per_second: f64,
}

/// How one limit was kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LimitReport {
    /// As the job writes it: `22/5s`.
    pub rate: String,
    /// What it was proven against: `strict`, `acked`, `sent`.
    pub guard: String,
    /// Why answers had to prove arrivals, as under `strict`, where others should have.
    pub kept_as_strict: Option<String>,
    /// What it counts: `requests`, `tokens`.
    pub unit: String,
    /// The most units in a period, at once, or in all.
    pub units_allowed: u64,
    /// The period, if it has one.
    pub period_seconds: Option<f64>,
    /// The most units that can have arrived in any period, whatever happened on the way.
    pub most_in_window: u64,
    /// Attempts without an answer, which may have arrived late.
    pub lost: u64,
    /// How long each of these was taken to be on its way.
    pub linger_seconds: f64,
    /// What was kept between periods, where that was learnt.
    pub margin_seconds: Option<f64>,
    /// The units that it allowed in the end, where the server has shown that those
    /// are not what the job says.
    pub units_learnt: Option<u64>,
    /// The least time between two sendings, if that is what it keeps.
    pub spacing_seconds: Option<f64>,
    /// How many keys had it, if it holds for each key.
    pub keys: Option<u64>,
}

/// How long the last attempt of a row took, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LatencyReport {
    /// Half of them took no longer.
    #[serde(serialize_with = "rounded")]
    pub p50: f64,
    /// Nine in ten took no longer.
    #[serde(serialize_with = "rounded")]
    pub p90: f64,
    /// All but one in a hundred took no longer.
    #[serde(serialize_with = "rounded")]
    pub p99: f64,
    /// None took longer.
    #[serde(serialize_with = "rounded")]
    pub max: f64,
}

/// One reason why rows failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct FailureReport {
    /// The reason in short.
    pub kind: String,
    /// How many rows.
    pub count: u64,
    /// Their share of all failed rows, 0 to 1.
    #[serde(serialize_with = "rounded")]
    pub share: f64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// What one worker did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WorkerReport {
    /// Its number, from 1.
    pub worker: usize,
    /// Requests that it had an answer to.
    pub answered: u64,
    /// From its first request to its last answer.
    #[serde(serialize_with = "rounded")]
    pub seconds: f64,
}

/// Where it all is, and how to go on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunEnding {
    /// Where the records are.
    pub output: Option<String>,
    /// Why the run ended before its rows did.
    pub stopped: Option<String>,
    /// What to do to go on with it.
    pub resume: Option<String>,
}

impl RowReport {
    /// How many rows have no result, whenever they were asked for.
    #[must_use]
    pub fn all_failed(&self) -> u64 {
        self.failed + self.skipped_failed
    }

    pub(super) fn new(counts: Counts) -> RowReport {
        RowReport {
            rows: counts.rows,
            ok: counts.ok,
            failed: counts.failed,
            skipped: 0,
            skipped_failed: 0,
        }
    }
}

impl SendReport {
    pub(super) fn new(counts: Counts) -> SendReport {
        SendReport {
            requests: counts.attempts,
            retries: counts.retries,
            refused: 0,
        }
    }
}

impl LatencyReport {
    pub(super) fn of(latencies: &Quantiles) -> Option<LatencyReport> {
        Some(LatencyReport {
            p50: latencies.at(0.5)?,
            p90: latencies.at(0.9)?,
            p99: latencies.at(0.99)?,
            max: latencies.max()?,
        })
    }
}

impl FailureReport {
    pub(super) fn new(kind: FailureGroup, failed: u64) -> FailureReport {
        FailureReport {
            share: kind.count as f64 / failed.max(1) as f64,
            kind: kind.kind.text().into_owned(),
            count: kind.count,
            examples: kind.examples,
        }
    }
}

/// Three decimals: of a second that is a millisecond.
fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 1000.0).round() / 1000.0)
}

fn maybe_rounded<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => rounded(value, serializer),
        None => serializer.serialize_none(),
    }
}
