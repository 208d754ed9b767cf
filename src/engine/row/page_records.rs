//! What the pages of a row come to: a record for each item, or one for all.

use bytes::Bytes;
use serde_json::Value;

use super::RowExecutor;
use super::pages::FetchedPage;
use super::trace::{AttemptTrace, Cancelled};
use crate::record::{Failure, Record};
use crate::row::{Item, Row};

/// What one page has brought.
pub(super) enum PageContents {
    /// Its items, if they are looked for.
    Items(Vec<Bytes>),
    /// Else its values.
    Values(Vec<Value>),
}

/// The records of one row in the making.
pub(super) struct PageCollector<'a, E> {
    executor: &'a RowExecutor,
    row: Row,
    emit: &'a E,
    /// Requests that no record tells of yet.
    trace: AttemptTrace,
    /// Items so far.
    number: u64,
    /// The latest item: whether it is the last one shows when nothing follows.
    held: Option<Record>,
    /// Without items, the values of all pages so far.
    lists: Vec<Value>,
}

impl PageContents {
    /// The items, if they are looked for.
    pub fn items(&self) -> Option<&[Bytes]> {
        match self {
            PageContents::Items(items) => Some(items),
            PageContents::Values(_) => None,
        }
    }

    /// Whether there is nothing in it.
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
    pub fn new(executor: &'a RowExecutor, row: Row, emit: &'a E) -> PageCollector<'a, E> {
        PageCollector {
            executor,
            row,
            emit,
            trace: AttemptTrace::default(),
            number: 0,
            held: None,
            lists: Vec::new(),
        }
    }

    pub fn row(&self) -> &Row {
        &self.row
    }

    /// Takes in that a page was asked for, and nothing of what it says.
    pub fn hear(&mut self, page: &FetchedPage) {
        self.trace.add(&page.trace);
    }

    /// Takes in that a page was asked for; gives what it has brought.
    pub fn brought(&mut self, page: &FetchedPage) -> Result<PageContents, Failure> {
        self.hear(page);
        let read = page.outcome.as_ref().map_err(Clone::clone)?;
        match self.executor.stage().each.as_ref().zip(read.body.as_ref()) {
            Some((each, body)) => {
                self.executor.check_time()?;
                each.items(body).map(PageContents::Items)
            }
            None => self
                .executor
                .values(&read.answer.body)
                .map(PageContents::Values),
        }
    }

    /// Takes in what a page has brought.
    pub async fn take(&mut self, brought: PageContents) {
        match brought {
            PageContents::Items(items) => {
                for item in items {
                    self.item(item).await;
                }
            }
            PageContents::Values(values) => self.join(values),
        }
    }

    async fn item(&mut self, item: Bytes) {
        let trace = self.trace.take();
        let record = self.executor.record(self.row.clone(), trace, Ok(item));
        self.put(record).await;
    }

    async fn put(&mut self, mut record: Record) {
        record.row.item = Some(Item {
            number: Some(self.number),
            last: false,
        });
        self.number += 1;
        if let Some(before) = self.held.replace(record) {
            (self.emit)(before).await;
        }
    }

    /// Lists grow longer; anything else becomes an item of a list.
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

    /// There is no page any more, or the next one has failed.
    pub async fn end(mut self, outcome: Result<(), Failure>) -> Result<(), Cancelled> {
        if self.executor.stage().each.is_some() {
            self.end_items(outcome).await
        } else {
            let lists = std::mem::take(&mut self.lists);
            let record = self.of_row(outcome, lists);
            (self.emit)(record).await;
        }
        Ok(())
    }

    /// A failure stands where the next item would; a row without any has one record.
    async fn end_items(&mut self, outcome: Result<(), Failure>) {
        let none_yet = self.held.is_none();
        if outcome.is_err() || none_yet {
            let record = self.of_row(outcome, Vec::new());
            self.put(record).await;
        }
        let Some(mut last) = self.held.take() else {
            return;
        };
        let trace = self.trace.take();
        last.attempts += trace.attempts;
        last.arrived.extend(trace.arrived);
        last.row.item = Some(Item {
            number: last
                .row
                .item
                .and_then(|item| item.number)
                .filter(|_| !none_yet),
            last: true,
        });
        (self.emit)(last).await;
    }

    fn of_row(&mut self, outcome: Result<(), Failure>, values: Vec<Value>) -> Record {
        let trace = self.trace.take();
        let (outcome, kept) = match outcome {
            Ok(()) => (Ok(values), Vec::new()),
            Err(failure) => (Err(failure), values),
        };
        Record {
            kept,
            ..self.executor.record_of(self.row.clone(), trace, outcome)
        }
    }
}
