//! The rows that workers may take while the output's disk has little room: no more than their
//! records have room for.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// Admits the rows of a run whose rows end as one record each.
pub struct RoomGate {
    /// Number of rows that were taken so far, or are about to be.
    taken: AtomicU64,
    /// Maximum of that number; `ANY` while there is room.
    most: AtomicU64,
    changed: Notify,
}

/// Any number of rows may be taken.
const ANY: u64 = u64::MAX;

impl RoomGate {
    /// A gate that admits all rows.
    pub fn new() -> RoomGate {
        RoomGate { taken: AtomicU64::new(0), most: AtomicU64::new(ANY), changed: Notify::new() }
    }

    /// Admits all rows.
    pub fn open(&self) {
        self.set(ANY);
    }

    /// Admits this number of rows in all.
    pub fn admit(&self, most: u64) {
        self.set(most);
    }

    fn set(&self, most: u64) {
        if self.most.swap(most, Ordering::AcqRel) != most {
            self.changed.notify_waiters();
        }
    }

    /// Whether a row would have to wait.
    pub fn is_shut(&self) -> bool {
        self.taken() >= self.most.load(Ordering::Acquire)
    }

    /// Number of rows that were taken so far, or are about to be.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes up to this number of rows, at least one, as soon as that is allowed; gives the
    /// number.
    pub async fn take(&self, rows: usize) -> usize {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(taken) = self.try_take(rows) {
                return taken;
            }
            changed.await;
        }
    }

    /// Takes rows although it may be shut.
    pub fn take_anyway(&self, rows: usize) {
        self.taken.fetch_add(rows as u64, Ordering::AcqRel);
    }

    fn try_take(&self, rows: usize) -> Option<usize> {
        let most = self.most.load(Ordering::Acquire);
        if most == ANY {
            self.take_anyway(rows);
            return Some(rows);
        }
        let more = |taken: u64| (rows as u64).min(most.saturating_sub(taken));
        let next = |taken| (more(taken) > 0).then(|| taken + more(taken));
        let before = self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok()?;
        Some(more(before) as usize)
    }

    /// Gives back rows that there were not.
    pub fn give_back(&self, rows: usize) {
        self.taken.fetch_sub(rows as u64, Ordering::AcqRel);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rows_wait_until_their_records_have_room() {
        let gate = RoomGate::new();
        assert_eq!(gate.take(64).await, 64);
        gate.admit(70);
        assert_eq!((gate.take(64).await, gate.is_shut()), (6, true));
        let more = async {
            tokio::task::yield_now().await;
            gate.admit(73);
        };
        assert_eq!(tokio::join!(gate.take(64), more).0, 3);
        let back = async {
            tokio::task::yield_now().await;
            gate.give_back(2);
        };
        assert_eq!(tokio::join!(gate.take(64), back).0, 2);
        gate.open();
        assert_eq!(gate.take(64).await, 64);
        assert_eq!(gate.taken(), 64 + 6 + 3 - 2 + 2 + 64);
    }
}
