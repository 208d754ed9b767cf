//! The state of a run at one moment: counters, limits, waits, servers that are out. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::times;
use crate::limit::duration;
use crate::metrics::BatchProgress;

/// The state of a run at one moment. All counters begin at 0 with the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Snapshot {
    /// Rows by outcome.
    pub rows: RowCounts,
    /// Requests of all workers.
    pub requests: RequestCounts,
    /// Number of answers by status.
    #[serde(deserialize_with = "statuses")]
    pub statuses: BTreeMap<u16, u64>,
    /// The latencies of all attempts that were answered.
    pub latency: LatencySnapshot,
    /// What the run has cost in money; none if nothing has a price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bill: Option<BillSnapshot>,
    /// The batches at a provider; none if the run has had none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batches: Option<BatchProgress>,
    /// The limits, in the order of the job.
    pub limits: Vec<LimitSnapshot>,
    /// The time until the end of the server's pause, in seconds; none if it asks for none.
    #[serde(rename = "pause_seconds", with = "times::some_seconds")]
    pub pause: Option<Duration>,
    /// What held most rows up in the last 10 seconds.
    pub waits_for: Option<WaitSnapshot>,
    /// A limit all of whose units count as used, since its store does not know which were; none if
    /// the stores know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_use: Option<UnknownUse>,
    /// The servers that are out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<OutageSnapshot>,
    /// The time of the workers by reason since the run began, the largest share first.
    pub causes: Vec<TimeSpent>,
    /// Each worker's requests.
    pub workers: Vec<WorkerSnapshot>,
    /// The aggregates of the job's summary so far.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aggregates: Vec<AggregateSnapshot>,
    /// The requests of late.
    pub pace: PaceSnapshot,
    /// The time that is left, in seconds; none if it is not known.
    #[serde(rename = "left_seconds", with = "times::some_seconds")]
    pub left: Option<Duration>,
    /// The time until the run's deadline, in seconds; none if it has none.
    #[serde(rename = "deadline_seconds", with = "times::some_seconds")]
    pub deadline: Option<Duration>,
    /// Whether a person has paused the run.
    pub paused: bool,
    /// Whether the end of the run was requested: no new rows begin.
    pub stopping: bool,
    /// The share of each limit's rate that is taken, if a person has lowered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_share: Option<f64>,
    /// Units that answers have told, by their name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub costs: BTreeMap<String, u64>,
    /// The file that is being made of all records, at the end of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub makes: Option<String>,
}

/// Rows by outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RowCounts {
    /// Number of records that the run will write, if it is known.
    pub to_do: Option<u64>,
    /// Rows with a result, or that are missing.
    pub ok: u64,
    /// Rows with a failure.
    pub failed: u64,
    /// Failures by kind, the most frequent first: 100 kinds at most.
    pub failures: Vec<FailureCount>,
}

/// The failures of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FailureCount {
    /// The reason in short, as `_error` has it.
    pub kind: String,
    /// Number of rows.
    pub count: u64,
}

/// Requests by what has become of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RequestCounts {
    /// Requests sent, retries included.
    pub sent: u64,
    /// Answers whose head was received.
    pub answered: u64,
    /// Answers that refused a request because of a limit.
    pub refused: u64,
    /// Attempts after a failure that was not a refusal.
    pub retried: u64,
    /// Requests to which a redirect led.
    pub redirected: u64,
    /// Requests that wait for their answer now.
    pub in_flight: u64,
    /// Rows that wait for a limit or a server now.
    pub waiting: u64,
}

/// What a run has cost in US dollars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct BillSnapshot {
    /// What this run has cost.
    pub usd: f64,
    /// The part of it that is an estimate, as no answer has told the cost.
    pub unsettled_usd: f64,
    /// What all runs of the same results have cost.
    pub total_usd: f64,
    /// The most that they may cost, if there is a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_usd: Option<f64>,
}

/// The latencies of attempts, from the sending of a request to the end of its answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LatencySnapshot {
    /// Number of latencies.
    pub count: u64,
    /// Their sum, in seconds.
    #[serde(rename = "sum_seconds", with = "times::seconds")]
    pub sum: Duration,
    /// The histogram: pairs of an upper bound in seconds and the number of latencies below it
    /// that are not below the bound before. A bucket is at most a sixteenth wider than its lower
    /// bound, and buckets without a latency are left out.
    pub buckets: Vec<(f64, u64)>,
}

/// A limit, and how much of it is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LimitSnapshot {
    /// The limit as the job writes it: `22/5s`.
    pub name: String,
    /// The unit: `requests`, `tokens`.
    pub unit: String,
    /// Maximum number of units in a window, in flight, or in all.
    pub units: u64,
    /// The length of its windows in seconds, if it has any.
    #[serde(rename = "period_seconds", with = "times::some_seconds")]
    pub period: Option<Duration>,
    /// Units that are used in the window up to now, or in flight, where that is known.
    pub used: Option<u64>,
    /// The greatest number of units that can have been in one window so far.
    pub peak: u64,
    /// Units that the server has been found to allow, where those are not what the job says.
    pub learnt: Option<u64>,
    /// Attempts that were never answered.
    pub lost: u64,
    /// Number of keys that have it, if it holds for each key.
    pub keys: Option<u64>,
}

/// What holds rows up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WaitSnapshot {
    /// The reason: `limit`, `linger`, `pause`, `outage`, `server`, `jobs`, `retries`, `input`,
    /// `output` or `work`.
    pub cause: String,
    /// The name of the limit, or of the servers that were out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The reason in words.
    pub description: String,
    /// Its part of the time, 0 to 1.
    pub share: f64,
    /// The time until the first waiting row may go on, in seconds, if it waits for a limit or a
    /// pause and that is known.
    #[serde(rename = "ends_in_seconds", with = "times::some_seconds")]
    pub ends_in: Option<Duration>,
}

/// A limit all of whose units count as used, since the store on the network that it is shared
/// through is new, or was started anew and may have forgotten what was used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UnknownUse {
    /// The limit as the job writes it: `22/5s`.
    pub limit: String,
    /// The time until units are free, in seconds.
    #[serde(rename = "ends_in_seconds", with = "times::seconds")]
    pub ends_in: Duration,
}

/// A server that is out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct OutageSnapshot {
    /// The host and port.
    pub server: String,
    /// The latest failure.
    pub cause: String,
    /// The time since the first failure, in seconds.
    #[serde(rename = "out_seconds", with = "times::seconds")]
    pub out: Duration,
    /// The time until the next probe, in seconds; none while one is on its way.
    #[serde(rename = "next_probe_seconds", with = "times::some_seconds")]
    pub next_probe: Option<Duration>,
}

/// A part of the time of all workers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TimeSpent {
    /// The reason, as in [`WaitSnapshot::cause`], or `idle`.
    pub cause: String,
    /// The name of the limit, or of the servers that were out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its part of the wall time, in seconds. All parts add up to the wall time.
    #[serde(with = "times::seconds")]
    pub seconds: Duration,
}

/// The requests of late, in the period of the tightest limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PaceSnapshot {
    /// Mean number of requests in a period, over some seconds.
    pub requests: f64,
    /// Number of requests in the last period.
    pub in_window: u64,
    /// Number that the limit allows in a period; none without such a limit.
    pub allowed: Option<u64>,
    /// The period, in seconds: 1 without a limit.
    #[serde(rename = "period_seconds", with = "times::seconds")]
    pub period: Duration,
}

/// The requests of one worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WorkerSnapshot {
    /// Requests sent, retries included.
    pub sent: u64,
    /// Answers whose head was received.
    pub answered: u64,
    /// Requests that wait for their answer now.
    pub in_flight: u64,
    /// Rows that wait for a limit or a server now.
    pub waiting: u64,
}

/// An aggregate of the job's summary so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AggregateSnapshot {
    /// The name in the job.
    pub name: String,
    /// The text form in the job.
    pub expression: String,
    /// The result, unless it has groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The results of the largest groups, 20 at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupValue>,
}

/// The result of one group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct GroupValue {
    /// The value that its results have in common.
    pub key: String,
    /// The result of its values; none if it is undefined.
    pub value: Option<f64>,
}

/// Reads the counts of statuses, whose names in JSON are texts.
fn statuses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u16, u64>, D::Error> {
    let counts = BTreeMap::<String, u64>::deserialize(deserializer)?;
    let count = |(status, count): (String, u64)| {
        status.parse().map(|status| (status, count)).map_err(D::Error::custom)
    };
    counts.into_iter().map(count).collect()
}

impl OutageSnapshot {
    /// The outage in words: `api.example: connection refused for 12 s, next try in 8 s`.
    #[must_use]
    pub fn describe(&self) -> String {
        let whole = |time: Duration| {
            duration::rounded(Duration::from_secs(time.as_secs_f64().ceil() as u64))
        };
        let next = match self.next_probe {
            Some(wait) => format!("next try in {}", whole(wait)),
            None => "trying".to_owned(),
        };
        format!("{}: {} for {}, {next}", self.server, self.cause, whole(self.out))
    }
}

impl LatencySnapshot {
    /// The latencies since an earlier snapshot.
    #[must_use]
    pub fn since(&self, before: &LatencySnapshot) -> LatencySnapshot {
        let of_before = |bound: f64| {
            let place = before.buckets.binary_search_by(|(it, _)| it.total_cmp(&bound));
            place.map_or(0, |place| before.buckets[place].1)
        };
        let buckets = self.buckets.iter().map(|&(bound, count)| (bound, count - of_before(bound)));
        LatencySnapshot {
            count: self.count.saturating_sub(before.count),
            sum: self.sum.saturating_sub(before.sum),
            buckets: buckets.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// The latency that this share of all, from 0 to 1, does not exceed, within 7 %; none
    /// without latencies.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.buckets.iter().map(|(_, count)| count).sum();
        let rank = share.clamp(0.0, 1.0) * all as f64;
        let mut below = 0;
        for (bound, count) in &self.buckets {
            below += count;
            if below as f64 >= rank {
                return Duration::try_from_secs_f64(*bound).ok();
            }
        }
        None
    }

    /// The mean latency; none without latencies.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        (self.count > 0).then(|| self.sum.div_f64(self.count as f64))
    }
}
