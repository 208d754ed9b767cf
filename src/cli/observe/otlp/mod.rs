//! `--otlp`: a trace and the metrics of a run for OpenTelemetry, by OTLP over HTTP.
//!
//! The library of OpenTelemetry sends from threads and bounded queues of its own, and reads the
//! standard variables `OTEL_…`. A collector that is slow or not there holds no run.
//!
//! - `environment`: where the data go, and in which form
//! - `trace`: a span of the run, and of each time in which it was held up
//! - `rows`: spans of rows and their requests
//! - `meters`: the metrics
//! - `collector`: the requests to the collector

mod collector;
mod environment;
mod meters;
mod rows;
mod trace;

use std::sync::mpsc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::Resource;

use self::collector::Collector;
use self::environment::{METRICS, TRACES};
use self::meters::Meters;
use self::trace::RunTrace;
use crate::engine::{ObservedRecord, Run};
use crate::events::Subscription;
use crate::{Error, threads};

/// Maximum time that the end of the process waits for the collector.
const PATIENCE: Duration = Duration::from_secs(3);

/// The name of the service, unless the environment has another.
const SERVICE: &str = "throng";

/// The data of a run that are sent.
pub struct Exports {
    collector: Collector,
    trace: Option<RunTrace>,
    meters: Option<Meters>,
}

impl Exports {
    /// Begins the trace and the metrics of a run that is about to begin.
    ///
    /// # Errors
    /// A variable of the environment can't be obeyed.
    pub fn start(run: &Run) -> Result<Exports, Error> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let collector = Collector::new(&environment)?;
        let trace = TRACES.target(&environment)?.map(|to| RunTrace::new(to, &collector));
        let meters = METRICS.target(&environment)?.map(|to| Meters::new(to, &collector));
        let wrong = |error: ExporterBuildError| {
            Error::plan(format!("nothing can be sent to OpenTelemetry (--otlp): {error}"))
        };
        let trace = trace.transpose().map_err(wrong)?;
        let meters = meters.transpose().map_err(wrong)?;
        if let Some(trace) = &trace {
            let mut rows = trace.rows();
            run.observe(move |record| {
                if let ObservedRecord::Written(record) = record {
                    rows.add(record);
                }
            });
        }
        Ok(Exports { collector, trace, meters })
    }

    /// Sends what the events tell, to the end of the run.
    pub fn write(mut self, events: Subscription) {
        for event in events {
            if let Some(trace) = &mut self.trace {
                trace.take(&event);
            }
            if let Some(meters) = &mut self.meters {
                meters.take(&event);
            }
        }
        let (collector, (done, is_done)) = (self.collector.clone(), mpsc::channel());
        let ended = threads::spawn(move || {
            // The collector tells of what fails.
            let _ = self.trace.map(RunTrace::end);
            let _ = self.meters.map(Meters::end);
            // By then no one may wait for it.
            let _ = done.send(());
        });
        if ended.is_err() || is_done.recv_timeout(PATIENCE).is_err() {
            collector.warn(&format!("it has not taken the last data within {PATIENCE:?}"));
        }
    }
}

/// The process, as OpenTelemetry names it.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get(&"service.name".into()).map(|name| name.to_string());
    // Without a name in the environment, the library's own begins like this.
    let has_name = name.is_some_and(|name| !name.starts_with("unknown_service"));
    let resource = Resource::builder();
    let resource = if has_name { resource } else { resource.with_service_name(SERVICE) };
    resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build()
}

/// A number as attributes have it.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
