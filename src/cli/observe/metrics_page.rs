//! The page of metrics in Prometheus's text format. Pure.

use std::fmt::Write as _;

use super::metrics::{LATENCY, MetricKind, RunMetrics, Sample, bucket_bounds};
use crate::events::LatencySnapshot;

/// The page.
pub fn page(metrics: &RunMetrics) -> String {
    let mut page = Page::default();
    for family in metrics.families() {
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
        };
        page.begin(family.name, kind, family.help);
        family.samples.iter().for_each(|sample| page.add(family.name, sample));
    }
    page.add_latency(metrics.latency());
    page.text
}

/// A page in Prometheus's text format.
#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    /// Begins the metrics of a name.
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a value with its labels.
    fn add(&mut self, name: &str, sample: &Sample) {
        self.text.push_str(name);
        for (index, (label, text)) in sample.labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            let _ = write!(self.text, "{label}=\"{}\"", escaped(text));
        }
        if !sample.labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", sample.value);
    }

    fn add_latency(&mut self, latency: &LatencySnapshot) {
        let [name, help] = LATENCY;
        self.begin(name, "histogram", help);
        let mut add = |suffix: &str, bound: Option<String>, value: f64| {
            let labels = bound.map(|bound| ("le", bound)).into_iter().collect();
            self.add(&format!("{name}{suffix}"), &Sample { labels, value });
        };
        for bound in bucket_bounds() {
            let below = latency.buckets.iter().filter(|(upper, _)| *upper <= bound);
            let count: u64 = below.map(|(_, count)| count).sum();
            add("_bucket", Some(bound.to_string()), count as f64);
        }
        add("_bucket", Some("+Inf".to_owned()), latency.count as f64);
        add("_sum", None, latency.sum.as_secs_f64());
        add("_count", None, latency.count as f64);
    }
}

/// A label's value, with the escapes of the format.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_hostile_label_stays_in_its_quotes() {
        let mut page = Page::default();
        page.add("x", &Sample { labels: vec![("kind", "a\"} 1\n\\".into())], value: 2.0 });
        assert_eq!(page.text, "x{kind=\"a\\\"} 1\\n\\\\\"} 2\n");
    }

    #[test]
    fn the_counts_of_buckets_add_up() {
        let buckets = vec![(0.001, 2), (0.001024, 1), (0.25, 4), (120.0, 1)];
        let sum = Duration::from_secs(121);
        let mut page = Page::default();
        page.add_latency(&LatencySnapshot { count: 8, sum, buckets });
        for line in ["le=\"0.001024\"} 3\n", "le=\"0.262144\"} 7\n", "le=\"67.108864\"} 7\n"] {
            assert!(page.text.contains(line), "{}", page.text);
        }
        assert!(page.text.contains("le=\"+Inf\"} 8\n") && page.text.contains("_sum 121\n"));
    }
}
