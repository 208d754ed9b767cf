//! The fast path of a limiter without limits, as long as the server says nothing of any:
//! permits are counted, and need neither the lock nor a clock.
//!
//! It ends for good when the server refuses an attempt or tells what it counts. One bit of
//! each counter says so, so that counting and learning whether it was in time are one step:
//! the limits take over exactly what was counted before.

use smallvec::smallvec;

use crate::gate::cost::{Acquired, Cost, Snapshot};
use crate::gate::sync::{AtomicU64, Ordering};
use crate::server::AnsweredMark;

/// Set in both counters once the fast path has ended.
const OVER: u64 = 1 << 63;

/// Counts permits while nothing limits them.
#[derive(Debug)]
pub(crate) struct Unlimited {
    taken: AtomicU64,
    ended: AtomicU64,
}

/// The permits that were acquired and had ended when the fast path ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnlimitedCount {
    pub taken: u64,
    pub ended: u64,
}

impl Unlimited {
    /// A count that has ended already unless the limiter is `unlimited`.
    pub fn new(unlimited: bool) -> Unlimited {
        let start = if unlimited { 0 } else { OVER };
        Unlimited { taken: AtomicU64::new(start), ended: AtomicU64::new(start) }
    }

    /// Whether the server has said nothing yet.
    pub fn lasts(&self) -> bool {
        self.taken.load(Ordering::SeqCst) & OVER == 0
    }

    /// Counts a permit for one request, if the fast path lasts.
    pub fn take(&self, cost: &Cost) -> Option<Acquired> {
        if !self.lasts() || cost.has_costs() {
            return None;
        }
        // Read before the permit is counted: so every permit that is not known to have ended
        // by then is included.
        let ended = self.ended.load(Ordering::SeqCst) & !OVER;
        if self.taken.fetch_add(1, Ordering::SeqCst) & OVER != 0 {
            return None;
        }
        Some(Acquired {
            standing: Snapshot { mark: AnsweredMark::of(smallvec![ended]), era: 0 },
            ..Acquired::default()
        })
    }

    /// Counts the end of a permit that was counted here. False if the limits are to be told.
    pub fn end(&self) -> bool {
        self.ended.fetch_add(1, Ordering::SeqCst) & OVER == 0
    }

    /// Ends the fast path: the limits count from now on. To be called under their lock.
    pub fn end_all(&self) -> Option<UnlimitedCount> {
        let taken = self.taken.fetch_or(OVER, Ordering::SeqCst);
        let ended = self.ended.fetch_or(OVER, Ordering::SeqCst);
        (taken & OVER == 0).then_some(UnlimitedCount { taken, ended })
    }
}

#[cfg(test)]
#[cfg(not(shuttle))]
mod tests {
    use super::*;

    #[test]
    fn permits_count_until_the_fast_path_ends_and_not_after() {
        let unlimited = Unlimited::new(true);
        let one = Cost::from(1);
        let marks: Vec<_> = (0..3).map(|_| unlimited.take(&one).unwrap().standing).collect();
        assert!(unlimited.end());
        assert!(unlimited.take(&one).unwrap().standing > marks[2]);
        assert_eq!(unlimited.take(&Cost::from(2)), None, "costs are counted by the limits");
        assert_eq!(unlimited.end_all(), Some(UnlimitedCount { taken: 4, ended: 1 }));
        assert_eq!(unlimited.take(&one), None);
        assert!(!unlimited.end() && !unlimited.lasts());
        assert_eq!(unlimited.end_all(), None);
    }

    #[test]
    fn with_limits_the_fast_path_never_begins() {
        let unlimited = Unlimited::new(false);
        assert!(!unlimited.lasts() && !unlimited.end());
        assert_eq!((unlimited.take(&Cost::from(1)), unlimited.end_all()), (None, None));
    }
}
