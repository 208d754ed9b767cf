//! Who waits, in the order in which they came, and whose turn it is. Pure.
//!
//! Attempts with the same keys stand in one queue. Queues whose keys hold them up
//! step aside, so that a busy key stops nobody else. Where costs differ, a small
//! attempt may overtake a large one that waits, but nobody is overtaken more
//! than [`OVERTAKEN`] times.

use std::collections::{BTreeMap, HashMap};

use super::ask::{Ask, Keys, Taken};
use super::kind::When;
use super::limits::{Blocked, Limits};
use super::time::Time;

/// So often may one be overtaken by smaller ones.
const OVERTAKEN: u32 = 64;
/// So many are looked at behind one that waits.
const LOOKED_AT: usize = 64;

/// The place of one that waits: lower came earlier.
pub type Place = u64;

/// All that wait.
#[derive(Debug, Default)]
pub struct Line {
    queues: HashMap<Keys, Queue>,
    /// Queues that may go on now, by the place of their first.
    ready: BTreeMap<Place, Keys>,
    /// Queues that their keys hold up until then, by the place of their first.
    aside: BTreeMap<(Option<Time>, Place), Keys>,
    next_place: Place,
    waiting: usize,
    /// What the last queue that stepped aside waits for.
    aside_for: Option<Blocked>,
}

/// Those with the same keys.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Place, Ask>,
    /// How often the first has been overtaken.
    overtaken: u32,
    /// Until when its keys hold it up: `Some(None)` is until an answer.
    aside: Option<Option<Time>>,
}

/// What came of a look at the line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Who may go, in order, with what they were given; or that they never can.
    pub served: Vec<(Place, Option<Taken>)>,
    /// When to look again, unless something happens before.
    pub next: Option<Time>,
    /// What whoever is left waits for.
    pub held: Option<Blocked>,
}

impl Line {
    /// Stands at the end.
    pub fn join(&mut self, ask: &Ask) -> Place {
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
    pub fn leave(&mut self, place: Place, ask: &Ask) {
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
    pub fn first(&self) -> Option<Place> {
        let ready = self.ready.keys().next().copied();
        ready.or_else(|| self.aside.keys().map(|(_, place)| *place).min())
    }

    /// Whether nobody with the same keys stands before it.
    #[must_use]
    pub fn is_first(&self, place: Place, ask: &Ask) -> bool {
        let queue = self.queues.get(&ask.keys);
        queue.is_some_and(|queue| queue.first() == Some(place))
    }

    /// An attempt with these keys has ended: who waits for one of them may go on.
    pub fn ended(&mut self, keys: &Keys) {
        let concerned: Vec<Keys> = match keys.len() {
            0 => return,
            1 => vec![keys.clone()],
            _ => {
                let share = |other: &&Keys| other.iter().zip(keys).any(|(a, b)| a == b);
                self.aside.values().filter(share).cloned().collect()
            }
        };
        concerned.iter().for_each(|keys| self.step_back(keys));
    }

    fn step_back(&mut self, keys: &Keys) {
        if let Some(queue) = self.queues.get_mut(keys)
            && let (Some(time), Some(first)) = (queue.aside.take(), queue.first())
            && let Some(keys) = self.aside.remove(&(time, first))
        {
            self.ready.insert(first, keys);
        }
    }

    /// Serves, in order, whom the limits let go now.
    pub fn serve(&mut self, now: Time, limits: &mut Limits) -> Served {
        self.bring_back(now);
        let mut served = Served::default();
        let mut from = 0;
        while let Some((&place, keys)) = self.ready.range(from..).next() {
            let keys = keys.clone();
            from = place + 1;
            match self.serve_first(now, limits, place, &keys) {
                Ok(taken) => served.served.push((place, taken)),
                Err(blocked) if blocked.by_key && !keys.is_empty() => {
                    self.aside_for = Some(blocked);
                    self.overtake(now, limits, &keys, &mut served.served);
                    self.step_aside(place, &keys, blocked.when);
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
        limits: &mut Limits,
        place: Place,
        keys: &Keys,
    ) -> Result<Option<Taken>, Blocked> {
        let ask = self
            .queues
            .get(keys)
            .and_then(|queue| queue.waiting.get(&place));
        let taken = match ask.map(|ask| limits.take(now, ask)) {
            Some(Ok(taken)) => Some(taken),
            Some(Err(blocked)) if blocked.when != When::Never => return Err(blocked),
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
        limits: &mut Limits,
        keys: &Keys,
        served: &mut Vec<(Place, Option<Taken>)>,
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
        let past: Vec<(Place, Taken)> = smaller
            .filter_map(|(&place, ask)| Some((place, limits.take(now, ask).ok()?)))
            .take(left)
            .collect();
        queue.overtaken += past.len() as u32;
        for (place, taken) in past {
            self.remove(place, keys);
            served.push((place, Some(taken)));
        }
    }

    fn step_aside(&mut self, place: Place, keys: &Keys, when: When) {
        if let (Some(queue), Some(keys)) = (self.queues.get_mut(keys), self.ready.remove(&place)) {
            let until = time_of(when);
            queue.aside = Some(until);
            self.aside.insert((until, place), keys);
        }
    }

    fn bring_back(&mut self, now: Time) {
        let due = (Some(Time::ZERO), 0)..=(Some(now), Place::MAX);
        let due: Vec<Keys> = self
            .aside
            .range(due)
            .map(|(_, keys)| keys.clone())
            .collect();
        due.iter().for_each(|keys| self.step_back(keys));
    }

    fn remove(&mut self, place: Place, keys: &Keys) {
        let queue = self.queues.get_mut(keys);
        let removed = queue.and_then(|queue| queue.waiting.remove(&place));
        self.waiting -= usize::from(removed.is_some());
    }

    /// The one behind the first takes its part.
    fn follow(&mut self, first: Place, keys: &Keys) {
        let Some(queue) = self.queues.get_mut(keys) else {
            return;
        };
        match queue.aside.take() {
            Some(time) => self.aside.remove(&(time, first)),
            None => self.ready.remove(&first),
        };
        queue.overtaken = 0;
        match queue.first() {
            Some(next) => drop(self.ready.insert(next, keys.clone())),
            None => drop(self.queues.remove(keys)),
        }
    }
}

impl Queue {
    fn first(&self) -> Option<Place> {
        self.waiting.keys().next().copied()
    }
}

impl Ask {
    /// Whether it asks for anything but one request.
    pub(super) fn has_costs(&self) -> bool {
        *self.units != [1]
    }

    /// Whether it wants less of something, and more of nothing.
    fn is_smaller_than(&self, other: &Ask) -> bool {
        self.units != other.units
            && (0..self.units.len().max(other.units.len()))
                .all(|unit| self.units_of(unit) <= other.units_of(unit))
    }
}

fn time_of(when: When) -> Option<Time> {
    match when {
        When::At(time) => Some(time),
        _ => None,
    }
}
