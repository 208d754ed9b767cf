//! The limits that hold together for one key, and the pauses that the server
//! asks of it. Pure.

use std::time::Duration;

use crate::gate::cost::{Cost, Snapshot};
use crate::limiter::{Availability, Limiter, LimiterStats, RateLimitInfo, Reservation};
use crate::server::{AnsweredMark, Pause, RemainingByUnit, SlowStart};
use crate::time::Time;

/// Limits that hold together, and the pause that the server asks of them.
#[derive(Debug, Default)]
pub struct LimitGroup {
    members: Vec<Member>,
    pause: Pause,
    /// Units that are left, as the server says.
    remaining: RemainingByUnit,
    /// The latest mark of an attempt whose answer told a count.
    newest_mark: AnsweredMark,
    slow_start: SlowStart,
    /// Attempts that have taken something and are not finished.
    open: u64,
}

/// A limit, and the unit that it counts.
#[derive(Debug)]
pub struct Member {
    pub unit: usize,
    pub kind: Box<dyn Limiter>,
}

impl Member {
    /// The units of this kind that the limit allows, if a server would name them.
    fn amount(&self, unit: Option<usize>) -> Option<u64> {
        let counts_it = unit == Some(self.unit);
        self.kind.stats().amount.filter(|_| counts_it)
    }
}

impl LimitGroup {
    /// These limits together, all free.
    pub fn new(members: Vec<Member>) -> LimitGroup {
        LimitGroup { members, ..LimitGroup::default() }
    }

    /// When all limits have the units of this cost, and no pause lasts.
    pub fn earliest(&mut self, now: Time, ask: &Cost) -> Availability {
        self.binding(now, ask).0
    }

    /// When all limits have the units of this cost, and the index of the last limit to have
    /// them; none if it is the server's pause.
    pub fn binding(&mut self, now: Time, ask: &Cost) -> (Availability, Option<usize>) {
        let open = self.open_to(now, ask);
        let members = self.members.iter_mut().enumerate();
        members.fold((open, None), |binds, (index, member)| {
            let when = member.kind.earliest(now, ask.units_of(member.unit));
            if when > binds.0 { (when, Some(index)) } else { binds }
        })
    }

    /// When the server's own words let it go.
    fn open_to(&mut self, now: Time, ask: &Cost) -> Availability {
        if self.remaining.expire(now) {
            self.slow_start.begin();
        }
        let said = self.remaining.closed_until(&|unit| ask.units_of(unit));
        let closed = said.unwrap_or(Time::ZERO).max(self.pause.until());
        if now < closed {
            Availability::At(closed)
        } else if self.slow_start.holds_back() {
            Availability::AfterAnAnswer
        } else {
            Availability::Now
        }
    }

    /// Counts an attempt that this group alone answers for, as far as the server
    /// speaks of it.
    pub fn stand(&mut self, ask: &Cost) -> Snapshot {
        Snapshot {
            mark: self.remaining.take(|unit| ask.units_of(unit), ask.kinds()),
            era: self.slow_start.take(),
        }
    }

    /// Such an attempt is over.
    pub fn leave(&mut self, ask: &Cost, standing: &Snapshot) {
        self.remaining.end(|unit| ask.units_of(unit), ask.kinds());
        self.slow_start.finished(standing.era);
    }

    /// Takes from each of them what [`earliest`](LimitGroup::earliest) said could be had.
    pub fn take<'a>(
        &'a mut self,
        now: Time,
        ask: &'a Cost,
    ) -> impl Iterator<Item = Reservation> + 'a {
        self.open += 1;
        self.members.iter_mut().map(move |member| member.kind.take(now, ask.units_of(member.unit)))
    }

    /// Counts a request that another process has sent.
    pub fn remember(&mut self, then: Time, lost: bool) {
        for member in &mut self.members {
            member.kind.remember(then, lost);
        }
    }

    /// `taken` requests were taken without limits, of which `ended` are over.
    pub fn count_in(&mut self, taken: u64, ended: u64) {
        self.open += taken - ended;
        self.remaining.count_in(taken, ended);
    }

    /// One attempt is over.
    pub fn finished(&mut self) {
        self.open -= 1;
    }

    /// The end of the server's pause, which may have passed.
    pub fn closed_until(&self) -> Time {
        self.pause.until()
    }

    /// Each limit.
    pub fn members(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// The server took an attempt in: what it refused before is over.
    pub fn accepted(&mut self, standing: &Snapshot) {
        self.pause.accepted();
        self.slow_start.accepted(standing.era);
    }

    /// The server tells its count of a unit, to an attempt that was taken so;
    /// `unit` is none for one that no limit counts. Larger limits than ours count
    /// only where they are `welcome`.
    pub fn hear(
        &mut self,
        now: Time,
        (ask, standing): (&Cost, &Snapshot),
        unit: Option<usize>,
        said: RateLimitInfo,
        welcome: bool,
    ) {
        self.allow(unit, said);
        // What is told in full, by nothing that is older than what was told before.
        let reset = said.reset_at(now);
        let exact = said.remaining.is_some() && reset.is_some_and(|reset| reset > now);
        if welcome && exact && standing.mark >= self.newest_mark {
            self.loosen(unit, said);
        }
        self.newest_mark = self.newest_mark.clone().max(standing.mark.clone());
        let told = self.members.iter_mut().filter(|m| Some(m.unit) == unit);
        let mut known = false;
        for member in told {
            known |= member.kind.inform(now, said);
        }
        let (Some(remaining), Some(reset)) = (said.remaining, reset) else {
            return;
        };
        let concerns = unit.is_some() || remaining == 0;
        if concerns && !known && reset > now {
            let own = unit.map_or(0, |unit| ask.units_of(unit));
            self.remaining.update(unit, own, &standing.mark, remaining, reset, now);
        }
    }

    /// A limit that the server names is the one among ours that comes nearest to it,
    /// if that is no more than twice as much.
    fn allow(&mut self, unit: Option<usize>, said: RateLimitInfo) {
        let Some(limit) = said.limit else {
            return;
        };
        let larger = |member: &&mut Member| {
            let larger = limit + 1..=limit.saturating_mul(2);
            member.amount(unit).is_some_and(|amount| larger.contains(&amount))
        };
        let members = self.members.iter_mut().filter(larger);
        if let Some(member) = members.min_by_key(|member| member.amount(unit)) {
            member.kind.allow(limit);
        }
    }

    /// The same for one that is larger, where that is welcome.
    fn loosen(&mut self, unit: Option<usize>, said: RateLimitInfo) {
        let Some(limit) = said.limit else {
            return;
        };
        let smaller = |member: &&mut Member| {
            let smaller = limit.div_ceil(2)..limit;
            member.amount(unit).is_some_and(|amount| smaller.contains(&amount))
        };
        let members = self.members.iter_mut().filter(smaller);
        if let Some(member) = members.max_by_key(|member| member.amount(unit)) {
            member.kind.allow(limit);
        }
    }

    /// Whether a refusal of an attempt that was sent at `sent` is explained by the pause
    /// that the server had asked for already.
    pub fn expected_refusal(&self, sent: Time) -> bool {
        self.pause.explains(sent)
    }

    /// The server refused an attempt that was sent at `sent`, and perhaps named a pause;
    /// `chance` is 0 to 1. Gives the refusals in a row.
    pub fn refused(&mut self, now: Time, sent: Time, pause: Option<Duration>, chance: f64) -> u32 {
        if self.pause.refused(now, sent, pause, chance) {
            self.slow_start.begin();
        }
        self.pause.refusals()
    }

    /// The group pauses for the refusal of an attempt with other keys.
    pub fn close(&mut self, now: Time, pause: Option<Duration>, chance: f64) {
        self.pause.begin(now, pause, chance);
    }

    /// Nothing is known of its limits, but that it has some: a few go first.
    pub fn begin_carefully(mut self) -> LimitGroup {
        self.slow_start.begin();
        self
    }

    /// Adds what each limit has to say, in their order.
    pub fn note(&self, accounts: &mut Vec<LimiterStats>) {
        accounts.resize(self.members.len().max(accounts.len()), LimiterStats::default());
        for (account, member) in accounts.iter_mut().zip(&self.members) {
            account.add(member.kind.stats());
        }
    }

    /// Whether the group could as well begin anew: nothing is taken or counted.
    pub fn is_idle(&mut self, now: Time) -> bool {
        let quiet = self.open == 0 && self.pause.is_forgotten(now);
        quiet
            && self.remaining.is_silent(now)
            && self.members.iter_mut().all(|member| member.kind.is_idle(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_refusal_closes_it_for_as_long_as_it_says() {
        let mut group = LimitGroup::default();
        let ask = Cost::from(1);
        group.refused(at(100), at(0), Some(Duration::from_secs(7)), 0.0);
        group.refused(at(200), at(0), Some(Duration::from_secs(2)), 0.0);
        assert_eq!(group.earliest(at(300), &ask), Availability::At(at(7_100)));
        assert_eq!(group.earliest(at(7_100), &ask), Availability::Now);
    }

    #[test]
    fn a_limit_that_the_server_names_is_the_nearest_of_ours_and_only_tightens() {
        let policy = |rates: &[&str]| {
            let settings = crate::config::Settings {
                rate: rates.iter().map(|rate| rate.parse().unwrap()).collect(),
                ..Default::default()
            };
            crate::config::Policy::new(&settings, Duration::ZERO).unwrap()
        };
        for (limit, learnt) in [
            (500, [Some(500), None]),
            (700, [None, Some(700)]),
            (100, [None, None]),
            (5_000, [None, None]),
        ] {
            let policy = policy(&["600/1h", "900/1m"]);
            let rules = policy.rules().iter();
            let members = rules.map(|rule| Member { unit: rule.unit, kind: rule.limiter() });
            let mut group = LimitGroup::new(members.collect());
            let said = RateLimitInfo { limit: Some(limit), remaining: None, reset: None };
            let attempt = (&Cost::from(1), &Snapshot::default());
            group.hear(at(0), attempt, Some(0), said, false);
            let amounts: Vec<_> = group.members.iter().map(|m| m.kind.stats().learnt).collect();
            assert_eq!(amounts, learnt, "{limit}");
        }
    }
}
