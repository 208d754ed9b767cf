//! The same limits once for each key: host, tenant, or whatever a job names.
//! Keys that went quiet are forgotten, so that memory is bounded by the active
//! ones. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::group::Group;
use super::state::Account;
use super::time::Time;

/// The groups of one scope, by key.
#[derive(Debug, Default)]
pub struct Scope {
    groups: HashMap<Arc<str>, Group>,
    /// All keys, in the order in which they are next looked at.
    rounds: VecDeque<Arc<str>>,
    /// What the groups that are forgotten had to say, by limit.
    past: Vec<Account>,
    seen: u64,
}

/// So many known keys are looked at whenever a new one comes.
const LOOKED_AT: usize = 3;

impl Scope {
    /// The group of a key, which `make` makes if it is new.
    pub fn group(&mut self, now: Time, key: &Arc<str>, make: impl FnOnce() -> Group) -> &mut Group {
        if !self.groups.contains_key(key) {
            self.forget_quiet(now);
            self.rounds.push_back(key.clone());
            self.seen += 1;
        }
        self.groups.entry(key.clone()).or_insert_with(make)
    }

    /// The group of a key that is known.
    pub fn known(&mut self, key: &str) -> Option<&mut Group> {
        self.groups.get_mut(key)
    }

    /// The groups of all keys.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// The same, to tell them something.
    pub fn groups_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.groups.values_mut()
    }

    /// How often a key was new.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What the groups of all keys have to say, by limit.
    pub fn accounts(&self) -> Vec<Account> {
        let mut accounts = self.past.clone();
        self.groups
            .values()
            .for_each(|group| group.note(&mut accounts));
        accounts
    }

    fn forget_quiet(&mut self, now: Time) {
        for _ in 0..LOOKED_AT.min(self.rounds.len()) {
            let Some(key) = self.rounds.pop_front() else {
                return;
            };
            let Some(group) = self.groups.get_mut(&key) else {
                continue;
            };
            if group.is_idle(now) {
                group.note(&mut self.past);
                self.groups.remove(&key);
            } else {
                self.rounds.push_back(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ask::Ask;
    use super::super::budget::Budget;
    use super::super::concurrency::Concurrency;
    use super::super::group::Member;
    use super::super::kind::Kind;
    use super::*;

    fn of_kind(kind: impl Kind + 'static) -> Group {
        let kind = Box::new(kind);
        Group::new(vec![Member { unit: 0, kind }])
    }

    #[test]
    fn keys_that_went_quiet_are_forgotten() {
        let mut scope = Scope::default();
        for number in 0..10_000 {
            let key: Arc<str> = number.to_string().into();
            let cap = || of_kind(Concurrency::new(1, Default::default()));
            let group = scope.group(Time::ZERO, &key, cap);
            let mut hold = group.take(Time::ZERO, &Ask::from(1)).next().unwrap();
            group.members()[0].kind.finished(Time::ZERO, &mut hold);
            group.finished();
        }
        assert!(scope.groups.len() < 10, "{}", scope.groups.len());
        assert_eq!(scope.groups.len(), scope.rounds.len());
        assert_eq!((scope.accounts()[0].most, scope.seen()), (1, 10_000));
    }

    #[test]
    fn keys_that_still_count_are_kept() {
        let mut scope = Scope::default();
        for number in 0..100 {
            let key: Arc<str> = number.to_string().into();
            let group = scope.group(Time::ZERO, &key, || of_kind(Budget::new(1)));
            assert_eq!(group.take(Time::ZERO, &Ask::from(1)).count(), 1);
            if number % 2 == 0 {
                group.finished();
            }
        }
        assert_eq!(scope.groups.len(), 100);
    }
}
