//! The state of one limit of an account: the units that runs lease, and those that have
//! arrived. Pure: clocks and living runs are arguments.
//!
//! **Guarantee.** The limit has N units. Each is free, or *leased* by one run, or counted
//! from the latest time at which the attempt that used it can have arrived. A run sends an
//! attempt only on units that it leases. It gives them back as arrived, with the time of
//! the answer, or of giving up and linger; as free only if nothing was sent on them. What a
//! dead run leased counts as arrived linger after the run was found dead, or after the
//! longest time from the end of its lease to an answer, which is linger, too. So the proof of each kind
//! holds for all runs together: where one process keeps what is in flight and what counts
//! within N, all of them do.
//!
//! Times are microseconds of the machine's clock, which goes on while the machine sleeps,
//! from [`LINE_START`] on. After a restart of the machine the calendar says how long ago
//! something was: set back, it releases units later, but no unit counts longer than one that
//! arrives now. Windows that end when the calendar says end when both clocks agree.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::quota::leased::{LeaseReply, LeaseRequest};
use crate::quota::runs::id_of;
use crate::quota::terms::{Lifetime, Quota};
use crate::time::Time;

/// A reading of both clocks: the calendar's, and the machine's since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// Microseconds since 1970.
    pub wall: i64,
    /// Microseconds since the machine was started.
    pub up: i64,
    /// The id of that start, if it is known.
    pub boot: Option<String>,
}

/// Tolerance between both clocks in microseconds: they are read one after the other.
const CLOCK_TOLERANCE: i64 = 50_000;
/// Time for which a permit may be held before its attempt is sent, after a lease has ended.
const SEND_TIME: Duration = Duration::from_secs(1);
/// Time by which a run may be late to ask for units that are kept for it.
const TURN: Duration = Duration::from_millis(30);

/// Limits that were last written within this time may be those of one run.
const WRITTEN_TOGETHER: Duration = Duration::from_secs(2);

/// How long units are remembered that count no more, and to which precision.
const PAST: Duration = Duration::from_secs(600);
const PAST_RESOLUTION: Duration = Duration::from_secs(5);

/// The state of one limit of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaState {
    /// Both clocks when the state was written.
    clock: ClockReading,
    /// Leases by the run.
    runs: BTreeMap<String, Lease>,
    /// The precision of times of arrival.
    #[serde(default)]
    resolution: u64,
    /// Units that have arrived, by their latest time of arrival.
    arrived: Vec<(u64, u64)>,
    /// When all that has been poured into a bucket will have leaked.
    #[serde(default, skip_serializing_if = "is_zero")]
    empty: u64,
    /// Units that count no more here, by their time of arrival, for limits with longer
    /// periods that a run may state later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    past: Vec<(u64, u64)>,
    /// A reset that the server announced: earlier arrivals don't count after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reset: Option<u64>,
    /// Runs that wait for units, in the order of their turns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<Waiting>,
}

/// What one run leases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    /// Units that are in flight or not used yet.
    kept: u64,
    /// Until when unused units may be sent.
    until: u64,
    /// The units that the run believes the server allows, where refusals have taught it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    learnt: Option<u64>,
    /// Units that the run got since several runs have been waiting for some.
    #[serde(default, skip_serializing_if = "is_zero")]
    served: u64,
}

/// A run that waits for units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    run: String,
    units: u64,
    /// Until when the units that are free are kept for it.
    until: u64,
}

impl Lease {
    /// The latest time at which an attempt of a dead run arrives. It was given up at the
    /// latest when the run was found dead, or when the longest wait for an answer was over.
    fn latest_arrival(&self, now: &ClockSnapshot, quota: &Quota) -> u64 {
        let given_up = self.until + micros(SEND_TIME + quota.linger);
        given_up.min(now.line()) + micros(quota.linger)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The time now, by all clocks.
#[derive(Debug, Clone)]
pub struct ClockSnapshot {
    /// The clock of the limits.
    pub time: Time,
    /// The clocks that the state is written with.
    pub clock: ClockReading,
}

/// Offset of the state's times from the machine's start: units can have arrived before it.
const LINE_START: Duration = Duration::from_secs(20 * 366 * 86_400);

/// A time of the limits' clock as the state has it.
fn line(time: Time) -> u64 {
    let nanos = time.after(LINE_START).since(Time::ZERO).as_nanos();
    u64::try_from(nanos.div_ceil(1_000)).unwrap_or(u64::MAX)
}

/// A time of the state, on its own line.
fn on_line(micros: u64) -> Time {
    Time::from_nanos(micros.saturating_mul(1_000))
}

impl ClockReading {
    /// The calendar's time at the machine's start.
    fn zero(&self) -> i64 {
        self.wall - self.up
    }
}

impl ClockSnapshot {
    /// Now, as the state has times.
    fn line(&self) -> u64 {
        line(self.time)
    }

    /// The calendar's time at the zero of the state's times.
    fn zero(&self) -> Timestamp {
        let zero = self.clock.zero().saturating_sub(signed(micros(LINE_START)));
        Timestamp::from_microsecond(zero).unwrap_or(Timestamp::UNIX_EPOCH)
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
        let start = signed(micros(LINE_START)) - clock.zero();
        let line = |millis: u64| signed(millis).saturating_mul(1_000).saturating_add(start);
        let line = |millis| u64::try_from(line(millis)).unwrap_or(0);
        let until = u64::try_from(clock.wall / 1_000).map_or(0, line);
        let lease = |kept| Lease { kept, until, ..Lease::default() };
        QuotaState {
            runs: kept.into_iter().map(|(run, kept)| (run, lease(kept))).collect(),
            arrived: arrived.iter().map(|&(time, units)| (line(time), units)).collect(),
            reset: reset.map(line),
            clock,
            ..QuotaState::default()
        }
    }

    /// Converts the state to the clocks of now, counts the units of dead runs as arrived,
    /// and drops units that don't count any more.
    pub fn advance(&mut self, now: &ClockSnapshot, quota: &Quota, is_alive: &dyn Fn(&str) -> bool) {
        self.follow_clocks(now, quota);
        let dead: Vec<String> = self.runs.keys().filter(|run| !is_alive(run)).cloned().collect();
        for run in dead {
            if let Some(lease) = self.runs.remove(&run) {
                self.count(lease.latest_arrival(now, quota), signed(lease.kept));
            }
            self.waiting.retain(|waiting| waiting.run != run);
        }
        self.expire(now, quota);
    }

    fn follow_clocks(&mut self, now: &ClockSnapshot, quota: &Quota) {
        let is_new = self.clock == ClockReading::default();
        let (before, set) = (&self.clock.boot, now.clock.zero() - self.clock.zero());
        let is_same_start = before.is_some() && *before == now.clock.boot;
        if is_new || (is_same_start && !quota.follows_calendar()) {
            self.clock = now.clock.clone();
            return;
        }
        let is_other_start = before.is_some() && now.clock.boot.is_some() && !is_same_start;
        self.clock = now.clock.clone();
        if is_other_start && !quota.is_durable() {
            self.fill_at_start(quota);
            return;
        }
        // On one start only a calendar that is set back ends windows later.
        let later = if is_same_start && set >= -CLOCK_TOLERANCE { 0 } else { -set };
        self.shift(now, if is_same_start { later.max(0) } else { later }, quota);
        if !is_same_start {
            self.waiting.clear();
        }
    }

    /// Moves all times, but none further than to that of an attempt which is lost now.
    fn shift(&mut self, now: &ClockSnapshot, later: i64, quota: &Quota) {
        let latest = now.line() + micros(quota.linger);
        for (time, _) in self.arrived.iter_mut().chain(&mut self.past) {
            *time = time.saturating_add_signed(later).min(latest);
        }
        for lease in self.runs.values_mut() {
            lease.until = lease.until.saturating_add_signed(later).min(now.line());
        }
        if self.empty > 0 {
            let full = now.line() + micros(quota.terms.span);
            self.empty = self.empty.saturating_add_signed(later).min(full);
        }
        self.reset = self.reset.map(|reset| reset.saturating_add_signed(later));
    }

    /// The disk may not have had the last use before the machine was restarted: all units
    /// count as lost when it started.
    fn fill_at_start(&mut self, quota: &Quota) {
        let start = line(Time::ZERO.after(quota.linger));
        *self = QuotaState {
            clock: self.clock.clone(),
            arrived: vec![(start, quota.units)],
            ..QuotaState::default()
        };
    }

    fn expire(&mut self, now: &ClockSnapshot, quota: &Quota) {
        self.waiting.retain(|waiting| waiting.until >= now.line());
        match &quota.terms.lifetime {
            Lifetime::Window(_) => self.expire_window(now, quota),
            Lifetime::Leak { per_unit, skew } => {
                let ended = self.arrived.partition_point(|(time, _)| *time <= now.line());
                let poured: Vec<(u64, u64)> = self.arrived.drain(..ended).collect();
                for (time, units) in poured {
                    let from = self.empty.max(time + micros(*skew));
                    self.empty = from + leaks_in(*per_unit, units);
                    self.remember(now, time, units);
                }
                if self.empty <= now.line() {
                    self.empty = 0;
                }
            }
        }
    }

    fn expire_window(&mut self, now: &ClockSnapshot, quota: &Quota) {
        let (zero, at) = (now.zero(), on_line(now.line()));
        let reset = self.reset.map(|reset| (reset, quota.end_at_reset(on_line(reset))));
        let counts = |time: u64| {
            let is_reset =
                reset.is_some_and(|(reset, end)| time <= reset && end.is_some_and(|end| end <= at));
            !is_reset && quota.end(on_line(time), zero) > at
        };
        if self.arrived.iter().any(|(time, _)| !counts(*time)) {
            let (arrived, past) =
                std::mem::take(&mut self.arrived).into_iter().partition(|(time, _)| counts(*time));
            self.arrived = arrived;
            let past: Vec<(u64, u64)> = past;
            past.into_iter().for_each(|(time, units)| self.remember(now, time, units));
        }
        if reset.is_some_and(|(_, end)| end.is_none_or(|end| end <= at)) {
            self.reset = None;
        }
    }

    fn remember(&mut self, now: &ClockSnapshot, time: u64, units: u64) {
        let grain = micros(PAST_RESOLUTION);
        let time = time.div_ceil(grain) * grain;
        let oldest = now.line().saturating_sub(micros(PAST));
        match self.past.binary_search_by_key(&time, |(time, _)| *time) {
            Ok(at) => self.past[at].1 += units,
            Err(at) => self.past.insert(at, (time, units)),
        }
        let ended = self.past.partition_point(|(time, _)| *time < oldest);
        self.past.drain(..ended);
    }

    /// Records the arrivals and returned units of a run, and leases the units that it wants.
    /// Units are granted in the order in which runs began to wait for them.
    pub fn exchange(
        &mut self,
        now: &ClockSnapshot,
        quota: &Quota,
        run: &str,
        request: &LeaseRequest<'_>,
    ) -> LeaseReply {
        self.report(now, quota, run, request);
        let left = self.left(now, quota, Some(run));
        let ahead: u64 = self.ahead_of(run).map(|waiting| waiting.units).sum();
        let missing = (request.least + ahead).saturating_sub(left);
        if request.least > 0 && (missing > 0 || self.is_ahead_of_others(run, quota)) {
            let back = if missing > 0 { self.free_at(now, quota, missing) } else { None };
            self.wait(quota, now, run, request.least, back);
            return LeaseReply::Later(back);
        }
        if request.least > 0 {
            self.waiting.retain(|waiting| waiting.run != run);
        }
        let others = self.waiting.len() as u64;
        let fair = (left / (others + 1)).max(request.least);
        let granted = left.saturating_sub(ahead).min(request.wanted).min(fair);
        if let Some(lease) = self.runs.get_mut(run) {
            lease.kept += granted;
            lease.served += if others > 0 { granted } else { 0 };
        }
        LeaseReply::Units(granted)
    }

    /// Whether a run has got more than its share while other runs wait: where a window's units
    /// come back together, the first run to ask would take them all.
    fn is_ahead_of_others(&self, run: &str, quota: &Quota) -> bool {
        let served = |run: &str| self.runs.get(run).map_or(0, |lease| lease.served);
        let others = self.waiting.iter().filter(|waiting| waiting.run != run);
        let (mut count, mut least) = (0, u64::MAX);
        for other in others {
            (count, least) = (count + 1, least.min(served(&other.run)));
        }
        let lead = (quota.units / (2 * (count + 1))).max(quota.block());
        count > 0 && served(run) > least.saturating_add(lead)
    }

    /// Records the arrivals and the leased units of a run.
    pub fn report(
        &mut self,
        now: &ClockSnapshot,
        quota: &Quota,
        run: &str,
        request: &LeaseRequest<'_>,
    ) {
        self.count_all(request.arrived);
        if let Some(reset) = request.reset.filter(|it| quota.end_at_reset(*it).is_some()) {
            self.reset = self.reset.max(Some(line(reset)));
        }
        self.resolution = micros(quota.resolution());
        self.report_leased(now, quota.lease(), run, request);
        self.expire(now, quota);
    }

    /// Records the arrivals and the leased units of a run that states another limit of the
    /// account, and leases nothing here.
    pub fn report_other(
        &mut self,
        now: &ClockSnapshot,
        lease: Duration,
        run: &str,
        request: &LeaseRequest<'_>,
    ) {
        self.count_all(request.arrived);
        // Another handle of the run may have been taken over.
        self.end_run(run);
        self.report_leased(now, lease, run, request);
    }

    fn report_leased(
        &mut self,
        now: &ClockSnapshot,
        lease: Duration,
        run: &str,
        request: &LeaseRequest<'_>,
    ) {
        let until = now.line() + micros(lease);
        let served = self.runs.get(run).map_or(0, |lease| lease.served);
        let lease = Lease { kept: request.kept, until, learnt: request.learnt, served };
        self.runs.insert(run.to_owned(), lease);
    }

    /// Counts units that have arrived, or takes them back.
    pub fn count_all(&mut self, arrived: &[(Time, i64)]) {
        for &(time, units) in arrived {
            self.count(line(time), units);
        }
    }

    /// Ends a handle, which leases nothing any more.
    pub fn end_handle(&mut self, run: &str) {
        self.runs.remove(run);
        self.waiting.retain(|waiting| waiting.run != run);
    }

    /// Ends all handles of the run of this one.
    pub fn end_run(&mut self, run: &str) {
        self.runs.retain(|name, _| id_of(name) != id_of(run));
    }

    fn ahead_of(&self, run: &str) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter().take_while(move |waiting| waiting.run != run)
    }

    fn wait(
        &mut self,
        quota: &Quota,
        now: &ClockSnapshot,
        run: &str,
        units: u64,
        back: Option<Time>,
    ) {
        let until = line(quota.next_look(now.time, back).after(TURN + quota.terms.span / 200));
        let new = Waiting { run: run.to_owned(), units, until };
        if self.waiting.is_empty() {
            // From now on the runs that wait share evenly.
            self.runs.values_mut().for_each(|lease| lease.served = 0);
        } else if !self.waiting.iter().any(|waiting| waiting.run == run) {
            let served = |waiting: &Waiting| self.runs.get(&waiting.run).map(|it| it.served);
            let least = self.waiting.iter().filter_map(served).min().unwrap_or(0);
            if let Some(lease) = self.runs.get_mut(run) {
                lease.served = lease.served.max(least);
            }
        }
        match self.waiting.iter_mut().find(|waiting| waiting.run == run) {
            Some(waiting) => *waiting = new,
            None => self.waiting.push(new),
        }
    }

    /// The units that are neither leased nor counted, for this run or for a new one.
    #[must_use]
    pub fn left(&self, now: &ClockSnapshot, quota: &Quota, run: Option<&str>) -> u64 {
        let others = self.runs.iter().filter(|(name, _)| Some(name.as_str()) != run);
        let learnt = others.filter_map(|(_, lease)| lease.learnt).min();
        let units = learnt.map_or(quota.units, |learnt| learnt.min(quota.units));
        let arrived: u64 = self.arrived.iter().map(|(_, units)| units).sum();
        units.saturating_sub(arrived + self.leased() + self.level(now, quota))
    }

    /// Units that have been used, by the time at which the last of them is available again.
    #[must_use]
    pub fn used(&self, now: &ClockSnapshot, quota: &Quota) -> Vec<(Time, u64)> {
        let zero = now.zero();
        let Lifetime::Leak { per_unit, skew } = &quota.terms.lifetime else {
            let end = |time: u64| quota.end(on_line(time), zero).before(LINE_START);
            return self.arrived.iter().map(|&(time, units)| (end(time), units)).collect();
        };
        let mut empty = self.empty;
        let mut used = vec![(empty, self.level(now, quota))];
        for &(time, units) in &self.arrived {
            empty = empty.max(time + micros(*skew)) + leaks_in(*per_unit, units);
            used.push((empty, units));
        }
        used.retain(|(_, units)| *units > 0);
        used.into_iter().map(|(time, units)| (on_line(time).before(LINE_START), units)).collect()
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

    /// The units that dead runs lease and that may still arrive, and for how long they may.
    #[must_use]
    pub fn of_dead(
        &self,
        now: &ClockSnapshot,
        quota: &Quota,
        is_alive: &dyn Fn(&str) -> bool,
    ) -> (u64, Duration) {
        let dead = self.runs.iter().filter(|(run, _)| !is_alive(run));
        dead.fold((0, Duration::ZERO), |(units, longest), (_, lease)| {
            let left = lease.latest_arrival(now, quota).saturating_sub(now.line());
            let may_arrive = if left > 0 { lease.kept } else { 0 };
            (units + may_arrive, longest.max(Duration::from_micros(left)))
        })
    }

    /// Whether no run leases units and none are counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.arrived.is_empty() && self.empty == 0
    }

    /// The runs that are registered.
    pub fn runs(&self) -> impl Iterator<Item = &str> {
        self.runs.keys().map(String::as_str)
    }

    /// The level of a bucket.
    fn level(&self, now: &ClockSnapshot, quota: &Quota) -> u64 {
        let Lifetime::Leak { per_unit, .. } = quota.terms.lifetime else {
            return 0;
        };
        let left = u128::from(self.empty.saturating_sub(now.line())) * 1_000;
        u64::try_from(left.div_ceil(per_unit.as_nanos().max(1))).unwrap_or(u64::MAX)
    }

    /// The time at which the missing units are free; none if leased ones are among them.
    #[must_use]
    pub fn free_at(&self, now: &ClockSnapshot, quota: &Quota, missing: u64) -> Option<Time> {
        match &quota.terms.lifetime {
            Lifetime::Window(_) => self.free_in_window(now, quota, missing),
            Lifetime::Leak { per_unit, .. } => {
                let kept = self.level(now, quota).checked_sub(missing)?;
                let time = self.empty.saturating_sub(leaks_in(*per_unit, kept));
                Some(on_line(time).before(LINE_START).max(now.time))
            }
        }
    }

    fn free_in_window(&self, now: &ClockSnapshot, quota: &Quota, missing: u64) -> Option<Time> {
        let (zero, mut missing) = (now.zero(), missing);
        let reset = self.reset.map(|reset| (reset, quota.end_at_reset(on_line(reset))));
        for &(time, units) in &self.arrived {
            missing = missing.saturating_sub(units);
            if missing == 0 {
                let end = quota.end(on_line(time), zero);
                let sooner = reset.filter(|(reset, _)| time <= *reset).and_then(|(_, end)| end);
                return Some(sooner.map_or(end, |sooner| sooner.min(end)).before(LINE_START));
            }
        }
        None
    }

    /// Adds arrived units at this time, or subtracts units that were counted before, unless
    /// they count no more.
    fn count(&mut self, time: u64, units: i64) {
        let grain = self.resolution.max(1);
        let time = time.div_ceil(grain) * grain;
        match (self.arrived.binary_search_by_key(&time, |(time, _)| *time), units) {
            (Ok(at), units) => {
                let known = &mut self.arrived[at].1;
                *known = known.saturating_add_signed(units);
                if *known == 0 {
                    self.arrived.remove(at);
                }
            }
            (Err(at), 1..) => self.arrived.insert(at, (time, units.unsigned_abs())),
            // They are perhaps leased again by now.
            (Err(_), _) => {}
        }
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
        let since = self.written(now);
        self.follow_clocks(now, quota);
        others.iter_mut().for_each(|other| other.follow_start(now, quota));
        let Some(last) = others.iter().map(|other| other.clock.up).max() else { return };
        let recent = last.saturating_sub(signed(micros(WRITTEN_TOGETHER)));
        let newest = others.iter().filter(|other| other.clock.up >= recent);
        let Some(newest) = newest.max_by_key(|other| other.arrived_units()) else { return };
        let from = newest.written(now).saturating_sub(micros(PAST));
        let is_older = |time: u64| (since..from).contains(&time);
        let older = |other: &QuotaState| {
            other.known().into_iter().filter(|(time, _)| is_older(*time)).collect::<Vec<_>>()
        };
        let units = |known: &Vec<(u64, u64)>| known.iter().map(|(_, units)| units).sum::<u64>();
        for (time, units) in others.iter().map(older).max_by_key(units).into_iter().flatten() {
            self.count(time, signed(units));
        }
        self.take_over_since(newest, from);
        for (name, lease) in newest.runs.iter().filter(|(name, _)| id_of(name) != id_of(run)) {
            let known = self.runs.entry(name.clone()).or_default();
            known.kept = known.kept.max(lease.kept);
            known.until = known.until.max(lease.until);
        }
    }

    /// Counts units so that as many as in the other state have arrived since each time.
    fn take_over_since(&mut self, other: &QuotaState, from: u64) {
        let (mut own, mut own_units, mut units) = (self.known(), 0, 0);
        let theirs = other.known();
        for (time, more) in theirs.into_iter().rev().take_while(|(time, _)| *time >= from) {
            while let Some((_, known)) = own.pop_if(|(own, _)| *own >= time) {
                own_units += known;
            }
            units += more;
            if units > own_units {
                self.count(time, signed(units - own_units));
                own_units = units;
            }
        }
    }

    /// Units that are remembered, by their time of arrival.
    fn known(&self) -> Vec<(u64, u64)> {
        let mut known: Vec<(u64, u64)> = self.past.iter().chain(&self.arrived).copied().collect();
        known.sort_unstable();
        known
    }

    /// When the state was written, as the clocks of now have it; 0 if it is new.
    fn written(&self, now: &ClockSnapshot) -> u64 {
        let is_same_start = self.clock.boot.is_some() && self.clock.boot == now.clock.boot;
        let up = match &self.clock {
            clock if *clock == ClockReading::default() => return 0,
            clock if is_same_start => clock.up,
            clock => clock.wall.saturating_sub(now.clock.zero()),
        };
        u64::try_from(up.saturating_add(signed(micros(LINE_START)))).unwrap_or(0)
    }

    /// Converts the times of a state that was written before the machine was started.
    fn follow_start(&mut self, now: &ClockSnapshot, quota: &Quota) {
        let written = self.written(now);
        if self.clock.boot.is_none() || self.clock.boot != now.clock.boot {
            self.shift(now, self.clock.zero().saturating_sub(now.clock.zero()), quota);
            let up = signed(written).saturating_sub(signed(micros(LINE_START)));
            self.clock = ClockReading { up, ..now.clock.clone() };
        }
    }

    /// The units that have arrived, as far as they are remembered.
    #[must_use]
    pub fn arrived_units(&self) -> u64 {
        self.past.iter().chain(&self.arrived).map(|(_, units)| units).sum()
    }
}

/// The time in microseconds in which units leak.
fn leaks_in(per_unit: Duration, units: u64) -> u64 {
    let nanos = per_unit.as_nanos() * u128::from(units);
    u64::try_from(nanos.div_ceil(1_000)).unwrap_or(u64::MAX)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
