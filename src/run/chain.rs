//! Where a step's records go: to the writer, or as rows to the next step.

use std::rc::Rc;
use std::time::Duration;

use async_channel::{Receiver, Sender};

use super::inbox::Chunk;
use super::outbox::Outbox;
use crate::plan::Plan;
use crate::record::Record;
use crate::source::Row;

/// How long a batch of rows waits to become full.
const PATIENCE: Duration = Duration::from_millis(500);

/// One step's channels: from the one before it, and to the one after it. Both are
/// bounded, so a step that runs ahead waits for the one behind it; as that one
/// waits for nobody but the writer, all of them come to their end.
#[derive(Clone)]
pub struct Stage {
    pub rows: Receiver<Chunk>,
    pub next: Option<Sender<Chunk>>,
}

/// The way out of a step.
pub struct Exit {
    records: Rc<Outbox<Record>>,
    next: Option<Next>,
}

struct Next {
    names: Vec<String>,
    rows: Rc<Outbox<Row>>,
}

/// A stage for each step of the plan; the first one reads these rows.
pub fn stages(plan: &Plan, rows: Receiver<Chunk>) -> Vec<Stage> {
    let mut stages = vec![Stage { rows, next: None }];
    for _ in &plan.later {
        let (next, rows) = async_channel::bounded(super::inbox::CHUNKS);
        if let Some(before) = stages.last_mut() {
            before.next = Some(next);
        }
        stages.push(Stage { rows, next: None });
    }
    stages
}

impl Exit {
    /// Of the step at this place.
    pub fn new(
        plan: &Plan,
        at: usize,
        next: Option<Sender<Chunk>>,
        records: Rc<Outbox<Record>>,
    ) -> Exit {
        let next = next.zip(plan.later.get(at)).map(|(to, later)| Next {
            names: plan.step_at(at).extractor.names(),
            rows: Outbox::new(to, later.crew.chunk, PATIENCE),
        });
        Exit { records, next }
    }

    /// Takes a record if nothing has to be waited for; else it comes back.
    pub fn try_put(&self, record: Record) -> Option<Record> {
        match self.next {
            Some(_) => Some(record),
            None => self.records.try_put(record),
        }
    }

    /// Takes a record; waits if whoever is next is behind.
    pub async fn put(&self, record: Record) {
        let Some(next) = &self.next else {
            return self.records.put(record).await;
        };
        match next.takes(&record) {
            true => next.rows.put(next.row(record)).await,
            false => self.records.put(ended(record)).await,
        }
    }

    /// Hands over what is left.
    pub async fn close(&self) {
        if let Some(next) = &self.next {
            next.rows.close().await;
        }
    }
}

impl Next {
    /// A result is a row of the next step; what failed or came to nothing is not.
    fn takes(&self, record: &Record) -> bool {
        let values = record.outcome.as_ref();
        values.is_ok_and(|values| values.len() == self.names.len())
    }

    fn row(&self, record: Record) -> Row {
        let mut row = record.row;
        let values = record.outcome.unwrap_or_default();
        row.fields.extend(self.names.iter().cloned().zip(values));
        row
    }
}

/// A row that ends before the last step has none of that one's values.
fn ended(record: Record) -> Record {
    Record {
        outcome: record.outcome.map(|_| Vec::new()),
        kept: Vec::new(),
        body: None,
        ..record
    }
}
