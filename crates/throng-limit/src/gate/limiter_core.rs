//! The core that the permits and the handles of a limiter share: the count of permits while nothing
//! is limited, and the lock of the limits and the waiters.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::error::{AcquireError, UnknownUnit};
use crate::gate::cost::{Acquired, Cost};
use crate::gate::limit_set::LimitSet;
use crate::gate::waiters::Waiters;
use crate::limiter::Availability;
use crate::time::Time;

use sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// The standard lock and counters, or those of a model checker, which tries the orders in
/// which threads can reach them (`--cfg shuttle`).
mod sync {
    #[cfg(shuttle)]
    pub use shuttle::sync::atomic::{AtomicU64, Ordering};
    #[cfg(shuttle)]
    pub use shuttle::sync::{Mutex, MutexGuard};
    #[cfg(not(shuttle))]
    pub use std::sync::atomic::{AtomicU64, Ordering};
    #[cfg(not(shuttle))]
    pub use std::sync::{Mutex, MutexGuard};
}

/// Time between two looks at the calendar, which may have been set meanwhile.
const CHECK_CALENDAR_EVERY: Duration = Duration::from_secs(1);

pub(super) type ClockFn = Box<dyn Fn() -> Time + Send + Sync>;
pub(super) type CalendarFn = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// What all handles to a limiter share.
pub(crate) struct LimiterCore {
    state: CacheAligned<Mutex<LimiterState>>,
    unlimited: CacheAligned<Unlimited>,
    clock: ClockFn,
    /// The names of the units that the limits count; requests come first.
    pub units: Vec<String>,
    /// The number of scopes: an attempt has a key in each.
    scopes: usize,
    /// Gives what the calendar said when the clock was at its zero.
    calendar: Option<CalendarFn>,
}

/// A value on cache lines of its own: writing to it does not disturb threads that read
/// what lies beside it.
#[repr(align(128))]
struct CacheAligned<T>(T);

/// The last handle is gone: a store gets back the units that were not used.
impl Drop for LimiterCore {
    fn drop(&mut self) {
        let now = self.now();
        self.lock().limits.close(now);
    }
}

impl LimiterCore {
    pub fn new(limits: LimitSet, clock: ClockFn, calendar: Option<CalendarFn>) -> LimiterCore {
        LimiterCore {
            unlimited: CacheAligned(Unlimited::new(limits.are_none())),
            units: limits.units(),
            scopes: limits.scope_count(),
            state: CacheAligned(Mutex::new(LimiterState::new(limits))),
            clock,
            calendar,
        }
    }

    /// Makes a cost one that the limits count: by all of their units, and against the limits
    /// of this key where it names none itself.
    ///
    /// # Errors
    /// The cost names a unit that no limit counts, or none where there must be one; or a limit
    /// holds for each key, and there is none.
    pub fn complete(&self, cost: &mut Cost, key: Option<&Arc<str>>) -> Result<(), AcquireError> {
        if cost.named.is_some() || cost.units.len() < self.units.len() {
            cost.look_up(&self.units)?;
        }
        while cost.keys.len() < self.scopes {
            let key = key.ok_or(AcquireError::MissingKey)?;
            cost.keys.push(key.clone());
        }
        Ok(())
    }

    /// The index of a unit, by its name.
    pub fn unit(&self, name: &str) -> Result<usize, UnknownUnit> {
        let index = self.units.iter().position(|unit| unit == name);
        index.ok_or_else(|| UnknownUnit { unit: name.to_owned() })
    }

    /// A panic elsewhere leaves the state whole: each change to it is made under the lock
    /// and does not panic.
    pub fn lock(&self) -> MutexGuard<'_, LimiterState> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, and the time. The time is read under the lock, so that events are in the
    /// lock's order.
    pub fn enter(&self) -> (MutexGuard<'_, LimiterState>, Time) {
        let mut state = self.lock();
        let now = self.now();
        if let Some(calendar) = &self.calendar
            && state.check_calendar_at <= now
        {
            state.check_calendar_at = now.after(CHECK_CALENDAR_EVERY);
            state.limits.heed_calendar(calendar());
        }
        (state, now)
    }

    pub fn now(&self) -> Time {
        (self.clock)()
    }

    /// The count of permits while nothing limits them.
    pub fn unlimited(&self) -> &Unlimited {
        &self.unlimited.0
    }

    /// Makes the limits count from now on, since the server has said something.
    pub fn end_unlimited(&self) {
        let mut state = self.lock();
        if let Some(counted) = self.unlimited.0.end_all() {
            state.limits.count_in(counted.taken, counted.ended);
        }
    }

    /// Tells the limits of an event that may let any waiter go, and dispatches those that it does.
    pub fn tell<T>(&self, cost: &Cost, event: impl FnOnce(&mut LimitSet, Time) -> T) -> T {
        let (mut state, now) = self.enter();
        let LimiterState { limits, waiters, .. } = &mut *state;
        let told = event(limits, now);
        if let Some(waiters) = waiters {
            waiters.relieved(now, limits, &cost.keys, Availability::Now);
        }
        told
    }

    /// Tells the limits of an event of an attempt, which gives when another may go because of it,
    /// and dispatches the waiters that it lets go. Gives the time of the event.
    pub fn tell_of_attempt(
        &self,
        cost: &Cost,
        event: impl FnOnce(&mut LimitSet, Time) -> Availability,
    ) -> Time {
        let (mut state, now) = self.enter();
        let LimiterState { limits, waiters, .. } = &mut *state;
        let relief = event(limits, now);
        if let Some(waiters) = waiters {
            waiters.relieved(now, limits, &cost.keys, relief);
        }
        now
    }
}

impl std::fmt::Debug for LimiterCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state.0.fmt(f)
    }
}

/// The limits, and the attempts that wait for them.
#[derive(Debug)]
pub(crate) struct LimiterState {
    pub limits: LimitSet,
    /// None until the first attempt has to wait.
    pub waiters: Option<Box<Waiters>>,
    check_calendar_at: Time,
}

impl LimiterState {
    fn new(limits: LimitSet) -> LimiterState {
        LimiterState { limits, waiters: None, check_calendar_at: Time::ZERO }
    }

    /// Takes at once, if no waiter would be overtaken.
    ///
    /// # Errors
    /// `NotInTime` if the attempt has to wait, or why waiting is of no use.
    pub fn take_first(&mut self, now: Time, cost: &Cost) -> Result<Acquired, AcquireError> {
        if let Some(waiters) = &mut self.waiters
            && waiters.would_be_overtaken(now, &mut self.limits)
        {
            return Err(waiters.not_in_time(now));
        }
        let taken = self.limits.take(now, cost);
        taken.map_err(|blocked| self.limits.denial(now, cost, &blocked))
    }
}

/// Set in both counters once the fast path has ended.
const OVER: u64 = 1 << 63;

/// The fast path of a limiter without limits, as long as the server says nothing of any:
/// permits are counted, and need neither the lock nor a clock.
///
/// It ends for good when the server refuses an attempt or tells what it counts. One bit of
/// each counter says so, so that counting and learning whether it was in time are one step:
/// the limits take over exactly what was counted before.
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

    /// Counts a permit, if the fast path lasts. Gives the number of permits that had ended
    /// before.
    pub fn take(&self) -> Option<u64> {
        if !self.lasts() {
            return None;
        }
        // Read before the permit is counted: so every permit that is not known to have ended
        // by then is included.
        let ended = self.ended.load(Ordering::SeqCst) & !OVER;
        let is_over = self.taken.fetch_add(1, Ordering::SeqCst) & OVER != 0;
        (!is_over).then_some(ended)
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
        assert_eq!((0..3).map(|_| unlimited.take().unwrap()).collect::<Vec<_>>(), [0, 0, 0]);
        assert!(unlimited.end());
        assert_eq!(unlimited.take(), Some(1));
        assert_eq!(unlimited.end_all(), Some(UnlimitedCount { taken: 4, ended: 1 }));
        assert_eq!(unlimited.take(), None);
        assert!(!unlimited.end() && !unlimited.lasts());
        assert_eq!(unlimited.end_all(), None);
    }

    #[test]
    fn with_limits_the_fast_path_never_begins() {
        let unlimited = Unlimited::new(false);
        assert!(!unlimited.lasts() && !unlimited.end());
        assert_eq!((unlimited.take(), unlimited.end_all()), (None, None));
    }
}
