//! The trace of a run: a span of all of it, and one below it for each time in which the server
//! asked for a pause, a server was out, or no row ended.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Span as _, SpanBuilder, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

use super::collector::Collector;
use super::environment::Target;
use super::rows::RowSpans;
use super::{SERVICE, integer, resource};
use crate::events::{Event, EventKind, Outcome, RunEnded, RunStarted};

/// The trace of a run.
pub struct RunTrace {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// The span of the run.
    run: Context,
    /// The times that go on: of a server that is out by its name, of others by what they are.
    open: BTreeMap<String, Span>,
}

impl RunTrace {
    /// Begins the trace.
    ///
    /// # Errors
    /// A variable of the environment can't be obeyed.
    pub fn new(to: Target, collector: &Collector) -> Result<RunTrace, ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(to.endpoint)
            .with_protocol(to.protocol)
            .with_http_client(collector.clone());
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter.build()?)
            .with_resource(resource())
            .build();
        let tracer = provider.tracer(SERVICE);
        let caller = caller();
        let run = tracer.build_with_context(SpanBuilder::from_name("throng run"), &caller);
        Ok(RunTrace { provider, tracer, run: caller.with_span(run), open: BTreeMap::new() })
    }

    /// The spans of rows, below that of the run.
    pub fn rows(&self) -> RowSpans {
        RowSpans::new(self.tracer.clone(), self.run.clone())
    }

    /// Takes the next event of the run.
    pub fn take(&mut self, event: &Event) {
        let time = event.time;
        match &event.kind {
            EventKind::RunStarted(started) => self.run.span().set_attributes(setting(started)),
            EventKind::PauseStarted(_) => self.begin("pause", "pause", time, Vec::new()),
            EventKind::PauseEnded => self.finish("pause", time),
            EventKind::BreakerOpened(it) => {
                let server = [KeyValue::new("server.address", it.server.clone())];
                let cause = [KeyValue::new("throng.cause", it.cause.clone())];
                let attributes = server.into_iter().chain(cause).collect();
                self.begin(&it.server, "outage", time - it.out, attributes);
            }
            EventKind::BreakerClosed(it) => self.finish(&it.server, time),
            EventKind::Stalled(it) => {
                let cause = it.waits_for.as_ref().map(|it| it.description.clone());
                let cause = cause.map(|cause| KeyValue::new("throng.cause", cause));
                self.begin("stall", "stall", time - it.stalled, cause.into_iter().collect());
            }
            EventKind::StallEnded => self.finish("stall", time),
            EventKind::Warning(it) => self.note("warning", time, it.message.clone()),
            EventKind::StopRequested(it) => self.note("stop requested", time, it.reason.clone()),
            EventKind::RunEnded(ended) => self.run_ended(ended, time),
            _ => {}
        }
    }

    /// Sends what has not been sent, and ends.
    ///
    /// # Errors
    /// The collector does not take it.
    pub fn end(self) -> OTelSdkResult {
        self.provider.shutdown()
    }

    fn begin(
        &mut self,
        key: &str,
        name: &'static str,
        since: SystemTime,
        attributes: Vec<KeyValue>,
    ) {
        let span = SpanBuilder::from_name(name).with_start_time(since).with_attributes(attributes);
        self.open.insert(key.to_owned(), self.tracer.build_with_context(span, &self.run));
    }

    fn finish(&mut self, key: &str, time: SystemTime) {
        if let Some(mut span) = self.open.remove(key) {
            span.end_with_timestamp(time);
        }
    }

    fn note(&self, name: &'static str, time: SystemTime, message: String) {
        let message = vec![KeyValue::new("message", message)];
        self.run.span().add_event_with_timestamp(Cow::Borrowed(name), time, message);
    }

    fn run_ended(&mut self, ended: &RunEnded, time: SystemTime) {
        for (_, mut span) in std::mem::take(&mut self.open) {
            span.end_with_timestamp(time);
        }
        let run = self.run.span();
        run.set_attribute(KeyValue::new("throng.rows.ok", integer(ended.ok)));
        run.set_attribute(KeyValue::new("throng.rows.failed", integer(ended.failed)));
        if ended.outcome == Outcome::Stopped {
            run.set_status(Status::error(ended.reason.clone().unwrap_or_default()));
        }
        run.end_with_timestamp(time);
    }
}

/// The span that the caller of the command has put into the environment, such as that of a step
/// of a pipeline.
fn caller() -> Context {
    let variables = ["traceparent", "tracestate"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), std::env::var(name.to_uppercase()).ok()?)));
    TraceContextPropagator::new().extract(&variables.collect::<HashMap<_, _>>())
}

fn setting(run: &RunStarted) -> Vec<KeyValue> {
    let limits = run.limits.iter().map(|limit| &*limit.name);
    let texts = [
        ("throng.input", run.input.clone()),
        ("throng.output", run.output.clone()),
        ("throng.limits", Some(limits.collect::<Vec<_>>().join(", "))),
    ];
    let numbers = [
        ("process.pid", Some(i64::from(run.pid))),
        ("throng.workers", i64::try_from(run.workers).ok()),
        ("throng.rows.to_do", run.rows_to_do.map(integer)),
    ];
    let texts = texts.into_iter().filter_map(|(name, text)| Some(KeyValue::new(name, text?)));
    let numbers = numbers.into_iter().filter_map(|(name, it)| Some(KeyValue::new(name, it?)));
    texts.chain(numbers).collect()
}
