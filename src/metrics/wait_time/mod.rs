//! What the time of each worker goes to. Pure: time is an argument.
//!
//! A worker is a thread with an event loop, and many rows on their way. At any
//! moment its time has exactly one cause. While the thread runs, that is its own
//! work. While it rests, it is the first of these that any of its rows is in:
//!
//! 1. `Gate`: it could be sent, and a limit or the server says wait;
//! 2. `Server`: it is on its way, or its connection is being made;
//! 3. `Backoff`: it failed, and is tried again later;
//! 4. `Output`: its record waits for the writer;
//! 5. `Input`: the worker waits for a row, or there are none left.
//!
//! Rows only count where they are; the clock is read when the thread goes to rest
//! and when it wakes. So what is noted adds up to the time that has passed,
//! whatever happens, and a request costs no reading of a clock.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

mod advice;
mod share;

pub use advice::{Setup, advice, free_again};
pub use share::{TimeBreakdown, TimeShare};

/// What a moment of a worker goes to; the earlier of those that apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// The thread runs.
    Work,
    /// Rows wait for permits.
    Gate,
    /// Rows wait for answers, or for connections.
    Server,
    /// Rows pause before they are tried again.
    Backoff,
    /// Records wait for the writer.
    Output,
    /// There is no row to do.
    Input,
}

impl WaitReason {
    /// All, the first ones first.
    pub const ALL: [WaitReason; 6] = [
        WaitReason::Work,
        WaitReason::Gate,
        WaitReason::Server,
        WaitReason::Backoff,
        WaitReason::Output,
        WaitReason::Input,
    ];
}

/// Time by cause, in the order of [`WaitReason::ALL`].
pub type TimeByReason = [Duration; 6];

/// The causes of one worker's time. Only its own thread writes to it, until it
/// has ended; anybody may read.
#[derive(Debug, Default)]
pub struct WorkerTime {
    /// Rows by where they are.
    rows: [AtomicU32; 6],
    /// Nanoseconds by cause, up to `since`.
    spent: [AtomicU64; 6],
    /// The cause now, and since when.
    now: AtomicU32,
    since: AtomicU64,
}

/// A row waits as long as this lives.
#[must_use]
pub struct WaitingRow<'a>(&'a AtomicU32);

impl WorkerTime {
    /// A row waits for this.
    pub fn waits(&self, cause: WaitReason) -> WaitingRow<'_> {
        let rows = &self.rows[cause as usize];
        rows.store(get(rows) + 1, Ordering::Relaxed);
        WaitingRow(rows)
    }

    /// The thread goes to rest.
    pub fn rest(&self, now: Duration) {
        let waits = |cause: &&WaitReason| get(&self.rows[**cause as usize]) > 0;
        let cause = WaitReason::ALL.iter().find(waits);
        self.turn(*cause.unwrap_or(&WaitReason::Input), now);
    }

    /// The thread goes on.
    pub fn wake(&self, now: Duration) {
        self.turn(WaitReason::Work, now);
    }

    /// From now on it is this.
    pub fn turn(&self, cause: WaitReason, now: Duration) {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let since = self.since.load(Ordering::Relaxed);
        let spent = &self.spent[get(&self.now) as usize];
        let more = spent.load(Ordering::Relaxed) + now.saturating_sub(since);
        spent.store(more, Ordering::Relaxed);
        self.now.store(cause as u32, Ordering::Relaxed);
        self.since.store(now.max(since), Ordering::Relaxed);
    }

    /// What all time up to now went to.
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
        self.0
            .store(get(self.0).saturating_sub(1), Ordering::Relaxed);
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
    fn each_moment_has_the_first_cause_that_applies() {
        let watch = WorkerTime::default();
        watch.rest(ms(10));
        watch.wake(ms(15));
        let server = watch.waits(WaitReason::Server);
        let pause = watch.waits(WaitReason::Backoff);
        watch.rest(ms(16));
        watch.wake(ms(36));
        let gate = watch.waits(WaitReason::Gate);
        watch.rest(ms(37));
        watch.wake(ms(137));
        drop((gate, server));
        watch.rest(ms(138));
        watch.wake(ms(140));
        drop(pause);
        let _record = watch.waits(WaitReason::Output);
        watch.rest(ms(140));
        let spent = watch.spent(ms(150)).map(|time| time.as_millis());
        assert_eq!(spent, [10 + 1 + 1 + 1, 100, 20, 2, 10, 5]);
        assert_eq!(spent.iter().sum::<u128>(), 150);
    }

    #[test]
    fn it_adds_up_whatever_happens() {
        let watch = WorkerTime::default();
        let mut now = 0;
        for step in 0..10_000_u64 {
            now += step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let time = Duration::from_nanos(now);
            match step % 3 {
                0 => watch.rest(time),
                1 => watch.wake(time),
                _ => drop(watch.waits(WaitReason::ALL[step as usize % 6])),
            }
            assert_eq!(watch.spent(time).iter().sum::<Duration>(), time);
        }
    }
}
