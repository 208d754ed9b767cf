//! What limits have to say of themselves: to reports, and to an attempt that gets no permit.

use std::time::Duration;

use serde::Serialize;

use crate::config::{Guard, LimitScope, Rule};
use crate::error::AcquireError;
use crate::gate::cost::Cost;
use crate::gate::limit_set::LimitSet;
use crate::limiter::{Availability, FoundPace, LimiterStats};
use crate::outcome::{Blocked, BlockedTime, Blocker, BlockerKind};
use crate::time::Time;

/// A limit's own account of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LimitState {
    /// As the job writes it: `22/5s`.
    pub name: String,
    /// What it was proven against.
    pub guard: Guard,
    /// What it counts: `requests`, `tokens`.
    pub unit: String,
    /// The most units that it allows in a window, in flight, or in all.
    pub units: u64,
    /// The length of its windows, if it has any.
    pub period: Option<Duration>,
    /// The most units that can have been in one window.
    pub most: u64,
    /// The units that are used now in a window, in flight, or in all, where that is known; of the
    /// key with the most, if it holds for each key.
    pub used: Option<u64>,
    /// Attempts that were never answered.
    pub lost: u64,
    /// How long a lost attempt was taken to be able to arrive.
    pub linger: Duration,
    /// What was kept between periods, where that was learnt.
    pub margin: Option<Duration>,
    /// The units that it allowed in the end, where the server has shown that those
    /// are not what the job says.
    pub learnt: Option<u64>,
    /// The pace that was found, where the limit was searched for.
    pub found: Option<FoundPace>,
    /// Refusals that its own count cannot explain.
    pub unexplained: u64,
    /// Rates of other kinds that would explain them.
    pub kinds_to_try: Option<String>,
    /// Whether it gave up to believe acknowledgements, and was kept as under `strict`.
    pub gave_up_acked: bool,
    /// The true costs in percent of the reserved ones, where that explains refusals.
    pub cost_percent: Option<u64>,
    /// The units that the server has named, where those are not what the job says.
    pub named: Option<u64>,
    /// The least time between two sendings, if that is what it keeps.
    pub spacing: Option<Duration>,
    /// How many keys had it, if it holds for each key.
    pub keys: Option<u64>,
    /// When the first answer was seen, if it keeps windows.
    #[serde(skip)]
    pub first_answer: Option<Time>,
}

impl LimitSet {
    /// Each limit's own account, in the order of the rules.
    #[must_use]
    pub fn state(&self) -> Vec<LimitState> {
        let (mut run, mut pool) = (vec![], vec![]);
        self.run.add_stats(&mut run);
        self.pool.iter().for_each(|group| group.add_stats(&mut pool));
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
            let cost = self.costs.get(rule.unit).and_then(|costs| costs.percent());
            let mut states = states_of(rule, account, self.lost, keys);
            if let Some(state) = states.first_mut() {
                state.cost_percent = cost;
            }
            states
        };
        self.rules.iter().flat_map(state).collect()
    }

    /// The time for which a rule, or the server, has blocked the first waiter, by its name.
    #[must_use]
    pub fn blocked_time(&self, by: Blocker, time: Duration) -> BlockedTime {
        let (by, name) = match by {
            Blocker::Rule(rule) => (self.rules[rule].blocker(), self.rules[rule].name.clone()),
            Blocker::Linger(rule) => (BlockerKind::Linger, self.rules[rule].name.clone()),
            Blocker::Server => (BlockerKind::Pause, String::new()),
            Blocker::Operator => (BlockerKind::Operator, String::new()),
        };
        BlockedTime { by, name, time }
    }

    /// Why an attempt of this cost, which is blocked, gets no permit now.
    pub(crate) fn denial(&self, now: Time, cost: &Cost, blocked: &Blocked) -> AcquireError {
        match blocked.when {
            Availability::Never => self.final_denial(cost, blocked),
            Availability::At(time) => {
                let free_in = blocked.back.unwrap_or(time).since(now);
                if blocked.is_too_long {
                    let rule = self.rule(blocked.by).map(|rule| rule.name.clone());
                    AcquireError::WaitTooLong { limit: rule, free_in }
                } else {
                    AcquireError::NotInTime { free_in: Some(free_in) }
                }
            }
            _ => AcquireError::NotInTime { free_in: None },
        }
    }

    /// Why an attempt of this cost will never get a permit.
    fn final_denial(&self, cost: &Cost, blocked: &Blocked) -> AcquireError {
        if let Some(problem) = self.store_error() {
            return AcquireError::Store { problem };
        }
        match self.rule(blocked.by) {
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

    /// The rule that blocks; none if it is the server.
    fn rule(&self, by: Blocker) -> Option<&Rule> {
        match by {
            Blocker::Rule(rule) | Blocker::Linger(rule) => self.rules.get(rule),
            Blocker::Server | Blocker::Operator => None,
        }
    }

    /// The largest number of times that a limit remembers.
    #[cfg(test)]
    pub fn entries(&mut self) -> usize {
        let groups = self.pool.iter_mut().chain([&mut self.run]);
        let members = groups.flat_map(crate::gate::limit_group::LimitGroup::members);
        let entries = members.map(|member| member.kind.stats().entries);
        entries.max().unwrap_or(0)
    }
}

/// The account of a rule, and that of the gap that refusals have called for.
fn states_of(rule: &Rule, stats: LimiterStats, lost: u64, keys: Option<u64>) -> Vec<LimitState> {
    let gap = rule.gap();
    let state = LimitState {
        name: rule.name.clone(),
        guard: rule.stated_guard(),
        unit: rule.unit_name().to_owned(),
        units: gap.map_or_else(|| rule.most_at_once(), |_| 1),
        period: gap.or_else(|| rule.rate_pattern()?.period()),
        most: stats.peak,
        used: stats.used,
        lost,
        linger: rule.linger(),
        margin: stats.margin,
        learnt: stats.learnt.or_else(|| {
            let period = rule.rate_pattern()?.period()?;
            Some(stats.found?.units_in(period))
        }),
        found: stats.found,
        named: stats.named,
        unexplained: stats.unexplained,
        kinds_to_try: kinds_to_try(rule, stats),
        gave_up_acked: stats.gave_up_acked,
        cost_percent: None,
        spacing: gap,
        keys,
        first_answer: stats.first_answer,
    };
    let Some(gap) = stats.spread else {
        return vec![state];
    };
    let spread = LimitState {
        name: format!("spread of {}", rule.name),
        units: 1,
        period: Some(gap),
        most: 1,
        used: None,
        margin: None,
        learnt: None,
        found: None,
        named: None,
        unexplained: 0,
        kinds_to_try: None,
        spacing: Some(gap),
        ..state.clone()
    };
    vec![state, spread]
}

/// Rates of other kinds that would explain refusals which neither a limit that the server names
/// nor a much smaller one explains.
fn kinds_to_try(rule: &Rule, stats: LimiterStats) -> Option<String> {
    let is_smaller = stats.learnt.is_some_and(|learnt| learnt < rule.most_at_once() * 3 / 4);
    let is_explained = stats.named.is_some() || is_smaller || stats.gave_up_acked;
    let has_other_kinds = rule.is_plain() && stats.margin.is_none() && stats.found.is_none();
    (stats.unexplained > 0 && !is_explained && has_other_kinds).then(|| {
        format!("--rate counter:{0}, or --rate bucket:{0} with a smaller --burst", rule.name)
    })
}
