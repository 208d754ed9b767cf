//! The page of metrics in Prometheus's text format. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::events::{Event, EventKind, LatencySnapshot, LimitSnapshot, Snapshot, Subscription};

/// The state of a run, as its metrics have it.
#[derive(Debug, Default)]
pub struct MetricsPage {
    version: String,
    started: Option<SystemTime>,
    elapsed: Duration,
    is_over: bool,
    snapshot: Snapshot,
    /// The servers that are or were out, and whether they are.
    servers: BTreeMap<String, bool>,
}

/// Keeps a page up to date with the events of a run.
pub fn update(page: &Mutex<MetricsPage>, events: Subscription) {
    for event in events {
        page.lock().unwrap_or_else(PoisonError::into_inner).take(&event);
    }
}

/// The bounds of the histogram's buckets, as powers of two of a microsecond: 1 ms to 67 s. They
/// are bounds of the buckets in which latencies are counted, so that each count is exact.
const BUCKETS: std::ops::RangeInclusive<u32> = 10..=26;

impl MetricsPage {
    fn take(&mut self, event: &Event) {
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

    /// The page.
    pub fn text(&self) -> String {
        let mut page = Page::default();
        self.add_run(&mut page);
        self.add_rows(&mut page);
        self.add_requests(&mut page);
        add_latency(&mut page, &self.snapshot.latency);
        add_limits(&mut page, &self.snapshot.limits);
        self.add_waits(&mut page);
        page.text
    }

    fn add_run(&self, page: &mut Page) {
        page.family("throng_info", "gauge", "The version of throng, which is always 1.");
        page.sample("throng_info", &[("version", &self.version)], 1);
        let start = self.started.and_then(|it| it.duration_since(SystemTime::UNIX_EPOCH).ok());
        page.family("throng_run_start_time_seconds", "gauge", "The start of the run since 1970.");
        if let Some(start) = start {
            page.sample("throng_run_start_time_seconds", &[], start.as_secs_f64());
        }
        page.family("throng_run_elapsed_seconds", "gauge", "The time since the run began.");
        page.sample("throng_run_elapsed_seconds", &[], self.elapsed.as_secs_f64());
        page.family("throng_run_ended", "gauge", "Whether the run has ended: 0 or 1.");
        page.sample("throng_run_ended", &[], u64::from(self.is_over));
    }

    fn add_rows(&self, page: &mut Page) {
        let rows = &self.snapshot.rows;
        page.family("throng_rows_total", "counter", "Rows that ended, by outcome.");
        for (outcome, count) in [("ok", rows.ok), ("failed", rows.failed)] {
            page.sample("throng_rows_total", &[("outcome", &outcome)], count);
        }
        let help = "Records that the run will write in all, if that is known.";
        page.family("throng_rows_expected", "gauge", help);
        if let Some(to_do) = rows.to_do {
            page.sample("throng_rows_expected", &[], to_do);
        }
        page.family("throng_row_failures_total", "counter", "Rows that failed, by kind.");
        for failure in &rows.failures {
            page.sample("throng_row_failures_total", &[("kind", &failure.kind)], failure.count);
        }
        page.family("throng_aggregate", "gauge", "The aggregates of the job's summary so far.");
        for aggregate in &self.snapshot.aggregates {
            let name = ("name", &aggregate.name as &dyn Display);
            if let Some(value) = aggregate.value {
                page.sample("throng_aggregate", &[name], value);
            }
            for group in &aggregate.groups {
                if let Some(value) = group.value {
                    page.sample("throng_aggregate", &[name, ("group", &group.key)], value);
                }
            }
        }
    }

    fn add_requests(&self, page: &mut Page) {
        let requests = &self.snapshot.requests;
        for (name, help, count) in [
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
        ] {
            page.family(name, "counter", help);
            page.sample(name, &[], count);
        }
        page.family("throng_responses_total", "counter", "Answers, by status.");
        for (status, count) in &self.snapshot.statuses {
            page.sample("throng_responses_total", &[("status", status)], *count);
        }
        page.family("throng_requests_in_flight", "gauge", "Requests that wait for their answer.");
        page.sample("throng_requests_in_flight", &[], requests.in_flight);
        page.family("throng_rows_waiting", "gauge", "Rows that wait for a limit or a server.");
        page.sample("throng_rows_waiting", &[], requests.waiting);
    }

    fn add_waits(&self, page: &mut Page) {
        let pause = self.snapshot.pause.unwrap_or_default();
        let help = "The time until the end of the pause that the server asks for.";
        page.family("throng_server_pause_seconds", "gauge", help);
        page.sample("throng_server_pause_seconds", &[], pause.as_secs_f64());
        page.family("throng_breaker_open", "gauge", "Whether the server is out: 0 or 1.");
        for (server, is_out) in &self.servers {
            page.sample("throng_breaker_open", &[("server", server)], u64::from(*is_out));
        }
        let help = "The time of the run by what its workers did or waited for.";
        page.family("throng_time_seconds_total", "counter", help);
        for cause in &self.snapshot.causes {
            let name = cause.name.as_deref().unwrap_or_default();
            let labels: [(&str, &dyn Display); 2] = [("cause", &cause.cause), ("name", &name)];
            page.sample("throng_time_seconds_total", &labels, cause.seconds.as_secs_f64());
        }
    }
}

fn add_latency(page: &mut Page, latency: &LatencySnapshot) {
    let name = "throng_request_duration_seconds";
    let help = "The time from the sending of a request to the end of its answer.";
    page.family(name, "histogram", help);
    let bucket = format!("{name}_bucket");
    for power in BUCKETS {
        let bound = 2_f64.powi(power as i32) / 1e6;
        let below = latency.buckets.iter().filter(|(upper, _)| *upper <= bound);
        let count: u64 = below.map(|(_, count)| count).sum();
        page.sample(&bucket, &[("le", &bound)], count);
    }
    page.sample(&bucket, &[("le", &"+Inf")], latency.count);
    page.sample(&format!("{name}_sum"), &[], latency.sum.as_secs_f64());
    page.sample(&format!("{name}_count"), &[], latency.count);
}

/// A metric of limits: its name, type and help, and its value if the limit has one.
type LimitMetric = (&'static str, &'static str, &'static str, fn(&LimitSnapshot) -> Option<f64>);

const LIMIT_METRICS: [LimitMetric; 5] = [
    (
        "throng_limit_units",
        "gauge",
        "Units that the limit allows in a window, in flight, or in all.",
        |limit| Some(limit.learnt.unwrap_or(limit.units) as f64),
    ),
    ("throng_limit_period_seconds", "gauge", "The length of the limit's windows.", |limit| {
        limit.period.map(|period| period.as_secs_f64())
    }),
    (
        "throng_limit_used_units",
        "gauge",
        "Units that are used in the window up to now, or in flight.",
        |limit| limit.used.map(|used| used as f64),
    ),
    (
        "throng_limit_peak_units",
        "gauge",
        "The greatest number of units that can have been in one window so far.",
        |limit| Some(limit.peak as f64),
    ),
    (
        "throng_limit_lost_requests_total",
        "counter",
        "Requests under the limit that were never answered.",
        |limit| Some(limit.lost as f64),
    ),
];

fn add_limits(page: &mut Page, limits: &[LimitSnapshot]) {
    for (name, kind, help, value) in LIMIT_METRICS {
        page.family(name, kind, help);
        let mut seen = BTreeSet::new();
        for limit in limits {
            // Two steps may have limits of the same name: a series has its labels alone.
            let mut label = limit.name.clone();
            while !seen.insert(label.clone()) {
                label.push('\'');
            }
            if let Some(value) = value(limit) {
                page.sample(name, &[("limit", &label), ("unit", &limit.unit)], value);
            }
        }
    }
}

/// A page in Prometheus's text format.
#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    /// Begins the metrics of a name.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a value with these labels.
    fn sample(&mut self, name: &str, labels: &[(&str, &dyn Display)], value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"{}\"", escaped(&text.to_string()));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// A label's value, with the escapes of the format.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_label_stays_in_its_quotes() {
        let mut page = Page::default();
        page.sample("x", &[("kind", &"a\"} 1\n\\")], 2);
        assert_eq!(page.text, "x{kind=\"a\\\"} 1\\n\\\\\"} 2\n");
    }

    #[test]
    fn the_counts_of_buckets_add_up() {
        let buckets = vec![(0.001, 2), (0.001024, 1), (0.25, 4), (120.0, 1)];
        let sum = Duration::from_secs(121);
        let latency = LatencySnapshot { count: 8, sum, buckets };
        let mut page = Page::default();
        add_latency(&mut page, &latency);
        for line in ["le=\"0.001024\"} 3\n", "le=\"0.262144\"} 7\n", "le=\"67.108864\"} 7\n"] {
            assert!(page.text.contains(line), "{}", page.text);
        }
        assert!(page.text.contains("le=\"+Inf\"} 8\n") && page.text.contains("_sum 121\n"));
    }

    #[test]
    fn two_limits_of_one_name_have_series_of_their_own() {
        let limit = LimitSnapshot { name: "5/1s".into(), ..LimitSnapshot::default() };
        let mut page = Page::default();
        add_limits(&mut page, &[limit.clone(), limit]);
        assert!(page.text.contains("throng_limit_units{limit=\"5/1s'\",unit=\"\"} 0\n"));
    }
}
