//! Where a step's records go: to the writer, or as rows to the next step.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use tokio::sync::Mutex;

use super::outbox::Outbox;
use crate::plan::Plan;
use crate::record::Record;
use crate::row::Row;
use crate::secret::Secrets;

/// How long a batch waits for rows that the step before has yet to make.
const PATIENCE: Duration = Duration::from_millis(500);

/// As many times as many rows as a worker takes at a time may wait for the workers.
pub const AHEAD: usize = 16;

/// One step's channels: from the one before it, and to the one after it. Both are
/// bounded, so a step that runs ahead waits for the one behind it; as that one
/// waits for nobody but the writer, all of them come to their end.
#[derive(Clone)]
pub struct ChainStage {
    pub rows: Receiver<Row>,
    pub next: Option<Sender<Row>>,
    /// Held by the one who gathers a batch: two would wait for each other's rows.
    pub gathering: Arc<Mutex<()>>,
    /// How long a batch waits to become full, if not until the rows end.
    pub patience: Option<Duration>,
}

/// The way out of a step. What goes to the writer is without secrets; what goes to the
/// next step is as the server has sent it.
pub struct ChainExit {
    records: Rc<Outbox>,
    next: Option<Next>,
    secrets: Secrets,
    /// The values that earlier steps have put into the rows.
    earlier: Vec<String>,
}

struct Next {
    names: Vec<String>,
    to: Sender<Row>,
}

/// A stage for each step of the plan; the first one reads these rows.
pub fn stages(plan: &Plan, rows: Receiver<Row>) -> Vec<ChainStage> {
    let mut stages = vec![ChainStage::of(rows)];
    for stage in &plan.stages[1..] {
        let (next, rows) = async_channel::bounded(AHEAD * stage.chunk);
        if let Some(before) = stages.last_mut() {
            before.next = Some(next);
        }
        stages.push(ChainStage {
            patience: Some(PATIENCE),
            ..ChainStage::of(rows)
        });
    }
    stages
}

impl ChainStage {
    /// The last one, with these rows.
    pub fn of(rows: Receiver<Row>) -> ChainStage {
        ChainStage {
            rows,
            next: None,
            gathering: Arc::default(),
            patience: None,
        }
    }
}

impl ChainExit {
    /// Of the step at this place.
    pub fn new(
        plan: &Plan,
        at: usize,
        next: Option<Sender<Row>>,
        records: Rc<Outbox>,
    ) -> ChainExit {
        let next = next.map(|to| Next {
            names: plan.stages[at].extractor.names(),
            to,
        });
        ChainExit {
            records,
            next,
            secrets: plan.secrets.clone(),
            earlier: plan.stages[..at]
                .iter()
                .flat_map(|earlier| earlier.extractor.names())
                .collect(),
        }
    }

    /// The record as it is written, if it is one of the last step's or a failure.
    pub fn shown(&self, mut record: Record) -> Record {
        let goes_on = self.next.as_ref().is_some_and(|next| next.takes(&record));
        if !goes_on && !self.secrets.is_empty() {
            hide(&self.secrets, &mut record, &self.earlier);
        }
        record
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
        if next.takes(&record) {
            // Without workers the run is ending, and the row is asked for again.
            let _ = next.to.send(next.row(record)).await;
        } else {
            self.records.put(ended(record)).await
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

/// Takes secrets out of all that the servers said. What the input says stays.
fn hide(secrets: &Secrets, record: &mut Record, earlier: &[String]) {
    for name in earlier {
        if let Some(value) = record.row.fields.get_mut(name) {
            secrets.hide_in_value(value);
        }
    }
    match &mut record.outcome {
        Ok(values) => secrets.hide_in_values(values),
        Err(failure) => failure.detail = secrets.hide(std::mem::take(&mut failure.detail)),
    }
    secrets.hide_in_values(&mut record.kept);
    record.body = record.body.take().map(|body| secrets.hide_in_body(body));
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
