//! Limits that each key has for itself: host, tenant, or any other value that a job names.
//! Keys that went quiet are forgotten, so that memory is bounded by the active
//! ones. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use crate::gate::limit_group::LimitGroup;
use crate::limiter::LimiterStats;
use crate::time::Time;

/// The groups of one scope, by key.
#[derive(Debug, Default)]
pub struct KeyedLimits {
    groups: HashMap<Arc<str>, LimitGroup>,
    /// All keys, and when each was looked at, in the order of these times.
    rounds: VecDeque<(Time, Arc<str>)>,
    /// How long a key is not looked at again.
    rest: Duration,
    /// What the groups that are forgotten had to say, by limit.
    past: Vec<LimiterStats>,
    /// Hashes of the keys that there have been, up to [`REMEMBERED`].
    seen: HashSet<u64>,
    /// How often a key beyond these was new.
    seen_beyond: u64,
}

/// Maximum number of keys that are told from those that come back.
const REMEMBERED: usize = 1 << 16;

/// Maximum number of other keys that are looked at for one attempt.
const LOOKED_AT: usize = 3;
/// Number of times that each key is looked at in a period.
const LOOKS: u32 = 4;
/// The longest and the shortest time after which a key is looked at again.
const LONGEST_REST: Duration = Duration::from_secs(60);
const SHORTEST_REST: Duration = Duration::from_millis(10);

impl KeyedLimits {
    /// No key yet; units of a key count for `period`, if they do for any time.
    pub fn new(period: Option<Duration>) -> KeyedLimits {
        let rest = period.map_or(LONGEST_REST, |period| period / LOOKS);
        KeyedLimits { rest: rest.clamp(SHORTEST_REST, LONGEST_REST), ..KeyedLimits::default() }
    }

    /// The group of a key, which `make` makes if it is new.
    pub fn group(
        &mut self,
        now: Time,
        key: &Arc<str>,
        make: impl FnOnce() -> LimitGroup,
    ) -> &mut LimitGroup {
        self.forget_quiet(now, key);
        if !self.groups.contains_key(key) {
            self.rounds.push_back((now, key.clone()));
            self.count(key);
        }
        self.groups.entry(key.clone()).or_insert_with(make)
    }

    /// The group of a key that is known.
    pub fn known(&mut self, key: &str) -> Option<&mut LimitGroup> {
        self.groups.get_mut(key)
    }

    /// The groups of all keys, to tell them something.
    pub fn groups_mut(&mut self) -> impl Iterator<Item = &mut LimitGroup> {
        self.groups.values_mut()
    }

    /// Number of different keys. Beyond 65,536 of them, a key that was forgotten and came back
    /// counts again.
    pub fn seen(&self) -> u64 {
        self.seen.len() as u64 + self.seen_beyond
    }

    fn count(&mut self, key: &str) {
        let hash = self.groups.hasher().hash_one(key);
        if self.seen.len() < REMEMBERED {
            self.seen.insert(hash);
        } else if !self.seen.contains(&hash) {
            self.seen_beyond += 1;
        }
    }

    /// What the groups of all keys have to say, by limit.
    pub fn accounts(&self) -> Vec<LimiterStats> {
        let mut accounts = self.past.clone();
        self.groups.values().for_each(|group| group.add_stats(&mut accounts));
        accounts
    }

    /// Forgets some of the keys but this one that have nothing to remember any more.
    fn forget_quiet(&mut self, now: Time, asked: &str) {
        for _ in 0..LOOKED_AT {
            match self.rounds.front() {
                Some((looked_at, _)) if looked_at.after(self.rest) <= now => {}
                _ => return,
            }
            let Some((_, key)) = self.rounds.pop_front() else {
                return;
            };
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            if *key != *asked && group.is_idle(now) {
                group.add_stats(&mut self.past);
                self.groups.remove(&key);
            } else {
                self.rounds.push_back((now, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::gate::cost::Cost;
    use crate::gate::limit_group::Member;
    use crate::kinds::budget::Budget;
    use crate::kinds::concurrency::Concurrency;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::limiter::{Availability, Event, Limiter, Reservation};

    fn of_kind(kind: impl Limiter + 'static) -> LimitGroup {
        let kind = Box::new(kind);
        LimitGroup::new(vec![Member { unit: 0, kind }])
    }

    #[test]
    fn keys_that_went_quiet_are_forgotten() {
        let mut scope = KeyedLimits::default();
        // Each key comes back when it has been forgotten, and is no other one.
        for number in (0..10_000).chain(0..10_000) {
            let key: Arc<str> = number.to_string().into();
            let cap = || of_kind(Concurrency::new(1, Default::default()));
            let group = scope.group(Time::ZERO, &key, cap);
            let mut hold = group.take(Time::ZERO, &Cost::from(1)).next().unwrap();
            group.members()[0].kind.on(Time::ZERO, &mut hold, Event::Finished);
            group.finished();
        }
        assert!(scope.groups.len() < 10, "{}", scope.groups.len());
        assert_eq!(scope.groups.len(), scope.rounds.len());
        assert_eq!((scope.accounts()[0].peak, scope.seen()), (1, 10_000));
    }

    /// A limit of a key: it is used until a time, and counts how often it is looked at.
    #[derive(Debug)]
    struct Watched(Time, Arc<AtomicUsize>);

    impl Limiter for Watched {
        fn earliest(&mut self, _: Time, _: u64) -> Availability {
            Availability::Now
        }
        fn take(&mut self, _: Time, units: u64) -> Reservation {
            Reservation::new(units)
        }
        fn on(&mut self, _: Time, _: &mut Reservation, _: Event) -> Availability {
            Availability::Never
        }
        fn is_idle(&mut self, now: Time) -> bool {
            self.1.fetch_add(1, Ordering::Relaxed);
            now >= self.0
        }
        fn stats(&self) -> LimiterStats {
            LimiterStats::default()
        }
    }

    #[test]
    fn an_attempt_looks_at_few_other_keys_and_all_are_forgotten_soon() {
        for keys in [100, 10_000] {
            let period = Duration::from_secs(10);
            let (mut scope, looks) =
                (KeyedLimits::new(Some(period)), Arc::new(AtomicUsize::new(0)));
            let mut ask = |now: Time, key: usize| {
                let make = || of_kind(Watched(now.after(period), looks.clone()));
                let before = looks.load(Ordering::Relaxed);
                scope.group(now, &key.to_string().into(), make);
                (looks.load(Ordering::Relaxed) - before, scope.groups.len())
            };
            let start = Time::ZERO;
            for key in 0..keys {
                assert_eq!(ask(start, key), (0, key + 1));
            }
            // The same key again and again, while the others go quiet.
            let mut alive = keys;
            for attempt in 0..keys {
                let (looks, left) = ask(start.after(period), 0);
                assert!(looks <= LOOKED_AT, "{looks} of {keys} at {attempt}");
                alive = left;
            }
            assert_eq!(alive, 1);
        }
    }

    #[test]
    fn keys_that_still_count_are_kept() {
        let mut scope = KeyedLimits::default();
        for number in 0..100 {
            let key: Arc<str> = number.to_string().into();
            let group = scope.group(Time::ZERO, &key, || of_kind(Budget::new(1)));
            assert_eq!(group.take(Time::ZERO, &Cost::from(1)).count(), 1);
            if number % 2 == 0 {
                group.finished();
            }
        }
        assert_eq!(scope.groups.len(), 100);
    }
}
