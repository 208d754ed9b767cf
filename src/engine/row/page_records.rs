//! The pages of a row, and the records that they end in: one for each item, or one for all.

use bytes::Bytes;
use http::Request;
use serde_json::Value;

use super::RowExecutor;
use super::attempt::{AttemptTrace, Cancelled};
use crate::extract::{AnswerContext, Document};
use crate::pages::{self, PageAddress};
use crate::record::{Failure, FailureKind, Record};
use crate::row::{Item, Row};
use crate::send::Answer;
use crate::send::redirect::RedirectTrust;
use crate::sink::{ItemProgress, PageStart};

/// The request of a page.
pub(super) struct PageRequest {
    pub request: Request<Bytes>,
    /// Whether it may carry the job's secrets.
    pub trust: RedirectTrust,
}

/// A page: its request, and the answer to it.
pub(super) struct FetchedPage {
    pub number: u64,
    pub address: PageAddress,
    pub request: Option<PageRequest>,
    pub trace: AttemptTrace,
    pub outcome: Result<ParsedAnswer, Failure>,
}

/// An answer, and its body as jq takes it, where a program reads it.
pub(super) struct ParsedAnswer {
    pub answer: Answer,
    pub body: Option<Document>,
}

/// The contents of one page.
pub(super) enum PageContents {
    /// Its items, if the job has records of items.
    Items(Vec<Bytes>),
    /// Its values otherwise.
    Values(Vec<Value>),
}

/// Makes the records of one row of its pages.
pub(super) struct PageCollector<'a, E> {
    executor: &'a RowExecutor,
    row: Row,
    emit: &'a E,
    /// Attempts that no record counts yet.
    trace: AttemptTrace,
    /// Number of items so far.
    number: u64,
    /// The items that have a record of an earlier run, if the row goes on.
    progress: Option<ItemProgress>,
    /// The record of the latest item, until it is known whether it is the last one.
    pending: Option<Record>,
    /// Without items, the values of all pages so far.
    lists: Vec<Value>,
    /// Why the list ends although its last page names another one.
    pub warning: Option<String>,
}

impl RowExecutor {
    /// What programs can read of a page beside its body, if it has come.
    fn context<'a>(
        &'a self,
        page: &'a FetchedPage,
        row: Option<&'a Row>,
    ) -> Option<AnswerContext<'a>> {
        let read = page.outcome.as_ref().ok()?;
        let PageRequest { request, .. } = page.request.as_ref()?;
        Some(self.stage().read_context(&read.answer, request.uri(), row))
    }
}

impl FetchedPage {
    /// The page as the strategy of pages needs it, to know where the list goes on.
    pub fn as_listed<'a>(
        &'a self,
        row: &'a Row,
        contents: &'a PageContents,
    ) -> Option<pages::Page<'a>> {
        let read = self.outcome.as_ref().ok()?;
        let PageRequest { request, .. } = self.request.as_ref()?;
        Some(pages::Page {
            number: self.number,
            address: &self.address,
            uri: request.uri(),
            headers: &read.answer.headers,
            context: AnswerContext { row: Some(row), ..read.answer.context(request.uri()) },
            body: read.body.as_ref().map(|body| &body.input),
            bytes: &read.answer.body,
            items: contents.items(),
            is_empty: contents.is_empty(),
        })
    }
}

impl PageContents {
    /// The items, if the job has records of items.
    pub fn items(&self) -> Option<&[Bytes]> {
        match self {
            PageContents::Items(items) => Some(items),
            PageContents::Values(_) => None,
        }
    }

    /// Whether the page is empty.
    pub fn is_empty(&self) -> bool {
        match self {
            PageContents::Items(items) => items.is_empty(),
            PageContents::Values(values) => values.iter().all(is_nothing),
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

impl<'a, E: AsyncFn(Record)> PageCollector<'a, E> {
    /// Begins with the first item of the page at which the row goes on.
    pub fn new(
        executor: &'a RowExecutor,
        row: Row,
        start: Option<&PageStart>,
        emit: &'a E,
    ) -> PageCollector<'a, E> {
        let output = &executor.requests.context.plan.output;
        let progress = output.progress(&row).filter(|_| executor.stage().each.is_some());
        PageCollector {
            number: start.map_or(0, |start| start.item),
            progress: progress.cloned(),
            executor,
            row,
            emit,
            trace: AttemptTrace::default(),
            pending: None,
            lists: Vec::new(),
            warning: None,
        }
    }

    pub fn row(&self) -> &Row {
        &self.row
    }

    /// Number of the next item.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether an earlier run has found the last item, and no item up to it is missing.
    pub fn is_complete(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.has_all_from(self.number))
    }

    /// Counts the attempts of a page, and ignores its contents.
    pub fn add_attempts(&mut self, page: &FetchedPage) {
        self.trace.add(&page.trace);
    }

    /// Counts the attempts of a page, and gives its contents.
    pub fn contents(&mut self, page: &FetchedPage) -> Result<PageContents, Failure> {
        self.add_attempts(page);
        let read = page.outcome.as_ref().map_err(Clone::clone)?;
        let context = self.executor.context(page, Some(&self.row)).unwrap_or_default();
        let contents = match self.executor.stage().each.as_ref().zip(read.body.as_ref()) {
            Some((each, body)) => {
                let items = self.executor.check_time().and_then(|()| match page.number {
                    0 => each.items(body, &context),
                    _ => each.items_of_later_page(body, &context),
                });
                items.map(PageContents::Items)
            }
            None => {
                let values = self.executor.values(&read.answer.body, &context);
                values.map(PageContents::Values)
            }
        };
        contents.inspect_err(|_| self.trace.keep_all(&read.answer.body, &context))
    }

    /// Adds the contents of a page.
    pub async fn take(&mut self, contents: PageContents, page: &FetchedPage) {
        match contents {
            PageContents::Items(items) => {
                for item in items {
                    self.item(item, page).await;
                }
            }
            PageContents::Values(values) => self.join(values),
        }
    }

    async fn item(&mut self, item: Bytes, page: &FetchedPage) {
        if let Some(progress) = &self.progress {
            if progress.last() < Some(self.number) && progress.last().is_some() {
                return;
            }
            if progress.has(self.number) {
                self.number += 1;
                return self.put_before_others().await;
            }
        }
        let trace = self.trace.take();
        let context = self.executor.context(page, None).unwrap_or_default().of_item();
        let record = self.executor.record(self.row.clone(), trace, &item, context);
        self.put(record).await;
    }

    async fn put(&mut self, mut record: Record) {
        record.row.item = Some(Item { number: Some(self.number), last: false });
        self.number += 1;
        if let Some(before) = self.pending.replace(record) {
            (self.emit)(before).await;
        }
    }

    /// Hands on the latest item: others follow it.
    async fn put_before_others(&mut self) {
        if let Some(before) = self.pending.take() {
            (self.emit)(before).await;
        }
    }

    /// Appends the values of a page: lists grow, and any other value becomes an item of a
    /// list.
    fn join(&mut self, values: Vec<Value>) {
        if self.executor.stage().pages.is_none() {
            self.lists = values;
            return;
        }
        self.lists.resize(values.len(), Value::Array(Vec::new()));
        for (list, value) in self.lists.iter_mut().zip(values) {
            let Value::Array(list) = list else { continue };
            match value {
                Value::Array(mut more) => list.append(&mut more),
                Value::Null => {}
                other => list.push(other),
            }
        }
    }

    /// Ends the row after its last page, or with the failure of a page. An answer that says
    /// that there is nothing ends a list that has begun.
    pub async fn end(mut self, outcome: Result<(), Failure>) -> Result<(), Cancelled> {
        let has_begun = self.number > 0 || !self.lists.is_empty();
        let outcome = outcome.or_else(|failure| match failure.kind {
            FailureKind::EndOfPages => Ok(()),
            FailureKind::Missing if has_begun => Ok(()),
            _ => Err(failure),
        });
        self.executor.keep_jobs_of(outcome.as_ref().err());
        if let Some(progress) = self.progress.take() {
            self.end_rest(&progress, outcome).await
        } else if self.executor.stage().each.is_some() {
            self.end_items(outcome).await
        } else {
            let lists = std::mem::take(&mut self.lists);
            let warning = self.warning.take();
            let record = Record { warning, ..self.row_record(outcome, lists) };
            (self.emit)(record).await;
        }
        Ok(())
    }

    /// Ends a row of items. A failure takes the place of the next item; a row without items
    /// has one record.
    async fn end_items(&mut self, outcome: Result<(), Failure>) {
        let none_yet = self.pending.is_none();
        if outcome.is_err() && !none_yet {
            self.executor.keep_page_log();
        }
        if outcome.is_err() || none_yet {
            let record = self.row_record(outcome, Vec::new());
            self.put(record).await;
        }
        let Some(mut last) = self.pending.take() else {
            return;
        };
        let trace = self.trace.take();
        last.attempts += trace.attempts;
        last.arrived.extend(trace.arrived);
        last.warning = self.warning.take();
        last.row.item = Some(Item {
            number: last.row.item.and_then(|item| item.number).filter(|_| !none_yet),
            last: true,
        });
        (self.emit)(last).await;
    }

    /// Ends a row of which an earlier run has some items. A failure has no place among them,
    /// since the items after it may be there already.
    async fn end_rest(&mut self, progress: &ItemProgress, outcome: Result<(), Failure>) {
        let is_last = progress.last().is_none()
            && self.pending.is_some()
            && !progress.has_after(self.number - 1);
        if outcome.is_ok() && is_last {
            return self.end_items(outcome).await;
        }
        self.put_before_others().await;
        let outcome = match outcome {
            Ok(()) if progress.has_all_from(self.number) => return,
            Ok(()) => Err(progress.shrunk(self.number)),
            failed => failed,
        };
        self.executor.keep_page_log();
        let mut record = self.row_record(outcome, Vec::new());
        record.row.item = Some(Item { number: None, last: true });
        (self.emit)(record).await;
    }

    fn row_record(&mut self, outcome: Result<(), Failure>, values: Vec<Value>) -> Record {
        let trace = self.trace.take();
        let (outcome, kept) = match outcome {
            Ok(()) => (Ok(values), Vec::new()),
            Err(failure) => (Err(failure), values),
        };
        Record { kept, ..self.executor.record_of(self.row.clone(), trace, outcome) }
    }
}
