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

/// Batches that may wait for the writer: few, as all of them must still fit on a disk
/// that turns out to be full.
pub const BATCHES: usize = 2;

/// So many records make a batch.
pub const FULL: usize = 128;
/// A record waits no longer than this for others to come along.
const PATIENCE: Duration = Duration::from_millis(50);

/// Gathers records until there are enough, or the first has waited for long enough.
pub struct Outbox {
    waiting: RefCell<OutboxBatch>,
    timer: RefCell<Option<AbortHandle>>,
    /// Held while a batch is handed over, so that nobody fills the next ones meanwhile.
    turn: Mutex<()>,
    to_writer: Sender<OutboxBatch>,
}

impl Outbox {
    /// An empty one.
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

    /// Hands over what is left.
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
            tokio::time::sleep(PATIENCE).await;
            // It must not end itself in the middle of sending.
            outbox.timer.take();
            outbox.close().await;
        });
        self.timer.replace(Some(timer.abort_handle()));
    }
}
