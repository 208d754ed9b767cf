//! Limits that hold together, such as those of one key: what each of them is told, and what the
//! server says of them all. Pure: time and chance are arguments.

use std::time::Duration;

use smallvec::SmallVec;

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
    pub open: u64,
}

/// A limit, and the unit that it counts.
#[derive(Debug)]
pub struct Member {
    pub unit: usize,
    pub kind: Box<dyn Limiter>,
}

impl Member {
    /// How a limit that the server names fits this one, if the server can mean it.
    fn named_by(&self, unit: Option<usize>, info: RateLimitInfo) -> Option<NamedFit> {
        let stats = self.kind.stats();
        let amount = stats.amount.filter(|_| unit == Some(self.unit))?;
        let windows = info.window.zip(stats.period);
        let is_same = windows.map(|(window, period)| window == period);
        (is_same != Some(false)).then_some(NamedFit { is_same: is_same.is_some(), amount })
    }
}

/// How a limit of ours fits one that the server names.
struct NamedFit {
    /// Whether both have the same window: then it is the one that the server means.
    is_same: bool,
    /// The units that ours allows.
    amount: u64,
}

impl LimitGroup {
    /// These limits together, all free.
    pub fn new(members: Vec<Member>) -> LimitGroup {
        LimitGroup { members, ..LimitGroup::default() }
    }

    /// When all limits have the units of this cost, and no pause lasts.
    pub fn earliest(&mut self, now: Time, cost: &Cost) -> Availability {
        self.binding(now, cost).0
    }

    /// When all limits have the units of this cost, and the index of the last limit to have
    /// them; none if it is the server's pause.
    pub fn binding(&mut self, now: Time, cost: &Cost) -> (Availability, Option<usize>) {
        let open = self.server_allows(now, cost);
        let members = self.members.iter_mut().enumerate();
        members.fold((open, None), |binds, (index, member)| {
            let when = member.kind.earliest(now, cost.units_of(member.unit));
            if when > binds.0 { (when, Some(index)) } else { binds }
        })
    }

    /// When the pause, the remaining units and the slow start let an attempt go.
    fn server_allows(&mut self, now: Time, cost: &Cost) -> Availability {
        if self.remaining.expire(now) {
            self.slow_start.begin();
        }
        let told = self.remaining.closed_until(&|unit| cost.units_of(unit));
        let closed = told.unwrap_or(Time::ZERO).max(self.pause.until());
        if now < closed {
            Availability::At(closed)
        } else if self.slow_start.holds_back() {
            Availability::AfterAnAnswer
        } else {
            Availability::Now
        }
    }

    /// Counts an attempt of which this is the narrowest group in the remaining units and in the
    /// slow start.
    pub fn take_from_server(&mut self, cost: &Cost) -> Snapshot {
        Snapshot {
            mark: self.remaining.take(|unit| cost.units_of(unit), cost.kinds()),
            era: self.slow_start.take(),
            lacking: SmallVec::new(),
        }
    }

    /// An attempt is over that [`take_from_server`](LimitGroup::take_from_server) has counted.
    /// Gives when another may go because of it.
    pub fn finish_at_server(&mut self, cost: &Cost, snapshot: &Snapshot) -> Availability {
        self.remaining.end(|unit| cost.units_of(unit), cost.kinds());
        let relief = self.relief_of_slow_start();
        self.slow_start.finished(snapshot.era);
        relief
    }

    /// When another attempt may go because the server has taken one in, or done with it.
    fn relief_of_slow_start(&self) -> Availability {
        if self.slow_start.is_over() { Availability::Never } else { Availability::Now }
    }

    /// Takes the units from each limit, which [`earliest`](LimitGroup::earliest) gave as
    /// available.
    pub fn take<'a>(
        &'a mut self,
        now: Time,
        cost: &'a Cost,
    ) -> impl Iterator<Item = Reservation> + 'a {
        self.open += 1;
        self.members.iter_mut().map(move |member| member.kind.take(now, cost.units_of(member.unit)))
    }

    /// `taken` requests were taken without limits, of which `ended` are over.
    pub fn count_in(&mut self, taken: u64, ended: u64) {
        self.open += taken - ended;
        self.remaining.count_in(taken, ended);
    }

    /// One attempt is over. Gives when another may go because of it, or is to know that it can't.
    pub fn finished(&mut self) -> Availability {
        self.open -= 1;
        if self.open == 0 { Availability::Now } else { Availability::Never }
    }

    /// The end of the server's pause, which may have passed.
    pub fn closed_until(&self) -> Time {
        self.pause.until()
    }

    /// Has the other runs of the account know of a pause that the server has asked for.
    pub fn tell_pause(&mut self) {
        let until = self.pause.until();
        self.members.iter_mut().for_each(|member| member.kind.pause(until));
    }

    /// The limits of this group, in the order of their rules.
    pub fn members(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// The server accepted an attempt: its refusals in a row are over. Gives when another may go
    /// because of it.
    pub fn accepted(&mut self, snapshot: &Snapshot) -> Availability {
        self.pause.accepted();
        let relief = self.relief_of_slow_start();
        self.slow_start.accepted(snapshot.era);
        relief
    }

    /// The server tells its count of a unit in the answer to an attempt; `unit` is none for one
    /// that no limit counts. A larger limit than ours counts only if it `loosens`.
    pub fn inform(
        &mut self,
        now: Time,
        cost: &Cost,
        snapshot: &Snapshot,
        unit: Option<usize>,
        info: RateLimitInfo,
        loosens: bool,
    ) {
        self.allow(unit, info);
        // A larger limit has to be told in full, and by the newest answer.
        let reset = info.reset_at(now);
        let exact = info.remaining.is_some() && reset.is_some_and(|reset| reset > now);
        if loosens && exact && snapshot.mark >= self.newest_mark {
            self.loosen(unit, info);
        }
        self.newest_mark = self.newest_mark.clone().max(snapshot.mark.clone());
        let told = self.members.iter_mut().filter(|m| Some(m.unit) == unit);
        let mut known = false;
        for member in told {
            known |= member.kind.inform(now, info);
        }
        let (Some(remaining), Some(reset)) = (info.remaining, reset) else {
            return;
        };
        let concerns = unit.is_some() || remaining == 0;
        if concerns && !known && reset > now {
            let own = unit.map_or(0, |unit| cost.units_of(unit));
            self.remaining.update(unit, own, &snapshot.mark, remaining, reset, now);
        }
    }

    /// A smaller limit that the server names is the one of ours with the same window. Where
    /// either states no window, it is the one that comes nearest to it, if that is no more
    /// than twice as much.
    fn allow(&mut self, unit: Option<usize>, info: RateLimitInfo) {
        let Some(limit) = info.limit else {
            return;
        };
        let meant = |member: &mut Member| {
            let fit = member.named_by(unit, info)?;
            let most = if fit.is_same { u64::MAX } else { limit.saturating_mul(2) };
            let is_larger = fit.amount > limit && fit.amount <= most;
            is_larger.then_some((!fit.is_same, fit.amount))
        };
        let meant = self.members.iter_mut().filter_map(|it| Some((meant(it)?, it)));
        if let Some((_, member)) = meant.min_by_key(|(fit, _)| *fit) {
            member.kind.allow(limit);
        }
    }

    /// A larger limit that the server names is the one of ours with the same window. Where
    /// either states no window, it is the one that comes nearest to it, if that is no less
    /// than half of it.
    fn loosen(&mut self, unit: Option<usize>, info: RateLimitInfo) {
        let Some(limit) = info.limit else {
            return;
        };
        let meant = |member: &mut Member| {
            let fit = member.named_by(unit, info)?;
            let least = if fit.is_same { 0 } else { limit.div_ceil(2) };
            let is_smaller = fit.amount < limit && fit.amount >= least;
            is_smaller.then_some((fit.is_same, fit.amount))
        };
        let meant = self.members.iter_mut().filter_map(|it| Some((meant(it)?, it)));
        if let Some((_, member)) = meant.max_by_key(|(fit, _)| *fit) {
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

    /// After a refusal, the slow start goes little beyond what the server took in before it: by
    /// the limits on requests, of which an attempt costs one.
    pub fn expect_no_more(&mut self) {
        let of_requests = self.members.iter().filter(|member| member.unit == 0);
        if let Some(least) = of_requests.filter_map(|member| member.kind.stats().taken_in).min() {
            self.slow_start.expect(least);
        }
    }

    /// The group pauses for the refusal of an attempt with other keys.
    pub fn close(&mut self, now: Time, pause: Option<Duration>, chance: f64) {
        self.pause.begin(now, pause, chance);
    }

    /// Only the server knows this group's limits: a few attempts go first.
    pub fn begin_carefully(mut self) -> LimitGroup {
        self.slow_start.begin();
        self
    }

    /// Adds the account of each limit to those of the same limits for other keys.
    pub fn add_stats(&self, accounts: &mut Vec<LimiterStats>) {
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
