//! The state of one limit of an account: the units that runs lease, and those that have
//! arrived. Pure: clocks and living runs are arguments.
//!
//! **Guarantee.** The limit has N units. Each is free, or *leased* by one run, or counted
//! from the latest time at which the attempt that used it can have arrived. A run sends an
//! attempt only on units that it leases. It gives them back as arrived, with the time of
//! the answer, or of giving up and linger; as free only if nothing was sent on them. What a
//! dead run leased counts as arrived linger after the run was found dead, or linger after the
//! longest wait for an answer to what was sent when its lease ended. Where it can't be checked
//! whether a run lives, as on another machine, it leases its units until then. So the proof of each kind
//! holds for all runs together: where one process keeps what is in flight and what counts
//! within N, all of them do.
//!
//! After a restart of the machine the calendar says how long ago something was: set back, it
//! releases units later, but no unit counts longer than one that arrives now. Windows that end
//! when the calendar says end when both clocks agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limiter::{OtherSearches, SearchReport};
use crate::quota::arrivals::{Arrivals, PAST, is_zero};
use crate::quota::clocks::{
    ClockReading, ClockSnapshot, line, micros, off_line, on_line, signed, since_start,
};
use crate::quota::leased::{LeaseReply, LeaseRequest};
use crate::quota::runs::id_of;
use crate::quota::terms::{Quota, SEND_TIME};
use crate::quota::turns::Turns;
use crate::time::Time;

/// Tolerance between both clocks in microseconds: they are read one after the other.
const CLOCK_TOLERANCE: i64 = 50_000;
/// Time by which a run may be late to ask for units that are kept for it.
const TURN: Duration = Duration::from_millis(30);
/// Such a time of a run on another machine, beside that between its exchanges, in which all of its
/// requests go.
const REMOTE_TURN: Duration = Duration::from_millis(150);
/// The longest pause that all runs keep which one was asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Number of runs that may search at once, each of which sends seldom then.
const SEARCHES: u64 = 4;
/// Limits that were last written within this time may be those of one run.
const WRITTEN_TOGETHER: Duration = Duration::from_secs(2);

/// The state of one limit of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaState {
    /// Both clocks when the state was written.
    clock: ClockReading,
    /// Leases by the run.
    runs: BTreeMap<String, Lease>,
    /// The units that have arrived.
    #[serde(flatten)]
    arrivals: Arrivals,
    /// The turns of runs that wait for units.
    #[serde(default, skip_serializing_if = "Turns::is_empty")]
    turns: Turns,
    /// The end of the longest pause that the server has asked a run for.
    #[serde(default, skip_serializing_if = "is_zero")]
    paused: u64,
    /// Until when all units count as used since nothing is known of the time before.
    #[serde(default, skip_serializing_if = "is_zero")]
    unknown: u64,
}

/// What one run leases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    /// Units that are in flight or not used yet.
    kept: u64,
    /// Until when unused units may be sent.
    until: u64,
    /// The longest wait for an answer, in microseconds; 0 if it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    timeout: u64,
    /// The latest time at which an attempt of the run arrives, unless the run is heard of
    /// before; 0 if it can be checked whether the run lives.
    #[serde(default, skip_serializing_if = "is_zero")]
    lapse: u64,
    /// The units that the run believes the server allows, where refusals have taught it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learnt: Option<u64>,
    /// The run's search for a pace, if the limit is searched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    search: Option<SearchReport>,
    /// Whether the run states another limit of the account, and only reports to this one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reports_only: bool,
}

impl Lease {
    fn new(now: &ClockSnapshot, quota: &Quota, request: &LeaseRequest<'_>, lapses: bool) -> Lease {
        let lease = Lease {
            kept: request.kept,
            until: now.line() + micros(quota.lease()),
            timeout: micros(quota.timeout),
            lapse: 0,
            learnt: request.learnt,
            search: request.search,
            reports_only: false,
        };
        let lapse = if lapses { lease.given_up(quota) + micros(quota.linger) } else { 0 };
        Lease { lapse, ..lease }
    }

    /// The time by which a run has given up what it has sent until its lease ended.
    fn given_up(&self, quota: &Quota) -> u64 {
        self.until + micros(SEND_TIME) + self.timeout.max(micros(quota.linger))
    }

    /// Whether the run of this name lives, which can perhaps be checked.
    fn is_alive(
        &self,
        now: &ClockSnapshot,
        name: &str,
        is_alive: Option<&dyn Fn(&str) -> bool>,
    ) -> bool {
        match is_alive.filter(|_| self.lapse == 0) {
            Some(is_alive) => is_alive(name),
            None => now.line() <= self.lapse,
        }
    }

    /// Whether the run would have been heard of by now if it searched no more: it tells of its
    /// search with each request.
    fn is_searching(&self, now: &ClockSnapshot, report: SearchReport) -> bool {
        let gap = 1_000_000_000_000 / report.pace.max(1);
        now.line() <= self.until.saturating_add(gap.saturating_mul(SEARCHES))
    }

    /// The latest time at which an attempt of a dead run arrives. It was given up at the
    /// latest when the run was found dead, or when the longest wait for an answer was over.
    fn latest_arrival(&self, now: &ClockSnapshot, quota: &Quota) -> u64 {
        match self.lapse {
            // Its process is known to have ended.
            0 => self.given_up(quota).min(now.line()) + micros(quota.linger),
            lapse => lapse,
        }
    }
}

impl QuotaState {
    /// A state that was written by the calendar alone: units by run, units by the time of
    /// their arrival in milliseconds since 1970, and the clocks at its writing.
    #[must_use]
    pub fn from_calendar(
        clock: ClockReading,
        kept: BTreeMap<String, u64>,
        arrived: &[(u64, u64)],
        reset: Option<u64>,
    ) -> QuotaState {
        let line = |millis| clock.line_of_calendar(millis);
        let until = u64::try_from(clock.wall / 1_000).map_or(0, line);
        let lease = |kept| Lease { kept, until, ..Lease::default() };
        let arrived = arrived.iter().map(|&(time, units)| (line(time), units)).collect();
        QuotaState {
            runs: kept.into_iter().map(|(run, kept)| (run, lease(kept))).collect(),
            arrivals: Arrivals::new(arrived, reset.map(line)),
            turns: Turns::default(),
            paused: 0,
            unknown: 0,
            clock,
        }
    }

    /// Converts the state to the clocks of now, counts the units of dead runs as arrived,
    /// and drops units that don't count any more.
    pub fn advance(
        &mut self,
        now: &ClockSnapshot,
        quota: &Quota,
        is_alive: Option<&dyn Fn(&str) -> bool>,
    ) {
        self.follow_clocks(now, quota);
        let dead = self.runs.iter().filter(|(run, lease)| !lease.is_alive(now, run, is_alive));
        let dead: Vec<String> = dead.map(|(run, _)| run.clone()).collect();
        for run in dead {
            if let Some(lease) = self.runs.remove(&run) {
                self.arrivals.count(lease.latest_arrival(now, quota), signed(lease.kept));
            }
            self.turns.forget(&run);
        }
        self.turns.expire(now.line());
        self.arrivals.expire(now, quota);
    }

    fn follow_clocks(&mut self, now: &ClockSnapshot, quota: &Quota) {
        let is_new = self.clock == ClockReading::default();
        let is_same_start = self.clock.is_of_start(&now.clock);
        let is_other_start =
            self.clock.boot.is_some() && now.clock.boot.is_some() && !is_same_start;
        let set = now.clock.zero() - self.clock.zero();
        self.clock = now.clock.clone();
        if is_new || (is_same_start && !quota.follows_calendar()) {
            return;
        }
        if is_other_start && !quota.is_durable() {
            *self = QuotaState::full(now, quota, Time::ZERO);
            return;
        }
        // On one start only a calendar that is set back ends windows later.
        let later = if is_same_start && set >= -CLOCK_TOLERANCE { 0 } else { -set };
        self.shift(now, if is_same_start { later.max(0) } else { later }, quota);
        if !is_same_start {
            self.turns = Turns::default();
            (self.paused, self.unknown) = (0, 0);
        }
    }

    /// Moves all times, but none further than to that of an attempt which is lost now.
    fn shift(&mut self, now: &ClockSnapshot, later: i64, quota: &Quota) {
        self.arrivals.shift(now, later, quota);
        for lease in self.runs.values_mut() {
            let (until, arriving) = (lease.until, lease.lapse.saturating_sub(lease.until));
            lease.until = until.saturating_add_signed(later).min(now.line());
            lease.lapse = if lease.lapse == 0 { 0 } else { lease.until + arriving };
        }
    }

    /// A limit of which nothing is known of the time before `since`: all units may have been
    /// sent just then.
    pub fn full(now: &ClockSnapshot, quota: &Quota, since: Time) -> QuotaState {
        let lost = vec![(line(since.after(quota.linger)), quota.units())];
        let arrivals = Arrivals::new(lost, None);
        let unknown = arrivals.free_at(now, quota, 1).map_or(0, line);
        QuotaState { clock: now.clock.clone(), arrivals, unknown, ..QuotaState::default() }
    }

    /// Records the arrivals and the leased units of a run that states this limit.
    pub fn report(
        &mut self,
        now: &ClockSnapshot,
        quota: &Quota,
        run: &str,
        request: &LeaseRequest<'_>,
        lapses: bool,
    ) {
        self.arrivals.count_all(request.arrived);
        if let Some(reset) = request.reset {
            self.arrivals.note_reset(quota, reset);
        }
        self.note_pause(now, request);
        self.arrivals.set_resolution(quota.resolution());
        self.runs.insert(run.to_owned(), Lease::new(now, quota, request, lapses));
        self.arrivals.expire(now, quota);
    }

    /// Records the arrivals and the leased units of a run that states another limit of the
    /// account, `stated`.
    pub fn report_only(
        &mut self,
        now: &ClockSnapshot,
        stated: &Quota,
        run: &str,
        request: &LeaseRequest<'_>,
        lapses: bool,
    ) {
        self.arrivals.count_all(request.arrived);
        self.note_pause(now, request);
        // Another handle of the run may have been taken over.
        self.runs.retain(|name, _| id_of(name) != id_of(run));
        // What the run has learnt is of its own limit.
        let lease = Lease {
            learnt: None,
            search: None,
            reports_only: true,
            ..Lease::new(now, stated, request, lapses)
        };
        self.runs.insert(run.to_owned(), lease);
    }

    /// Notes the pause that a run was asked for, but for one that is so long that each run has to
    /// decide for itself.
    fn note_pause(&mut self, now: &ClockSnapshot, request: &LeaseRequest<'_>) {
        if let Some(until) = request.pause {
            self.paused = self.paused.max(line(until.min(now.time.after(LONGEST_PAUSE))));
        }
    }

    /// The end of the pause that the server has asked a run for, if it lasts.
    pub fn paused(&self, now: &ClockSnapshot) -> Option<Time> {
        (self.paused > now.line()).then(|| off_line(on_line(self.paused)))
    }

    /// Until when all units count as used since nothing is known of the time before, if they do.
    pub fn unknown(&self, now: &ClockSnapshot) -> Option<Time> {
        (self.unknown > now.line()).then(|| off_line(on_line(self.unknown)))
    }

    /// The units that a run could lease now. If they are fewer than are of use, the run waits
    /// for its turn from now on.
    pub fn offer(
        &mut self,
        now: &ClockSnapshot,
        quota: &Quota,
        run: &str,
        request: &LeaseRequest<'_>,
    ) -> LeaseReply {
        let (limit, left) = (self.limit(quota, Some(run)), self.left(now, quota, Some(run)));
        // A request that costs more than all units goes when all are free.
        let needed = request.least.min(limit);
        let share = self.share(quota, run, request.least);
        let kept = self.turns.kept_for_others(run, limit, share);
        let missing = (needed + kept).saturating_sub(left);
        if needed > 0 && missing > 0 {
            let back = self.free_at(now, quota, missing);
            self.turns.wait(run, needed, self.asks_again(now, quota, run, back));
            return LeaseReply::Later(back);
        }
        self.turns.stop_waiting(run);
        let fair = (left / (self.turns.others(run) + 1)).max(share);
        let offered = left.saturating_sub(kept).min(request.wanted).min(fair);
        LeaseReply::Units(offered.max(request.least))
    }

    /// Leases units to a run that were offered to it.
    pub fn grant(&mut self, now: &ClockSnapshot, quota: &Quota, run: &str, units: u64) {
        if let Some(lease) = self.runs.get_mut(run) {
            lease.kept += units;
        }
        if units > 0 {
            self.turns.serve(run, units, self.asks_again(now, quota, run, None));
        }
    }

    /// The time by which a run asks again that wants units, which come back at `back`.
    fn asks_again(&self, now: &ClockSnapshot, quota: &Quota, run: &str, back: Option<Time>) -> u64 {
        let turn = match self.exchange_gap(quota, run, 1) {
            Some(gap) => REMOTE_TURN + gap,
            None => TURN,
        };
        line(quota.next_look(now.time, back).after(turn + quota.terms.span / 200))
    }

    /// Units that a run which waits with others can use until it asks again: more of them would be
    /// kept from those who ask meanwhile.
    fn share(&self, quota: &Quota, run: &str, cost: u64) -> u64 {
        let gap = self.exchange_gap(quota, run, cost).unwrap_or_default();
        quota.units_in(gap) / (self.turns.others(run) + 1)
    }

    /// The time between two exchanges of a run on another machine, whose requests cost this many
    /// units.
    fn exchange_gap(&self, quota: &Quota, run: &str, cost: u64) -> Option<Duration> {
        let is_remote = self.runs.get(run).is_some_and(|lease| lease.lapse > 0);
        is_remote.then(|| quota.exchange_gap(self.run_count(), cost, 1))
    }

    /// Takes over the turns of a copy of this state.
    pub fn set_turns_of(&mut self, copy: QuotaState) {
        self.turns = copy.turns;
    }

    /// Ends a handle, which leases nothing any more.
    pub fn end_handle(&mut self, run: &str) {
        self.runs.remove(run);
        self.turns.forget(run);
    }

    /// Ends what a run has reported as one that states another limit: it states this one.
    pub fn end_reports(&mut self, run: &str) {
        self.runs.retain(|name, lease| !lease.reports_only || id_of(name) != id_of(run));
    }

    /// Ends all handles of the run of this one.
    pub fn end_run(&mut self, run: &str) {
        self.runs.retain(|name, _| id_of(name) != id_of(run));
        self.turns.forget(run);
    }

    /// The units that the limit has, as far as other runs than this one have learnt.
    fn limit(&self, quota: &Quota, run: Option<&str>) -> u64 {
        let others = self.runs.iter().filter(|(name, _)| Some(name.as_str()) != run);
        let learnt = others.filter_map(|(_, lease)| lease.learnt).min();
        learnt.map_or(quota.units(), |learnt| learnt.min(quota.units())).max(1)
    }

    /// The units that are neither leased nor counted, for this run or for a new one.
    #[must_use]
    pub fn left(&self, now: &ClockSnapshot, quota: &Quota, run: Option<&str>) -> u64 {
        let used = self.arrivals.counted(now, quota) + self.leased();
        self.limit(quota, run).saturating_sub(used)
    }

    /// The time at which the missing units are free; none if leased ones are among them.
    #[must_use]
    pub fn free_at(&self, now: &ClockSnapshot, quota: &Quota, missing: u64) -> Option<Time> {
        self.arrivals.free_at(now, quota, missing)
    }

    /// Units that have been used, by the time at which the last of them is available again.
    #[must_use]
    pub fn used(&self, now: &ClockSnapshot, quota: &Quota) -> Vec<(Time, u64)> {
        self.arrivals.used(now, quota)
    }

    /// The units that runs lease.
    #[must_use]
    pub fn leased(&self) -> u64 {
        self.runs.values().map(|lease| lease.kept).sum()
    }

    /// The units that all runs but this one lease.
    #[must_use]
    pub fn leased_by_others(&self, run: &str) -> u64 {
        let others = self.runs.iter().filter(|(name, _)| *name != run);
        others.map(|(_, lease)| lease.kept).sum()
    }

    /// The searches for a pace of all runs but this one.
    #[must_use]
    pub fn searches_beside(&self, now: &ClockSnapshot, run: &str) -> OtherSearches {
        let mut searches = OtherSearches::default();
        for (_, lease) in self.runs.iter().filter(|(name, _)| *name != run) {
            if let Some(report) = lease.search {
                searches.add(report, lease.is_searching(now, report));
            }
        }
        searches
    }

    /// The units that dead runs lease and that may still arrive, and for how long they may.
    #[must_use]
    pub fn of_dead(
        &self,
        now: &ClockSnapshot,
        quota: &Quota,
        is_alive: Option<&dyn Fn(&str) -> bool>,
    ) -> (u64, Duration) {
        let dead = self.runs.iter().filter(|(run, lease)| !lease.is_alive(now, run, is_alive));
        dead.fold((0, Duration::ZERO), |(units, longest), (_, lease)| {
            let left = lease.latest_arrival(now, quota).saturating_sub(now.line());
            let may_arrive = if left > 0 { lease.kept } else { 0 };
            (units + may_arrive, longest.max(Duration::from_micros(left)))
        })
    }

    /// Whether no run leases units and none are counted.
    #[must_use]
    pub fn is_empty(&self, now: &ClockSnapshot) -> bool {
        self.runs.is_empty() && self.arrivals.is_empty(now)
    }

    /// The time since the state was written.
    pub fn age(&self, now: &ClockSnapshot) -> Duration {
        self.clock.age(now)
    }

    /// The runs that are registered.
    pub fn runs(&self) -> impl Iterator<Item = &str> {
        self.runs.keys().map(String::as_str)
    }

    /// Whether a run that lives states this limit, other than the run of this handle.
    pub fn is_stated_beside(
        &self,
        now: &ClockSnapshot,
        run: &str,
        is_alive: Option<&dyn Fn(&str) -> bool>,
    ) -> bool {
        let mut stated = self.runs.iter().filter(|(_, lease)| !lease.reports_only);
        stated.any(|(name, lease)| id_of(name) != id_of(run) && lease.is_alive(now, name, is_alive))
    }

    /// Number of runs that lease units, or may.
    fn run_count(&self) -> u64 {
        self.runs().map(id_of).collect::<BTreeSet<_>>().len() as u64
    }

    /// The handles of this run that state this limit.
    pub fn handles_of(&self, run: &str) -> impl Iterator<Item = &str> {
        let stated = self.runs.iter().filter(|(_, lease)| !lease.reports_only);
        stated.map(|(name, _)| name.as_str()).filter(move |name| id_of(name) == run)
    }

    /// Takes over what the other limits of the same account have counted since this state
    /// was written, and what their runs lease: an attempt counts in all of them. `run` is
    /// the handle that leases from this one. Taken over twice, nothing is counted twice.
    ///
    /// A limit knows all attempts of the account while a run states it, and takes over those
    /// before it. So the limit that was written last knows all for as long as past units are
    /// remembered; a limit with a longer period knows what is older.
    pub fn take_over(
        &mut self,
        now: &ClockSnapshot,
        run: &str,
        mut others: Vec<QuotaState>,
        quota: &Quota,
    ) {
        let Some(newest) = self.take_over_arrivals(now, &mut others, quota) else { return };
        for (name, lease) in newest.runs.iter().filter(|(name, _)| id_of(name) != id_of(run)) {
            let known = self.runs.entry(name.clone()).or_default();
            let (kept, until) = (known.kept.max(lease.kept), known.until.max(lease.until));
            let lapse = known.lapse.max(lease.lapse);
            let known_of_other = Lease { learnt: None, search: None, ..lease.clone() };
            *known = Lease { kept, until, lapse, reports_only: true, ..known_of_other };
        }
    }

    /// Takes over what the other limits of the same account have counted, while no run states
    /// this one. What their runs lease they count when it has arrived, or the run is dead.
    pub fn keep_up(&mut self, now: &ClockSnapshot, mut others: Vec<QuotaState>, quota: &Quota) {
        self.take_over_arrivals(now, &mut others, quota);
        self.runs.retain(|_, lease| !lease.reports_only);
        self.arrivals.expire(now, quota);
    }

    /// Takes over what other limits have counted. Gives the one that knows all since it was
    /// first stated.
    fn take_over_arrivals<'a>(
        &mut self,
        now: &ClockSnapshot,
        others: &'a mut [QuotaState],
        quota: &Quota,
    ) -> Option<&'a QuotaState> {
        let since = self.clock.read_at(now);
        self.follow_clocks(now, quota);
        others.iter_mut().for_each(|other| other.follow_start(now, quota));
        let last = others.iter().map(|other| other.clock.up).max()?;
        let recent = last.saturating_sub(signed(micros(WRITTEN_TOGETHER)));
        let newest = others.iter().filter(|other| other.clock.up >= recent);
        let newest = newest.max_by_key(|other| other.arrivals.units())?;
        let from = newest.clock.read_at(now).saturating_sub(micros(PAST));
        let is_older = |time: u64| (since..from).contains(&time);
        let older = |other: &QuotaState| {
            let known = other.arrivals.known().into_iter();
            known.filter(|(time, _)| is_older(*time)).collect::<Vec<_>>()
        };
        let units = |known: &Vec<(u64, u64)>| known.iter().map(|(_, units)| units).sum::<u64>();
        for (time, units) in others.iter().map(older).max_by_key(units).into_iter().flatten() {
            self.arrivals.count(time, signed(units));
        }
        self.arrivals.take_over_since(&newest.arrivals, from);
        Some(newest)
    }

    /// Converts the times of a state that was written before the machine was started.
    fn follow_start(&mut self, now: &ClockSnapshot, quota: &Quota) {
        let written = self.clock.read_at(now);
        if !self.clock.is_of_start(&now.clock) {
            self.shift(now, self.clock.zero().saturating_sub(now.clock.zero()), quota);
            self.clock = ClockReading { up: since_start(written), ..now.clock.clone() };
        }
    }
}

#[cfg(test)]
mod tests;
