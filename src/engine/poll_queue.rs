//! The rows of one worker and one stage whose jobs are not done: each waits for the time of
//! its next poll, and holds no request meanwhile.

use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::channels::Inbox;
use crate::row::Row;

/// Rows that wait for their next poll, the earliest first.
pub struct PollQueue<T> {
    waiting: RefCell<BinaryHeap<Reverse<WaitingJob<T>>>>,
    /// Maximum number of rows; more are not begun.
    max: usize,
    /// Whether no new row will come.
    has_all_rows: Cell<bool>,
    /// Whether a new row is next, if there is one: polls and new rows take turns.
    is_row_next: Cell<bool>,
    changed: Notify,
}

/// The next thing to do for a row.
pub enum NextTask<T> {
    /// Submit its job.
    Submit(Row),
    /// Poll it.
    Poll(Box<T>),
}

struct WaitingJob<T> {
    due: Instant,
    job: Box<T>,
}

impl<T> PollQueue<T> {
    /// An empty queue for this number of rows.
    pub fn new(max: usize) -> PollQueue<T> {
        PollQueue {
            waiting: RefCell::default(),
            max,
            has_all_rows: Cell::new(false),
            is_row_next: Cell::new(false),
            changed: Notify::new(),
        }
    }

    /// Adds a row that is polled next at this time.
    pub fn push(&self, due: Instant, job: Box<T>) {
        let is_first = self.due().is_none_or(|first| due < first);
        self.waiting.borrow_mut().push(Reverse(WaitingJob { due, job }));
        if is_first {
            self.changed.notify_one();
        }
    }

    /// The next task; none once all rows have come and none waits here.
    pub async fn next(&self, inbox: &Inbox) -> Option<NextTask<T>> {
        loop {
            if self.is_row_next.replace(false)
                && let Some(row) = self.try_row(inbox)
            {
                return Some(NextTask::Submit(row));
            }
            if let Some(job) = self.try_due() {
                self.is_row_next.set(true);
                return Some(NextTask::Poll(job));
            }
            if self.has_all_rows.get() && self.is_empty() {
                return None;
            }
            tokio::select! {
                row = inbox.next(), if self.takes_rows() => match row {
                    Some(row) => return Some(NextTask::Submit(row)),
                    None => self.has_all_rows.set(true),
                },
                () = self.wait() => {}
            }
        }
    }

    /// Number of rows that wait.
    pub fn len(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Whether no row waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Takes all rows out.
    pub fn drain(&self) -> impl Iterator<Item = Box<T>> {
        let waiting = self.waiting.take();
        waiting.into_iter().map(|Reverse(waiting)| waiting.job)
    }

    fn takes_rows(&self) -> bool {
        !self.has_all_rows.get() && self.len() < self.max
    }

    fn try_row(&self, inbox: &Inbox) -> Option<Row> {
        if self.takes_rows() { inbox.try_next() } else { None }
    }

    fn try_due(&self) -> Option<Box<T>> {
        let is_due = self.due()? <= Instant::now();
        let first = if is_due { self.waiting.borrow_mut().pop() } else { None };
        first.map(|Reverse(waiting)| waiting.job)
    }

    fn due(&self) -> Option<Instant> {
        self.waiting.borrow().peek().map(|Reverse(first)| first.due)
    }

    /// Returns when the first row is due, or may be another one.
    async fn wait(&self) {
        let changed = self.changed.notified();
        match self.due() {
            None => changed.await,
            Some(due) => tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = changed => {}
            },
        }
    }
}

impl<T> Ord for WaitingJob<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due.cmp(&other.due)
    }
}

impl<T> PartialOrd for WaitingJob<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for WaitingJob<T> {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl<T> Eq for WaitingJob<T> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::channels::StageChannels;
    use super::*;

    fn inbox(rows: u64) -> Inbox {
        let (to_workers, inbox) = async_channel::bounded(100);
        for number in 0..rows {
            to_workers.try_send(Row { number, ..Row::default() }).unwrap();
        }
        Inbox::new(StageChannels::of(inbox), 4, None)
    }

    /// The tasks in their order: `row 0` or the name of a job.
    async fn tasks(queue: &PollQueue<&'static str>, inbox: &Inbox, count: usize) -> Vec<String> {
        let mut tasks = Vec::new();
        while tasks.len() < count
            && let Some(task) = queue.next(inbox).await
        {
            tasks.push(match task {
                NextTask::Submit(row) => format!("row {}", row.number),
                NextTask::Poll(job) => (*job).to_owned(),
            });
        }
        tasks
    }

    #[tokio::test(start_paused = true)]
    async fn polls_that_are_due_and_new_rows_take_turns() {
        let queue = PollQueue::new(9);
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        for (due, job) in [(later, "c"), (now, "a"), (now, "b")] {
            queue.push(due, Box::new(job));
        }
        let inbox = inbox(3);
        let all = tasks(&queue, &inbox, 9).await;
        let (mut polls, mut rows) = (Vec::new(), Vec::new());
        all.iter().for_each(|it| {
            if it.starts_with("row") { rows.push(&**it) } else { polls.push(&**it) }
        });
        assert_eq!(rows, ["row 0", "row 1", "row 2"], "{all:?}");
        assert_eq!(polls[2], "c", "{all:?}");
        assert!(!all[0].starts_with("row") && all[1].starts_with("row"), "{all:?}");
        assert_eq!((Instant::now(), all.len()), (later, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn no_row_is_begun_while_the_queue_is_full() {
        let queue = PollQueue::new(1);
        let due = Instant::now() + Duration::from_secs(60);
        queue.push(due, Box::new("a"));
        let inbox = inbox(1);
        assert_eq!(tasks(&queue, &inbox, 9).await, ["a", "row 0"]);
        assert_eq!(Instant::now(), due);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_poll_wakes_the_task_that_waits() {
        let queue = PollQueue::new(9);
        let begin = Instant::now();
        queue.push(begin + Duration::from_secs(3_600), Box::new("late"));
        let inbox = inbox(0);
        let push = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            queue.push(begin + Duration::from_secs(2), Box::new("early"));
        };
        let (first, ()) = tokio::join!(tasks(&queue, &inbox, 1), push);
        assert_eq!((first, begin.elapsed().as_secs()), (vec!["early".to_owned()], 2));
    }
}
