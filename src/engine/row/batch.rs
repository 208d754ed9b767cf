//! Many rows in one request, each with its own part of the answer.

use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Uri};

use super::RowExecutor;
use super::attempt::{AttemptTrace, Cancelled};
use crate::batch::{Batch, KeyedItems};
use crate::extract::{AnswerContext, Document};
use crate::record::{Failure, Record};
use crate::row::Row;
use crate::send::Answer;

/// Rows of one request, and the attempts that were made for them before.
struct BatchGroup {
    rows: Vec<Row>,
    trace: AttemptTrace,
}

/// The answer to a batch, and its items by their keys.
struct BatchAnswer {
    answer: Answer,
    url: Uri,
    items: KeyedItems,
}

impl RowExecutor {
    /// The batches of the stage, if it has them.
    pub fn batch(&self) -> Option<&Batch> {
        self.stage().batch.as_ref()
    }

    /// Takes rows to their records, in as few requests as the server accepts.
    pub async fn rows<E: AsyncFn(Record)>(
        self: &Rc<Self>,
        batch: &Batch,
        rows: Vec<Row>,
        emit: &E,
    ) -> Result<(), Cancelled> {
        let rows = self.without_doubtful(rows, emit).await;
        let groups = batch.separate(rows, self.stage().renderer.fields());
        let mut waiting: Vec<BatchGroup> = groups.into_iter().rev().map(BatchGroup::new).collect();
        while let Some(mut group) = waiting.pop() {
            waiting.extend(group.split(self.max_batch.get()));
            if group.rows.is_empty() {
                continue;
            }
            let answer = self.send_batch(batch, &mut group).await?;
            let is_too_large = answer.is_err() && batch.is_too_large(group.trace.status);
            if is_too_large && group.rows.len() > 1 {
                // Later batches are no larger.
                self.max_batch.set(group.rows.len().div_ceil(2));
                waiting.push(group);
                continue;
            }
            self.share(batch, group, answer, emit).await;
        }
        Ok(())
    }

    /// The rows without those in doubt, which end as failures.
    async fn without_doubtful<E: AsyncFn(Record)>(&self, rows: Vec<Row>, emit: &E) -> Vec<Row> {
        let mut left = Vec::with_capacity(rows.len());
        let method = self.stage().renderer.method().unwrap_or(&Method::POST);
        for row in rows {
            match self.check_doubt(&row, method) {
                Ok(()) => left.push(row),
                Err(failure) => {
                    emit(self.record_of(row, AttemptTrace::default(), Err(failure))).await;
                }
            }
        }
        left
    }

    async fn send_batch(
        &self,
        batch: &Batch,
        group: &mut BatchGroup,
    ) -> Result<Result<BatchAnswer, Failure>, Cancelled> {
        let all = batch.merge(&group.rows);
        let request = self.stage().render(&all).and_then(|request| {
            let cost = self.stage().cost(&all, &request)?;
            Ok((request, cost))
        });
        let (request, cost) = match request {
            Ok(request) => request,
            Err(failure) => return Ok(Err(failure)),
        };
        let rows = &group.rows;
        let answer =
            self.requests.exchange_with_intent(&request, &cost, rows, &mut group.trace).await?;
        Ok(answer.and_then(|answer| {
            let context = self.stage().read_context(&answer, request.uri(), None);
            let parts = self.parts(batch, &answer.body, &context);
            let items = parts.inspect_err(|_| group.trace.keep_all(&answer.body, &context))?;
            Ok(BatchAnswer { answer, url: request.uri().clone(), items })
        }))
    }

    fn parts(
        &self,
        batch: &Batch,
        body: &[u8],
        context: &AnswerContext<'_>,
    ) -> Result<KeyedItems, Failure> {
        let body = Document::new(body, context)?;
        self.check_time()?;
        let items = match &self.stage().each {
            Some(each) => each.items(&body, context)?,
            None => Vec::new(),
        };
        batch.group(items, context)
    }

    async fn share<E: AsyncFn(Record)>(
        &self,
        batch: &Batch,
        mut group: BatchGroup,
        answer: Result<BatchAnswer, Failure>,
        emit: &E,
    ) {
        let (items, head) = match answer {
            Ok(BatchAnswer { answer, url, items }) => {
                let shares = batch.assign(&group.rows, items);
                self.warn_of_unmatched(&group.rows, &shares.unmatched);
                (shares.items, Some((answer, url)))
            }
            Err(failure) => (vec![Err(failure); group.rows.len()], None),
        };
        for (row, item) in group.rows.into_iter().zip(items) {
            let shared = group.trace.without_arrivals();
            let arrived = std::mem::replace(&mut group.trace.arrived, shared.arrived.clone());
            // The answer to all rows stands in the first one's record.
            let said = group.trace.said.take();
            let trace = AttemptTrace { arrived, said, ..shared };
            let context = head.as_ref().map(|(answer, url)| answer.context(url));
            let record = match item {
                Ok(item) => self.record(row, trace, &item, context.unwrap_or_default().of_item()),
                Err(failure) => self.record_of(row, trace, Err(failure)),
            };
            emit(record).await;
        }
    }

    fn warn_of_unmatched(&self, rows: &[Row], unmatched: &[Bytes]) {
        let (Some(row), Some(item)) = (rows.first(), unmatched.first()) else {
            return;
        };
        let example = || {
            let item: String = String::from_utf8_lossy(item).chars().take(100).collect();
            format!("{item} in the batch of row {}", row.number)
        };
        self.warn("items of batches that no row took", unmatched.len() as u64, example);
    }
}

impl BatchGroup {
    fn new(rows: Vec<Row>) -> BatchGroup {
        BatchGroup { rows, trace: AttemptTrace::default() }
    }

    /// Keeps this number of rows, and gives the rest.
    fn split(&mut self, most: usize) -> Option<BatchGroup> {
        (self.rows.len() > most).then(|| BatchGroup {
            rows: self.rows.split_off(most),
            trace: self.trace.without_arrivals(),
        })
    }
}
