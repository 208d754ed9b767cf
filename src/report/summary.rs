//! The report of a run and its parts, with their names in JSON.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::words::{count, plural};
use crate::error::Error;
use crate::metrics::{BatchProgress, TimeShare, Warning};
use crate::price::Usd;
use crate::record::FailureKind;
use crate::tally::{AggregateResult, Counts, Example, FailureGroup, Quantiles, Tally};
use crate::wording::worded;

/// The report of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct Report {
    /// The outcome of the rows.
    #[serde(flatten)]
    pub rows: RowReport,
    /// The requests of the rows.
    #[serde(flatten)]
    pub sent: SendReport,
    /// The batches at a provider, if there were any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches: Option<BatchProgress>,
    /// Number of rows with a result, by the target that answered, where a job has fallbacks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<String, u64>,
    /// The speed; unknown if only records are left.
    #[serde(flatten)]
    pub pace: Option<RateReport>,
    /// What the run has cost in money, if anything has a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bill: Option<BillReport>,
    /// What all runs of the results have cost, where only the file beside them tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<SpentReport>,
    /// The costs that were estimated by length, and what answers have told of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub estimates: Vec<EstimateReport>,
    /// The observance of the limits.
    pub limits: Vec<LimitReport>,
    /// The runs that share them; none without a limit that can be shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<SharingReport>,
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
    #[cfg_attr(feature = "cli", schemars(with = "BTreeMap<String, AggregateResult>"))]
    #[serde(serialize_with = "by_name")]
    pub aggregates: Vec<AggregateResult>,
    /// The kinds of failures, the most frequent first.
    pub failures: Vec<FailureReport>,
    /// The failure that the first answers had in common, if it ended the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brake: Option<BrakeReport>,
    /// The figures of this run's records alone, if others have been there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub this_run: Option<RunFigures>,
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
            targets: tally.targets(),
            latency_ms: LatencyReport::of(tally.latency()),
            aggregates: tally.results(),
            failures: tally.failures().into_iter().map(kind).collect(),
            ..Report::default()
        }
    }

    /// The report with counts, aggregates and failures of all records in the output: those of
    /// this run's `tally` and those of the `earlier` ones, if there are any.
    #[must_use]
    pub fn with_earlier(self, tally: &Tally, earlier: Option<Tally>) -> Report {
        let Some(mut all) = earlier else {
            return self;
        };
        all.merge(tally.clone());
        let whole = Report::of(&all);
        let RowReport { rows, ok, missing, failed, skipped, skipped_failed } = self.rows;
        Report {
            rows: RowReport { skipped, skipped_failed, ..whole.rows },
            targets: whole.targets,
            aggregates: whole.aggregates,
            failures: whole.failures,
            this_run: Some(RunFigures {
                rows,
                ok,
                missing,
                failed,
                aggregates: self.aggregates,
                failures: self.failures,
            }),
            ..self
        }
    }

    /// The report with the commands by which failed rows may become ok: one that asks for them
    /// again, and one that takes a value anew from kept answers, if it is `renewable`.
    #[must_use]
    pub fn with_next_commands(mut self, renewable: &[String]) -> Report {
        let Some(output) = self.ending.output.as_deref().filter(|_| self.brake.is_none()) else {
            return self;
        };
        self.ending.retry = self.retry();
        self.ending.extract = self.missing_value(renewable).map(|(name, rows)| {
            format!(
                "throng extract {output} -e {name}=JQ takes the value anew from the answers of {}, without a request",
                plural(rows, "row", "rows")
            )
        });
        self
    }

    /// The command that asks for failed rows again, if some of them failed for reasons that may
    /// pass, or for want of the right key.
    fn retry(&self) -> Option<String> {
        let rows_of = |fits: &dyn Fn(&FailureKind) -> bool| -> u64 {
            let kinds = self.failures.iter().filter(|it| fits(&FailureKind::parse(&it.kind)));
            kinds.map(|it| it.count).sum()
        };
        let passing = rows_of(&FailureKind::may_pass);
        let without_key = rows_of(&|kind| *kind == FailureKind::Status(401));
        let failed = self.rows.failed;
        let reasons = match passing {
            0 if without_key == 0 => return None,
            0 => String::new(),
            passing if passing == failed => ", for reasons that may pass".to_owned(),
            passing => format!(", {} of them for reasons that may pass", count(passing)),
        };
        let key = if without_key > 0 { " (status 401: give the right key)" } else { "" };
        let rows = plural(failed, "row", "rows");
        Some(worded(format!(
            "the same command with --retry-failed asks again for the {rows} that failed{reasons}{key}"
        )))
    }

    /// The one of these values that most rows lack, and the number of these rows.
    fn missing_value(&self, values: &[String]) -> Option<(String, u64)> {
        let lacks = |it: &FailureReport| match FailureKind::parse(&it.kind) {
            FailureKind::MissingValue(name) if values.contains(&name) => Some((name, it.count)),
            _ => None,
        };
        self.failures.iter().find_map(lacks)
    }

    /// The failures in one line.
    #[must_use]
    pub fn failures_in_short(&self) -> String {
        let kinds = self.failures.iter().take(3);
        let kinds: Vec<String> =
            kinds.map(|it| format!("{} ({})", it.kind, count(it.count))).collect();
        let more = match self.failures.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and {}", plural(more as u64, "other kind", "other kinds")),
        };
        let all = plural(self.rows.rows, "row", "rows");
        let listed = self.ending.output.as_ref().map_or_else(String::new, |output| {
            format!("; throng report --failed {output} lists them")
        });
        format!("{} of {all} failed: {}{more}{listed}", count(self.rows.failed), kinds.join(", "))
    }

    /// Number of records that this run has written.
    #[must_use]
    pub fn rows_of_this_run(&self) -> u64 {
        self.this_run.as_ref().map_or(self.rows.rows, |run| run.rows)
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

/// The figures of the records that one run has written to an output that had others before.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct RunFigures {
    /// Rows with a record.
    pub rows: u64,
    /// Rows with a result, or that are missing.
    pub ok: u64,
    /// Rows of these that are missing: done without values, by a rule of the job.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
    /// Rows without a result.
    pub failed: u64,
    /// The results of the job's summary, by name.
    #[cfg_attr(feature = "cli", schemars(with = "BTreeMap<String, AggregateResult>"))]
    #[serde(serialize_with = "by_name")]
    pub aggregates: Vec<AggregateResult>,
    /// The kinds of failures, the most frequent first.
    pub failures: Vec<FailureReport>,
}

/// The outcome of the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct RowReport {
    /// Rows with a record in the output.
    pub rows: u64,
    /// Rows with a result, or that are missing.
    pub ok: u64,
    /// Rows of these that are missing: done without values, by a rule of the job.
    #[serde(skip_serializing_if = "is_zero")]
    pub missing: u64,
    /// Rows without a result.
    pub failed: u64,
    /// Rows that an earlier run has finished, which this run left as they are.
    pub skipped: u64,
    /// Rows of these that failed.
    pub skipped_failed: u64,
}

/// The requests of the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct SendReport {
    /// Requests: all attempts of all rows.
    pub requests: u64,
    /// Requests after the first of their row.
    pub retries: u64,
    /// Requests that the server refused because of its limit, with 429 or as a rule says.
    pub refused: u64,
    /// Those of them with another status than 429.
    #[serde(skip)]
    pub refused_otherwise: u64,
    /// Requests that were not sent, as their answers were in the store.
    #[serde(skip_serializing_if = "is_zero")]
    pub stored: u64,
    /// Requests that were not sent, as another row of the run has asked for the same.
    #[serde(skip_serializing_if = "is_zero")]
    pub shared: u64,
}

/// The speed of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct RateReport {
    /// The time that the run took.
    #[serde(serialize_with = "rounded")]
    pub seconds: f64,
    /// The shortest time in which a run can keep the limits.
    #[serde(serialize_with = "maybe_rounded")]
    pub best_possible_seconds: Option<f64>,
    /// The limit that requires this time.
    pub bound_by: Option<String>,
    /// Units that the limit lets be in flight at once, if they and the latency require this
    /// time instead of its rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_a_time: Option<u64>,
    /// A change that would have taken less time, if it is worth knowing.
    pub advice: Option<String>,
    /// Requests per second.
    #[serde(serialize_with = "rounded")]
    pub requests_per_second: f64,
}

/// What a run has cost in US dollars.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct BillReport {
    /// What this run has cost.
    #[cfg_attr(feature = "cli", schemars(with = "f64"))]
    pub usd: Usd,
    /// The part of it that is an estimate, as no answer has told the cost.
    #[cfg_attr(feature = "cli", schemars(with = "f64"))]
    #[serde(rename = "unsettled_usd")]
    pub unsettled: Usd,
    /// Number of requests of that part.
    pub unsettled_requests: u64,
    /// What all runs of the same results have cost.
    #[cfg_attr(feature = "cli", schemars(with = "f64"))]
    #[serde(rename = "total_usd")]
    pub total: Usd,
    /// The most that they may cost.
    #[cfg_attr(feature = "cli", schemars(with = "Option<f64>"))]
    #[serde(rename = "budget_usd", skip_serializing_if = "Option::is_none")]
    pub budget: Option<Usd>,
    /// By unit, what this run was billed for.
    pub units: BTreeMap<String, BilledUnits>,
}

/// A cost that is estimated by the length of the request.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct EstimateReport {
    /// The unit.
    pub unit: String,
    /// Number of answers that have told what they cost.
    pub answers: u32,
    /// The factor by which estimates were multiplied at last: a tenth above the largest ratio that
    /// an answer has told.
    #[serde(serialize_with = "rounded")]
    pub factor: f64,
}

/// What all runs of some results have cost in US dollars.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct SpentReport {
    /// The amount.
    #[cfg_attr(feature = "cli", schemars(with = "f64"))]
    pub usd: Usd,
    /// Whether it is the most that it can be, since the last run was cut off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub at_most: bool,
}

impl SpentReport {
    /// The amount in words.
    #[must_use]
    pub fn text(&self) -> String {
        let most = if self.at_most { "at most " } else { "" };
        format!("{most}{} for all runs of these results", self.usd)
    }
}

/// What a run was billed for in one unit, by what answers have told.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct BilledUnits {
    /// Number of units.
    pub units: u64,
    /// Their price.
    #[cfg_attr(feature = "cli", schemars(with = "f64"))]
    pub usd: Usd,
}

/// The runs that share the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SharingReport {
    /// All runs of the account on this machine.
    Machine,
    /// All runs of the account that use the same store on the network.
    Store,
    /// This run alone, as the job says.
    None,
    /// This run alone, since the state of the account can't be kept.
    Unavailable,
}

/// The observance of one limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct LimitReport {
    /// The limit as the job writes it: `22/5s`.
    pub rate: String,
    /// The name of the target whose limit it is, where a job has fallbacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The guard that it was proven by: `strict`, `acked`, `sent`.
    pub guard: String,
    /// The reason why `strict` was used instead of the guard.
    pub kept_as_strict: Option<String>,
    /// The unit that it counts: `requests`, `tokens`.
    pub unit: String,
    /// The units allowed in a period, at once, or in total.
    pub units_allowed: u64,
    /// The period, if the limit has one.
    pub period_seconds: Option<f64>,
    /// The most units that can have arrived in any period, in the worst case.
    pub most_in_window: u64,
    /// Attempts without an answer, which can have arrived late.
    pub lost: u64,
    /// The time for which each of them can still have been on its way.
    pub linger_seconds: f64,
    /// The margin between periods, if it was learnt.
    pub margin_seconds: Option<f64>,
    /// The units allowed in the end, if the server has shown that they differ from
    /// the job's.
    pub units_learnt: Option<u64>,
    /// What a limit that was searched for has found.
    pub found: Option<FoundLimit>,
    /// The true costs in percent of the reserved ones, if refusals show that these are too low.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_percent: Option<u64>,
    /// Refusals that the run's own count can't explain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_unexplained: Option<u64>,
    /// The rates of other kinds that would explain them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds_to_try: Option<String>,
    /// The units that the server has named, if they differ from the job's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units_named: Option<u64>,
    /// The least time between two requests, if the limit is a spacing.
    pub spacing_seconds: Option<f64>,
    /// Number of keys, if the limit holds for each key.
    pub keys: Option<u64>,
    /// Units that other runs of the account had used when this one began.
    #[serde(skip_serializing_if = "is_zero")]
    pub used_before: u64,
    /// Number of other runs that shared the limit while this one went on.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_runs: u64,
}

/// The limit that a search has found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct FoundLimit {
    /// The units that the server took in a second.
    pub per_second: f64,
    /// Whether more was refused: otherwise the server may take more.
    pub was_refused: bool,
    /// Whether the search came to an end before the run did.
    pub is_settled: bool,
    /// Whether the server's headers name it.
    pub is_named: bool,
    /// The flags that keep this pace without a search.
    pub next_time: String,
}

/// The latency of the rows' last attempts, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct LatencyReport {
    /// The median.
    #[serde(serialize_with = "rounded")]
    pub p50: f64,
    /// The 90th percentile.
    #[serde(serialize_with = "rounded")]
    pub p90: f64,
    /// The 99th percentile.
    #[serde(serialize_with = "rounded")]
    pub p99: f64,
    /// The maximum.
    #[serde(serialize_with = "rounded")]
    pub max: f64,
}

/// A kind of failure and its rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct FailureReport {
    /// The kind in short.
    pub kind: String,
    /// Number of rows.
    pub count: u64,
    /// The share of all failed rows, 0 to 1.
    #[serde(serialize_with = "rounded")]
    pub share: f64,
    /// The first of these rows.
    pub examples: Vec<Example>,
}

/// The failure that the first answers of a run had in common.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct BrakeReport {
    /// The kind in short.
    pub kind: String,
    /// Number of requests that failed so.
    pub alike: u64,
    /// The row of the example.
    pub row: u64,
    /// The status of its answer.
    pub status: Option<u16>,
    /// The beginning of its answer; the details of the failure if no text came.
    pub said: String,
    /// The keys of the answer, near where a path leads to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
}

/// The work of one worker.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct WorkerReport {
    /// The worker's number, from 1.
    pub worker: usize,
    /// Requests that were answered.
    pub answered: u64,
    /// The time from its first request to its last answer.
    #[serde(serialize_with = "rounded")]
    pub seconds: f64,
}

/// The place of the records, and the way to continue.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct RunEnding {
    /// The place of the records.
    pub output: Option<String>,
    /// The reason for which the run ended early.
    pub stopped: Option<String>,
    /// The command that continues the run.
    pub resume: Option<String>,
    /// The command that asks for failed rows again, if some may be ok another time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<String>,
    /// The command that takes a value anew from kept answers, if rows failed for want of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extract: Option<String>,
}

impl RowReport {
    pub(super) fn new(counts: Counts) -> RowReport {
        let Counts { rows, ok, missing, failed, .. } = counts;
        RowReport { rows, ok, missing, failed, ..RowReport::default() }
    }
}

impl SendReport {
    pub(super) fn new(counts: Counts) -> SendReport {
        SendReport { requests: counts.attempts, retries: counts.retries, ..SendReport::default() }
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

/// Rounds to three decimals, which are milliseconds of a second.
fn rounded<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 1000.0).round() / 1000.0)
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn maybe_rounded<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => rounded(value, serializer),
        None => serializer.serialize_none(),
    }
}
