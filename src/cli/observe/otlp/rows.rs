//! The spans of rows, each with one for each of its requests. Values and fields of rows are no
//! part of them.

use std::time::{Duration, Instant, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

use super::integer;
use crate::record::Record;
use crate::report::short;

/// Maximum number of rows that are ok and have spans, in each second.
const OK: u32 = 10;
/// Maximum number of rows that failed and have spans, in each second.
const FAILED: u32 = 100;

/// Makes the spans of rows.
pub struct RowSpans {
    tracer: SdkTracer,
    /// The span of the run.
    run: Context,
    /// The beginning of the second, and the rows that had spans since then.
    second: Instant,
    ok: u32,
    failed: u32,
}

impl RowSpans {
    /// Below the span of a run.
    pub fn new(tracer: SdkTracer, run: Context) -> RowSpans {
        RowSpans { tracer, run, second: Instant::now(), ok: 0, failed: 0 }
    }

    /// Makes the spans of a row whose record was just written, if there are not too many.
    pub fn add(&mut self, record: &Record) {
        if !self.is_taken(record.is_ok()) {
            return;
        }
        let now = SystemTime::now();
        let arrived = record.arrived.iter().flatten();
        // A lost request may arrive later than now.
        let requests: Vec<[SystemTime; 2]> =
            arrived.map(|it| [at(it.from).min(now), at(it.to).min(now)]).collect();
        let start = requests.iter().map(|[from, _]| *from).min().unwrap_or(now);
        let row = SpanBuilder::from_name("row").with_start_time(start);
        let row = row.with_attributes(attributes(record));
        let row = self.tracer.build_with_context(row, &self.run);
        let row = self.run.with_span(row);
        for [from, to] in requests {
            let request = SpanBuilder::from_name("request").with_kind(SpanKind::Client);
            let request = request.with_start_time(from);
            self.tracer.build_with_context(request, &row).end_with_timestamp(to);
        }
        if let Err(failure) = &record.outcome {
            row.span().set_status(Status::error(short(&failure.detail)));
        }
        row.span().end_with_timestamp(now);
    }

    /// Whether there is room for one more row in this second.
    fn is_taken(&mut self, is_ok: bool) -> bool {
        if self.second.elapsed() >= Duration::from_secs(1) {
            (self.second, self.ok, self.failed) = (Instant::now(), 0, 0);
        }
        let (taken, most) = if is_ok { (&mut self.ok, OK) } else { (&mut self.failed, FAILED) };
        *taken += 1;
        *taken <= most
    }
}

/// The time that lies this many microseconds after 1970.
fn at(micros: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

fn attributes(record: &Record) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("throng.row", integer(record.row.number)),
        KeyValue::new("throng.attempts", i64::from(record.attempts)),
    ];
    if let Some(status) = record.status {
        attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
    }
    if let Err(failure) = &record.outcome {
        attributes.push(KeyValue::new("error.type", failure.kind.text().into_owned()));
    }
    attributes
}
