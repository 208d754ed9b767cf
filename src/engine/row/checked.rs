//! Rows whose answers are checked before they count, and that are asked again where the check
//! fails: with what is wrong, and under permits and at a cost of their own.

use bytes::Bytes;
use http::{HeaderValue, Request};
use serde_json::{Value, json};

use super::RowExecutor;
use super::attempt::{AttemptTrace, Cancelled};
use crate::check::{Check, by_name};
use crate::extract::{self, AnswerContext};
use crate::format::KeepBody;
use crate::record::{Failure, FailureKind, Record};
use crate::render::LAST;
use crate::row::Row;
use crate::send::Answer;

impl RowExecutor {
    /// Takes a row to its record: by the first answer that stands the check.
    pub(super) async fn run_checked<E: AsyncFn(Record)>(
        &self,
        check: &Check,
        row: Row,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let record = self.checked_record(check, row, &mut AttemptTrace::default()).await?;
        emit(record).await;
        Ok(())
    }

    /// The record of a row by the first answer that stands the check.
    pub(super) async fn checked_record(
        &self,
        check: &Check,
        row: Row,
        trace: &mut AttemptTrace,
    ) -> Result<Record, Cancelled> {
        let (mut again, mut before) = (None, None);
        let most = self.stage().reask.unwrap_or_default();
        for ask in 0..=most {
            let asked = again.as_ref().unwrap_or(&row);
            let (request, cost) = match self.request(asked) {
                Ok((mut request, cost)) => {
                    mark(&mut request, ask);
                    (request, cost)
                }
                Err(failure) => return Ok(self.finish_row(row, trace, Err(failure))),
            };
            // The store has the answer that was of no use.
            trace.is_sought = before.as_ref() == Some(request.body());
            let rows = std::slice::from_ref(&row);
            let attempts = trace.attempts;
            let outcome = self.requests.exchange_with_intent(&request, &cost, rows, trace).await?;
            // An answer of the store is no request.
            if ask > 0 && trace.attempts > attempts {
                self.requests.counters().retried();
            }
            trace.is_sought = false;
            let answer = match outcome {
                Ok(answer) => answer,
                Err(failure) => return Ok(self.finish_row(row, trace, Err(failure))),
            };
            let context = self.stage().read_context(&answer, request.uri(), Some(&row));
            let failure = match self.checked_values(check, &answer, &context) {
                Ok(values) => {
                    let text = (self.stage().keep_body == KeepBody::All)
                        .then(|| extract::kept_text(&answer.body, &context).ok())
                        .flatten();
                    let record = self.finish_row(row, trace, Ok(values));
                    return Ok(Record { body: text.or(record.body), ..record });
                }
                Err(failure) => failure,
            };
            if ask == most || !failure.kind.is_of_answer() {
                trace.keep_all(&answer.body, &context);
                return Ok(self.finish_row(row, trace, Err(failure)));
            }
            before = Some(request.body().clone());
            again = Some(with_last(&row, &failure, &answer));
        }
        Err(Cancelled)
    }

    /// The values of an answer, if they stand the check. Without `extract`, the check is of the
    /// answer itself.
    fn checked_values(
        &self,
        check: &Check,
        answer: &Answer,
        context: &AnswerContext<'_>,
    ) -> Result<Vec<Value>, Failure> {
        let values = self.values(&answer.body, context)?;
        let names = self.stage().value_names();
        let checked = if names.is_empty() {
            serde_json::from_slice(&answer.body).map_err(|error| {
                Failure::new(FailureKind::NotJson, format!("the check needs JSON: {error}"))
            })?
        } else {
            by_name(&names, &values)
        };
        match check.check(&checked) {
            Ok(()) => Ok(values),
            Err(why) => Err(Failure::new(FailureKind::Schema, why)),
        }
    }
}

/// The row with what was wrong with its last answer, as templates see it.
fn with_last(row: &Row, failure: &Failure, answer: &Answer) -> Row {
    let text = || Value::from(String::from_utf8_lossy(&answer.body));
    let answer = serde_json::from_slice(&answer.body).unwrap_or_else(|_| text());
    let mut again = row.clone();
    let last = json!({ "error": failure.detail, "answer": answer });
    again.fields.insert(LAST.to_owned(), last);
    again
}

/// Gives a request that asks again a key of its own, where throng makes keys: the server would
/// repeat its answer otherwise.
fn mark(request: &mut Request<Bytes>, ask: u32) {
    let key = request.headers().get("idempotency-key").filter(|_| ask > 0);
    let key = key.and_then(|key| key.to_str().ok());
    if let Some(Ok(key)) = key.map(|key| HeaderValue::try_from(format!("{key}-{ask}"))) {
        request.headers_mut().insert("idempotency-key", key);
    }
}
