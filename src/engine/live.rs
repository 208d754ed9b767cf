//! Figures of the records so far, which the writer gives to displays while they ask.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::record::FailureKind;
use crate::tally::Tally;

/// The newest figures, and whether a display wants newer ones.
#[derive(Debug, Default)]
pub struct LiveFigures {
    is_wanted: AtomicBool,
    newest: Mutex<RecordFigures>,
}

/// Figures of the records of a run so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordFigures {
    /// The kinds of failure with their numbers of rows, the most frequent first.
    pub failures: Vec<(FailureKind, u64)>,
    /// The latencies of the records' last attempts.
    pub latency: Option<LatencyFigures>,
}

/// Latencies of records, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyFigures {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// Nine of ten are no longer.
    pub p90: f64,
    /// 99 of 100 are no longer.
    pub p99: f64,
}

impl LiveFigures {
    /// The newest figures, which are those of the last look if nothing was written since then.
    pub fn read(&self) -> RecordFigures {
        let newest = self.newest().clone();
        self.is_wanted.store(true, Ordering::Relaxed);
        newest
    }

    /// Gives the figures of these records to the displays, if any has looked since the last time.
    pub fn publish(&self, tally: &Tally) {
        if self.is_wanted.load(Ordering::Relaxed) && self.is_wanted.swap(false, Ordering::Relaxed) {
            let figures = RecordFigures::of(tally);
            *self.newest() = figures;
        }
    }

    fn newest(&self) -> MutexGuard<'_, RecordFigures> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordFigures {
    fn of(tally: &Tally) -> RecordFigures {
        let latency = tally.latency();
        let at = |share| latency.at(share);
        RecordFigures {
            failures: tally.failure_counts(),
            latency: latency.mean().and_then(|mean| {
                Some(LatencyFigures { mean, p50: at(0.5)?, p90: at(0.9)?, p99: at(0.99)? })
            }),
        }
    }
}
