//! A gate without limits, as long as the server says nothing of any: permits are
//! counted, and that is all. Nobody waits, so nothing needs the lock or a clock.
//!
//! It ends at once and for good when the server refuses something or tells what it
//! counts. One bit of each counter says so, so that whoever counts learns in the same
//! step whether it was in time: what was counted before is taken over exactly.

use smallvec::smallvec;

use crate::gate::cost::{Acquired, Cost, Snapshot};
use crate::gate::sync::{AtomicU64, Ordering};
use crate::server::remaining::AnsweredMark;

/// Set in both counters once it is over.
const OVER: u64 = 1 << 63;

/// Counts permits while nothing limits them.
#[derive(Debug)]
pub(crate) struct Unlimited {
    taken: AtomicU64,
    ended: AtomicU64,
}

/// How many permits were taken and are over when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnlimitedCount {
    pub taken: u64,
    pub ended: u64,
}

impl Unlimited {
    /// Only where there are no limits.
    pub fn new(unlimited: bool) -> Unlimited {
        let start = if unlimited { 0 } else { OVER };
        Unlimited {
            taken: AtomicU64::new(start),
            ended: AtomicU64::new(start),
        }
    }

    /// Whether the server has said nothing yet.
    pub fn lasts(&self) -> bool {
        self.taken.load(Ordering::SeqCst) & OVER == 0
    }

    /// One request is taken, if it lasts.
    pub fn take(&self, ask: &Cost) -> Option<Acquired> {
        if !self.lasts() || ask.has_costs() {
            return None;
        }
        // Read before it is counted: so nothing is left out that is not known to have
        // ended by then.
        let ended = self.ended.load(Ordering::SeqCst) & !OVER;
        if self.taken.fetch_add(1, Ordering::SeqCst) & OVER != 0 {
            return None;
        }
        let standing = Snapshot {
            mark: AnsweredMark::of(smallvec![ended]),
            era: 0,
        };
        Some(Acquired {
            standing,
            ..Acquired::default()
        })
    }

    /// One that was taken so is over. Otherwise the limits are to be told.
    pub fn end(&self) -> bool {
        self.ended.fetch_add(1, Ordering::SeqCst) & OVER == 0
    }

    /// From now on the limits count. To be told under their lock.
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
    fn what_was_taken_and_ended_until_it_is_over_is_counted_and_nothing_later() {
        let calm = Unlimited::new(true);
        let one = Cost::from(1);
        let marks: Vec<_> = (0..3).map(|_| calm.take(&one).unwrap().standing).collect();
        assert!(calm.end());
        assert!(calm.take(&one).unwrap().standing > marks[2]);
        assert_eq!(
            calm.take(&Cost::from(2)),
            None,
            "costs are the limits' matter"
        );
        assert_eq!(calm.end_all(), Some(UnlimitedCount { taken: 4, ended: 1 }));
        assert_eq!(calm.take(&one), None);
        assert!(!calm.end() && !calm.lasts());
        assert_eq!(calm.end_all(), None);
    }

    #[test]
    fn limits_end_it_before_it_begins() {
        let calm = Unlimited::new(false);
        assert!(!calm.lasts() && !calm.end());
        assert_eq!((calm.take(&Cost::from(1)), calm.end_all()), (None, None));
    }
}
