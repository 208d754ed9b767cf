//! The attempts that wait, and whose turn it is. Pure.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::task::Waker;
use std::time::Duration;

use crate::error::AcquireError;
use crate::gate::cost::{Acquired, Cost, ScopeKeys};
use crate::gate::limit_set::LimitSet;
use crate::gate::queue::{Given, Ticket, WaitQueue, WaitStats};
use crate::limiter::Availability;
use crate::outcome::End;
use crate::time::Time;

/// Time that a waiter has to take its turn. After that the units go to the next one.
const TURN: Duration = Duration::from_millis(100);

/// The attempts that wait for units.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    pub queue: WaitQueue,
    pub stats: WaitStats,
    waiters: HashMap<Ticket, Waiter, BuildHasherDefault<TicketHasher>>,
    /// Turns that were given, with the time at which each is over, the earliest first.
    turns: VecDeque<(Time, Ticket)>,
    /// When to look at the queue again, unless something happens before.
    wake_at: Option<Time>,
    /// The waiter that comes at `wake_at`, or looks again before, and when it does.
    timer_owner: Option<(Ticket, Time)>,
}

/// A hash of tickets, which no user and no server chooses.
#[derive(Debug, Default)]
struct TicketHasher(u64);

impl Hasher for TicketHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, ticket: u64) {
        // An odd number near 2^64 divided by the golden ratio spreads numbers in a row.
        self.0 = self.0.wrapping_add(ticket).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
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
    Given(Box<Given>),
    /// The waiter did not fetch its units in time. Others got them, and it is in the queue
    /// again once it is polled.
    Missed,
    /// The limits will never allow it.
    Denied(AcquireError),
}

impl Waiters {
    /// Whether a waiter would be overtaken by an attempt that takes its units now.
    pub fn would_be_overtaken(&mut self, now: Time, limits: &mut LimitSet) -> bool {
        self.pass_on_missed_turns(now, limits);
        !self.queue.is_empty()
    }

    /// Something has happened to an attempt with these keys, by which others may go at `relief`,
    /// or the limits have changed: dispatches the waiters that the limits let go.
    pub fn relieved(
        &mut self,
        now: Time,
        limits: &mut LimitSet,
        keys: &ScopeKeys,
        relief: Availability,
    ) {
        if self.queue.is_empty() {
            return;
        }
        let is_relief = match relief {
            Availability::Never => false,
            // A look is due by then that lets go whom it may.
            Availability::At(time) => {
                let look = self.queue.next_look(keys, self.wake_at);
                look.is_none_or(|look| time < look)
            }
            Availability::Now | Availability::AfterAnAnswer => true,
        };
        if is_relief {
            self.queue.ended(keys);
        }
        if is_relief || self.is_overdue(now) || self.owner_is_late(now) {
            self.dispatch(now, limits, None);
        }
    }

    /// The error of an attempt that can't wait as long as the first waiter has to.
    pub fn not_in_time(&self, now: Time) -> AcquireError {
        let until = self.stats.until().filter(|until| *until > now);
        AcquireError::NotInTime { free_in: until.map(|until| until.since(now)) }
    }

    /// A new waiter, at the end of the queue.
    pub fn join(&mut self, now: Time, limits: &mut LimitSet, cost: &Cost, waker: &Waker) -> Ticket {
        let ticket = self.queue.join(cost);
        let waiter = Waiter { waker: waker.clone(), turn: Turn::Waits };
        self.waiters.insert(ticket, waiter);
        if self.queue.may_be_next(ticket, cost) || self.is_overdue(now) {
            self.dispatch(now, limits, Some(ticket));
        }
        ticket
    }

    /// The waiter is polled: it was woken, or its timer rang.
    pub fn look(
        &mut self,
        now: Time,
        limits: &mut LimitSet,
        ticket: Ticket,
        cost: &Cost,
        waker: &Waker,
    ) {
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
                self.dispatch(now, limits, Some(ticket));
            }
            Turn::Waits if is_overdue => self.dispatch(now, limits, Some(ticket)),
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
            Turn::Given(given) => Ok(given.acquired),
            Turn::Denied(error) => Err(error),
            Turn::Waits | Turn::Missed => return None,
        };
        self.forget_fetched_turns();
        Some(fetched)
    }

    /// The waiter gives up.
    pub fn leave(&mut self, now: Time, limits: &mut LimitSet, ticket: Ticket, cost: &Cost) {
        match self.waiters.remove(&ticket).map(|waiter| waiter.turn) {
            Some(Turn::Given(given)) => self.give_back(now, limits, *given),
            Some(Turn::Waits) => self.queue.leave(ticket, cost),
            _ => {}
        }
        self.forget_fetched_turns();
        self.timer_owner = self.timer_owner.filter(|(owner, _)| *owner != ticket);
        self.dispatch(now, limits, None);
    }

    /// Gives turns to the waiters that the limits let go, and wakes them. `polled` is the
    /// waiter that is being polled: it needs no waking.
    fn dispatch(&mut self, now: Time, limits: &mut LimitSet, polled: Option<Ticket>) {
        if self.owner_is_late(now) || polled.is_some() && self.is_overdue(now) {
            self.timer_owner = None;
        }
        self.pass_on_missed_turns(now, limits);
        let dispatched = self.queue.dispatch(now, limits);
        for (ticket, given) in dispatched.turns {
            let turn = given.map_or_else(Turn::Denied, Turn::Given);
            self.give(now, ticket, turn, polled);
        }
        self.wake_at = dispatched.next;
        self.stats.set_blocked(now, dispatched.blocked);
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
    fn pass_on_missed_turns(&mut self, now: Time, limits: &mut LimitSet) {
        while let Some((over, ticket)) = self.turns.front().copied()
            && over <= now
        {
            self.turns.pop_front();
            let Some(waiter) = self.waiters.get_mut(&ticket) else {
                continue;
            };
            match std::mem::replace(&mut waiter.turn, Turn::Missed) {
                Turn::Given(given) => self.give_back(now, limits, *given),
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
    fn give_back(&mut self, now: Time, limits: &mut LimitSet, mut given: Given) {
        limits.ended(now, &given.cost, &mut given.acquired, End::Returned);
        limits.finished(now, &given.cost, &mut given.acquired);
        self.queue.ended(&given.cost.keys);
    }
}
