//! Limits before their first attempt: made from rules, leased from a quota store, told what
//! other processes have sent; and the calendar, which may be set at any time. Pure.

use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{LimitScope, Rule};
use crate::gate::keyed::KeyedLimits;
use crate::gate::limit_group::{LimitGroup, Member};
use crate::gate::limit_set::LimitSet;
use crate::limiter::Limiter;
use crate::limiter::REQUESTS;
use crate::outcome::{MaxWait, Uncounted};
use crate::quota::{LeasedLimiter, QuotaStore, ScopeKey};
use crate::time::Time;

impl LimitSet {
    /// These rules together, for `scopes` scopes, and a pool of `keys` keys (0
    /// without one). No rules means no limit.
    #[must_use]
    pub fn new(rules: Vec<Rule>, scopes: usize, keys: usize, uncounted: Uncounted) -> LimitSet {
        let rules: Arc<[Rule]> = rules.into();
        LimitSet {
            run: LimitGroup::of_rules(&rules, LimitScope::Run, None, ScopeKey::Run),
            scopes: (0..scopes).map(|index| scope(&rules, index)).collect(),
            pool: (0..keys)
                .map(|key| {
                    LimitGroup::of_rules(&rules, LimitScope::Pool, None, ScopeKey::Pool(key))
                })
                .collect(),
            rules,
            next_key: 0,
            uncounted,
            loosens: false,
            route: None,
            lost: 0,
            costs: Vec::new(),
            closed_until: Time::ZERO,
            max_wait: MaxWait::default(),
            store: None,
            operator: None,
        }
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
    pub fn use_store(&mut self, store: Arc<dyn QuotaStore>) {
        let from = Some(&*store);
        self.run = LimitGroup::of_rules(&self.rules, LimitScope::Run, from, ScopeKey::Run);
        for (key, pool) in self.pool.iter_mut().enumerate() {
            *pool = LimitGroup::of_rules(&self.rules, LimitScope::Pool, from, ScopeKey::Pool(key));
        }
        self.store = Some(store);
    }

    /// From now on, an attempt that would have to wait longer is denied.
    pub fn set_max_wait(&mut self, max_wait: MaxWait) {
        self.max_wait = max_wait;
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

    /// The quota store, if there is one.
    #[must_use]
    pub fn store(&self) -> Option<&Arc<dyn QuotaStore>> {
        self.store.as_ref()
    }

    /// Why the quota store gives no units any more, if so.
    #[must_use]
    pub fn store_error(&self) -> Option<String> {
        self.store.as_ref()?.trouble()
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
}

/// A scope whose keys have nothing to remember once the longest period is over.
fn scope(rules: &[Rule], index: usize) -> KeyedLimits {
    let here = rules.iter().filter(|it| it.scope == LimitScope::Scope(index));
    KeyedLimits::new(here.filter_map(Rule::period).max())
}

impl LimitGroup {
    /// The limits of one scope, all free but for what a quota store counts.
    pub fn of_rules(
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
    let leased = LeasedLimiter::new(rule.limiter(), account, quota);
    Some(Box::new(leased))
}
