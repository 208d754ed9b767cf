//! The limits that hold together for one key, and the pauses that the server
//! asks of it. Pure.

use std::time::Duration;

use crate::gate::cost::{Cost, Snapshot};
use crate::kinds::{Availability, Limiter, LimiterStats, RateLimitInfo, Reservation};
use crate::server::remaining::{AnsweredMark, RemainingByUnit};
use crate::server::slow_start::SlowStart;
use crate::time::Time;

/// The first pause after a refusal that names none; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Limits that hold together, and until when the server wants to be left alone.
#[derive(Debug, Default)]
pub struct LimitGroup {
    members: Vec<Member>,
    closed_until: Time,
    /// Refusals since the server last took an attempt in.
    refusals: u32,
    /// What the server said is left.
    said: RemainingByUnit,
    /// What had been answered when the newest that told something was taken.
    heard: AnsweredMark,
    /// The beginning after a pause.
    restart: SlowStart,
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
        LimitGroup {
            members,
            ..LimitGroup::default()
        }
    }

    /// When all of them have what is asked for, and the server is not to be left alone.
    pub fn earliest(&mut self, now: Time, ask: &Cost) -> Availability {
        self.binding(now, ask).0
    }

    /// The same, and which of them it takes so long for; none if it is the server.
    pub fn binding(&mut self, now: Time, ask: &Cost) -> (Availability, Option<usize>) {
        let open = self.open_to(now, ask);
        let members = self.members.iter_mut().enumerate();
        members.fold((open, None), |binds, (index, member)| {
            let when = member.kind.earliest(now, ask.units_of(member.unit));
            if when > binds.0 {
                (when, Some(index))
            } else {
                binds
            }
        })
    }

    /// When the server's own words let it go.
    fn open_to(&mut self, now: Time, ask: &Cost) -> Availability {
        if self.said.expire(now) {
            self.restart.begin();
        }
        let said = self.said.closed_until(&|unit| ask.units_of(unit));
        let closed = said.unwrap_or(Time::ZERO).max(self.closed_until);
        match now < closed {
            true => Availability::At(closed),
            false if self.restart.holds_back() => Availability::AfterAnAnswer,
            false => Availability::Now,
        }
    }

    /// Counts an attempt that this group alone answers for, as far as the server
    /// speaks of it.
    pub fn stand(&mut self, ask: &Cost) -> Snapshot {
        Snapshot {
            mark: self.said.take(|unit| ask.units_of(unit), ask.kinds()),
            era: self.restart.take(),
        }
    }

    /// Such an attempt is over.
    pub fn leave(&mut self, ask: &Cost, standing: &Snapshot) {
        self.said.end(|unit| ask.units_of(unit), ask.kinds());
        self.restart.finished(standing.era);
    }

    /// Takes from each of them what [`earliest`](LimitGroup::earliest) said could be had.
    pub fn take<'a>(
        &'a mut self,
        now: Time,
        ask: &'a Cost,
    ) -> impl Iterator<Item = Reservation> + 'a {
        self.open += 1;
        self.members
            .iter_mut()
            .map(move |member| member.kind.take(now, ask.units_of(member.unit)))
    }

    /// Takes in a request that another process has sent.
    pub fn remember(&mut self, then: Time, lost: bool) {
        for member in &mut self.members {
            member.kind.remember(then, lost);
        }
    }

    /// So many requests were taken, and so many of them are over, before anything was
    /// to be kept of them.
    pub fn count_in(&mut self, taken: u64, ended: u64) {
        self.open += taken - ended;
        self.said.count_in(taken, ended);
    }

    /// One attempt is over, and will not be heard of again.
    pub fn finished(&mut self) {
        self.open -= 1;
    }

    /// Until when the server wants to be left alone, if it does.
    pub fn closed_until(&self) -> Time {
        self.closed_until
    }

    /// Each limit.
    pub fn members(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// The server took an attempt in: what it refused before is over.
    pub fn accepted(&mut self, standing: &Snapshot) {
        self.refusals = 0;
        self.restart.accepted(standing.era);
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
        if welcome && exact && standing.mark >= self.heard {
            self.loosen(unit, said);
        }
        self.heard = self.heard.clone().max(standing.mark.clone());
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
            let own = (own, &standing.mark);
            self.said.hear(unit, own, remaining, reset, now);
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
            member
                .amount(unit)
                .is_some_and(|amount| larger.contains(&amount))
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
            member
                .amount(unit)
                .is_some_and(|amount| smaller.contains(&amount))
        };
        let members = self.members.iter_mut().filter(smaller);
        if let Some(member) = members.max_by_key(|member| member.amount(unit)) {
            member.kind.allow(limit);
        }
    }

    /// Whether a refusal of what was sent then tells nothing new, since the
    /// server wanted to be left alone already.
    pub fn expected_refusal(&self, sent: Time) -> bool {
        sent < self.closed_until
    }

    /// The server refused an attempt that was sent at `sent`: nobody sends for
    /// `pause`, or, if it named none, for a while that doubles with each refusal.
    /// `chance` (0 to 1) lengthens that by up to a quarter, so that several
    /// clients don't come back at once. Gives the refusals in a row.
    pub fn refused(&mut self, now: Time, sent: Time, pause: Option<Duration>, chance: f64) -> u32 {
        let news = !self.expected_refusal(sent);
        self.refusals += u32::from(news);
        let unsaid = if news {
            doubled(self.refusals, chance)
        } else {
            Duration::ZERO
        };
        let pause = pause.map_or(unsaid, |pause| pause + later(pause, chance));
        self.closed_until = self.closed_until.max(now.after(pause));
        if news {
            self.restart.begin();
        }
        self.refusals
    }

    /// Nobody sends for `pause`, for another's refusal.
    pub fn close(&mut self, now: Time, pause: Option<Duration>, chance: f64) {
        let pause = pause.unwrap_or(FIRST_PAUSE);
        let until = now.after(pause + later(pause, chance));
        self.closed_until = self.closed_until.max(until);
    }

    /// Nothing is known of its limits, but that it has some: a few go first.
    pub fn begin_carefully(mut self) -> LimitGroup {
        self.restart.begin();
        self
    }

    /// Adds what each limit has to say, in their order.
    pub fn note(&self, accounts: &mut Vec<LimiterStats>) {
        accounts.resize(
            self.members.len().max(accounts.len()),
            LimiterStats::default(),
        );
        for (account, member) in accounts.iter_mut().zip(&self.members) {
            account.add(member.kind.stats());
        }
    }

    /// Whether it would do as well to begin anew.
    pub fn is_idle(&mut self, now: Time) -> bool {
        let quiet = self.open == 0 && self.refusals == 0 && now >= self.closed_until;
        quiet
            && self.said.is_silent(now)
            && self
                .members
                .iter_mut()
                .all(|member| member.kind.is_idle(now))
    }
}

/// How much later than told to come back: never sooner, and never much.
fn later(pause: Duration, chance: f64) -> Duration {
    const MOST: Duration = Duration::from_secs(1);
    (pause / 20).min(MOST).mul_f64(chance.clamp(0.0, 1.0))
}

/// The pause after this many refusals that named none.
fn doubled(refusals: u32, chance: f64) -> Duration {
    let pause = FIRST_PAUSE * 2u32.pow(refusals.saturating_sub(1).min(6));
    pause.min(LONGEST_PAUSE).mul_f64(1.0 + chance / 4.0)
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
            let members = rules.map(|rule| Member {
                unit: rule.unit,
                kind: rule.limiter(),
            });
            let mut group = LimitGroup::new(members.collect());
            let said = RateLimitInfo {
                limit: Some(limit),
                remaining: None,
                reset: None,
            };
            let attempt = (&Cost::from(1), &Snapshot::default());
            group.hear(at(0), attempt, Some(0), said, false);
            let amounts: Vec<_> = group
                .members
                .iter()
                .map(|m| m.kind.stats().learnt)
                .collect();
            assert_eq!(amounts, learnt, "{limit}");
        }
    }

    #[test]
    fn refusals_without_a_pause_double_it_until_one_is_accepted() {
        let mut group = LimitGroup::default();
        let mut opens = at(0);
        let mut refused = |group: &mut LimitGroup, sent, chance| {
            group.refused(opens, sent, None, chance);
            let pause = group.closed_until.since(opens);
            opens = group.closed_until;
            pause
        };
        let mut sent = at(0);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = refused(&mut group, sent, 0.0);
            assert_eq!(pause, Duration::from_secs(seconds));
            sent = group.closed_until;
            // an older attempt's refusal adds nothing
            assert!(group.expected_refusal(Time::ZERO));
        }
        group.accepted(&Snapshot::default());
        assert_eq!(refused(&mut group, sent, 1.0), Duration::from_millis(1_250));
    }
}
