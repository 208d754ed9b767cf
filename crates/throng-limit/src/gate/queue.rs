//! Who waits, in the order in which they came, and whose turn it is. Pure.
//!
//! Attempts with the same keys stand in one queue. Queues whose keys hold them up
//! step aside, so that a busy key stops nobody else. Where costs differ, a small
//! attempt may overtake a large one that waits, but nobody is overtaken more
//! than [`OVERTAKEN`] times.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::gate::cost::{Acquired, Cost, ScopeKeys};
use crate::gate::limit_set::LimitSet;
use crate::kinds::Availability;
use crate::outcome::Blocked;
use crate::time::Time;

/// So often may one be overtaken by smaller ones.
const OVERTAKEN: u32 = 64;
/// So many are looked at behind one that waits.
const LOOKED_AT: usize = 64;

/// The place of one that waits: lower came earlier.
pub type Ticket = u64;

/// All that wait.
#[derive(Debug, Default)]
pub struct WaitQueue {
    queues: HashMap<ScopeKeys, KeyQueue>,
    /// Queues that may go on now, by the place of their first.
    ready: BTreeMap<Ticket, ScopeKeys>,
    /// Queues that their keys hold up until then, by the place of their first.
    aside: BTreeMap<(Option<Time>, Ticket), ScopeKeys>,
    /// Those aside with several keys, by the scopes and the keys that hold them up.
    held: HashMap<(usize, Arc<str>), HashSet<ScopeKeys>>,
    next_place: Ticket,
    waiting: usize,
    /// What the last queue that stepped aside waits for.
    aside_for: Option<Blocked>,
}

/// Those with the same keys.
#[derive(Debug, Default)]
struct KeyQueue {
    waiting: BTreeMap<Ticket, Cost>,
    /// How often the first has been overtaken.
    overtaken: u32,
    /// Until when its keys hold it up: `Some(None)` is until an answer.
    aside: Option<Option<Time>>,
}

/// What came of a look at the line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dispatched {
    /// Who may go, in order, with what they were given; or that they never can.
    pub served: Vec<(Ticket, Option<Acquired>)>,
    /// When to look again, unless something happens before.
    pub next: Option<Time>,
    /// What whoever is left waits for.
    pub held: Option<Blocked>,
}

impl WaitQueue {
    /// Stands at the end.
    pub fn join(&mut self, ask: &Cost) -> Ticket {
        let place = self.next_place;
        self.next_place += 1;
        self.waiting += 1;
        let queue = self.queues.entry(ask.keys.clone()).or_default();
        queue.waiting.insert(place, ask.clone());
        if queue.waiting.len() == 1 {
            self.ready.insert(place, ask.keys.clone());
        }
        place
    }

    /// Leaves without having been served.
    pub fn leave(&mut self, place: Ticket, ask: &Cost) {
        let Some(queue) = self.queues.get(&ask.keys) else {
            return;
        };
        let was_first = queue.first() == Some(place);
        self.remove(place, &ask.keys);
        if was_first {
            self.follow(place, &ask.keys);
        }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Any one of them, rather the first.
    #[must_use]
    pub fn first(&self) -> Option<Ticket> {
        let ready = self.ready.keys().next().copied();
        ready.or_else(|| self.aside.keys().next().map(|(_, place)| *place))
    }

    /// Whether nobody with the same keys stands before it.
    #[must_use]
    pub fn is_first(&self, place: Ticket, ask: &Cost) -> bool {
        let queue = self.queues.get(&ask.keys);
        queue.is_some_and(|queue| queue.first() == Some(place))
    }

    /// An attempt with these keys has ended: who is held up by one of them may go on.
    /// Who is held up by another one longer, may not.
    pub fn ended(&mut self, keys: &ScopeKeys) {
        if let [_] = keys.as_slice() {
            return self.unpark(keys);
        }
        for (scope, key) in keys.iter().enumerate() {
            let held = self.held.get(&(scope, key.clone()));
            let held: Vec<ScopeKeys> = held.into_iter().flatten().cloned().collect();
            held.iter().for_each(|keys| self.unpark(keys));
        }
    }

    fn unpark(&mut self, keys: &ScopeKeys) {
        if let Some(queue) = self.queues.get_mut(keys)
            && let (Some(until), Some(first)) = (queue.aside.take(), queue.first())
        {
            self.no_longer_parked(until, first, keys);
            self.ready.insert(first, keys.clone());
        }
    }

    fn no_longer_parked(&mut self, until: Option<Time>, first: Ticket, keys: &ScopeKeys) {
        self.aside.remove(&(until, first));
        if keys.len() == 1 {
            return;
        }
        for place in keys.iter().cloned().enumerate() {
            if let Entry::Occupied(mut held) = self.held.entry(place) {
                held.get_mut().remove(keys);
                if held.get().is_empty() {
                    held.remove();
                }
            }
        }
    }

    /// Serves, in order, whom the limits let go now.
    pub fn dispatch(&mut self, now: Time, limits: &mut LimitSet) -> Dispatched {
        self.unpark_due(now);
        let mut served = Dispatched::default();
        let mut from = 0;
        while let Some((&place, keys)) = self.ready.range(from..).next() {
            let keys = keys.clone();
            from = place + 1;
            match self.serve_first(now, limits, place, &keys) {
                Ok(taken) => served.served.push((place, taken)),
                Err(blocked) if blocked.by_key.is_some() && !keys.is_empty() => {
                    self.aside_for = Some(blocked);
                    self.overtake(now, limits, &keys, &mut served.served);
                    self.park(place, &keys, &blocked);
                }
                Err(blocked) => {
                    served.next = time_of(blocked.when);
                    served.held = Some(blocked);
                    self.overtake(now, limits, &keys, &mut served.served);
                    break;
                }
            }
        }
        let back = self.aside.range((Some(Time::ZERO), 0)..).next();
        let back = back.and_then(|(&(time, _), _)| time);
        served.next = served.next.into_iter().chain(back).min();
        served.held = served.held.or(self.aside_for).filter(|_| !self.is_empty());
        served
    }

    fn serve_first(
        &mut self,
        now: Time,
        limits: &mut LimitSet,
        place: Ticket,
        keys: &ScopeKeys,
    ) -> Result<Option<Acquired>, Blocked> {
        let ask = self
            .queues
            .get(keys)
            .and_then(|queue| queue.waiting.get(&place));
        let taken = match ask.map(|ask| limits.take(now, ask)) {
            Some(Ok(taken)) => Some(taken),
            Some(Err(blocked)) if blocked.when != Availability::Never => return Err(blocked),
            _ => None,
        };
        self.remove(place, keys);
        self.follow(place, keys);
        Ok(taken)
    }

    /// Lets smaller ones past the first of a queue, so often: none is smaller than one
    /// request.
    fn overtake(
        &mut self,
        now: Time,
        limits: &mut LimitSet,
        keys: &ScopeKeys,
        served: &mut Vec<(Ticket, Option<Acquired>)>,
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
        let left = OVERTAKEN.saturating_sub(queue.overtaken) as usize;
        let behind = queue.waiting.iter().skip(1).take(LOOKED_AT);
        let smaller = behind.filter(|(_, ask)| ask.is_smaller_than(&first));
        let past: Vec<(Ticket, Acquired)> = smaller
            .filter_map(|(&place, ask)| Some((place, limits.take(now, ask).ok()?)))
            .take(left)
            .collect();
        queue.overtaken += past.len() as u32;
        for (place, taken) in past {
            self.remove(place, keys);
            served.push((place, Some(taken)));
        }
    }

    /// It is brought back by what happens to the key that holds it up the longest. Where
    /// costs differ, others behind the first may be held up by another one.
    fn park(&mut self, place: Ticket, keys: &ScopeKeys, blocked: &Blocked) {
        if let (Some(queue), Some(keys)) = (self.queues.get_mut(keys), self.ready.remove(&place)) {
            let until = time_of(blocked.when);
            queue.aside = Some(until);
            let costs = queue.waiting.values().next().is_some_and(Cost::has_costs);
            let all = keys.iter().cloned().enumerate();
            let by = all.filter(|(scope, _)| costs || blocked.by_key == Some(*scope));
            if keys.len() > 1 {
                by.for_each(|key| {
                    self.held.entry(key).or_default().insert(keys.clone());
                });
            }
            self.aside.insert((until, place), keys);
        }
    }

    fn unpark_due(&mut self, now: Time) {
        let due = (Some(Time::ZERO), 0)..=(Some(now), Ticket::MAX);
        let due: Vec<ScopeKeys> = self
            .aside
            .range(due)
            .map(|(_, keys)| keys.clone())
            .collect();
        due.iter().for_each(|keys| self.unpark(keys));
    }

    fn remove(&mut self, place: Ticket, keys: &ScopeKeys) {
        let queue = self.queues.get_mut(keys);
        let removed = queue.and_then(|queue| queue.waiting.remove(&place));
        self.waiting -= usize::from(removed.is_some());
    }

    /// The one behind the first takes its part.
    fn follow(&mut self, first: Ticket, keys: &ScopeKeys) {
        let Some(queue) = self.queues.get_mut(keys) else {
            return;
        };
        queue.overtaken = 0;
        let (aside, next) = (queue.aside.take(), queue.first());
        match aside {
            Some(until) => self.no_longer_parked(until, first, keys),
            None => drop(self.ready.remove(&first)),
        }
        match next {
            Some(next) => drop(self.ready.insert(next, keys.clone())),
            None => drop(self.queues.remove(keys)),
        }
    }
}

impl KeyQueue {
    fn first(&self) -> Option<Ticket> {
        self.waiting.keys().next().copied()
    }
}

impl Cost {
    /// Whether it asks for anything but one request.
    pub(crate) fn has_costs(&self) -> bool {
        *self.units != [1]
    }

    /// Whether it wants less of something, and more of nothing.
    fn is_smaller_than(&self, other: &Cost) -> bool {
        self.units != other.units
            && (0..self.units.len().max(other.units.len()))
                .all(|unit| self.units_of(unit) <= other.units_of(unit))
    }
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
    fn only_those_are_looked_at_again_whom_the_key_of_an_attempt_holds_up() {
        let rate = json!([
            {"rate": "1/1s", "per": "{{ tenant }}"},
            {"rate": "500/1s", "per": "{{ host }}"},
        ]);
        let settings: Settings = serde_json::from_value(json!({ "rate": rate })).unwrap();
        let policy = Policy::new(&settings, std::time::Duration::ZERO).unwrap();
        let (mut limits, mut line) = (policy.limits(), WaitQueue::default());
        let now = Time::ZERO;
        // Each of many tenants has one under way, and one that waits for that.
        let asks: Vec<Cost> = (0..100)
            .map(|tenant| of(&tenant.to_string(), "h"))
            .collect();
        let mut taken: Vec<Acquired> = asks
            .iter()
            .map(|ask| limits.take(now, ask).unwrap())
            .collect();
        for ask in &asks {
            line.join(ask);
        }
        assert_eq!(line.dispatch(now, &mut limits).served, []);
        assert_eq!((line.aside.len(), line.ready.len()), (100, 0));
        // The host of all of them, but only one tenant, hears of an answer.
        limits.ended(now, &asks[7], &mut taken[7], crate::outcome::End::Returned);
        line.ended(&asks[7].keys);
        assert_eq!((line.aside.len(), line.ready.len()), (99, 1));
        let served = line.dispatch(now, &mut limits).served;
        assert_eq!(
            served.iter().map(|(place, _)| *place).collect::<Vec<_>>(),
            [7]
        );
        assert_eq!(line.held.len(), 99);
        // Who leaves is forgotten.
        for (place, ask) in asks.iter().enumerate().filter(|(place, _)| *place != 7) {
            line.leave(place as Ticket, ask);
        }
        assert!(line.is_empty() && line.held.is_empty() && line.aside.is_empty());
    }
}
