//! All limits of a run at once: what an attempt takes, and what each limit is told of it. Pure:
//! time and chance are arguments.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::config::{LimitScope, Rule};
use crate::gate::cost::{Acquired, Cost};
use crate::gate::keyed::KeyedLimits;
use crate::gate::limit_group::{LimitGroup, Member};
use crate::gate::operator::Operator;
use crate::limiter::{Availability, Event, RateLimitInfo, Reservation};
use crate::outcome::{Blocked, Blocker, End, MaxWait, Uncounted};
use crate::quota::{QuotaStore, ScopeKey};
use crate::time::Time;

/// All limits of a run: those of the whole run, those of each key in each
/// scope, and those of each key of the pool, of which an attempt needs one.
///
/// An attempt takes from all that it matches, or from none.
#[derive(Debug)]
pub struct LimitSet {
    pub(super) rules: Arc<[Rule]>,
    pub(super) run: LimitGroup,
    pub(super) scopes: Vec<KeyedLimits>,
    pub(super) pool: Vec<LimitGroup>,
    /// Where the next search for a free key begins.
    pub(super) next_key: usize,
    pub(super) uncounted: Uncounted,
    /// Whether larger limits that the server names count.
    pub(super) loosens: bool,
    /// The scope whose limits only the server knows.
    pub(super) route: Option<usize>,
    pub(super) lost: u64,
    /// Reserved and true costs by unit, as far as they are known.
    pub(super) costs: Vec<CostSum>,
    /// Until when any group is closed: there may be very many to look at.
    pub(super) closed_until: Time,
    pub(super) max_wait: MaxWait,
    /// The store of the quotas that outlive the process.
    pub(super) store: Option<Arc<dyn QuotaStore>>,
    /// What a person has asked for, if anything.
    pub(super) operator: Option<Operator>,
}

/// Units that requests have reserved, and those that they have cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CostSum {
    reserved: u64,
    settled: u64,
    /// Whether a refusal was explained by it.
    explains: bool,
}

impl CostSum {
    /// Whether the true costs are larger than the reserved ones, beyond chance.
    fn is_too_low(self) -> bool {
        self.settled > self.reserved + self.reserved / 10
    }

    /// The true costs in percent of the reserved ones, if that explains refusals.
    pub(super) fn percent(self) -> Option<u64> {
        let percent = self.settled.saturating_mul(100) / self.reserved.max(1);
        (self.explains && self.is_too_low()).then_some(percent)
    }
}

impl LimitSet {
    /// `taken` requests were taken without limits, of which `ended` are over.
    pub(crate) fn count_in(&mut self, taken: u64, ended: u64) {
        self.run.count_in(taken, ended);
    }

    /// Takes the units of this cost from every limit that it matches, or from none.
    ///
    /// # Errors
    /// When, and for whom, that may change.
    pub fn take(&mut self, now: Time, cost: &Cost) -> Result<Acquired, Blocked> {
        if let Some(when) = self.operator.map(|operator| operator.earliest(now))
            && when != Availability::Now
        {
            return Err(Blocked::by_operator(when));
        }
        let run = self.run.earliest(now, cost);
        let (by_key, scope) = self.earliest_of_keys(now, cost);
        let (key, pool) = self.earliest_in_pool(now, cost);
        if run.max(pool).max(by_key) != Availability::Now {
            let by_key = (by_key >= run.max(pool)).then_some(scope);
            return Err(self.blocked(now, cost, key, by_key));
        }
        let mut holds = SmallVec::new();
        self.each_group(&cost.keys, key, &mut |group| {
            group.take(now, cost).for_each(|hold| holds.push(hold));
        });
        self.next_key = key.map_or(0, |key| key + 1);
        if let Some(operator) = &mut self.operator {
            operator.taken(now, time_at_whole_rate(&self.rules, self.pool.len(), cost));
        }
        let snapshot = self.innermost(cost, key).take_from_server(cost);
        Ok(Acquired { holds, key, snapshot })
    }

    /// From now on no attempt gets its units, or as many do as before.
    pub fn set_paused(&mut self, is_paused: bool) {
        self.operator.get_or_insert_default().is_paused = is_paused;
    }

    /// From now on attempts take this share of each limit's rate, 0 to 1.
    pub fn set_share(&mut self, now: Time, share: f64) {
        self.operator.get_or_insert_default().set_share(now, share);
    }

    /// What a person has asked for.
    #[must_use]
    pub fn operator(&self) -> Operator {
        self.operator.unwrap_or_default()
    }

    /// Whether the attempt may still be sent: the leases of all its units go on. What is not leased
    /// waits for it for as long as it takes.
    pub fn may_send(&mut self, now: Time, cost: &Cost, acquired: &mut Acquired) -> bool {
        let mut may = true;
        if self.store.is_some() {
            self.tell_members(cost, acquired, &mut |member, hold| {
                may &= member.kind.may_send(now, hold);
            });
        }
        may
    }

    /// The attempt is being written. Gives the earliest time at which another may go because of
    /// it; see [`Limiter::on`](crate::limiter::Limiter::on).
    pub fn sent(&mut self, now: Time, cost: &Cost, acquired: &mut Acquired) -> Availability {
        self.tell(now, cost, acquired, Event::Sent)
    }

    /// The server's network stack has all of the attempt. Gives when another may go because of it.
    pub fn acked(&mut self, now: Time, cost: &Cost, acquired: &mut Acquired) -> Availability {
        self.tell(now, cost, acquired, Event::Acked)
    }

    /// The attempt ended, other than by a refusal. Gives when another may go because of it.
    pub fn ended(
        &mut self,
        now: Time,
        cost: &Cost,
        acquired: &mut Acquired,
        end: End,
    ) -> Availability {
        let mut relief = Availability::Never;
        if matches!(end, End::Answered | End::Failed) {
            relief = self.innermost(cost, acquired.key).accepted(&acquired.snapshot);
        }
        self.lost += u64::from(end == End::Lost);
        let event = match end {
            End::Failed if self.uncounted.failed => Event::Returned,
            End::Answered | End::Failed => Event::Answered,
            End::Lost => Event::Lost,
            End::Returned => Event::Returned,
        };
        relief.min(self.tell(now, cost, acquired, event))
    }

    /// The server refused an attempt that was sent at `sent`: attempts with
    /// the same keys wait for `pause`, or for a while that doubles with each refusal;
    /// `chance` is 0 to 1. Gives the refusals in a row.
    pub fn refused(
        &mut self,
        now: Time,
        cost: &Cost,
        acquired: &mut Acquired,
        sent: Time,
        pause: Option<Duration>,
        chance: f64,
    ) -> u32 {
        let group = self.innermost(cost, acquired.key);
        let explained = group.expected_refusal(sent);
        let refusals = group.refused(now, sent, pause, chance);
        let closed_until = group.closed_until();
        if pause.is_some() {
            group.tell_pause();
        }
        self.closed_until = self.closed_until.max(closed_until);
        let blamed = self.blamed(acquired.snapshot.lacking.clone());
        self.tell_members(cost, acquired, &mut |member, hold| {
            let is_other = !blamed.is_empty() && !blamed.contains(&member.unit);
            let explained = explained || is_other;
            member.kind.on(now, hold, Event::Refused { explained });
        });
        if self.uncounted.refused {
            self.tell(now, cost, acquired, Event::Returned);
        }
        self.innermost(cost, acquired.key).expect_no_more();
        refusals
    }

    /// The units that a refusal is about: those that the server says are used up, else those
    /// that have cost more than was reserved; none if it may be about any.
    fn blamed(&mut self, lacking: SmallVec<[usize; 2]>) -> SmallVec<[usize; 2]> {
        let too_low = self.costs.iter().enumerate().filter(|(_, costs)| costs.is_too_low());
        let too_low: SmallVec<[usize; 2]> = too_low.map(|(unit, _)| unit).collect();
        let blamed = if lacking.is_empty() { too_low } else { lacking };
        for unit in &blamed {
            if let Some(costs) = self.costs.get_mut(*unit) {
                costs.explains = true;
            }
        }
        blamed
    }

    /// The server asks all requests to pause, whatever their keys.
    pub fn close_run(&mut self, now: Time, pause: Option<Duration>, chance: f64) {
        self.run.close(now, pause, chance);
        if pause.is_some() {
            self.run.tell_pause();
        }
        self.closed_until = self.closed_until.max(self.run.closed_until());
    }

    /// The answer has been read to its end, or nothing more will come of it. Gives when another
    /// may go because of it.
    pub fn finished(&mut self, now: Time, cost: &Cost, acquired: &mut Acquired) -> Availability {
        let mut relief = self.tell(now, cost, acquired, Event::Finished);
        let innermost = self.innermost(cost, acquired.key);
        relief = relief.min(innermost.finish_at_server(cost, &acquired.snapshot));
        self.each_group(&cost.keys, acquired.key, &mut |group| {
            relief = relief.min(group.finished());
        });
        relief
    }

    /// The attempt has turned out to cost `units` of the unit with this index. Gives when another
    /// may go because of it.
    pub fn settle(
        &mut self,
        now: Time,
        cost: &Cost,
        acquired: &mut Acquired,
        unit: usize,
        units: u64,
    ) -> Availability {
        if self.costs.len() <= unit {
            self.costs.resize(unit + 1, CostSum::default());
        }
        self.costs[unit].reserved += cost.units_of(unit);
        self.costs[unit].settled += units;
        let mut relief = Availability::Never;
        self.tell_members(cost, acquired, &mut |member, hold| {
            if member.unit == unit {
                relief = relief.min(member.kind.on(now, hold, Event::Settled(units)));
            }
        });
        relief
    }

    /// The server tells its count of a unit in the answer to an attempt. `unit` is an index
    /// into the policy's units, and none for a unit that no limit counts.
    pub fn learn(
        &mut self,
        now: Time,
        cost: &Cost,
        acquired: &Acquired,
        unit: Option<usize>,
        info: RateLimitInfo,
    ) {
        let loosens = self.loosens;
        let group = self.innermost(cost, acquired.key);
        group.inform(now, cost, &acquired.snapshot, unit, info, loosens);
    }

    /// Until when the server's longest pause lasts, if one does.
    #[must_use]
    pub fn closed_until(&self, now: Time) -> Option<Time> {
        Some(self.closed_until).filter(|until| *until > now)
    }

    /// What blocks this cost the longest.
    fn blocked(
        &mut self,
        now: Time,
        cost: &Cost,
        key: Option<usize>,
        by_key: Option<usize>,
    ) -> Blocked {
        let (mut when, mut by, mut back) = (Availability::Now, Blocker::Server, None);
        let (mut may_give_back, mut lingering) = (false, 0);
        let rules = &self.rules;
        let mut look = |scope: LimitScope, group: &mut LimitGroup, open: u64| {
            let (here, member) = group.binding(now, cost);
            if here > when {
                let of_scope = rules.iter().enumerate();
                let of_scope = of_scope.filter(|(_, rule)| rule.scope == scope);
                let rule = member.and_then(|member| of_scope.map(|(rule, _)| rule).nth(member));
                by = rule.map_or(Blocker::Server, Blocker::Rule);
                let stats = member.map(|member| group.members()[member].kind.stats());
                let stats = stats.unwrap_or_default();
                (back, lingering) = (stats.back, stats.lingering);
                (when, may_give_back) = (here, open > 0 || stats.others_lease);
            }
        };
        // An attempt with another key of the pool may end, and give way to this one.
        let open = self.run.open;
        look(LimitScope::Run, &mut self.run, open);
        for (index, (scope, key)) in self.scopes.iter_mut().zip(&cost.keys).enumerate() {
            if let Some(group) = scope.known(key) {
                let open = group.open;
                look(LimitScope::Scope(index), group, open);
            }
        }
        if let Some(key) = key {
            look(LimitScope::Pool, &mut self.pool[key], open);
        }
        let until = match when {
            Availability::At(time) => Some(back.unwrap_or(time)),
            _ => None,
        };
        let most = self.max_wait.of(by);
        let is_too_long = until.zip(most).is_some_and(|(until, most)| until.since(now) > most);
        let is_too_long = is_too_long && !may_give_back;
        Blocked { when, by_key, by, back, is_too_long, lingering }
    }

    /// When the groups of all keys have the units, and the scope of the last one to have them.
    fn earliest_of_keys(&mut self, now: Time, cost: &Cost) -> (Availability, usize) {
        if self.scopes.is_empty() {
            return (Availability::Now, 0);
        }
        let (rules, route, store) = (&self.rules, self.route, self.store.as_deref());
        let scopes = self.scopes.iter_mut().zip(&cost.keys).enumerate();
        scopes
            .map(|(index, (scope, key))| {
                let new = || {
                    LimitGroup::of_rules(rules, LimitScope::Scope(index), store, ScopeKey::Key(key))
                };
                let make = || {
                    if route == Some(index) { new().begin_carefully() } else { new() }
                };
                (scope.group(now, key, make).earliest(now, cost), index)
            })
            .fold((Availability::Now, 0), Ord::max)
    }

    /// The pool's key that is free first; of several that are free now, the next in turn.
    fn earliest_in_pool(&mut self, now: Time, cost: &Cost) -> (Option<usize>, Availability) {
        let keys = self.pool.len();
        let only = cost.pool_key.map(|key| key as usize).filter(|key| *key < keys);
        let (first, places) = only.map_or((self.next_key, keys), |key| (key, 1));
        let turn = |place: usize| (first + place) % keys;
        let pool = &mut self.pool;
        (0..places)
            .map(turn)
            .map(|key| (Some(key), pool[key].earliest(now, cost)))
            .min_by_key(|(_, when)| *when)
            .unwrap_or((None, Availability::Now))
    }

    /// The narrowest group of an attempt: what the server says of the attempt concerns it alone.
    fn innermost(&mut self, cost: &Cost, key: Option<usize>) -> &mut LimitGroup {
        if let Some(key) = key {
            return &mut self.pool[key];
        }
        if self.scopes.is_empty() {
            return &mut self.run;
        }
        let scopes = self.scopes.iter_mut().zip(&cost.keys);
        let known = scopes.filter_map(|(scope, key)| scope.known(key)).last();
        known.unwrap_or(&mut self.run)
    }

    /// Acts on each group of an attempt, in the order of its reservations.
    pub(super) fn each_group(
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

    /// Tells all limits of an attempt. Gives when another may go because of it.
    fn tell(
        &mut self,
        now: Time,
        cost: &Cost,
        acquired: &mut Acquired,
        event: Event,
    ) -> Availability {
        let mut relief = Availability::Never;
        self.tell_members(cost, acquired, &mut |member, hold| {
            relief = relief.min(member.kind.on(now, hold, event));
        });
        relief
    }

    fn tell_members(
        &mut self,
        cost: &Cost,
        acquired: &mut Acquired,
        event: &mut dyn FnMut(&mut Member, &mut Reservation),
    ) {
        let mut holds = acquired.holds.iter_mut();
        self.each_group(&cost.keys, acquired.key, &mut |group| {
            for member in group.members() {
                if let Some(hold) = holds.next() {
                    event(member, hold);
                }
            }
        });
    }
}

/// The time for which an attempt of this cost takes all of a limit's rate: of the limit on which
/// it is the longest, among those of the whole run and of a key of the pool.
fn time_at_whole_rate(rules: &[Rule], keys: usize, cost: &Cost) -> Duration {
    let seconds = |rule: &Rule| {
        let keys = match rule.scope {
            LimitScope::Run => 1,
            LimitScope::Pool => keys,
            LimitScope::Scope(_) => return None,
        };
        let per_second = rule.rate_pattern()?.per_second()?;
        Some(cost.units_of(rule.unit) as f64 / (per_second * keys as f64))
    };
    let longest = rules.iter().filter_map(seconds).fold(0.0, f64::max);
    Duration::try_from_secs_f64(longest).unwrap_or_default()
}
