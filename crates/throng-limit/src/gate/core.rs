//! The state that all handles to a limiter share: the limits, the queue, and the clock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::{AcquireError, UnknownUnit};
use crate::gate::cost::{Acquired, Cost};
use crate::gate::limit_set::LimitSet;
use crate::gate::queue::{Ticket, WaitQueue};
use crate::gate::sync::{Mutex, MutexGuard};
use crate::gate::unlimited::Unlimited;
use crate::gate::wait_stats::WaitStats;
use crate::limiter::Availability;
use crate::outcome::End;
use crate::time::Time;

/// Time between two looks at the calendar, which may have been set meanwhile.
const CHECK_CALENDAR_EVERY: Duration = Duration::from_secs(1);

/// Time that a waiter has to take its turn. After that the units go to the next one.
pub(super) const TURN: Duration = Duration::from_millis(100);

pub(super) type ClockFn = Box<dyn Fn() -> Time + Send + Sync>;
pub(super) type CalendarFn = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// What all handles to a limiter share.
pub(crate) struct LimiterCore {
    state: CacheAligned<Mutex<LimiterState>>,
    unlimited: CacheAligned<Unlimited>,
    clock: ClockFn,
    /// The names of the units that the limits count; requests come first.
    units: Vec<String>,
    /// The number of scopes: an attempt has a key in each.
    scopes: usize,
    /// Gives what the calendar said when the clock was at its zero.
    calendar: Option<CalendarFn>,
}

/// A value on cache lines of its own: writing to it does not disturb threads that read
/// what lies beside it.
#[repr(align(128))]
struct CacheAligned<T>(T);

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

    /// Tells the limits of an event, and dispatches the waiters that it lets go.
    pub fn tell<T>(&self, cost: &Cost, event: impl FnOnce(&mut LimitSet, Time) -> T) -> T {
        let (mut state, now) = self.enter();
        let told = event(&mut state.limits, now);
        if !state.queue.is_empty() {
            state.queue.ended(&cost.keys);
            state.dispatch(now, None);
        }
        told
    }
}

impl std::fmt::Debug for LimiterCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.state.0.fmt(f)
    }
}

/// The limits, and the waiters before them.
#[derive(Debug)]
pub(crate) struct LimiterState {
    pub limits: LimitSet,
    pub queue: WaitQueue,
    pub wait_stats: WaitStats,
    waiters: HashMap<Ticket, Waiter>,
    /// Turns that were given, with the time at which each is over, the earliest first.
    turns: VecDeque<(Time, Ticket)>,
    /// When to look at the queue again, unless something happens before.
    wake_at: Option<Time>,
    /// The waiter that comes at `wake_at`, or looks again before, and when it does.
    timer_owner: Option<(Ticket, Time)>,
    check_calendar_at: Time,
}

/// A waiter, from its first poll until it has its permit or is dropped.
#[derive(Debug)]
struct Waiter {
    waker: Waker,
    turn: Turn,
}

/// Whose move it is.
#[derive(Debug)]
enum Turn {
    /// The waiter is in the queue.
    Waits,
    /// The units are taken, and the waiter was woken to fetch them.
    Given(Box<(Cost, Acquired)>),
    /// The waiter did not fetch its units in time. Others got them, and it is in the queue
    /// again once it is polled.
    Missed,
    /// The limits will never allow it.
    Denied(AcquireError),
}

impl LimiterState {
    fn new(limits: LimitSet) -> LimiterState {
        LimiterState {
            limits,
            queue: WaitQueue::default(),
            wait_stats: WaitStats::default(),
            waiters: HashMap::new(),
            turns: VecDeque::new(),
            wake_at: None,
            timer_owner: None,
            check_calendar_at: Time::ZERO,
        }
    }

    /// Takes at once, if no waiter would be overtaken.
    ///
    /// # Errors
    /// `NotInTime` if the attempt has to wait, or why waiting is of no use.
    pub fn take_first(&mut self, now: Time, cost: &Cost) -> Result<Acquired, AcquireError> {
        self.pass_on_missed_turns(now);
        if !self.queue.is_empty() {
            return Err(self.not_in_time(now));
        }
        self.limits.take(now, cost).map_err(|blocked| match blocked.when {
            Availability::Never => self.limits.denial(cost, &blocked),
            Availability::At(time) => {
                AcquireError::NotInTime { free_in: Some(blocked.back.unwrap_or(time).since(now)) }
            }
            _ => AcquireError::NotInTime { free_in: None },
        })
    }

    /// The error of an attempt that can't wait as long as the first waiter has to.
    pub fn not_in_time(&self, now: Time) -> AcquireError {
        let until = self.wait_stats.until().filter(|until| *until > now);
        AcquireError::NotInTime { free_in: until.map(|until| until.since(now)) }
    }

    /// A new waiter, at the end of the queue.
    pub fn join(&mut self, now: Time, cost: &Cost, waker: &Waker) -> Ticket {
        let ticket = self.queue.join(cost);
        let waiter = Waiter { waker: waker.clone(), turn: Turn::Waits };
        self.waiters.insert(ticket, waiter);
        // A waiter behind others with the same keys can't go before them.
        let may_go = self.queue.is_first(ticket, cost) || cost.has_costs();
        if may_go || self.is_overdue(now) {
            self.dispatch(now, Some(ticket));
        }
        ticket
    }

    /// The waiter is polled: it was woken, or its timer rang.
    pub fn look(&mut self, now: Time, ticket: Ticket, cost: &Cost, waker: &Waker) {
        let is_overdue = self.is_overdue(now) || self.owner_is_late(now);
        let Some(waiter) = self.waiters.get_mut(&ticket) else {
            return;
        };
        waiter.waker.clone_from(waker);
        match waiter.turn {
            Turn::Given(..) | Turn::Denied(_) => {}
            Turn::Missed => {
                waiter.turn = Turn::Waits;
                self.queue.rejoin(ticket, cost);
                self.dispatch(now, Some(ticket));
            }
            Turn::Waits if is_overdue => self.dispatch(now, Some(ticket)),
            Turn::Waits => {}
        }
    }

    /// What the waiter was given, if it has its turn.
    pub fn fetch(&mut self, ticket: Ticket) -> Option<Result<Acquired, AcquireError>> {
        let waiter = self.waiters.get(&ticket)?;
        if matches!(waiter.turn, Turn::Waits | Turn::Missed) {
            return None;
        }
        let fetched = match self.waiters.remove(&ticket)?.turn {
            Turn::Given(given) => Ok(given.1),
            Turn::Denied(error) => Err(error),
            Turn::Waits | Turn::Missed => return None,
        };
        self.forget_fetched_turns();
        Some(fetched)
    }

    /// The waiter gives up.
    pub fn leave(&mut self, now: Time, ticket: Ticket, cost: &Cost) {
        match self.waiters.remove(&ticket).map(|waiter| waiter.turn) {
            Some(Turn::Given(given)) => self.give_back(now, *given),
            Some(Turn::Waits) => self.queue.leave(ticket, cost),
            _ => {}
        }
        self.forget_fetched_turns();
        self.timer_owner = self.timer_owner.filter(|(owner, _)| *owner != ticket);
        self.dispatch(now, None);
    }

    /// Gives turns to the waiters that the limits let go, and wakes them. `polled` is the
    /// waiter that is being polled: it needs no waking.
    pub fn dispatch(&mut self, now: Time, polled: Option<Ticket>) {
        if self.owner_is_late(now) || polled.is_some() && self.is_overdue(now) {
            self.timer_owner = None;
        }
        self.pass_on_missed_turns(now);
        let dispatched = self.queue.dispatch(now, &mut self.limits);
        for (ticket, cost, acquired) in dispatched.turns {
            let turn = match acquired {
                Ok(acquired) => Turn::Given(Box::new((cost, acquired))),
                Err(error) => Turn::Denied(error),
            };
            self.give(now, ticket, turn, polled);
        }
        self.wake_at = dispatched.next;
        self.wait_stats.turn(now, dispatched.blocked);
        self.appoint_timer_owner(polled);
    }

    fn give(&mut self, now: Time, ticket: Ticket, turn: Turn, polled: Option<Ticket>) {
        self.timer_owner = self.timer_owner.filter(|(owner, _)| *owner != ticket);
        let Some(waiter) = self.waiters.get_mut(&ticket) else {
            return;
        };
        waiter.turn = turn;
        if polled != Some(ticket) {
            waiter.waker.wake_by_ref();
            self.turns.push_back((now.after(TURN), ticket));
        }
    }

    /// Sees to it that the timer of one waiter rings at `wake_at`. An owner whose timer
    /// rings too early looks again; it is woken only if its timer would ring too late.
    fn appoint_timer_owner(&mut self, polled: Option<Ticket>) {
        let Some(wake_at) = self.wake_at else {
            return;
        };
        let owner = match self.timer_owner {
            Some((_, knows)) if knows <= wake_at => return,
            Some((owner, _)) => Some(owner),
            // The waiter that is being polled becomes the owner by itself.
            None if polled.is_some_and(|polled| self.waits(polled)) => return,
            None => self.queue.first(),
        };
        self.timer_owner = owner.map(|owner| (owner, wake_at));
        if let Some(owner) = owner
            && Some(owner) != polled
            && let Some(waiter) = self.waiters.get(&owner)
        {
            waiter.waker.wake_by_ref();
        }
    }

    fn waits(&self, ticket: Ticket) -> bool {
        let waiter = self.waiters.get(&ticket);
        waiter.is_some_and(|waiter| matches!(waiter.turn, Turn::Waits))
    }

    /// The time for which the polled waiter sets its timer: that at which it looks for
    /// itself, or an earlier one if it owns the duty to come in time, or no waiter does.
    pub fn timer_of(&mut self, ticket: Ticket, look_at: Time) -> Time {
        if self.timer_owner.is_some_and(|(owner, _)| owner != ticket) {
            return look_at;
        }
        let due = self.due();
        let at = due.map_or(look_at, |due| due.min(look_at));
        self.timer_owner = due.map(|_| (ticket, at));
        at
    }

    /// When something is to be done: the queue is to be looked at, or a turn is over.
    fn due(&self) -> Option<Time> {
        let turn_over = self.turns.front().map(|(over, _)| *over);
        self.wake_at.into_iter().chain(turn_over).min()
    }

    /// Whether a waiter that was due by now has not come.
    fn is_overdue(&self, now: Time) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    /// Whether the timer's owner has not come when its timer rang: its task may not be
    /// polled any more.
    fn owner_is_late(&self, now: Time) -> bool {
        self.timer_owner.is_some_and(|(_, knows)| knows.after(TURN) <= now)
    }

    /// Takes back what was given to waiters that did not fetch it in time.
    fn pass_on_missed_turns(&mut self, now: Time) {
        while let Some((over, ticket)) = self.turns.front().copied()
            && over <= now
        {
            self.turns.pop_front();
            let Some(waiter) = self.waiters.get_mut(&ticket) else {
                continue;
            };
            match std::mem::replace(&mut waiter.turn, Turn::Missed) {
                Turn::Given(given) => self.give_back(now, *given),
                other => waiter.turn = other,
            }
        }
    }

    /// The turns at the front that are no longer open need no watching.
    fn forget_fetched_turns(&mut self) {
        while let Some((_, ticket)) = self.turns.front()
            && !self.waiters.contains_key(ticket)
        {
            self.turns.pop_front();
        }
    }

    /// Nothing was sent on these units.
    fn give_back(&mut self, now: Time, (cost, mut acquired): (Cost, Acquired)) {
        self.limits.ended(now, &cost, &mut acquired, End::Returned);
        self.limits.finished(now, &cost, &mut acquired);
        self.queue.ended(&cost.keys);
    }
}
