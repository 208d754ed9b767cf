//! Each worker's time by reason. Pure: time is an argument.
//!
//! A worker is a thread with an event loop and many rows. At any moment its time has
//! exactly one reason. While the thread runs, the reason is work. While it is idle,
//! the reason is the first of these that applies to one of its rows:
//!
//! 1. `Limit`: a limit or a pause holds the row back;
//! 2. `Server`: the row waits for its answer or its connection;
//! 3. `Backoff`: the row failed and waits for its next attempt;
//! 4. `Output`: the row's record waits for the writer;
//! 5. `Input`: the worker waits for a row, or none are left.
//!
//! Rows only count themselves; the clock is read when the thread becomes idle and
//! when it wakes. So the times add up to the elapsed time, and a request reads no
//! clock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

mod advice;
mod share;

pub use advice::{RunSetup, advice, free_at};
pub use share::{TimeBreakdown, TimeShare};

/// The reason of a moment of a worker's time: the first one that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// The thread runs.
    Work,
    /// Rows wait for permits.
    Limit,
    /// Rows wait for answers, or for connections.
    Server,
    /// Rows wait for their next attempt.
    Backoff,
    /// Records wait for the writer.
    Output,
    /// The worker has no row.
    Input,
}

impl WaitReason {
    /// All reasons in their order.
    pub const ALL: [WaitReason; 6] = [
        WaitReason::Work,
        WaitReason::Limit,
        WaitReason::Server,
        WaitReason::Backoff,
        WaitReason::Output,
        WaitReason::Input,
    ];
}

/// Time by reason, in the order of [`WaitReason::ALL`].
pub type TimeByReason = [Duration; 6];

/// One worker's time by reason. Only its own thread writes to it until it has
/// ended; any thread can read.
#[derive(Debug, Default)]
pub struct WorkerTime {
    /// Number of rows by reason.
    rows: [AtomicU32; 6],
    /// Nanoseconds by reason, up to `since`.
    spent: [AtomicU64; 6],
    /// The reason now.
    now: AtomicU32,
    /// Nanoseconds at which the reason began.
    since: AtomicU64,
}

/// A waiting row, counted until it is dropped.
#[must_use]
pub struct WaitingRow<'a>(&'a AtomicU32);

impl WorkerTime {
    /// A row waits for this reason until the result is dropped.
    pub fn row_waits(&self, reason: WaitReason) -> WaitingRow<'_> {
        let rows = &self.rows[reason as usize];
        rows.store(get(rows) + 1, Ordering::Relaxed);
        WaitingRow(rows)
    }

    /// The thread has nothing to run.
    pub fn idle(&self, now: Duration) {
        let waits = |reason: &&WaitReason| get(&self.rows[**reason as usize]) > 0;
        let reason = WaitReason::ALL.iter().find(waits);
        self.switch_to(*reason.unwrap_or(&WaitReason::Input), now);
    }

    /// The thread runs again.
    pub fn wake(&self, now: Duration) {
        self.switch_to(WaitReason::Work, now);
    }

    /// Ends the current reason and begins this one.
    pub fn switch_to(&self, reason: WaitReason, now: Duration) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let since = self.since.load(Ordering::Relaxed);
        let spent = &self.spent[get(&self.now) as usize];
        let more = spent.load(Ordering::Relaxed) + now.saturating_sub(since);
        spent.store(more, Ordering::Relaxed);
        self.now.store(reason as u32, Ordering::Relaxed);
        self.since.store(now.max(since), Ordering::Relaxed);
    }

    /// The time by reason up to now.
    #[must_use]
    pub fn spent(&self, now: Duration) -> TimeByReason {
        let nanos = |at: &AtomicU64| Duration::from_nanos(at.load(Ordering::Relaxed));
        let mut all = self.spent.each_ref().map(nanos);
        all[get(&self.now) as usize] += now.saturating_sub(nanos(&self.since));
        all
    }
}

impl Drop for WaitingRow<'_> {
    fn drop(&mut self) {
        self.0.store(get(self.0).saturating_sub(1), Ordering::Relaxed);
    }
}

fn get(number: &AtomicU32) -> u32 {
    number.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn each_moment_has_the_first_reason_that_applies() {
        let worker = WorkerTime::default();
        worker.idle(ms(10));
        worker.wake(ms(15));
        let server = worker.row_waits(WaitReason::Server);
        let pause = worker.row_waits(WaitReason::Backoff);
        worker.idle(ms(16));
        worker.wake(ms(36));
        let limited = worker.row_waits(WaitReason::Limit);
        worker.idle(ms(37));
        worker.wake(ms(137));
        drop((limited, server));
        worker.idle(ms(138));
        worker.wake(ms(140));
        drop(pause);
        let _record = worker.row_waits(WaitReason::Output);
        worker.idle(ms(140));
        let spent = worker.spent(ms(150)).map(|time| time.as_millis());
        assert_eq!(spent, [10 + 1 + 1 + 1, 100, 20, 2, 10, 5]);
        assert_eq!(spent.iter().sum::<u128>(), 150);
    }

    #[test]
    fn the_times_add_up_to_the_elapsed_time() {
        let worker = WorkerTime::default();
        let mut now = 0;
        for step in 0..10_000_u64 {
            now += step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let time = Duration::from_nanos(now);
            match step % 3 {
                0 => worker.idle(time),
                1 => worker.wake(time),
                _ => drop(worker.row_waits(WaitReason::ALL[step as usize % 6])),
            }
            assert_eq!(worker.spent(time).iter().sum::<Duration>(), time);
        }
    }
}
