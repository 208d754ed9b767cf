//! The metrics of a run, of which Prometheus gets a page and OpenTelemetry what it asks for. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::events::{Event, EventKind, LatencySnapshot, LimitSnapshot, Snapshot, Subscription};

/// The name of the histogram of latencies, and its help.
pub const LATENCY: [&str; 2] = [
    "throng_request_duration_seconds",
    "The time from the sending of a request to the end of its answer.",
];

/// The state of a run, as its metrics have it.
#[derive(Debug, Default)]
pub struct RunMetrics {
    version: String,
    started: Option<SystemTime>,
    elapsed: Duration,
    is_over: bool,
    snapshot: Snapshot,
    /// The servers that are or were out, and whether they are.
    servers: BTreeMap<String, bool>,
}

/// The values of one metric, by the names of Prometheus.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub kind: MetricKind,
    pub help: &'static str,
    pub samples: Vec<Sample>,
}

/// The kind of a metric that has one number for each set of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only grows while the run goes on.
    Counter,
    Gauge,
}

/// A number with its labels.
#[derive(Debug)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// Keeps metrics up to date with the events of a run.
pub fn update(metrics: &Mutex<RunMetrics>, events: Subscription) {
    for event in events {
        metrics.lock().unwrap_or_else(PoisonError::into_inner).take(&event);
    }
}

/// The bounds of the histogram's buckets in seconds: powers of two of a microsecond from 1 ms to
/// 67 s. They are bounds of the buckets in which latencies are counted, so that each count is
/// exact.
pub fn bucket_bounds() -> impl Iterator<Item = f64> {
    (10..=26).map(|power| 2_f64.powi(power) / 1e6)
}

impl RunMetrics {
    /// Takes the next event of the run.
    pub fn take(&mut self, event: &Event) {
        self.elapsed = event.elapsed;
        match &event.kind {
            EventKind::RunStarted(run) => {
                self.version.clone_from(&run.throng);
                self.started = Some(event.time);
                self.snapshot.rows.to_do = run.rows_to_do;
                self.snapshot.limits.clone_from(&run.limits);
            }
            EventKind::Snapshot(snapshot) => self.snapshot = (**snapshot).clone(),
            EventKind::BreakerOpened(it) => {
                self.servers.insert(it.server.clone(), true);
            }
            EventKind::BreakerClosed(it) => {
                self.servers.insert(it.server.clone(), false);
            }
            EventKind::RunEnded(_) => self.is_over = true,
            _ => {}
        }
    }

    /// The latencies so far.
    pub fn latency(&self) -> &LatencySnapshot {
        &self.snapshot.latency
    }

    /// All metrics but the latencies. Those of which nothing is known have no samples.
    pub fn families(&self) -> Vec<Family> {
        let mut families = self.of_run();
        families.extend(self.of_rows());
        families.extend(self.of_requests());
        families.extend(self.of_bill());
        families.extend(of_limits(&self.snapshot.limits));
        families.extend(self.of_waits());
        families
    }

    fn of_run(&self) -> Vec<Family> {
        let start = self.started.and_then(|it| it.duration_since(SystemTime::UNIX_EPOCH).ok());
        let version = vec![("version", self.version.clone())];
        vec![
            gauge("throng_info", "The version of throng, which is always 1.")
                .with([Sample { labels: version, value: 1.0 }]),
            gauge("throng_run_start_time_seconds", "The start of the run since 1970.")
                .with(start.map(|start| number(start.as_secs_f64()))),
            gauge("throng_run_elapsed_seconds", "The time since the run began.")
                .with([number(self.elapsed.as_secs_f64())]),
            gauge("throng_run_left_seconds", "The time that is left, if it is known.")
                .with(self.snapshot.left.map(|left| number(left.as_secs_f64()))),
            gauge("throng_run_ended", "Whether the run has ended: 0 or 1.")
                .with([number(f64::from(u8::from(self.is_over)))]),
        ]
    }

    fn of_rows(&self) -> Vec<Family> {
        let rows = &self.snapshot.rows;
        let outcomes = [("ok", rows.ok), ("failed", rows.failed)];
        let failures = rows.failures.iter();
        vec![
            counter("throng_rows_total", "Rows that ended, by outcome.")
                .with(outcomes.map(|(outcome, rows)| labelled("outcome", outcome, rows as f64))),
            gauge(
                "throng_rows_expected",
                "Records that the run will write in all, if that is known.",
            )
            .with(rows.to_do.map(|rows| number(rows as f64))),
            counter("throng_row_failures_total", "Rows that failed, by kind.")
                .with(failures.map(|it| labelled("kind", &it.kind, it.count as f64))),
            gauge("throng_aggregate", "The aggregates of the job's summary so far.")
                .with(self.aggregates()),
        ]
    }

    fn aggregates(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for aggregate in &self.snapshot.aggregates {
            let name = &aggregate.name;
            samples.extend(aggregate.value.map(|value| labelled("name", name, value)));
            for group in &aggregate.groups {
                let Some(value) = group.value else { continue };
                let labels = vec![("name", name.clone()), ("group", group.key.clone())];
                samples.push(Sample { labels, value });
            }
        }
        samples
    }

    fn of_requests(&self) -> Vec<Family> {
        let requests = &self.snapshot.requests;
        let counts = [
            ("throng_requests_total", "Requests sent, retries included.", requests.sent),
            (
                "throng_requests_refused_total",
                "Requests that the server refused because of a limit.",
                requests.refused,
            ),
            (
                "throng_requests_retried_total",
                "Attempts after a failure that was not a refusal.",
                requests.retried,
            ),
            (
                "throng_requests_redirected_total",
                "Requests to which a redirect led.",
                requests.redirected,
            ),
        ];
        let counters =
            counts.map(|(name, help, count)| counter(name, help).with([number(count as f64)]));
        let statuses = self.snapshot.statuses.iter();
        let others = [
            counter("throng_responses_total", "Answers, by status.")
                .with(statuses.map(|(status, count)| labelled("status", status, *count as f64))),
            gauge("throng_requests_in_flight", "Requests that wait for their answer.")
                .with([number(requests.in_flight as f64)]),
            gauge("throng_rows_waiting", "Rows that wait for a limit or a server.")
                .with([number(requests.waiting as f64)]),
        ];
        counters.into_iter().chain(others).collect()
    }

    /// The money, where anything has a price.
    fn of_bill(&self) -> Vec<Family> {
        let bill = self.snapshot.bill;
        let budget = bill.and_then(|bill| bill.budget_usd);
        vec![
            counter("throng_cost_usd_total", "What the run has cost in US dollars.")
                .with(bill.map(|bill| number(bill.usd))),
            counter(
                "throng_cost_unsettled_usd_total",
                "The part of the cost that is an estimate, as no answer has told it.",
            )
            .with(bill.map(|bill| number(bill.unsettled_usd))),
            gauge(
                "throng_budget_usd",
                "The most that all runs of the same results may cost, in US dollars.",
            )
            .with(budget.map(number)),
            gauge(
                "throng_budget_used_usd",
                "What all runs of the same results have cost, in US dollars.",
            )
            .with(bill.filter(|_| budget.is_some()).map(|bill| number(bill.total_usd))),
        ]
    }

    fn of_waits(&self) -> Vec<Family> {
        let pause = self.snapshot.pause.unwrap_or_default();
        let servers = self.servers.iter();
        let causes = self.snapshot.causes.iter().map(|cause| Sample {
            labels: vec![
                ("cause", cause.cause.clone()),
                ("name", cause.name.clone().unwrap_or_default()),
            ],
            value: cause.seconds.as_secs_f64(),
        });
        vec![
            gauge(
                "throng_server_pause_seconds",
                "The time until the end of the pause that the server asks for.",
            )
            .with([number(pause.as_secs_f64())]),
            gauge("throng_breaker_open", "Whether the server is out: 0 or 1.").with(
                servers.map(|(server, is_out)| {
                    labelled("server", server, f64::from(u8::from(*is_out)))
                }),
            ),
            counter(
                "throng_time_seconds_total",
                "The time of the run by what its workers did or waited for.",
            )
            .with(causes),
        ]
    }
}

fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: MetricKind::Counter, help, samples: Vec::new() }
}

fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: MetricKind::Gauge, help, samples: Vec::new() }
}

impl Family {
    fn with(self, samples: impl IntoIterator<Item = Sample>) -> Family {
        Family { samples: samples.into_iter().collect(), ..self }
    }
}

fn number(value: f64) -> Sample {
    Sample { labels: Vec::new(), value }
}

fn labelled(label: &'static str, text: impl ToString, value: f64) -> Sample {
    Sample { labels: vec![(label, text.to_string())], value }
}

/// A metric of limits: its name, kind and help, and its value if the limit has one.
type LimitMetric = (&'static str, MetricKind, &'static str, fn(&LimitSnapshot) -> Option<f64>);

const LIMIT_METRICS: [LimitMetric; 5] = [
    (
        "throng_limit_units",
        MetricKind::Gauge,
        "Units that the limit allows in a window, in flight, or in all.",
        |limit| Some(limit.learnt.unwrap_or(limit.units) as f64),
    ),
    (
        "throng_limit_period_seconds",
        MetricKind::Gauge,
        "The length of the limit's windows.",
        |limit| limit.period.map(|period| period.as_secs_f64()),
    ),
    (
        "throng_limit_used_units",
        MetricKind::Gauge,
        "Units that are used in the window up to now, or in flight.",
        |limit| limit.used.map(|used| used as f64),
    ),
    (
        "throng_limit_peak_units",
        MetricKind::Gauge,
        "The greatest number of units that can have been in one window so far.",
        |limit| Some(limit.peak as f64),
    ),
    (
        "throng_limit_lost_requests_total",
        MetricKind::Counter,
        "Requests under the limit that were never answered.",
        |limit| Some(limit.lost as f64),
    ),
];

fn of_limits(limits: &[LimitSnapshot]) -> Vec<Family> {
    let family = |(name, kind, help, value): LimitMetric| {
        let mut seen = BTreeSet::new();
        let mut samples = Vec::new();
        for limit in limits {
            // Two steps may have limits of the same name: a series has its labels alone.
            let mut label = limit.name.clone();
            while !seen.insert(label.clone()) {
                label.push('\'');
            }
            let labels = vec![("limit", label), ("unit", limit.unit.clone())];
            samples.extend(value(limit).map(|value| Sample { labels, value }));
        }
        Family { name, kind, help, samples }
    };
    LIMIT_METRICS.map(family).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_limits_of_one_name_have_series_of_their_own() {
        let limit = LimitSnapshot { name: "5/1s".into(), ..LimitSnapshot::default() };
        let families = of_limits(&[limit.clone(), limit]);
        let labels = families[0].samples.iter().map(|sample| &*sample.labels[0].1);
        assert_eq!(Vec::from_iter(labels), ["5/1s", "5/1s'"]);
    }
}
