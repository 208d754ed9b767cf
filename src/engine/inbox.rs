//! A worker's rows, as they come from the reader or the step before: some at a time,
//! since waking another thread costs more than a request's own work.

use std::cell::RefCell;
use std::collections::VecDeque;

use async_channel::Receiver;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::chain::ChainStage;
use crate::row::Row;

/// The rows that a worker has taken and not begun yet.
pub struct Inbox {
    taken: RefCell<VecDeque<Row>>,
    stage: ChainStage,
    /// The most rows that it takes at a time.
    most: usize,
    /// One at a time waits for rows, so that no worker hoards them.
    refilling: Mutex<()>,
}

impl Inbox {
    /// An empty one.
    pub fn new(stage: ChainStage, most: usize) -> Inbox {
        Inbox {
            taken: RefCell::default(),
            stage,
            most,
            refilling: Mutex::default(),
        }
    }

    /// The next rows that travel together, if there are any: so many, or fewer if the
    /// others are the last ones or take too long.
    pub async fn batch(&self) -> Option<Vec<Row>> {
        let _turn = self.stage.gathering.lock().await;
        let mut rows = vec![self.stage.rows.recv().await.ok()?];
        let end = self
            .stage
            .patience
            .map(|patience| Instant::now() + patience);
        while rows.len() < self.most {
            match next_until(&self.stage.rows, end).await {
                Some(row) => rows.push(row),
                None => break,
            }
        }
        Some(rows)
    }

    /// The next row, if it is here already.
    pub fn take(&self) -> Option<Row> {
        self.taken.borrow_mut().pop_front()
    }

    /// The next row, if there is one.
    pub async fn next(&self) -> Option<Row> {
        loop {
            if let Some(row) = self.take() {
                return Some(row);
            }
            let _turn = self.refilling.lock().await;
            if self.taken.borrow().is_empty() {
                let row = self.stage.rows.recv().await.ok()?;
                let mut taken = self.taken.borrow_mut();
                taken.push_back(row);
                taken.extend(self.more());
            }
        }
    }

    /// More rows that wait already: a share of them, so that there is something left
    /// for the other workers, the more so towards the end.
    fn more(&self) -> impl Iterator<Item = Row> {
        let rows = &self.stage.rows;
        let share = rows.len() / (2 * rows.receiver_count().max(1));
        let next = move |_| rows.try_recv().ok();
        (1..self.most.min(share)).map_while(next)
    }
}

async fn next_until(rows: &Receiver<Row>, end: Option<Instant>) -> Option<Row> {
    match end {
        None => rows.recv().await.ok(),
        Some(end) => timeout_at(end, rows.recv()).await.ok()?.ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_channel::Sender;

    use super::*;

    fn row(number: u64) -> Row {
        Row {
            number,
            ..Row::default()
        }
    }

    fn stage() -> (Sender<Row>, ChainStage) {
        let (to_workers, rows) = async_channel::bounded(100);
        (to_workers, ChainStage::of(rows))
    }

    #[tokio::test]
    async fn all_rows_come_once_whoever_asks() {
        let (to_workers, stage) = stage();
        let (one, other) = (Inbox::new(stage.clone(), 4), Inbox::new(stage, 4));
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
        let hasty = ChainStage {
            patience: Some(Duration::from_secs(1)),
            ..stage.clone()
        };
        let (patient, hasty) = (Inbox::new(stage, 3), Inbox::new(hasty, 3));
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
