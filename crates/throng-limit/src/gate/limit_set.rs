//! All limits of a run at once. Pure: time and chance are arguments.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use smallvec::SmallVec;

use crate::outcome::{BlockedTime, BlockerKind};

use crate::config::{LimitScope, REQUESTS, Rule};
use crate::error::AcquireError;
use crate::gate::cost::{Acquired, Cost};
use crate::gate::group::{LimitGroup, Member};
use crate::gate::keyed::KeyedLimits;
use crate::gate::state::LimitState;
use crate::limiter::Reservation;
use crate::limiter::{Availability, Event, Limiter, RateLimitInfo};
use crate::outcome::Blocker;
use crate::outcome::Uncounted;
use crate::outcome::{Blocked, End};
use crate::quota::{LeasedLimiter, QuotaStore, ScopeKey};
use crate::time::Time;

/// All limits of a run: those of the whole run, those of each key in each
/// scope, and those of each key of the pool, of which an attempt needs one.
///
/// An attempt takes from all that it matches, or from none.
#[derive(Debug)]
pub struct LimitSet {
    rules: Arc<[Rule]>,
    run: LimitGroup,
    scopes: Vec<KeyedLimits>,
    pool: Vec<LimitGroup>,
    /// Where the next search for a free key begins.
    next_key: usize,
    uncounted: Uncounted,
    /// Whether larger limits that the server names count.
    loosens: bool,
    /// The scope whose limits only the server knows.
    route: Option<usize>,
    lost: u64,
    /// Until when any group is closed: there may be very many to look at.
    closed_until: Time,
    /// The store of the quotas that outlive the process.
    ledger: Option<Arc<dyn QuotaStore>>,
}

impl LimitSet {
    /// These rules together, for `scopes` scopes, and a pool of `keys` keys (0
    /// without one). No rules means no limit.
    #[must_use]
    pub fn new(rules: Vec<Rule>, scopes: usize, keys: usize, uncounted: Uncounted) -> LimitSet {
        let rules: Arc<[Rule]> = rules.into();
        LimitSet {
            run: group(&rules, LimitScope::Run, None, ScopeKey::Run),
            scopes: (0..scopes).map(|index| scope(&rules, index)).collect(),
            pool: (0..keys)
                .map(|key| group(&rules, LimitScope::Pool, None, ScopeKey::Pool(key)))
                .collect(),
            rules,
            next_key: 0,
            uncounted,
            loosens: false,
            route: None,
            lost: 0,
            closed_until: Time::ZERO,
            ledger: None,
        }
    }

    /// The names of the units that the rules count; requests come first.
    pub(crate) fn units(&self) -> Vec<String> {
        let kinds = self.rules.iter().map(|rule| rule.unit + 1).max();
        let mut units = vec![REQUESTS.to_owned(); kinds.unwrap_or(1)];
        for rule in &*self.rules {
            rule.unit_name().clone_into(&mut units[rule.unit]);
        }
        units
    }

    /// The number of scopes: an attempt has a key in each.
    pub(crate) fn scope_count(&self) -> usize {
        self.scopes.len()
    }

    /// Why an attempt of this cost, which `blocked` says will never be allowed, won't.
    pub(crate) fn denial(&self, cost: &Cost, blocked: &Blocked) -> AcquireError {
        if let Some(problem) = self.trouble() {
            return AcquireError::Store { problem };
        }
        let rule = match blocked.by {
            Blocker::Rule(rule) => self.rules.get(rule),
            Blocker::Server => None,
        };
        match rule {
            Some(rule) if rule.rate_pattern().is_some() => AcquireError::ExceedsCapacity {
                unit: rule.unit_name().to_owned(),
                asked: cost.units_of(rule.unit),
                capacity: rule.most_at_once(),
            },
            rule => AcquireError::BudgetExhausted {
                limit: rule.map_or_else(String::new, |rule| rule.name.clone()),
            },
        }
    }

    /// Larger limits that the server names count, too.
    #[must_use]
    pub fn loosened(self, loosens: bool) -> LimitSet {
        LimitSet { loosens, ..self }
    }

    /// Only the server knows the limits of this scope's keys: a few attempts of each
    /// go first, and what it says of one key is kept to that.
    #[must_use]
    pub fn with_route(self, route: Option<usize>) -> LimitSet {
        LimitSet { route, ..self }
    }

    /// From now on, the units of limits that a quota store counts come from there. Nothing
    /// is taken yet.
    pub fn lend(&mut self, ledger: Arc<dyn QuotaStore>) {
        let lent = Some(&*ledger);
        self.run = group(&self.rules, LimitScope::Run, lent, ScopeKey::Run);
        for (key, pool) in self.pool.iter_mut().enumerate() {
            *pool = group(&self.rules, LimitScope::Pool, lent, ScopeKey::Pool(key));
        }
        self.ledger = Some(ledger);
    }

    /// Nothing more will be sent. Gives whether all accounts of the quota store know. An
    /// account that is busy keeps none of the others from being told.
    pub fn close(&mut self, now: Time) -> bool {
        let scopes = self.scopes.iter_mut().flat_map(KeyedLimits::groups_mut);
        let groups = scopes.chain(&mut self.pool).chain([&mut self.run]);
        let mut all = true;
        for member in groups.flat_map(LimitGroup::members) {
            all &= member.kind.close(now);
        }
        all
    }

    /// The largest number of times that a limit remembers.
    #[cfg(test)]
    pub fn entries(&mut self) -> usize {
        let groups = self.pool.iter_mut().chain([&mut self.run]);
        let members = groups.flat_map(LimitGroup::members);
        let entries = members.map(|member| member.kind.stats().entries);
        entries.max().unwrap_or(0)
    }

    /// Why the quota store gives no units any more, if so.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.ledger.as_ref()?.trouble()
    }

    /// Counts a request that another process has sent; with a pool, by one key after the
    /// other.
    pub fn remember(&mut self, then: Time, lost: bool) {
        let key = (!self.pool.is_empty()).then(|| self.next_key % self.pool.len());
        self.next_key = key.map_or(0, |key| key + 1);
        self.each_group(&[], key, &mut |group| group.remember(then, lost));
    }

    /// No limit at all.
    #[must_use]
    pub fn none() -> LimitSet {
        LimitSet::new(Vec::new(), 0, 0, Uncounted::default())
    }

    /// Whether nothing but the server's own word can limit an attempt.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.rules.is_empty() && self.scopes.is_empty() && self.pool.is_empty()
    }

    /// Whether there is a limit at all.
    #[must_use]
    pub fn are_any(&self) -> bool {
        !self.rules.is_empty()
    }

    /// `taken` requests were taken without limits, of which `ended` are over.
    pub(crate) fn count_in(&mut self, taken: u64, ended: u64) {
        self.run.count_in(taken, ended);
    }

    /// Takes what is asked from every limit that it matches, or from none.
    ///
    /// # Errors
    /// When, and for whom, that may change.
    pub fn take(&mut self, now: Time, ask: &Cost) -> Result<Acquired, Blocked> {
        let run = self.run.earliest(now, ask);
        let (by_key, scope) = self.earliest_of_keys(now, ask);
        let (key, pool) = self.earliest_in_pool(now, ask);
        let when = run.max(pool).max(by_key);
        if when != Availability::Now {
            let by_key = (by_key >= run.max(pool)).then_some(scope);
            let (by, back) = self.holder(now, ask, key);
            return Err(Blocked { when, by_key, by, back });
        }
        let mut holds = SmallVec::new();
        self.each_group(&ask.keys, key, &mut |group| {
            group.take(now, ask).for_each(|hold| holds.push(hold));
        });
        self.next_key = key.map_or(0, |key| key + 1);
        let standing = self.innermost(ask, key).stand(ask);
        Ok(Acquired { holds, key, standing })
    }

    /// The attempt is being written.
    pub fn sent(&mut self, now: Time, ask: &Cost, taken: &mut Acquired) {
        self.tell(now, ask, taken, Event::Sent);
    }

    /// The server's network stack has all of it.
    pub fn acked(&mut self, now: Time, ask: &Cost, taken: &mut Acquired) {
        self.tell(now, ask, taken, Event::Acked);
    }

    /// The attempt ended, other than by a refusal.
    pub fn ended(&mut self, now: Time, ask: &Cost, taken: &mut Acquired, end: End) {
        if matches!(end, End::Answered | End::Failed) {
            self.innermost(ask, taken.key).accepted(&taken.standing);
        }
        self.lost += u64::from(end == End::Lost);
        let event = match end {
            End::Failed if self.uncounted.failed => Event::Returned,
            End::Answered | End::Failed => Event::Answered,
            End::Lost => Event::Lost,
            End::Returned => Event::Returned,
        };
        self.tell(now, ask, taken, event);
    }

    /// The server refused an attempt that was sent at `sent`: those with the same
    /// keys wait for `pause`, or for a while that doubles with each refusal;
    /// `chance` is 0 to 1. Gives the refusals in a row.
    pub fn refused(
        &mut self,
        now: Time,
        (ask, taken, sent): (&Cost, &mut Acquired, Time),
        pause: Option<Duration>,
        chance: f64,
    ) -> u32 {
        let group = self.innermost(ask, taken.key);
        let explained = group.expected_refusal(sent);
        let refusals = group.refused(now, sent, pause, chance);
        let closed_until = group.closed_until();
        self.closed_until = self.closed_until.max(closed_until);
        self.tell(now, ask, taken, Event::Refused { explained });
        if self.uncounted.refused {
            self.tell(now, ask, taken, Event::Returned);
        }
        refusals
    }

    /// The server asks all requests to pause, whatever their keys.
    pub fn close_run(&mut self, now: Time, pause: Option<Duration>, chance: f64) {
        self.run.close(now, pause, chance);
        self.closed_until = self.closed_until.max(self.run.closed_until());
    }

    /// The answer has been read to its end, or nothing more will come of it.
    pub fn finished(&mut self, now: Time, ask: &Cost, taken: &mut Acquired) {
        self.tell(now, ask, taken, Event::Finished);
        self.innermost(ask, taken.key).leave(ask, &taken.standing);
        self.each_group(&ask.keys, taken.key, &mut LimitGroup::finished);
    }

    /// The attempt has turned out to cost `units` of the unit with this index.
    pub fn settle(&mut self, now: Time, ask: &Cost, taken: &mut Acquired, unit: usize, units: u64) {
        self.tell_members(ask, taken, &mut |member, hold| {
            if member.unit == unit {
                member.kind.on(now, hold, Event::Settled(units));
            }
        });
    }

    /// The server tells its count of a unit in the answer to an attempt. `unit` is an index
    /// into the policy's units, and none for a unit that no limit counts.
    pub fn learn(
        &mut self,
        now: Time,
        (ask, taken): (&Cost, &Acquired),
        unit: Option<usize>,
        said: RateLimitInfo,
    ) {
        let loosens = self.loosens;
        let group = self.innermost(ask, taken.key);
        group.hear(now, (ask, &taken.standing), unit, said, loosens);
    }

    /// Whether anything depends on the calendar.
    #[must_use]
    pub fn follow_calendar(&self) -> bool {
        self.rules.iter().any(Rule::follows_calendar)
    }

    /// The calendar's time at the clock's zero, which changes when the calendar is set.
    pub fn heed_calendar(&mut self, zero: Timestamp) {
        let mut rules = self.rules.to_vec();
        let is_news = rules.iter_mut().fold(false, |is_news, rule| {
            let is_news_here = rule.heed_calendar(zero);
            is_news || is_news_here
        });
        // The groups know what the rules know, and there may be very many.
        if !is_news {
            return;
        }
        self.rules = rules.into();
        let scopes = self.scopes.iter_mut().flat_map(KeyedLimits::groups_mut);
        let groups = std::iter::once(&mut self.run).chain(&mut self.pool);
        for member in groups.chain(scopes).flat_map(LimitGroup::members) {
            member.kind.heed_calendar(zero);
        }
    }

    /// Until when the server's longest pause lasts, if one does.
    #[must_use]
    pub fn closed_until(&self, now: Time) -> Option<Time> {
        Some(self.closed_until).filter(|until| *until > now)
    }

    /// Each limit's own account, in the order of the rules.
    #[must_use]
    pub fn state(&self) -> Vec<LimitState> {
        let (mut run, mut pool) = (vec![], vec![]);
        self.run.note(&mut run);
        self.pool.iter().for_each(|group| group.note(&mut pool));
        let mut run = run.into_iter();
        let mut pool = pool.into_iter();
        let mut scopes: Vec<_> = self.scopes.iter().map(|s| s.accounts().into_iter()).collect();
        let state = |rule: &Rule| {
            let (account, keys) = match rule.scope {
                LimitScope::Run => (run.next(), None),
                LimitScope::Pool => (pool.next(), Some(self.pool.len() as u64)),
                LimitScope::Scope(at) => (scopes[at].next(), Some(self.scopes[at].seen())),
            };
            let account = account.unwrap_or_default();
            rule.states(account, self.lost, keys)
        };
        self.rules.iter().flat_map(state).collect()
    }

    /// Who holds this up the longest.
    fn holder(&mut self, now: Time, ask: &Cost, key: Option<usize>) -> (Blocker, Option<Time>) {
        let mut longest = (Availability::Now, Blocker::Server, None);
        let rules = &self.rules;
        let mut look = |scope: LimitScope, group: &mut LimitGroup| {
            let (when, member) = group.binding(now, ask);
            if when > longest.0 {
                let here = rules.iter().enumerate();
                let here = here.filter(|(_, rule)| rule.scope == scope);
                let part = member.and_then(|member| here.map(|(rule, _)| rule).nth(member));
                let back = member.and_then(|member| group.members()[member].kind.stats().back);
                longest = (when, part.map_or(Blocker::Server, Blocker::Rule), back);
            }
        };
        look(LimitScope::Run, &mut self.run);
        for (index, (scope, key)) in self.scopes.iter_mut().zip(&ask.keys).enumerate() {
            if let Some(group) = scope.known(key) {
                look(LimitScope::Scope(index), group);
            }
        }
        if let Some(key) = key {
            look(LimitScope::Pool, &mut self.pool[key]);
        }
        (longest.1, longest.2)
    }

    /// A part that holds rows up, or the server, in words.
    #[must_use]
    pub fn blocked_time(&self, by: Blocker, time: Duration) -> BlockedTime {
        let (by, name) = match by {
            Blocker::Rule(part) => (self.rules[part].blocker(), self.rules[part].name.clone()),
            Blocker::Server => (BlockerKind::Pause, String::new()),
        };
        BlockedTime { by, name, time }
    }

    /// When all keys let it go, and the scope of the one that does so last.
    fn earliest_of_keys(&mut self, now: Time, ask: &Cost) -> (Availability, usize) {
        if self.scopes.is_empty() {
            return (Availability::Now, 0);
        }
        let (rules, route, ledger) = (&self.rules, self.route, self.ledger.as_deref());
        let scopes = self.scopes.iter_mut().zip(&ask.keys).enumerate();
        scopes
            .map(|(index, (scope, key))| {
                let new = || group(rules, LimitScope::Scope(index), ledger, ScopeKey::Key(key));
                let make = || {
                    if route == Some(index) { new().begin_carefully() } else { new() }
                };
                (scope.group(now, key, make).earliest(now, ask), index)
            })
            .fold((Availability::Now, 0), Ord::max)
    }

    /// The key that is free first; of those that are free now, the next in turn.
    fn earliest_in_pool(&mut self, now: Time, ask: &Cost) -> (Option<usize>, Availability) {
        let keys = self.pool.len();
        let turn = |place: usize| (self.next_key + place) % keys;
        let pool = &mut self.pool;
        (0..keys)
            .map(turn)
            .map(|key| (Some(key), pool[key].earliest(now, ask)))
            .min_by_key(|(_, when)| *when)
            .unwrap_or((None, Availability::Now))
    }

    /// The group that a refusal concerns, and no wider.
    fn innermost(&mut self, ask: &Cost, key: Option<usize>) -> &mut LimitGroup {
        if let Some(key) = key {
            return &mut self.pool[key];
        }
        if self.scopes.is_empty() {
            return &mut self.run;
        }
        let scopes = self.scopes.iter_mut().zip(&ask.keys);
        let known = scopes.filter_map(|(scope, key)| scope.known(key)).last();
        known.unwrap_or(&mut self.run)
    }

    /// In the order in which the holds of an attempt lie.
    fn each_group(
        &mut self,
        keys: &[Arc<str>],
        key: Option<usize>,
        act: &mut dyn FnMut(&mut LimitGroup),
    ) {
        act(&mut self.run);
        for (scope, key) in self.scopes.iter_mut().zip(keys) {
            if let Some(group) = scope.known(key) {
                act(group);
            }
        }
        if let Some(key) = key {
            act(&mut self.pool[key]);
        }
    }

    fn tell(&mut self, now: Time, ask: &Cost, taken: &mut Acquired, event: Event) {
        self.tell_members(ask, taken, &mut |member, hold| {
            member.kind.on(now, hold, event);
        });
    }

    fn tell_members(
        &mut self,
        ask: &Cost,
        taken: &mut Acquired,
        event: &mut dyn FnMut(&mut Member, &mut Reservation),
    ) {
        let mut holds = taken.holds.iter_mut();
        self.each_group(&ask.keys, taken.key, &mut |group| {
            for member in group.members() {
                if let Some(hold) = holds.next() {
                    event(member, hold);
                }
            }
        });
    }
}

/// A scope whose keys have nothing to remember once the longest period is over.
fn scope(rules: &[Rule], index: usize) -> KeyedLimits {
    let here = rules.iter().filter(|it| it.scope == LimitScope::Scope(index));
    KeyedLimits::new(here.filter_map(Rule::period).max())
}

/// The limits of one scope, all free but for what a quota store counts.
fn group(
    rules: &[Rule],
    scope: LimitScope,
    store: Option<&dyn QuotaStore>,
    key: ScopeKey<'_>,
) -> LimitGroup {
    let rules = rules.iter().filter(|rule| rule.scope == scope);
    let member = |rule: &Rule| Member {
        unit: rule.unit,
        kind: leased(rule, store, key).unwrap_or_else(|| rule.limiter()),
    };
    LimitGroup::new(rules.map(member).collect())
}

/// The arithmetic of a rule on units from the store, if the store counts it.
fn leased(
    rule: &Rule,
    store: Option<&dyn QuotaStore>,
    key: ScopeKey<'_>,
) -> Option<Box<dyn Limiter>> {
    let store = store?;
    let quota = rule.quota()?;
    let account = store.account(&quota, key)?;
    let leased = LeasedLimiter::new(rule.limiter(), account, &quota);
    Some(Box::new(leased))
}
