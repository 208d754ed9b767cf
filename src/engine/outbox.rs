//! A worker's finished records on their way to the writer, in batches.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_channel::Sender;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use crate::record::Record;

/// Records that travel together.
pub type OutboxBatch = Vec<Record>;

/// Number of batches that may wait for the writer: few, as all of them must still fit on a
/// disk that turns out to be full.
pub const BATCHES: usize = 2;

/// Number of records of a full batch.
pub const FULL: usize = 128;
/// Maximum time for which a record waits for its batch to become full.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// Gathers records until there are enough, or the first has waited for long enough.
pub struct Outbox {
    waiting: RefCell<OutboxBatch>,
    timer: RefCell<Option<AbortHandle>>,
    /// Held while a batch is handed over, so that no other is filled meanwhile.
    turn: Mutex<()>,
    to_writer: Sender<OutboxBatch>,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(to_writer: Sender<OutboxBatch>) -> Rc<Outbox> {
        Rc::new(Outbox {
            waiting: RefCell::default(),
            timer: RefCell::default(),
            turn: Mutex::default(),
            to_writer,
        })
    }

    /// Takes a record if nothing has to be waited for; else it comes back.
    pub fn try_put(self: &Rc<Self>, record: Record) -> Option<Record> {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() + 1 >= FULL || self.turn.try_lock().is_err() {
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
        let _turn = self.turn.lock().await;
        let waiting = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.push(record);
            waiting.len()
        };
        match waiting {
            enough if enough >= FULL => self.send().await,
            1 => self.start_timer(),
            _ => {}
        }
    }

    /// Hands over the rest.
    pub async fn close(&self) {
        let _turn = self.turn.lock().await;
        self.send().await;
    }

    async fn send(&self) {
        if let Some(timer) = self.timer.take() {
            timer.abort();
        }
        let batch = self.waiting.take();
        if !batch.is_empty() {
            // Without a writer the run is ending, and nothing more can be kept.
            let _ = self.to_writer.send(batch).await;
        }
    }

    fn start_timer(self: &Rc<Self>) {
        let outbox = self.clone();
        let timer = tokio::task::spawn_local(async move {
            tokio::time::sleep(MAX_WAIT).await;
            // The timer must not abort itself while it sends.
            outbox.timer.take();
            outbox.close().await;
        });
        self.timer.replace(Some(timer.abort_handle()));
    }
}
