//! The metrics of a run, as OpenTelemetry has them: those that Prometheus gets, by the names that
//! collectors translate to Prometheus's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter, MeterProvider as _};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::collector::Collector;
use super::environment::Target;
use super::{SERVICE, resource};
use crate::cli::observe::metrics::{Family, LATENCY, MetricKind, RunMetrics, bucket_bounds};
use crate::events::{Event, EventKind, LatencySnapshot};

/// A latency is known within this part of it.
const PRECISION: f64 = 16.5 / 17.0;

/// The metrics of a run.
pub struct Meters {
    provider: SdkMeterProvider,
    metrics: Arc<Mutex<RunMetrics>>,
    latency: Histogram<f64>,
    /// The latencies that the histogram has.
    before: LatencySnapshot,
}

impl Meters {
    /// Begins the metrics.
    ///
    /// # Errors
    /// A variable of the environment can't be obeyed.
    pub fn new(to: Target, collector: &Collector) -> Result<Meters, ExporterBuildError> {
        let exporter = MetricExporter::builder()
            .with_http()
            .with_endpoint(to.endpoint)
            .with_protocol(to.protocol)
            .with_http_client(collector.clone());
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter.build()?)
            .with_resource(resource())
            .build();
        let (meter, metrics) = (provider.meter(SERVICE), Arc::<Mutex<RunMetrics>>::default());
        for family in RunMetrics::default().families() {
            observe(&meter, &family, metrics.clone());
        }
        let [name, help] = LATENCY;
        let (name, unit) = translated(name);
        let latency = meter.f64_histogram(name).with_unit(unit).with_description(help);
        let latency = latency.with_boundaries(bucket_bounds().collect()).build();
        Ok(Meters { provider, metrics, latency, before: LatencySnapshot::default() })
    }

    /// Takes the next event of the run.
    pub fn take(&mut self, event: &Event) {
        lock(&self.metrics).take(event);
        if let EventKind::Snapshot(snapshot) = &event.kind {
            let before = std::mem::replace(&mut self.before, snapshot.latency.clone());
            self.add(&snapshot.latency.since(&before));
        }
    }

    /// Adds latencies, of which only their buckets and their sum are known.
    fn add(&self, latencies: &LatencySnapshot) {
        let of_bounds: f64 = latencies.buckets.iter().map(|(it, count)| it * *count as f64).sum();
        // The sum comes as near as it can without a latency in another bucket.
        let factor = (latencies.sum.as_secs_f64() / of_bounds).clamp(PRECISION, 1.0);
        for (bound, count) in &latencies.buckets {
            (0..*count).for_each(|_| self.latency.record(bound * factor, &[]));
        }
    }

    /// Sends what has not been sent, and ends.
    ///
    /// # Errors
    /// The collector does not take it.
    pub fn end(self) -> OTelSdkResult {
        self.provider.shutdown()
    }
}

fn lock(metrics: &Mutex<RunMetrics>) -> MutexGuard<'_, RunMetrics> {
    metrics.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has a metric read whenever metrics are sent.
fn observe(meter: &Meter, family: &Family, metrics: Arc<Mutex<RunMetrics>>) {
    let (name, unit) = translated(family.name);
    let of_prometheus = family.name;
    let read = move |instrument: &dyn AsyncInstrument<f64>| {
        let families = lock(&metrics).families();
        let samples = families.into_iter().filter(|it| it.name == of_prometheus);
        for sample in samples.flat_map(|family| family.samples) {
            let labels = sample.labels.into_iter().map(|(name, text)| KeyValue::new(name, text));
            instrument.observe(sample.value, &labels.collect::<Vec<_>>());
        }
    };
    // The meter keeps an instrument whose handle is dropped.
    match family.kind {
        MetricKind::Counter => drop(
            meter
                .f64_observable_counter(name)
                .with_unit(unit)
                .with_description(family.help)
                .with_callback(read)
                .build(),
        ),
        MetricKind::Gauge => drop(
            meter
                .f64_observable_gauge(name)
                .with_unit(unit)
                .with_description(family.help)
                .with_callback(read)
                .build(),
        ),
    }
}

/// The name and the unit of a metric of Prometheus in OpenTelemetry: of `throng_time_seconds_total`
/// they are `throng.time` and `s`. A unit of `1` would become part of the name.
fn translated(name: &'static str) -> (String, &'static str) {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let (name, unit) = name.strip_suffix("_seconds").map_or((name, ""), |name| (name, "s"));
    (name.replacen('_', ".", 1), unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_collector_translates_back() {
        for (name, of_otel) in [
            ("throng_time_seconds_total", ("throng.time", "s")),
            ("throng_rows_total", ("throng.rows", "")),
            ("throng_limit_used_units", ("throng.limit_used_units", "")),
            ("throng_request_duration_seconds", ("throng.request_duration", "s")),
        ] {
            let (name, unit) = translated(name);
            assert_eq!((&*name, unit), of_otel);
        }
    }
}
