//! A worker's rows, as they come from the reader: in chunks, since waking
//! another thread costs more than a request's own work.

use std::cell::RefCell;

use async_channel::Receiver;
use tokio::sync::Mutex;

use crate::source::Row;

/// Rows that travel together.
pub type Chunk = Vec<Row>;

/// Chunks that may wait for a worker.
pub const CHUNKS: usize = 16;

/// The rows that a worker has taken and not begun yet.
pub struct Inbox {
    rows: RefCell<std::vec::IntoIter<Row>>,
    from_reader: Receiver<Chunk>,
    /// One at a time waits for the reader, so that no worker hoards rows.
    refilling: Mutex<()>,
}

impl Inbox {
    /// An empty one.
    pub fn new(from_reader: Receiver<Chunk>) -> Inbox {
        Inbox {
            rows: RefCell::default(),
            from_reader,
            refilling: Mutex::default(),
        }
    }

    /// The next rows that travel together, if there are any.
    pub async fn chunk(&self) -> Option<Chunk> {
        self.from_reader.recv().await.ok()
    }

    /// The next row, if it is here already.
    pub fn take(&self) -> Option<Row> {
        self.rows.borrow_mut().next()
    }

    /// The next row, if there is one.
    pub async fn next(&self) -> Option<Row> {
        loop {
            if let Some(row) = self.take() {
                return Some(row);
            }
            let _turn = self.refilling.lock().await;
            if self.rows.borrow().len() == 0 {
                let chunk = self.from_reader.recv().await.ok()?;
                self.rows.replace(chunk.into_iter());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_rows_come_once_whoever_asks() {
        let (to_workers, from_reader) = async_channel::bounded(9);
        let inbox = Inbox::new(from_reader);
        for numbers in [0..3, 3..4, 4..9] {
            let chunk = numbers.map(|number| Row {
                number,
                ..Row::default()
            });
            to_workers.send(chunk.collect()).await.unwrap();
        }
        drop(to_workers);
        let take = async || {
            let mut taken = Vec::new();
            while let Some(row) = inbox.next().await {
                taken.push(row.number);
                tokio::task::yield_now().await;
            }
            taken
        };
        let (first, second) = tokio::join!(take(), take());
        let mut all = [first, second].concat();
        all.sort_unstable();
        assert_eq!(all, (0..9).collect::<Vec<_>>());
    }
}
