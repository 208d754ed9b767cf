//! The ways of rows and records between threads: a worker's inbox with the rows of a stage,
//! the exit by which the stage's records go to the writer or, as rows, to the next stage,
//! and the outbox that hands records to the writer in batches.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::context::RunContext;
use super::room::RoomGate;
use crate::plan::{Plan, Stage};
use crate::record::Record;
use crate::row::Row;
use crate::secret::Secrets;

/// Time for which a batch waits for rows that the stage before has yet to make.
const BATCH_TIMEOUT: Duration = Duration::from_millis(500);

/// Length of a channel of rows, in the number of rows that a worker takes at a time.
const CHUNKS_AHEAD: usize = 16;

/// Records that travel together.
pub type OutboxBatch = Vec<Record>;

/// Number of batches that may wait for the writer: few, as all of them must still fit on a
/// disk that turns out to be full.
pub const BATCHES: usize = 2;

/// Number of records of a full batch.
pub const FULL: usize = 128;

/// Maximum time for which a record waits for its batch to become full.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// Maximum time for which a record of several requests waits for its batch to become full:
/// all of them are repeated if the process dies before it is written.
const MAX_WAIT_OF_PARTS: Duration = Duration::from_millis(5);

/// The channels of a stage: from the stage before it, and to the stage after it. Both are
/// bounded, so a stage that runs ahead waits for the one behind it. As the last stage
/// waits for the writer alone, all stages come to their end.
#[derive(Clone)]
pub struct StageChannels {
    pub rows: Receiver<Row>,
    pub next: Option<Sender<Row>>,
    /// Held while a batch is filled: two half batches would wait for each other's rows.
    pub batch_turn: Arc<Mutex<()>>,
    /// Time for which a batch waits to become full, if not until the rows end.
    pub batch_timeout: Option<Duration>,
}

/// The exit of a stage. A record that goes to the writer is without secrets; a row that
/// goes to the next stage is as the server has sent it.
pub struct StageExit {
    records: Rc<Outbox>,
    next: Option<NextStage>,
    /// The secrets that a record may hold.
    secrets: Option<Secrets>,
    /// The names of the values that earlier stages have put into the rows.
    earlier: Vec<String>,
}

struct NextStage {
    names: Vec<String>,
    to: Sender<Row>,
}

/// All channels of a run.
pub struct RunChannels {
    pub to_workers: Sender<Row>,
    /// The channels of each stage of the plan, of which the first has the reader's rows.
    pub stages: Vec<StageChannels>,
    pub to_writer: Sender<OutboxBatch>,
    pub records: Receiver<OutboxBatch>,
}

impl RunChannels {
    /// The channels of a run of this plan.
    pub fn new(plan: &Plan) -> RunChannels {
        let (to_workers, rows) = async_channel::bounded(CHUNKS_AHEAD * plan.first().chunk);
        // The rows of a queue may pause, and the last ones of a job fill no batch.
        let batch_timeout = plan.output.is_of_queue().then_some(BATCH_TIMEOUT);
        let mut stages = vec![StageChannels { batch_timeout, ..StageChannels::of(rows) }];
        for stage in &plan.stages[1..] {
            let (next, rows) = async_channel::bounded(rows_ahead(plan, stage));
            if let Some(before) = stages.last_mut() {
                before.next = Some(next);
            }
            let batch_timeout = Some(BATCH_TIMEOUT);
            stages.push(StageChannels { batch_timeout, ..StageChannels::of(rows) });
        }
        let (to_writer, records) = async_channel::bounded(BATCHES);
        RunChannels { to_workers, stages, to_writer, records }
    }
}

/// Maximum number of rows that wait for a stage after the first one: twice as many as it
/// has in flight, since the requests that made them are repeated if the process dies.
fn rows_ahead(plan: &Plan, stage: &Stage) -> usize {
    let of_request = if stage.batch.is_some() { stage.chunk } else { 1 };
    let in_flight = plan.workers.count * stage.in_flight * of_request;
    (2 * in_flight).min(CHUNKS_AHEAD * stage.chunk)
}

impl StageChannels {
    /// The channels of the last stage, with these rows.
    pub fn of(rows: Receiver<Row>) -> StageChannels {
        StageChannels { rows, next: None, batch_turn: Arc::default(), batch_timeout: None }
    }
}

impl StageExit {
    /// The exit of the stage with this index.
    pub fn new(
        plan: &Plan,
        stage_index: usize,
        next: Option<Sender<Row>>,
        records: Rc<Outbox>,
    ) -> StageExit {
        let names = |stage: &Stage| stage.extractor.names();
        StageExit {
            records,
            next: next.map(|to| NextStage { names: names(&plan.stages[stage_index]), to }),
            secrets: plan.secrets_of_records().cloned(),
            earlier: earlier_names(&plan.stages[..=stage_index]),
        }
    }

    /// Whether a record is a row of the next stage.
    pub fn goes_on(&self, record: &Record) -> bool {
        self.next.as_ref().is_some_and(|next| next.takes(record))
    }

    /// Removes the secrets from a record, unless it goes on to the next stage.
    pub fn hide_secrets(&self, record: &mut Record) {
        if let Some(secrets) = &self.secrets
            && !self.goes_on(record)
        {
            let of_row = record.row.jar.secrets().cloned();
            hide(secrets, record, &self.earlier);
            if let Some(secrets) = of_row {
                hide(&secrets, record, &self.earlier);
            }
        }
    }

    /// Takes a record if nothing has to be waited for; else it comes back.
    pub fn try_put(&self, record: Record) -> Option<Record> {
        match self.next {
            Some(_) => Some(record),
            None => self.records.try_put(record),
        }
    }

    /// Takes a record; waits while the next stage or the writer is behind.
    pub async fn put(&self, record: Record) {
        let Some(next) = &self.next else {
            return self.records.put(record).await;
        };
        if next.takes(&record) {
            // Without receivers the run is ending, and the row has no record: the next
            // run takes it up.
            let _ = next.to.send(next.row(record)).await;
        } else {
            self.records.put(ended_early(record)).await
        }
    }
}

/// The names of the values that these stages have put into a row before the values of the last
/// one.
fn earlier_names(stages: &[Stage]) -> Vec<String> {
    let last = stages.last().map(|stage| stage.extractor.names()).unwrap_or_default();
    let names = stages.iter().flat_map(Stage::names);
    names.filter(|name| !last.contains(name)).collect()
}

impl NextStage {
    /// Whether a record is a row of the next stage: a whole result is.
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

/// Removes secrets from all that servers said. The fields of the input stay.
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
    record.warning = record.warning.take().map(|warning| secrets.hide(warning));
    secrets.hide_in_values(&mut record.kept);
    record.body = record.body.take().map(|body| secrets.hide_in_body(body));
    if let Some(saved) = &mut record.saved {
        saved.path = secrets.hide(std::mem::take(&mut saved.path));
        saved.content_type = saved.content_type.take().map(|it| secrets.hide(it));
    }
}

/// A record that ends before the last stage: it has none of the last stage's values.
fn ended_early(record: Record) -> Record {
    let body = record.body.filter(|_| record.outcome.is_err());
    Record { outcome: record.outcome.map(|_| Vec::new()), kept: Vec::new(), body, ..record }
}

/// The rows that a worker has taken and not begun yet: some at a time, since to wake
/// another thread costs more than a request's own work.
pub struct Inbox {
    taken: RefCell<VecDeque<Row>>,
    stage: StageChannels,
    /// Maximum number of rows that it takes at a time.
    chunk: usize,
    /// Held while rows are waited for, so that no worker hoards them.
    refill_turn: Mutex<()>,
    /// The run whose gate admits the rows, if one does.
    gated: Option<Arc<RunContext>>,
}

impl Inbox {
    /// An empty inbox of a stage.
    pub fn new(stage: StageChannels, chunk: usize, gated: Option<Arc<RunContext>>) -> Inbox {
        Inbox { taken: RefCell::default(), stage, chunk, refill_turn: Mutex::default(), gated }
    }

    /// Whether no row may be taken now, for want of room on the output's disk.
    pub fn is_shut(&self) -> bool {
        self.room().is_some_and(RoomGate::is_shut)
    }

    fn room(&self) -> Option<&RoomGate> {
        self.gated.as_ref()?.room.as_ref()
    }

    /// The rows of the next batch, if there are any: a full batch, unless the rows end or take
    /// too long.
    pub async fn batch(&self) -> Option<Vec<Row>> {
        let _turn = self.stage.batch_turn.lock().await;
        if let Some(room) = self.room() {
            let taken = room.take(1).await;
            room.give_back(taken);
        }
        let mut rows = vec![self.stage.rows.recv().await.ok()?];
        let timeout = self.stage.batch_timeout;
        let end = timeout.map(|timeout| Instant::now() + timeout);
        while rows.len() < self.chunk {
            match next_until(&self.stage.rows, end).await {
                Some(row) => rows.push(row),
                None => break,
            }
        }
        if let Some(room) = self.room() {
            room.take_anyway(rows.len());
        }
        Some(rows)
    }

    /// The next row, if it is here already.
    pub fn take(&self) -> Option<Row> {
        self.taken.borrow_mut().pop_front()
    }

    /// The next row, if it need not be waited for.
    pub fn try_next(&self) -> Option<Row> {
        if let Some(row) = self.take() {
            return Some(row);
        }
        if self.is_shut() {
            return None;
        }
        let row = self.stage.rows.try_recv().ok()?;
        if let Some(room) = self.room() {
            room.take_anyway(1);
        }
        Some(row)
    }

    /// The next row; none after the last.
    pub async fn next(&self) -> Option<Row> {
        loop {
            if let Some(row) = self.take() {
                return Some(row);
            }
            let _turn = self.refill_turn.lock().await;
            if self.taken.borrow().is_empty() {
                let most = match self.room() {
                    Some(room) => room.take(self.chunk).await,
                    None => self.chunk,
                };
                let mut spare = SpareRoom { room: self.room(), rows: most };
                let row = self.stage.rows.recv().await.ok();
                let mut taken = self.taken.borrow_mut();
                if let Some(row) = row {
                    taken.push_back(row);
                    taken.extend(self.more(most));
                }
                spare.rows -= taken.len();
                if taken.is_empty() {
                    return None;
                }
            }
        }
    }

    /// More rows that wait already: no more than a share of them, so that the other
    /// workers have work until the end.
    fn more(&self, most: usize) -> impl Iterator<Item = Row> {
        let rows = &self.stage.rows;
        let share = rows.len() / (2 * rows.receiver_count().max(1));
        let next = move |_| rows.try_recv().ok();
        (1..most.min(share)).map_while(next)
    }
}

/// Rows that the gate has admitted and that have not come: dropped, it gives them back.
struct SpareRoom<'a> {
    room: Option<&'a RoomGate>,
    rows: usize,
}

impl Drop for SpareRoom<'_> {
    fn drop(&mut self) {
        if let Some(room) = self.room {
            room.give_back(self.rows);
        }
    }
}

async fn next_until(rows: &Receiver<Row>, end: Option<Instant>) -> Option<Row> {
    match end {
        None => rows.recv().await.ok(),
        Some(end) => timeout_at(end, rows.recv()).await.ok()?.ok(),
    }
}

/// Gathers records until there are enough, or the first has waited for long enough.
pub struct Outbox {
    waiting: RefCell<OutboxBatch>,
    timer: RefCell<Option<AbortHandle>>,
    /// Maximum time for which a record waits.
    max_wait: Duration,
    /// Whether no record waits while the writer has nothing to do.
    is_eager: bool,
    /// One permit, held while a batch is handed over, so that no other is filled meanwhile. To look
    /// whether it is free costs less than to try a lock.
    turn: Semaphore,
    to_writer: Sender<OutboxBatch>,
}

impl Outbox {
    /// An empty outbox for the records of this plan.
    pub fn new(plan: &Plan, to_writer: Sender<OutboxBatch>) -> Rc<Outbox> {
        let of_parts = plan.stages.len() > 1 || plan.stages.iter().any(Stage::has_parts);
        Rc::new(Outbox {
            waiting: RefCell::default(),
            timer: RefCell::default(),
            max_wait: if of_parts { MAX_WAIT_OF_PARTS } else { MAX_WAIT },
            is_eager: of_parts,
            turn: Semaphore::new(1),
            to_writer,
        })
    }

    /// Takes a record if nothing has to be waited for; else it comes back.
    pub fn try_put(self: &Rc<Self>, record: Record) -> Option<Record> {
        let mut waiting = self.waiting.borrow_mut();
        if self.is_due(waiting.len() + 1) || self.turn.available_permits() == 0 {
            return Some(record);
        }
        waiting.push(record);
        if waiting.len() == 1 {
            self.start_timer();
        }
        None
    }

    /// Takes a record; waits if the writer is behind.
    pub async fn put(self: &Rc<Self>, record: Record) {
        let _turn = self.turn.acquire().await;
        let waiting = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.push(record);
            waiting.len()
        };
        if self.is_due(waiting) {
            self.send().await;
        } else if waiting == 1 {
            self.start_timer();
        }
    }

    /// Whether this number of records goes to the writer now.
    fn is_due(&self, records: usize) -> bool {
        records >= FULL || (self.is_eager && self.to_writer.is_empty())
    }

    /// Hands over the rest.
    pub async fn close(&self) {
        let _turn = self.turn.acquire().await;
        self.send().await;
    }

    async fn send(&self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        // The next batch may become as large, and grows in steps otherwise, with copies.
        let room = Vec::with_capacity(self.waiting.borrow().len());
        let batch = self.waiting.replace(room);
        if !batch.is_empty() {
            // Without a writer the run is ending, and nothing more can be kept.
            let _ = self.to_writer.send(batch).await;
        }
    }

    fn start_timer(self: &Rc<Self>) {
        let outbox = self.clone();
        let timer = tokio::task::spawn_local(async move {
            tokio::time::sleep(outbox.max_wait).await;
            // The timer must not abort itself while it sends.
            outbox.timer.take();
            outbox.close().await;
        });
        self.timer.replace(Some(timer.abort_handle()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64) -> Row {
        Row { number, ..Row::default() }
    }

    fn stage() -> (Sender<Row>, StageChannels) {
        let (to_workers, rows) = async_channel::bounded(100);
        (to_workers, StageChannels::of(rows))
    }

    #[tokio::test]
    async fn all_rows_come_once_whoever_asks() {
        let (to_workers, stage) = stage();
        let (one, other) = (Inbox::new(stage.clone(), 4, None), Inbox::new(stage, 4, None));
        for number in 0..50 {
            to_workers.send(row(number)).await.unwrap();
        }
        drop(to_workers);
        let take = async |inbox: &Inbox| {
            let mut taken = Vec::new();
            while let Some(row) = inbox.next().await {
                taken.push(row.number);
                tokio::task::yield_now().await;
            }
            taken
        };
        let taken = tokio::join!(take(&one), take(&other), take(&one));
        assert!(!taken.1.is_empty(), "nobody takes everything");
        let mut all = [taken.0, taken.1, taken.2].concat();
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_full_unless_its_rows_take_too_long_or_end() {
        let (to_workers, stage) = stage();
        let hasty = StageChannels { batch_timeout: Some(Duration::from_secs(1)), ..stage.clone() };
        let (patient, hasty) = (Inbox::new(stage, 3, None), Inbox::new(hasty, 3, None));
        for number in 0..7 {
            to_workers.send(row(number)).await.unwrap();
        }
        let size = async |inbox: &Inbox| inbox.batch().await.map(|rows| rows.len());
        assert_eq!(size(&patient).await, Some(3));
        assert_eq!(size(&hasty).await, Some(3));
        assert_eq!(size(&hasty).await, Some(1));
        let rest = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            to_workers.send(row(7)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(9)).await;
            to_workers.close();
        };
        assert_eq!(tokio::join!(size(&patient), rest).0, Some(1));
        assert_eq!(size(&patient).await, None);
    }
}
