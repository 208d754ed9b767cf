//! The queue of the waiters, in the order in which they came. Pure.
//!
//! Waiters with the same keys form one queue. A queue whose key has nothing left is
//! parked, so that a busy key holds up no other. Where costs differ, a small attempt may
//! overtake a large one, at most [`MAX_OVERTAKEN`] times. [`WaitStats`] counts what blocks the
//! first waiter, and for how long.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::error::AcquireError;
use crate::gate::cost::{Acquired, Cost, ScopeKeys};
use crate::gate::limit_set::LimitSet;
use crate::limiter::Availability;
use crate::outcome::{Blocked, Blocker};
use crate::time::Time;

/// Maximum number of times a waiter may be overtaken by smaller ones.
const MAX_OVERTAKEN: u32 = 64;
/// Number of waiters behind the first that are tried.
const LOOKAHEAD: usize = 64;

/// A waiter's number: lower numbers came earlier.
pub type Ticket = u64;

/// The waiters that have no units yet.
#[derive(Debug, Default)]
pub struct WaitQueue {
    queues: KeyQueues,
    /// Queues that may go on now, by the ticket of their first waiter.
    ready: BTreeMap<Ticket, ScopeKeys>,
    /// Queues that their keys block, by the time until which and the ticket of their first
    /// waiter.
    parked: BTreeMap<(Option<Time>, Ticket), ScopeKeys>,
    /// Parked queues with several keys, by the scope and the key that may block them.
    parked_by_key: HashMap<(usize, Arc<str>), HashSet<ScopeKeys>>,
    next_ticket: Ticket,
    waiting: usize,
    /// What the queue that was parked last waits for.
    parked_for: Option<Blocked>,
}

/// The queues by the keys of their waiters.
#[derive(Debug, Default)]
struct KeyQueues {
    /// That of the waiters without keys, which most limiters have alone: no key is hashed for it.
    keyless: Option<KeyQueue>,
    keyed: HashMap<ScopeKeys, KeyQueue>,
}

/// Waiters with the same keys.
#[derive(Debug, Default)]
struct KeyQueue {
    waiting: BTreeMap<Ticket, Cost>,
    /// Number of times the first waiter has been overtaken.
    overtaken: u32,
    /// Until when its keys block the queue, if they do: `Some(None)` is until an answer.
    parked: Option<Option<Time>>,
}

/// The units that a waiter is given.
#[derive(Debug, PartialEq, Eq)]
pub struct Given {
    /// What it asked for.
    pub cost: Cost,
    /// What it was given.
    pub acquired: Acquired,
}

/// What a look at the queue has changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// The waiters that left the queue, in order, with what each was given, which is large.
    pub turns: Vec<(Ticket, Result<Box<Given>, AcquireError>)>,
    /// When to look again, unless something happens before.
    pub next: Option<Time>,
    /// What blocks the first waiter that is left.
    pub blocked: Option<Blocked>,
}

impl WaitQueue {
    /// A new waiter, at the end.
    pub fn join(&mut self, cost: &Cost) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.rejoin(ticket, cost);
        ticket
    }

    /// A waiter at the place that its ticket says, which it had before.
    pub fn rejoin(&mut self, ticket: Ticket, cost: &Cost) {
        self.waiting += 1;
        let queue = self.queues.get_or_default(&cost.keys);
        let first = queue.first();
        queue.waiting.insert(ticket, cost.clone());
        match first {
            Some(first) if first < ticket => {}
            Some(first) => self.change_first(first, &cost.keys),
            None => drop(self.ready.insert(ticket, cost.keys.clone())),
        }
    }

    /// A waiter gives up.
    pub fn leave(&mut self, ticket: Ticket, cost: &Cost) {
        let Some(queue) = self.queues.get(&cost.keys) else {
            return;
        };
        let was_first = queue.first() == Some(ticket);
        self.remove(ticket, &cost.keys);
        if was_first {
            self.change_first(ticket, &cost.keys);
        }
    }

    /// The number of waiters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether there is no waiter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The first waiter that may go on, or else the first of a parked queue.
    #[must_use]
    pub fn first(&self) -> Option<Ticket> {
        let ready = self.ready.keys().next().copied();
        ready.or_else(|| self.parked.keys().next().map(|(_, ticket)| *ticket))
    }

    /// Whether no waiter with the same keys has to go before this one: it is their first, or it
    /// costs less than their first.
    #[must_use]
    pub fn may_be_next(&self, ticket: Ticket, cost: &Cost) -> bool {
        let queue = self.queues.get(&cost.keys);
        let first = queue.and_then(|queue| queue.waiting.first_key_value());
        first.is_some_and(|(first, of_first)| *first == ticket || cost.is_smaller_than(of_first))
    }

    /// An attempt with these keys has ended: queues that one of the keys blocks may go on.
    /// A queue that another key blocks for longer may not.
    pub fn ended(&mut self, keys: &ScopeKeys) {
        if let [_] = keys.as_slice() {
            return self.unpark(keys);
        }
        for (scope, key) in keys.iter().enumerate() {
            let parked = self.parked_by_key.get(&(scope, key.clone()));
            let parked: Vec<ScopeKeys> = parked.into_iter().flatten().cloned().collect();
            parked.iter().for_each(|keys| self.unpark(keys));
        }
    }

    /// When the waiters that one of these keys may block are looked at, if that is known, where
    /// those that no key blocks are looked at at `next`.
    #[must_use]
    pub fn next_look(&self, keys: &ScopeKeys, next: Option<Time>) -> Option<Time> {
        match keys.as_slice() {
            [] => next,
            [_] => self.queues.get(keys).and_then(|queue| queue.parked).unwrap_or(next),
            _ => None,
        }
    }

    fn unpark(&mut self, keys: &ScopeKeys) {
        if let Some(queue) = self.queues.get_mut(keys)
            && let (Some(until), Some(first)) = (queue.parked.take(), queue.first())
        {
            self.forget_parked(until, first, keys);
            self.ready.insert(first, keys.clone());
        }
    }

    fn forget_parked(&mut self, until: Option<Time>, first: Ticket, keys: &ScopeKeys) {
        self.parked.remove(&(until, first));
        if keys.len() == 1 {
            return;
        }
        for key in keys.iter().cloned().enumerate() {
            if let Entry::Occupied(mut parked) = self.parked_by_key.entry(key) {
                parked.get_mut().remove(keys);
                if parked.get().is_empty() {
                    parked.remove();
                }
            }
        }
    }

    /// Gives units to the waiters that the limits let go now, in order.
    pub fn dispatch(&mut self, now: Time, limits: &mut LimitSet) -> Dispatched {
        self.unpark_due(now);
        let mut dispatched = Dispatched::default();
        let mut from = 0;
        loop {
            let mut ready = self.ready.range(from..);
            let Some((&first, keys)) = ready.next() else {
                break;
            };
            let before = ready.next().map_or(Ticket::MAX, |(ticket, _)| *ticket);
            let keys = keys.clone();
            let (ticket, blocked) =
                self.dispatch_until(before, now, limits, (first, &keys), &mut dispatched);
            from = ticket + 1;
            let Some(blocked) = blocked else {
                continue;
            };
            self.overtake(now, limits, &keys, &mut dispatched);
            if blocked.by_key.is_some() && !keys.is_empty() {
                self.parked_for = Some(blocked);
                self.park(ticket, &keys, &blocked);
            } else {
                dispatched.next = time_of(blocked.when);
                dispatched.blocked = Some(blocked);
                break;
            }
        }
        let unpark = self.parked.range((Some(Time::ZERO), 0)..).next();
        let unpark = unpark.and_then(|(&(time, _), _)| time);
        dispatched.next = dispatched.next.into_iter().chain(unpark).min();
        let blocked = dispatched.blocked.or(self.parked_for);
        dispatched.blocked = blocked.filter(|_| !self.is_empty());
        dispatched
    }

    /// Gives units to the waiters of a queue that came before a ticket, from its `first` on, one
    /// after the other. Gives the last one that was looked at, and what blocks it, if anything does.
    fn dispatch_until(
        &mut self,
        before: Ticket,
        now: Time,
        limits: &mut LimitSet,
        (first, keys): (Ticket, &ScopeKeys),
        dispatched: &mut Dispatched,
    ) -> (Ticket, Option<Blocked>) {
        let (mut last, mut blocked) = (first, None);
        let Some(queue) = self.queues.get_mut(keys) else {
            return (last, blocked);
        };
        while let Some(entry) = queue.waiting.first_entry().filter(|entry| *entry.key() < before) {
            last = *entry.key();
            let acquired = match limits.take(now, entry.get()) {
                Err(by) if !by.is_final() => {
                    blocked = Some(by);
                    break;
                }
                acquired => acquired,
            };
            let cost = entry.remove();
            self.waiting -= 1;
            let given = match acquired {
                Ok(acquired) => Ok(Box::new(Given { cost, acquired })),
                Err(blocked) => Err(limits.denial(now, &cost, &blocked)),
            };
            dispatched.turns.push((last, given));
        }
        if blocked.is_none() || last != first {
            self.change_first(first, keys);
        }
        (last, blocked)
    }

    /// Lets smaller waiters past the first of a queue. No attempt is smaller than one
    /// request.
    fn overtake(
        &mut self,
        now: Time,
        limits: &mut LimitSet,
        keys: &ScopeKeys,
        dispatched: &mut Dispatched,
    ) {
        let Some(queue) = self.queues.get_mut(keys) else {
            return;
        };
        let Some((_, first)) = queue.waiting.first_key_value() else {
            return;
        };
        if !first.has_costs() {
            return;
        }
        let first = first.clone();
        let left = MAX_OVERTAKEN.saturating_sub(queue.overtaken) as usize;
        let behind = queue.waiting.iter().skip(1).take(LOOKAHEAD);
        let smaller = behind.filter(|(_, cost)| cost.is_smaller_than(&first));
        // What costs no less than one that may not go may not go either.
        let mut blocked: Option<&Cost> = None;
        let past: Vec<(Ticket, Acquired)> = smaller
            .filter_map(|(&ticket, cost)| {
                if blocked.is_some_and(|blocked| cost.is_at_least(blocked)) {
                    return None;
                }
                let acquired = limits.take(now, cost);
                blocked = if acquired.is_err() { Some(cost) } else { blocked };
                Some((ticket, acquired.ok()?))
            })
            .take(left)
            .collect();
        queue.overtaken += past.len() as u32;
        for (ticket, acquired) in past {
            if let Some(cost) = self.remove(ticket, keys) {
                dispatched.turns.push((ticket, Ok(Box::new(Given { cost, acquired }))));
            }
        }
    }

    /// What happens to the key that blocks a queue the longest brings it back. Where costs
    /// differ, another key may block those behind the first.
    fn park(&mut self, ticket: Ticket, keys: &ScopeKeys, blocked: &Blocked) {
        if let (Some(queue), Some(keys)) = (self.queues.get_mut(keys), self.ready.remove(&ticket)) {
            let until = time_of(blocked.when);
            queue.parked = Some(until);
            let costs = queue.waiting.values().next().is_some_and(Cost::has_costs);
            let all = keys.iter().cloned().enumerate();
            let by = all.filter(|(scope, _)| costs || blocked.by_key == Some(*scope));
            if keys.len() > 1 {
                by.for_each(|key| {
                    let parked = self.parked_by_key.entry(key).or_default();
                    parked.insert(keys.clone());
                });
            }
            self.parked.insert((until, ticket), keys);
        }
    }

    fn unpark_due(&mut self, now: Time) {
        let due = (Some(Time::ZERO), 0)..=(Some(now), Ticket::MAX);
        let due: Vec<ScopeKeys> = self.parked.range(due).map(|(_, keys)| keys.clone()).collect();
        due.iter().for_each(|keys| self.unpark(keys));
    }

    fn remove(&mut self, ticket: Ticket, keys: &ScopeKeys) -> Option<Cost> {
        let removed = self.queues.get_mut(keys)?.waiting.remove(&ticket)?;
        self.waiting -= 1;
        Some(removed)
    }

    /// The queue has another first waiter than `before`, and may go on; or it has none.
    fn change_first(&mut self, before: Ticket, keys: &ScopeKeys) {
        let Some(queue) = self.queues.get_mut(keys) else {
            return;
        };
        queue.overtaken = 0;
        let (parked, first) = (queue.parked.take(), queue.first());
        match parked {
            Some(until) => self.forget_parked(until, before, keys),
            None => drop(self.ready.remove(&before)),
        }
        match first {
            Some(first) => drop(self.ready.insert(first, keys.clone())),
            None => self.queues.remove(keys),
        }
    }
}

impl KeyQueues {
    fn get(&self, keys: &ScopeKeys) -> Option<&KeyQueue> {
        if keys.is_empty() { self.keyless.as_ref() } else { self.keyed.get(keys) }
    }

    fn get_mut(&mut self, keys: &ScopeKeys) -> Option<&mut KeyQueue> {
        if keys.is_empty() { self.keyless.as_mut() } else { self.keyed.get_mut(keys) }
    }

    fn get_or_default(&mut self, keys: &ScopeKeys) -> &mut KeyQueue {
        if keys.is_empty() {
            self.keyless.get_or_insert_default()
        } else {
            self.keyed.entry(keys.clone()).or_default()
        }
    }

    fn remove(&mut self, keys: &ScopeKeys) {
        if keys.is_empty() {
            self.keyless = None;
        } else {
            self.keyed.remove(keys);
        }
    }
}

impl KeyQueue {
    fn first(&self) -> Option<Ticket> {
        self.waiting.keys().next().copied()
    }
}

/// What has blocked the first waiter, over time.
#[derive(Debug, Default)]
pub struct WaitStats {
    now: Option<Blocked>,
    /// What blocked the first waiter when there last was one.
    last: Option<Blocked>,
    since: Time,
    by_rule: Vec<Duration>,
    /// The part of the time by each rule that lost requests have cost.
    by_linger: Vec<Duration>,
    by_server: Duration,
    by_operator: Duration,
}

impl WaitStats {
    /// From now on `by` blocks the first waiter; none if there is no waiter.
    pub fn set_blocked(&mut self, now: Time, by: Option<Blocked>) {
        if let Some(before) = self.now {
            let more = now.since(self.since);
            let lingered = more * u32::from(before.lingering) / 1_000;
            match before.by {
                Blocker::Server => self.by_server += more,
                Blocker::Operator => self.by_operator += more,
                Blocker::Rule(rule) | Blocker::Linger(rule) => {
                    add(&mut self.by_rule, rule, more.saturating_sub(lingered));
                    add(&mut self.by_linger, rule, lingered);
                }
            }
        }
        (self.now, self.last, self.since) = (by, by.or(self.last), now);
    }

    /// What blocks the first waiter; none if there is no waiter.
    #[must_use]
    pub fn blocked_by(&self) -> Option<Blocker> {
        self.now.map(|blocked| blocked.by)
    }

    /// When the first waiter may go on, or could have, as far as is known.
    #[must_use]
    pub fn until(&self) -> Option<Time> {
        let blocked = self.last?;
        blocked.back.or(time_of(blocked.when))
    }

    /// For how long each rule, lost requests, the server and a person have blocked the first waiter.
    pub fn so_far(&mut self, now: Time) -> impl Iterator<Item = (Blocker, Duration)> {
        self.set_blocked(now, self.now);
        let rules = self.by_rule.iter().copied().enumerate();
        let rules = rules.map(|(rule, time)| (Blocker::Rule(rule), time));
        let lost = self.by_linger.iter().copied().enumerate();
        let lost = lost.map(|(rule, time)| (Blocker::Linger(rule), time));
        let others = [(Blocker::Server, self.by_server), (Blocker::Operator, self.by_operator)];
        rules.chain(lost).chain(others)
    }
}

fn add(times: &mut Vec<Duration>, rule: usize, more: Duration) {
    if times.len() <= rule {
        times.resize(rule + 1, Duration::ZERO);
    }
    times[rule] += more;
}

fn time_of(when: Availability) -> Option<Time> {
    match when {
        Availability::At(time) => Some(time),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Policy;
    use crate::config::Settings;

    fn of(tenant: &str, host: &str) -> Cost {
        Cost::new([1], [tenant.into(), host.into()])
    }

    #[test]
    fn an_ended_attempt_unparks_only_the_queues_that_its_keys_block() {
        let rate = json!([
            {"rate": "1/1s", "per": "{{ tenant }}"},
            {"rate": "500/1s", "per": "{{ host }}"},
        ]);
        let settings: Settings = serde_json::from_value(json!({ "rate": rate })).unwrap();
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let (mut limits, mut queue) = (policy.limits(), WaitQueue::default());
        let now = Time::ZERO;
        // Each of many tenants has an attempt in flight, and a waiter.
        let costs: Vec<Cost> = (0..100).map(|tenant| of(&tenant.to_string(), "h")).collect();
        let mut acquired: Vec<Acquired> =
            costs.iter().map(|cost| limits.take(now, cost).unwrap()).collect();
        for cost in &costs {
            queue.join(cost);
        }
        assert_eq!(queue.dispatch(now, &mut limits).turns, []);
        assert_eq!((queue.parked.len(), queue.ready.len()), (100, 0));
        // One attempt ends: it has the host of all waiters, and the tenant of one.
        limits.ended(now, &costs[7], &mut acquired[7], crate::outcome::End::Returned);
        queue.ended(&costs[7].keys);
        assert_eq!((queue.parked.len(), queue.ready.len()), (99, 1));
        let turns = queue.dispatch(now, &mut limits).turns;
        assert_eq!(turns.iter().map(|(ticket, ..)| *ticket).collect::<Vec<_>>(), [7]);
        assert_eq!(queue.parked_by_key.len(), 99);
        // Waiters that leave are forgotten.
        for (ticket, cost) in costs.iter().enumerate().filter(|(ticket, _)| *ticket != 7) {
            queue.leave(ticket as Ticket, cost);
        }
        assert!(queue.is_empty() && queue.parked_by_key.is_empty() && queue.parked.is_empty());
    }
}
