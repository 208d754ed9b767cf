//! The limits of a job, checked: what each of them is kept by.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::rule::{LimitScope, Rule, RuleTarget, Waits};
use crate::config::{AccountShare, Guard, Limit, Rate, Settings, Shard, UncountedOutcome};
use crate::error::LimitError;
use crate::gate::cost::Cost;
use crate::gate::limit_set::LimitSet;
use crate::kinds::RatePattern;
use crate::limiter::REQUESTS;
use crate::outcome::Uncounted;

/// How long a request may still arrive after it was given up, unless told otherwise.
pub const LINGER: Duration = Duration::from_secs(30);
/// The longest linger that a job can state.
const LONGEST_LINGER: Duration = Duration::from_secs(86_400);

/// The checked limits of a job. All of them hold at once; none means no limit.
#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Rule>,
    units: Vec<String>,
    scopes: Vec<String>,
    keys: Vec<String>,
    cost: BTreeMap<String, String>,
    settle: BTreeMap<String, String>,
    uncounted: Uncounted,
    loosens: bool,
    /// The scope whose limits only the server knows.
    route: Option<usize>,
    guard: Guard,
    timeout: Duration,
    /// How long an attempt without an answer may still arrive.
    pub linger: Duration,
}

impl Policy {
    /// Checks what can be checked without the rows. A request that was given up
    /// after `timeout` may lie in a queue for as long again: linger is the larger
    /// of that and 30 s, unless the settings say otherwise.
    ///
    /// # Errors
    /// What doesn't fit, and what to write instead.
    pub fn new(settings: &Settings, timeout: Duration) -> Result<Policy, LimitError> {
        let linger = settings.linger.unwrap_or(timeout.max(LINGER));
        let mut policy = Policy {
            rules: Vec::new(),
            units: vec![REQUESTS.into()],
            scopes: Vec::new(),
            keys: settings.keys.clone(),
            cost: settings.cost.clone(),
            settle: settings.settle.clone(),
            uncounted: Uncounted {
                refused: settings.uncounted.contains(&UncountedOutcome::Refused),
                failed: settings.uncounted.contains(&UncountedOutcome::Failed),
            },
            loosens: settings.loosen,
            route: None,
            guard: settings.guard,
            timeout,
            linger,
        };
        for limit in &settings.rate {
            policy.add_limit(limit, settings)?;
        }
        check_amounts(settings)?;
        if settings.linger.is_some_and(|linger| linger > LONGEST_LINGER) {
            return Err(LimitError::LingerTooLong);
        }
        settings.account.as_deref().map_or(Ok(()), check_account)?;
        policy.add_beside(settings)?;
        if let Some(route) = &settings.route {
            if !policy.keys.is_empty() {
                return Err(LimitError::RouteAndKeys);
            }
            // What the server says goes to the last scope.
            policy.scopes.push(route.clone());
            policy.route = Some(policy.scopes.len() - 1);
        }
        for unit in &settings.counted {
            policy.unit(unit);
        }
        policy.check_units()?;
        Ok(policy)
    }

    fn add_limit(&mut self, limit: &Limit, settings: &Settings) -> Result<(), LimitError> {
        let target = RuleTarget {
            unit: self.unit(limit.unit.as_deref().unwrap_or(REQUESTS)),
            scope: self.scope(limit.details.per.as_ref().or(settings.per.as_ref())),
        };
        let rules = Rule::of_limit(limit, settings, target, self.waits());
        self.add_rules(rules, settings.dividing_shard(), limit.details.share.or(settings.share))
    }

    /// Adds rules, and beside each of them the part of the run's shard.
    fn add_rules(
        &mut self,
        rules: Vec<Rule>,
        shard: Option<Shard>,
        share: Option<AccountShare>,
    ) -> Result<(), LimitError> {
        for rule in rules {
            let part = shard.map(|shard| rule.of_shard(shard, share)).transpose()?;
            self.rules.push(rule);
            self.rules.extend(part);
        }
        Ok(())
    }

    /// What stands beside the rates.
    fn add_beside(&mut self, settings: &Settings) -> Result<(), LimitError> {
        if settings.spacing.is_some() || settings.in_flight.is_some() {
            let scope = self.scope(settings.per.as_ref());
            let target = RuleTarget { unit: 0, scope };
            let rules = Rule::beside(settings, target, self.waits());
            self.add_rules(rules, settings.dividing_shard(), None)?;
        }
        Ok(())
    }

    fn waits(&self) -> Waits {
        Waits { timeout: self.timeout, linger: self.linger }
    }

    fn unit(&mut self, name: &str) -> usize {
        index_of(&mut self.units, name)
    }

    /// A limit that has a scope of its own is not the pool's.
    fn scope(&mut self, per: Option<&String>) -> LimitScope {
        match per {
            Some(template) => LimitScope::Scope(index_of(&mut self.scopes, template)),
            None if !self.keys.is_empty() => LimitScope::Pool,
            None => LimitScope::Run,
        }
    }

    /// A cost that no limit counts would be a limiter silently off.
    fn check_units(&self) -> Result<(), LimitError> {
        let named = self.cost.keys().chain(self.settle.keys());
        let unknown = named.into_iter().find(|name| !self.units.contains(name));
        unknown.map_or(Ok(()), |unit| {
            Err(LimitError::UncountedUnit { unit: unit.clone(), known: self.units.clone() })
        })
    }

    /// What a client does that has a token bucket for each window: it sends while
    /// there are tokens, by its own clock. To compare with; it keeps no limit.
    #[must_use]
    pub fn as_token_buckets(&self) -> Policy {
        let mut policy = self.under(Guard::Sent);
        policy.rules.iter_mut().for_each(Rule::become_token_bucket);
        policy
    }

    /// This policy on a clock that is at its zero at this time of the calendar.
    #[must_use]
    pub fn on_clock(mut self, zero: Timestamp) -> Policy {
        self.rules.iter_mut().for_each(|rule| rule.set_clock(zero));
        self
    }

    /// All its limits, with nothing taken.
    #[must_use]
    pub fn limits(&self) -> LimitSet {
        LimitSet::new(self.rules.clone(), self.scopes.len(), self.keys.len(), self.uncounted)
            .loosened(self.loosens)
            .with_route(self.route)
    }

    /// This policy under another guard, wherever none is named for a limit alone.
    #[must_use]
    pub fn under(&self, guard: Guard) -> Policy {
        let mut policy = self.clone();
        for rule in &mut policy.rules {
            rule.change_guard(self.guard, guard);
        }
        policy.guard = guard;
        policy
    }

    /// Whether every limit can ever allow this at once.
    ///
    /// # Errors
    /// Which can't, and why.
    pub fn check(&self, ask: &Cost) -> Result<(), String> {
        let too_small = |rule: &&Rule| ask.units_of(rule.unit) > rule.most_at_once();
        match self.rules.iter().find(too_small) {
            None => Ok(()),
            Some(rule) => Err(format!(
                "it costs {} {}, and {} never allows more than {} at once: split it, or raise the limit",
                ask.units_of(rule.unit),
                rule.unit_name(),
                rule.name,
                rule.most_at_once(),
            )),
        }
    }

    /// Number of requests in flight beyond which more are of no use; none if there is no
    /// such number.
    #[must_use]
    pub fn most_in_flight(&self) -> Option<u64> {
        let most = |rule: &Rule| match (rule.rate_pattern()?, rule.guard()) {
            (RatePattern::AtOnce { amount }, _) => Some(amount),
            (
                RatePattern::Windows { amount, .. }
                | RatePattern::TwoWindows { amount, .. }
                | RatePattern::Edges { amount, .. },
                Guard::Strict,
            ) => Some(amount),
            (RatePattern::Paced { burst, .. }, Guard::Strict) if burst > 1 => Some(burst),
            _ => None,
        };
        let most = self.rules_on_requests().filter_map(most).min()?;
        Some(most.saturating_mul(self.pool_size()))
    }

    /// Maximum number of requests that the whole run can send within a time; none if that
    /// has no bound.
    #[must_use]
    pub fn most_within(&self, time: Duration) -> Option<u64> {
        let most = |rule: &Rule| rule.rate_pattern()?.most_within(time);
        let most = self.rules_on_requests().filter_map(most).min()?;
        Some(most.saturating_mul(self.pool_size()))
    }

    /// The requests that the whole run can send in a second, in the long run.
    #[must_use]
    pub fn requests_per_second(&self) -> Option<f64> {
        let rate = |rule: &Rule| rule.rate_pattern()?.per_second();
        let all = self.rules_on_requests().filter_map(rate);
        let slowest = all.min_by(f64::total_cmp)?;
        Some(slowest * self.pool_size() as f64)
    }

    /// The rule on requests that lets the fewest through in the long run, of those that bind
    /// the whole run or each key of the pool.
    #[must_use]
    pub fn slowest_rule(&self) -> Option<&Rule> {
        let rate = |rule: &Rule| rule.rate_pattern()?.per_second();
        let rules = self.rules_on_requests().filter_map(|rule| Some((rule, rate(rule)?)));
        rules.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(rule, _)| rule)
    }

    /// The rules on requests that bind the whole run, or each key of the pool.
    fn rules_on_requests(&self) -> impl Iterator<Item = &Rule> {
        let is_of_run = |rule: &&Rule| !matches!(rule.scope, LimitScope::Scope(_));
        let rules = self.rules.iter().filter(|rule| rule.unit == 0);
        rules.filter(is_of_run)
    }

    fn pool_size(&self) -> u64 {
        self.keys.len().max(1) as u64
    }

    /// Whether nothing is limited.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.rules.is_empty()
    }

    /// What holds: each limit, and what stands beside it.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What its limits are proven against, unless one names its own guard.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guard
    }

    /// The names of what is counted; requests come first.
    #[must_use]
    pub fn units(&self) -> &[String] {
        &self.units
    }

    /// Whether a limit counts the unit with this index.
    #[must_use]
    pub fn is_limited(&self, unit: usize) -> bool {
        self.rules.iter().any(|rule| rule.unit == unit)
    }

    /// The templates whose values have limits for themselves.
    #[must_use]
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// The templates of the pool's keys.
    #[must_use]
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// By unit, what a request costs: an expression over its row.
    #[must_use]
    pub fn cost(&self) -> &BTreeMap<String, String> {
        &self.cost
    }

    /// By unit, what it has cost: jq over its answer.
    #[must_use]
    pub fn settle(&self) -> &BTreeMap<String, String> {
        &self.settle
    }
}

/// Checks the name that a user gives an account: one that is empty, as from a variable that is
/// not set, would share its limits with all others of this kind.
pub(crate) fn check_account(name: &str) -> Result<(), LimitError> {
    let is_name = !name.trim().is_empty() && !name.contains(char::is_control);
    if is_name && !name.contains("{{") {
        Ok(())
    } else {
        Err(LimitError::InvalidAccount { name: name.to_owned() })
    }
}

fn check_amounts(settings: &Settings) -> Result<(), LimitError> {
    for limit in &settings.rate {
        Rate::new(limit.amount.units, limit.amount.period)?;
    }
    let amounts = [("burst", settings.burst), ("in-flight", settings.in_flight)];
    let zero = amounts.iter().find(|(_, amount)| *amount == Some(0));
    zero.map_or(Ok(()), |(setting, _)| Err(LimitError::Zero { setting }))
}

fn index_of(names: &mut Vec<String>, name: &str) -> usize {
    match names.iter().position(|known| known == name) {
        Some(index) => index,
        None => {
            names.push(name.to_owned());
            names.len() - 1
        }
    }
}
