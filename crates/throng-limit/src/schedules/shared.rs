//! Seeded schedules of several runs of one account: they begin and end, are killed or stopped
//! for long, and find the store busy. The servers know only arrivals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::servers::Arrival;
use super::world::{Bug, LINGER, Run, START};
use super::{Case, Kind, World, calm, case, some};
use crate::quota::{
    ClockReading, ClockSnapshot, LeaseReply, LeaseRequest, Quota, QuotaHandle, QuotaState,
    QuotaStore, ScopeKey,
};
use crate::{Availability, Guard, Policy, Settings, Time};

/// The limits of one account, and the runs that live.
#[derive(Debug)]
struct Account {
    /// By the key and the name of the limit, with its unit.
    limits: BTreeMap<(String, String), (String, QuotaState)>,
    alive: BTreeSet<usize>,
    /// Runs, keys and units of which a handle reports to the limits of other runs.
    reported: BTreeSet<(usize, String, String)>,
    handles: usize,
    /// By how many microseconds the calendar is wrong.
    calendar: i64,
    /// The share of exchanges that find the store busy.
    busy: f64,
    random: StdRng,
}

#[derive(Debug, Clone)]
struct Store(Arc<Mutex<Account>>, usize);

#[derive(Debug)]
struct Handle {
    store: Store,
    name: String,
    key: String,
    quota: Quota,
    is_open: bool,
    reports: bool,
}

impl Account {
    fn is_alive(&self, name: &str) -> bool {
        let run = name.split('.').next().and_then(|run| run.parse().ok());
        run.is_some_and(|run| self.alive.contains(&run))
    }

    fn clocks(&self, time: Time) -> ClockSnapshot {
        let up = i64::try_from(time.since(Time::ZERO).as_micros()).unwrap();
        let clock = ClockReading { wall: up + self.calendar, up, boot: Some("a".into()) };
        ClockSnapshot { time, clock }
    }
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap()
    }
}

impl QuotaStore for Store {
    fn account(&self, quota: &Quota, key: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>> {
        let mut account = self.lock();
        account.handles += 1;
        let name = format!("{}.{}", self.1, account.handles);
        let (key, quota) = (format!("{key:?}"), quota.clone());
        let store = self.clone();
        Some(Box::new(Handle { store, name, key, quota, is_open: false, reports: false }))
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}

impl Handle {
    fn place(&self) -> (String, String) {
        (self.key.clone(), self.quota.name.clone())
    }

    /// The other limits of the account that count the same unit.
    fn others<'a>(
        &'a self,
        account: &'a mut Account,
    ) -> impl Iterator<Item = &'a mut QuotaState> + 'a {
        let limits = account.limits.iter_mut().filter(|((key, name), (unit, _))| {
            *key == self.key && *name != self.quota.name && *unit == self.quota.unit
        });
        limits.map(|(_, (_, state))| state)
    }

    fn open(&mut self, account: &mut Account, now: &ClockSnapshot) {
        let known = account.limits.get(&self.place()).map(|(_, state)| state.clone());
        let mut state = known.unwrap_or_default();
        if !state.runs().any(|run| account.is_alive(run)) {
            let others: Vec<QuotaState> = self.others(account).map(|it| it.clone()).collect();
            state.take_over(now, &self.name, others, &self.quota);
        }
        state.advance(now, &self.quota, &|run| account.is_alive(run));
        state.report(now, &self.quota, &self.name, &LeaseRequest::default());
        account.limits.insert(self.place(), (self.quota.unit.clone(), state));
        let reported = (self.store.1, self.key.clone(), self.quota.unit.clone());
        self.reports = account.reported.insert(reported);
        self.is_open = true;
    }

    fn report(&self, account: &mut Account, now: &ClockSnapshot, request: &LeaseRequest<'_>) {
        let (alive, own) = (account.alive.clone(), self.store.1.to_string());
        let run_of = |name: &str| name.split('.').next().unwrap().to_owned();
        let is_of_others = |state: &&mut QuotaState| {
            let runs: Vec<String> = state.runs().map(run_of).collect();
            let lives = runs.iter().any(|run| alive.contains(&run.parse().unwrap()));
            // As far as it knows, it may have taken over what this run leases.
            lives && runs.iter().any(|run| *run != own)
        };
        if self.reports {
            let lease = self.quota.lease();
            for other in self.others(account).filter(is_of_others) {
                other.report_other(now, lease, &self.name, request);
            }
        }
    }
}

impl QuotaHandle for Handle {
    fn exchange(&mut self, now: Time, request: &LeaseRequest<'_>) -> LeaseReply {
        let store = self.store.clone();
        let mut account = store.lock();
        let busy = account.busy;
        if account.random.random_bool(busy) {
            return LeaseReply::Busy;
        }
        let now = account.clocks(now);
        if !self.is_open {
            self.open(&mut account, &now);
        }
        let alive = account.alive.clone();
        let is_alive = |name: &str| {
            name.split('.').next().is_some_and(|run| alive.contains(&run.parse().unwrap()))
        };
        let (_, state) = account.limits.get_mut(&self.place()).unwrap();
        state.advance(&now, &self.quota, &is_alive);
        let reply = state.exchange(&now, &self.quota, &self.name, request);
        let granted = if let LeaseReply::Units(units) = reply { units } else { 0 };
        let leased = LeaseRequest { kept: request.kept + granted, ..*request };
        self.report(&mut account, &now, &leased);
        reply
    }

    fn allow(&mut self, units: u64) {
        self.quota.units = units;
    }

    fn close(&mut self) -> bool {
        if std::mem::take(&mut self.is_open) {
            let store = self.store.clone();
            let mut account = store.lock();
            if let Some((_, state)) = account.limits.get_mut(&self.place()) {
                state.end_handle(&self.name);
                if state.is_empty() {
                    account.limits.remove(&self.place());
                }
            }
            if std::mem::take(&mut self.reports) {
                self.others(&mut account).for_each(|other| other.end_handle(&self.name));
                let reported = (self.store.1, self.key.clone(), self.quota.unit.clone());
                account.reported.remove(&reported);
            }
        }
        true
    }
}

/// A run of the account.
struct Member {
    id: usize,
    run: Run,
    /// Until when it is stopped.
    stopped: Time,
    /// When it asks again.
    wakes: Option<Time>,
    taken: usize,
}

/// Several runs of one account.
struct Runs {
    account: Arc<Mutex<Account>>,
    members: Vec<Member>,
    arrivals: Vec<Arrival>,
    random: StdRng,
    started: usize,
    now: Time,
}

/// How runs live.
#[derive(Clone, Copy)]
struct Faults {
    kills: f64,
    stops: f64,
    busy: f64,
    one_by_one: bool,
}

const NO_FAULTS: Faults = Faults { kills: 0.0, stops: 0.0, busy: 0.0, one_by_one: false };

impl Runs {
    fn new(seed: u64, faults: Faults) -> Runs {
        let account = Account {
            limits: BTreeMap::new(),
            alive: BTreeSet::new(),
            reported: BTreeSet::new(),
            handles: 0,
            calendar: 0,
            busy: faults.busy,
            random: StdRng::seed_from_u64(seed ^ 0xB5),
        };
        Runs {
            account: Arc::new(Mutex::new(account)),
            members: Vec::new(),
            arrivals: Vec::new(),
            random: StdRng::seed_from_u64(seed ^ 0x40),
            started: 0,
            now: START,
        }
    }

    fn begin(&mut self, settings: &Settings, world: World, requests: u32) {
        self.started += 1;
        let id = self.started;
        self.account.lock().unwrap().alive.insert(id);
        let policy = Policy::new(settings, LINGER).unwrap().on_clock(Timestamp::UNIX_EPOCH);
        let mut limits = policy.limits();
        limits.use_store(Arc::new(Store(self.account.clone(), id)));
        let seed = self.random.random_range(0..u64::MAX);
        let mut run = Run::new(limits, world, Bug::None, seed, requests);
        run.now = self.now;
        self.members.push(Member { id, run, stopped: START, wakes: Some(self.now), taken: 0 });
    }

    /// The next time at which a member does something, and its index.
    fn next(&self) -> Option<(Time, usize)> {
        let times = self.members.iter().enumerate().filter_map(|(index, member)| {
            let next = [member.run.next_event(), member.wakes].into_iter().flatten().min()?;
            Some((next.max(member.stopped).max(self.now), index))
        });
        times.min()
    }

    /// One step of one run; false if it has ended.
    fn step(&mut self, index: usize, now: Time) -> bool {
        self.now = now;
        let member = &mut self.members[index];
        member.run.now = now;
        if member.run.next_event().is_some_and(|time| time <= now) {
            member.run.happen();
        }
        member.run.now = now;
        // An answer may let others go at once.
        member.wakes = loop {
            match member.run.try_take() {
                Some(Availability::Now) => member.taken += 1,
                Some(Availability::At(time)) => break Some(time.max(now)),
                _ => break None,
            }
        };
        if member.wakes.is_none() && member.run.next_event().is_none() {
            while !member.run.limits.close(now) {}
            self.end(index, None);
            return false;
        }
        true
    }

    /// A run ends. What is in flight when it is killed may still arrive.
    fn end(&mut self, index: usize, killed: Option<Time>) {
        let member = self.members.swap_remove(index);
        let mut account = self.account.lock().unwrap();
        account.alive.remove(&member.id);
        let latest =
            killed.map_or(u64::MAX, |now| now.after(LINGER).since(Time::ZERO).as_nanos() as u64);
        self.arrivals.extend(member.run.arrivals.into_iter().map(|arrival| Arrival {
            at: arrival.at.min(latest),
            until: arrival.until.min(latest),
            ..arrival
        }));
    }
}

/// Kinds that runs share, whose servers are sure of their count.
const KINDS: [Kind; 9] = [
    Kind::Sliding,
    Kind::Clock,
    Kind::FirstUse,
    Kind::Counter,
    Kind::Bucket,
    Kind::Burst,
    Kind::InFlight,
    Kind::Tokens,
    Kind::PerKey,
];

fn any_case(seed: u64) -> Case {
    let mut random = StdRng::seed_from_u64(seed ^ 0x5A);
    let first = random.random_range(0..KINDS.len());
    let second = random.random_range(0..KINDS.len());
    let is_one = random.random_bool(0.5) || first == second;
    let kinds = if is_one { vec![KINDS[first]] } else { vec![KINDS[first], KINDS[second]] };
    let mut case = case(seed, &kinds);
    if random.random_bool(0.2) {
        case.settings.guard = Guard::Acked;
        case.world.acks = true;
    }
    case
}

/// Plays a schedule, and judges it.
fn play(seed: u64, case: &Case, faults: Faults) -> Result<usize, String> {
    let mut runs = Runs::new(seed, faults);
    let mut left = runs.random.random_range(2..8);
    let mut others = Vec::new();
    if faults.one_by_one {
        // The same limit by another name, or a smaller one.
        let mut smaller = case.settings.clone();
        for limit in &mut smaller.rate {
            limit.amount.units = limit.amount.units.div_ceil(2);
        }
        others.push(smaller);
    }
    let mut starts = START;
    for _ in 0..60_000 {
        let is_free = runs.members.is_empty() || (!faults.one_by_one && runs.members.len() < 5);
        if left > 0 && is_free && runs.now >= starts {
            left -= 1;
            let settings = match others.first() {
                Some(other) if runs.random.random_bool(0.5) => other.clone(),
                _ => case.settings.clone(),
            };
            let requests = runs.random.random_range(1..60);
            runs.begin(&settings, case.world.clone(), requests);
            let soon = [0, 10, 1_000, 20_000][runs.random.random_range(0..4)];
            starts = runs.now.after(Duration::from_millis(soon));
        }
        let Some((time, index)) = runs.next() else {
            if left == 0 {
                break;
            }
            runs.now = runs.now.max(starts);
            continue;
        };
        if left > 0 && is_free && starts < time {
            runs.now = starts;
            continue;
        }
        if runs.random.random_bool(faults.kills) {
            runs.now = time;
            runs.end(index, Some(time));
        } else if runs.random.random_bool(faults.stops) {
            let long = runs.random.random_range(0..100_000);
            runs.members[index].stopped = time.after(Duration::from_millis(long));
        } else {
            runs.step(index, time);
        }
    }
    while !runs.members.is_empty() {
        runs.end(0, Some(runs.now));
    }
    for server in &case.servers {
        server.judge(&runs.arrivals)?;
    }
    Ok(runs.arrivals.len())
}

fn all_hold(seeds: std::ops::Range<u64>, faults: Faults) {
    let mut arrivals = 0;
    for seed in some(seeds) {
        let case = any_case(seed);
        match play(seed, &case, faults) {
            Ok(more) => arrivals += more,
            Err(why) => panic!("seed {seed}, {:?}: {why}", case.settings),
        }
    }
    assert!(arrivals > 1_000, "{arrivals}");
}

const FAULTS: Faults = Faults { kills: 0.002, stops: 0.002, busy: 0.1, one_by_one: false };

#[test]
fn runs_that_are_killed_and_stopped_share_a_limit() {
    all_hold(500_000..506_000, FAULTS);
}

#[test]
fn runs_with_other_rates_one_after_the_other_share_a_limit() {
    all_hold(510_000..514_000, Faults { one_by_one: true, ..FAULTS });
}

#[test]
fn several_runs_reach_what_one_would_and_share_evenly() {
    for rate in ["22/5s", "100/1s", "bucket:30/3s"] {
        for seed in 0..3 {
            let settings = json!({"rate": [rate], "shape": "burst"});
            let settings: Settings = serde_json::from_value(settings).unwrap();
            let world = World { there: 50, back: 50, ..calm() };
            let taken = |count: usize| {
                let mut runs = Runs::new(seed, NO_FAULTS);
                (0..count).for_each(|_| runs.begin(&settings, world.clone(), 1_000_000));
                let end = START.after(Duration::from_secs(100));
                while let Some((time, index)) = runs.next().filter(|(time, _)| *time < end) {
                    runs.step(index, time);
                }
                runs.members.iter().map(|member| member.taken).collect::<Vec<_>>()
            };
            let (alone, together) = (taken(1)[0], taken(4));
            let all: usize = together.iter().sum();
            assert!(all * 10 >= alone * 9, "{rate}: {together:?}, alone {alone}");
            let (least, most) = (together.iter().min().unwrap(), together.iter().max().unwrap());
            assert!(most * 10 <= least * 13, "{rate}: {together:?}");
        }
    }
}
