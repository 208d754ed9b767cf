//! From a row to its record: the request is made, sent (see `retries`), and its answer read.
//!
//! Every attempt, be it a retry or the hop of a redirect, takes its own permit, and takes
//! it when its connection is ready to be written to.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::extract;
use crate::judge::Tries;
use crate::limit::Cost;
use crate::metrics::{Counters, WaitReason, WaitingRow};
use crate::plan::Stage;
use crate::record::{Failure, FailureKind, Record};
use crate::row::Row;
use crate::send::Sender;
use crate::shutdown::{ShutdownListener, ShutdownReason};
use crate::sink::IntentLog;

mod attempt;
mod batch;
mod context;
mod credentials;
mod feedback;
mod page_records;
mod pages;
mod retries;
mod trace;

pub use context::RunContext;
use trace::AttemptTrace;
pub use trace::Cancelled;

/// Takes the rows of one worker and one stage to their records.
pub struct RowExecutor {
    worker: usize,
    /// The stage of the plan that it carries out.
    stage_index: usize,
    context: Arc<RunContext>,
    sender: Rc<Sender>,
    /// The log of requests that must not be sent twice.
    intents: Option<IntentLog>,
    /// Limits the requests in flight where a row may have several.
    slots: Semaphore,
    /// Maximum number of rows of a batch, as far as the server has shown.
    max_batch: Cell<usize>,
    listener: ShutdownListener,
}

impl RowExecutor {
    /// For one worker and one stage of the plan.
    pub fn new(
        worker: usize,
        stage_index: usize,
        context: Arc<RunContext>,
        intents: Option<IntentLog>,
    ) -> RowExecutor {
        let transport = context.plan.stages[stage_index].transport.clone();
        let sender = Rc::new(Sender::new(transport, context.plan.connections));
        let connections = sender.clone();
        RowExecutor {
            worker,
            stage_index,
            listener: ShutdownListener::new(context.shutdown.clone(), move || connections.close()),
            intents,
            sender,
            slots: Semaphore::new(context.plan.stages[stage_index].in_flight),
            max_batch: Cell::new(usize::MAX),
            context,
        }
    }

    /// Takes a row to its record, or to those of its items.
    pub async fn row<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        row: Row,
        emit: &E,
    ) -> Result<(), Cancelled> {
        if self.stage().has_parts() {
            return Box::pin(self.run_pages(row, emit)).await;
        }
        let mut trace = AttemptTrace::default();
        let outcome = match self.request(&row) {
            Ok((request, cost)) => {
                let rows = std::slice::from_ref(&row);
                pin!(self.exchange_with_intent(&request, &cost, rows, &mut trace)).await?
            }
            Err(failure) => Err(failure),
        };
        let record = self.record(row, trace, outcome.map(|answer| answer.body));
        pin!(emit(record)).await;
        Ok(())
    }

    /// The request of a row and its cost, if it may be sent.
    fn request(&self, row: &Row) -> Result<(Request<Bytes>, Cost), Failure> {
        let mut request = self.stage().render(row)?;
        self.check_doubt(row, request.method())?;
        if self.stage().makes_keys {
            let key = HeaderValue::try_from(self.context.plan.output.idempotency_key(row));
            let key = key.map_err(|error| Failure::new(FailureKind::Input, error.to_string()))?;
            request.headers_mut().insert("idempotency-key", key);
        }
        let cost = self.stage().cost(row, &request)?;
        Ok((request, cost))
    }

    fn check_doubt(&self, row: &Row, method: &Method) -> Result<(), Failure> {
        let resends = self.stage().judge.resends(Tries::of(method));
        if !resends && self.context.plan.output.in_doubt().has(row) {
            Err(Failure::new(
                FailureKind::OutcomeUnknown,
                "it was sent before an earlier run ended, and the server may have done it, so it was not sent again (retry.unknown = \"resend\" or --resend-unknown would)",
            ))
        } else {
            Ok(())
        }
    }

    /// Asks the run to end, for a reason that may quote the server.
    fn end_run(&self, why: String) -> Cancelled {
        let why = self.context.plan.secrets.hide(why);
        self.context.shutdown.request(ShutdownReason::Error(why));
        Cancelled
    }

    fn stage(&self) -> &Stage {
        &self.context.plan.stages[self.stage_index]
    }

    fn counters(&self) -> &Counters {
        self.context.metrics.worker(self.worker)
    }

    /// Counts something odd about the server's answers that is no row's failure.
    fn warn(&self, what: &'static str, count: u64, example: impl FnOnce() -> String) {
        let example = || self.context.plan.secrets.hide(example());
        self.context.metrics.warn(what, count, example);
    }

    /// Whether no new row is to be begun.
    pub fn is_stopping(&self) -> bool {
        self.context.shutdown.is_requested()
    }

    /// Counts a row as waiting for this reason until the result is dropped.
    pub fn waits(&self, cause: WaitReason) -> WaitingRow<'_> {
        self.counters().row_waits(cause)
    }

    /// The work's result, unless the run is asked to end before.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Cancelled> {
        self.listener.unless_requested(pin!(work)).await.ok_or(Cancelled)
    }

    /// The record of a row with this body, which is its answer or its part of one.
    fn record(&self, row: Row, trace: AttemptTrace, body: Result<Bytes, Failure>) -> Record {
        let kept = body.as_ref().ok().filter(|_| self.stage().keeps_body);
        let (kept, body) = match kept.map(|body| extract::text(body)).transpose() {
            Ok(kept) => (kept.map(str::to_owned), body),
            Err(failure) => (None, Err(failure)),
        };
        let values = body.and_then(|body| self.values(&body));
        Record { body: kept, ..self.record_of(row, trace, values) }
    }

    fn values(&self, body: &[u8]) -> Result<Vec<Value>, Failure> {
        let extractor = &self.stage().extractor;
        if !extractor.is_single_pass() {
            self.check_time()?;
        }
        extractor.extract(body)
    }

    /// Refuses to run a program over an answer once the run is aborted: it may take long.
    fn check_time(&self) -> Result<(), Failure> {
        if self.context.shutdown.is_aborted() {
            Err(Failure::new(FailureKind::Interrupted, "the run ended before the answer was read"))
        } else {
            Ok(())
        }
    }

    fn record_of(
        &self,
        mut row: Row,
        trace: AttemptTrace,
        outcome: Result<Vec<Value>, Failure>,
    ) -> Record {
        for name in self.stage().renderer.omitted_fields() {
            row.fields.shift_remove(*name);
        }
        Record {
            row,
            outcome,
            kept: Vec::new(),
            body: None,
            status: trace.status.map(|status| status.as_u16()),
            attempts: trace.attempts,
            latency: trace.latency,
            arrived: trace.arrived,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<F: Future>(_: impl FnOnce(&'static Rc<RowExecutor>) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn a_row_in_flight_takes_little_memory() {
        let size = size(|executor| executor.row(Row::default(), &async |_| ()));
        assert!(size < 6_000, "{size} bytes");
    }
}
