//! A row whose answer goes to a file.
//!
//! The file is in its place before the row's record is written, so a record tells of a file that
//! is whole. A file without a record is written anew by the run that goes on.

use std::pin::pin;

use bytes::Bytes;
use http::{Request, Uri};
use serde_json::Value;

use super::RowExecutor;
use super::attempt::{AttemptOutcome, AttemptTrace, Cancelled, Purpose, RequestExecutor};
use crate::error::Error;
use crate::extract::AnswerContext;
use crate::limit::Cost;
use crate::metrics::WaitReason;
use crate::plan::SaveMode;
use crate::record::{Failure, FailureKind, Record, SavedFile};
use crate::row::Row;
use crate::save::{Download, SaveError};
use crate::send::{Answer, Delivery, Lease, RequestHead, SendError, Started, encodings};

/// The values of an answer, and the file that has its body.
pub(super) struct SavedAnswer {
    values: Vec<Value>,
    file: SavedFile,
}

impl RowExecutor {
    /// Takes a row to its record, and its answer to a file.
    pub(super) async fn run_saved<E: AsyncFn(Record)>(
        &self,
        row: Row,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let mut trace = AttemptTrace::default();
        let begun = self.request(&row).and_then(|request| {
            trace.download = self.download(&row)?.map(Box::new);
            Ok(request)
        });
        let outcome = match begun {
            Ok((request, cost)) => self.save(&row, &request, &cost, &mut trace).await?,
            Err(failure) => Err(failure),
        };
        self.emit_saved(row, trace, outcome, emit).await;
        Ok(())
    }

    /// Hands on the record of a row whose answer is saved.
    pub(super) async fn emit_saved<E: AsyncFn(Record)>(
        &self,
        row: Row,
        trace: AttemptTrace,
        outcome: Result<SavedAnswer, Failure>,
        emit: &E,
    ) {
        let (outcome, saved) = match outcome {
            Ok(SavedAnswer { values, file }) => (Ok(values), Some(Box::new(file))),
            Err(failure) => (Err(failure), None),
        };
        emit(Record { saved, ..self.record_of(row, trace, outcome) }).await;
    }

    /// The download of a row's answer; none if answers are not saved.
    pub(super) fn download(&self, row: &Row) -> Result<Option<Download>, Failure> {
        let files = &self.requests.context.files;
        let path = self.stage().renderer.saved_path(row).transpose()?;
        path.map(|path| files.begin(&path)).transpose()
    }

    /// Sends a row's request, and saves the answer if it is a success that has its values.
    async fn save(
        &self,
        row: &Row,
        request: &Request<Bytes>,
        cost: &Cost,
        trace: &mut AttemptTrace,
    ) -> Result<Result<SavedAnswer, Failure>, Cancelled> {
        let rows = std::slice::from_ref(row);
        let answer = self.requests.exchange_with_intent(request, cost, rows, trace).await?;
        let (answer, download) = match (answer, trace.download.take()) {
            (Ok(answer), Some(download)) => (answer, *download),
            (Ok(_), None) => return Err(Cancelled),
            (Err(failure), _) => return Ok(Err(failure)),
        };
        self.save_answer(row, request.uri(), answer, download, trace).await
    }

    /// Saves the answer of a row from this URL, if it has its values.
    pub(super) async fn save_answer(
        &self,
        row: &Row,
        uri: &Uri,
        answer: Answer,
        download: Download,
        trace: &mut AttemptTrace,
    ) -> Result<Result<SavedAnswer, Failure>, Cancelled> {
        let context = self.stage().read_context(&answer, uri, Some(row));
        // Programs read nothing of a body that is not held.
        let kind = context.kind.filter(|_| !download.is_streamed());
        let context = AnswerContext { kind, ..context };
        let values = match self.values(&answer.body, &context) {
            Ok(values) => values,
            Err(failure) => {
                if !download.is_streamed() {
                    trace.keep_all(&answer.body, &context);
                }
                return Ok(Err(failure));
            }
        };
        match self.finish(download, answer).await? {
            Ok(file) => Ok(Ok(SavedAnswer { values, file })),
            Err(SaveError::Row(failure)) => Ok(Err(failure)),
            Err(SaveError::Run(why)) => {
                Err(self.requests.end_run(Error::stopped(why).of_output(None)))
            }
        }
    }

    /// Puts a file in its place on a thread of its own: the disk may take its time, and other
    /// rows must not wait for it.
    async fn finish(
        &self,
        download: Download,
        answer: Answer,
    ) -> Result<Result<SavedFile, SaveError>, Cancelled> {
        let _waits = self.requests.waits(WaitReason::Output);
        let finish = move || download.finish(&answer.headers, &answer.body);
        match tokio::task::spawn_blocking(finish).await {
            Ok(saved) => Ok(saved),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Cancelled),
            },
        }
    }
}

impl RequestExecutor {
    /// Whether an answer with this head goes to its row's file as it comes. It is held in memory
    /// where it may be no success, or programs read its body.
    pub(super) fn streams(
        &self,
        head: &RequestHead,
        purpose: Purpose,
        trace: &mut AttemptTrace,
    ) -> bool {
        let Some(download) = &mut trace.download else {
            return false;
        };
        download.reset();
        self.stage().save == Some(SaveMode::Streamed)
            && purpose.of_credentials().is_none()
            && self.stage().answers.accepts_head(head.status(), head.headers())
    }

    /// Reads an answer into its row's file. The answer has no body.
    pub(super) async fn receive(
        &self,
        lease: Lease,
        head: RequestHead,
        time: Started,
        trace: &mut AttemptTrace,
    ) -> Result<AttemptOutcome, Cancelled> {
        let Some(download) = &mut trace.download else {
            return Err(Cancelled);
        };
        match encodings(head.headers()) {
            Ok(encodings) => download.stream(encodings),
            Err(error) => return Ok(Err(error)),
        }
        let mut take = |part: &[u8]| {
            if download.add(part) { Ok(()) } else { Err(not_saved(String::new())) }
        };
        let received = pin!(self.sender.receive(lease, head, time, &mut take)).await;
        match download.take_error() {
            None => Ok(received.map_err(|error| self.or_interrupted(error))),
            Some(SaveError::Row(failure)) => Ok(Err(not_saved(failure.detail))),
            Some(SaveError::Run(why)) => Err(self.end_run(Error::stopped(why).of_output(None))),
        }
    }
}

/// The error of an answer that can't be saved. Another attempt would end in the same way.
fn not_saved(detail: String) -> SendError {
    SendError { kind: FailureKind::Input, detail, delivery: Delivery::Final }
}
