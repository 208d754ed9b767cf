//! Seeded schedules of several runs of one account: they begin and end, are killed or stopped
//! for long, and find the store busy; the calendar is set, and the machine is started anew. The
//! servers know only arrivals.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use super::servers::{Arrival, Rule, Server};
use super::world::{Bug, LINGER, Run, START};
use super::{Case, Kind, World, calm, case, some};
use crate::{Availability, Guard, Policy, Settings, Time};
use store::{Account, Store, StoreBug};

mod store;

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
    begun: usize,
    now: Time,
}

/// Which limits the runs of an account state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stated {
    /// All the same.
    One,
    /// Two, each only while no run states the other.
    InTurn,
    /// Two at the same time. The second run states the smaller one, and is not killed.
    Beside,
}

/// How runs live.
#[derive(Clone, Copy)]
struct Faults {
    kills: f64,
    stops: f64,
    busy: f64,
    /// The machine is started anew, and all runs end.
    starts: f64,
    /// The calendar is set.
    steps: f64,
    stated: Stated,
    /// Each run states a burst of its own, or none.
    any_burst: bool,
    bug: StoreBug,
}

const NO_FAULTS: Faults = Faults {
    kills: 0.0,
    stops: 0.0,
    busy: 0.0,
    starts: 0.0,
    steps: 0.0,
    stated: Stated::One,
    any_burst: false,
    bug: StoreBug::None,
};

impl Runs {
    fn new(seed: u64, faults: Faults) -> Runs {
        let account = Account::new(seed ^ 0xB5, faults.busy, faults.bug);
        Runs {
            account: Arc::new(Mutex::new(account)),
            members: Vec::new(),
            arrivals: Vec::new(),
            random: StdRng::seed_from_u64(seed ^ 0x40),
            begun: 0,
            now: START,
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }

    /// Begins a run, and gives its number.
    fn begin(&mut self, settings: &Settings, world: World, requests: u32) -> usize {
        self.begun += 1;
        let (id, started) = (self.begun, self.account().started);
        self.account().alive.insert(id);
        let zero = Timestamp::UNIX_EPOCH + started;
        let policy = Policy::new(settings, LINGER).unwrap().on_clock(zero);
        let mut limits = policy.limits();
        limits.use_store(Arc::new(Store(self.account.clone(), id)));
        let seed = self.random.random_range(0..u64::MAX);
        let mut run = Run::new(limits, world, Bug::None, seed, requests);
        (run.now, run.started) = (self.now, started);
        self.members.push(Member { id, run, stopped: START, wakes: Some(self.now), taken: 0 });
        id
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
            let clock = member.run.clock();
            while !member.run.limits.close(clock) {}
            self.end(index, None);
            return false;
        }
        true
    }

    /// A run ends. What is in flight when it is killed may still arrive.
    fn end(&mut self, index: usize, killed: Option<Time>) {
        let member = self.members.swap_remove(index);
        self.account().end(member.id);
        let latest =
            killed.map_or(u64::MAX, |now| now.after(LINGER).since(Time::ZERO).as_nanos() as u64);
        self.arrivals.extend(member.run.arrivals.into_iter().map(|arrival| Arrival {
            at: arrival.at.min(latest),
            until: arrival.until.min(latest),
            ..arrival
        }));
    }

    /// All runs are killed.
    fn end_all(&mut self, now: Time) {
        while !self.members.is_empty() {
            self.end(0, Some(now));
        }
    }

    /// The calendar is set by up to a minute.
    fn set_calendar(&mut self) {
        let by = self.random.random_range(-60_000_000..60_000_000);
        self.account().calendar += by;
    }
}

/// Kinds that runs share, whose servers are sure of their count.
pub(super) const KINDS: [Kind; 9] = [
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

/// Kinds whose text says all of the limit, and which a run states as long as it lives.
const BY_TEXT: [Kind; 4] = [Kind::Sliding, Kind::FirstUse, Kind::Counter, Kind::Tokens];

pub(super) fn any_case(seed: u64, kinds: &[Kind]) -> Case {
    let mut random = StdRng::seed_from_u64(seed ^ 0x5A);
    let first = random.random_range(0..kinds.len());
    let second = random.random_range(0..kinds.len());
    let is_one = random.random_bool(0.5) || first == second;
    let kinds = if is_one { vec![kinds[first]] } else { vec![kinds[first], kinds[second]] };
    let mut case = case(seed, &kinds);
    if random.random_bool(0.2) {
        case.settings.guard = Guard::Acked;
        case.world.acks = true;
    }
    case
}

/// The limits of a case with half of the units.
fn halved(settings: &Settings) -> Settings {
    let mut halved = settings.clone();
    for limit in &mut halved.rate {
        limit.amount.units = limit.amount.units.div_ceil(2);
    }
    halved
}

/// A server with half of the units.
fn halved_server(server: &Server) -> Server {
    let mut halved = server.clone();
    match &mut halved.rule {
        Rule::Sliding { most, .. } | Rule::FirstUse { most, .. } | Rule::Counter { most, .. } => {
            *most = most.div_ceil(2);
        }
        rule => panic!("{rule:?} is not halved"),
    }
    halved
}

/// Runs of one account that begin, go on and end.
struct Schedule<'a> {
    runs: Runs,
    case: &'a Case,
    /// The smaller limit that some runs state.
    smaller: Settings,
    faults: Faults,
    /// Number of runs that have not begun.
    left: usize,
    /// When the next run begins.
    begins: Time,
    lasting: Option<Lasting>,
}

/// The run that states the smaller limit and is not killed.
struct Lasting {
    run: usize,
    begin: Time,
    end: Option<Time>,
}

/// Time after which an attempt has arrived that was sent before.
const ARRIVED: Duration = Duration::from_secs(60);

impl<'a> Schedule<'a> {
    fn new(seed: u64, case: &'a Case, faults: Faults) -> Schedule<'a> {
        let mut runs = Runs::new(seed, faults);
        let left = runs.random.random_range(2..8);
        let smaller = halved(&case.settings);
        Schedule { runs, case, smaller, faults, left, begins: START, lasting: None }
    }

    /// Plays the schedule, and judges it. Gives the number of arrivals.
    fn play(mut self) -> Result<usize, String> {
        for _ in 0..60_000 {
            if self.may_begin() && self.runs.now >= self.begins {
                self.begin();
            }
            match self.runs.next() {
                Some((time, _)) if self.may_begin() && self.begins < time => {
                    self.runs.now = self.begins;
                }
                Some((time, index)) => self.happen(index, time),
                None if self.left == 0 => break,
                None => self.runs.now = self.runs.now.max(self.begins),
            }
            self.note_end();
        }
        self.runs.end_all(self.runs.now);
        self.judge()
    }

    fn may_begin(&self) -> bool {
        let most = if self.faults.stated == Stated::InTurn { 1 } else { 5 };
        self.left > 0 && self.runs.members.len() < most
    }

    fn begin(&mut self) {
        self.left -= 1;
        let (stated, begun) = (self.faults.stated, self.runs.begun);
        let lasts = stated == Stated::Beside && begun == 1;
        let is_smaller = match stated {
            Stated::One => false,
            Stated::InTurn => self.runs.random.random_bool(0.5),
            Stated::Beside => lasts || (begun > 0 && self.runs.random.random_bool(0.5)),
        };
        let mut settings =
            if is_smaller { self.smaller.clone() } else { self.case.settings.clone() };
        if self.faults.any_burst && self.runs.random.random_bool(0.7) {
            settings.burst = Some(self.runs.random.random_range(1..40));
        }
        let requests = if lasts { 200 } else { self.runs.random.random_range(1..60) };
        let run = self.runs.begin(&settings, self.case.world.clone(), requests);
        if lasts {
            self.lasting = Some(Lasting { run, begin: self.runs.now, end: None });
        }
        let soon = [0, 10, 1_000, 20_000][self.runs.random.random_range(0..4)];
        self.begins = self.runs.now.after(Duration::from_millis(soon));
    }

    /// What a run does next, or what happens to it.
    fn happen(&mut self, index: usize, time: Time) {
        let Faults { kills, stops, starts, steps, .. } = self.faults;
        let id = self.runs.members[index].id;
        let lasts = self.lasting.as_ref().is_some_and(|it| it.run == id);
        self.runs.now = time;
        if self.runs.random.random_bool(starts) {
            self.runs.end_all(time);
            self.runs.account().start(time);
        } else if self.runs.random.random_bool(steps) {
            self.runs.set_calendar();
        } else if !lasts && self.runs.random.random_bool(kills) {
            self.runs.end(index, Some(time));
        } else if self.runs.random.random_bool(stops) {
            let long = self.runs.random.random_range(0..100_000);
            self.runs.members[index].stopped = time.after(Duration::from_millis(long));
        } else {
            self.runs.step(index, time);
        }
    }

    fn note_end(&mut self) {
        if let Some(lasting) = &mut self.lasting
            && lasting.end.is_none()
            && !self.runs.members.iter().any(|member| member.id == lasting.run)
        {
            lasting.end = Some(self.runs.now);
        }
    }

    fn judge(self) -> Result<usize, String> {
        let arrivals = &self.runs.arrivals;
        for server in &self.case.servers {
            server.judge(arrivals)?;
        }
        if let Some(lasting) = &self.lasting {
            let nanos = |time: Time| time.since(Time::ZERO).as_nanos() as u64;
            let begin = nanos(lasting.begin.after(ARRIVED));
            let end = lasting.end.map_or(u64::MAX, nanos);
            let within = arrivals.iter().filter(|it| (begin..end).contains(&it.at));
            let within: Vec<Arrival> = within.cloned().collect();
            for server in &self.case.servers {
                halved_server(server).judge(&within)?;
            }
        }
        Ok(arrivals.len())
    }
}

fn all_hold(seeds: std::ops::Range<u64>, faults: Faults, case: impl Fn(u64) -> Case) {
    let mut arrivals = 0;
    for seed in some(seeds) {
        let case = case(seed);
        match Schedule::new(seed, &case, faults).play() {
            Ok(more) => arrivals += more,
            Err(why) => panic!("seed {seed}, {:?}: {why}", case.settings),
        }
    }
    assert!(arrivals > 1_000, "{arrivals}");
}

const FAULTS: Faults = Faults { kills: 0.002, stops: 0.002, busy: 0.1, ..NO_FAULTS };
/// A run that is stopped may have taken more than the smaller limit has, and send it much later.
const BESIDE: Faults = Faults { stated: Stated::Beside, stops: 0.0, ..FAULTS };

/// A case of a limit whose text says all of it.
fn by_text(seed: u64) -> Case {
    let mut case = any_case(seed, &BY_TEXT);
    case.world.costs = case.world.costs.div_ceil(2);
    case
}

#[test]
fn runs_that_are_killed_and_stopped_share_a_limit() {
    all_hold(500_000..504_000, FAULTS, |seed| any_case(seed, &KINDS));
}

#[test]
fn runs_with_other_rates_one_after_the_other_share_a_limit() {
    let in_turn = Faults { stated: Stated::InTurn, ..FAULTS };
    all_hold(510_000..511_000, in_turn, |seed| any_case(seed, &KINDS));
}

#[test]
fn runs_that_state_two_limits_at_the_same_time_keep_both() {
    all_hold(520_000..522_500, BESIDE, by_text);
}

#[test]
fn a_machine_that_is_started_anew_and_a_calendar_that_is_set_release_nothing() {
    let faults = Faults { starts: 0.002, steps: 0.002, ..FAULTS };
    // Where the calendar ends windows, a calendar that is wrong ends them early.
    let kinds: Vec<Kind> = KINDS.into_iter().filter(|kind| !matches!(kind, Kind::Clock)).collect();
    all_hold(530_000..531_500, faults, |seed| any_case(seed, &kinds));
}

#[test]
fn runs_of_a_counter_that_state_other_bursts_share_it() {
    let faults = Faults { any_burst: true, starts: 0.001, ..FAULTS };
    all_hold(550_000..560_000, faults, |seed| case(seed, &[Kind::Counter]));
}

#[test]
fn runs_that_go_by_their_own_clocks_share_a_limit() {
    all_hold(540_000..541_000, FAULTS, |seed| {
        let mut case = case(seed, &[[Kind::Sliding], [Kind::Burst]][seed as usize % 2]);
        case.settings.guard = Guard::Sent;
        (case.world.there, case.world.lost) = (19, 0.0);
        case
    });
}

#[test]
fn every_planted_bug_of_a_store_is_found() {
    for (bug, faults) in [
        (StoreBug::ForgetsTheKilled, Faults { kills: 0.02, ..FAULTS }),
        (StoreBug::KeepsNoOthers, BESIDE),
        (StoreBug::ForgetsAtStart, Faults { starts: 0.02, ..FAULTS }),
    ] {
        let faults = Faults { bug, ..faults };
        let is_found = (0..100).any(|seed| {
            let case = by_text(seed);
            Schedule::new(seed, &case, faults).play().is_err()
        });
        assert!(is_found, "{bug:?}");
    }
}

#[test]
fn several_runs_reach_what_one_would_and_share_evenly() {
    for rates in [
        ["22/5s", "22/5s"],
        ["100/1s", "100/1s"],
        ["bucket:30/3s", "bucket:30/3s"],
        ["counter:30/1s", "counter:30/1s"],
        ["20/1s", "30/1s"],
        ["20/1s", "100/5s"],
    ] {
        for seed in 0..3 {
            let settings = rates.map(|rate| {
                let settings = json!({"rate": [rate], "shape": "burst"});
                serde_json::from_value::<Settings>(settings).unwrap()
            });
            let world = World { there: 50, back: 50, ..calm() };
            let taken = |count: usize| {
                let mut runs = Runs::new(seed, NO_FAULTS);
                for settings in settings.iter().cycle().take(count) {
                    runs.begin(settings, world.clone(), 1_000_000);
                }
                let end = START.after(Duration::from_secs(100));
                while let Some((time, index)) = runs.next().filter(|(time, _)| *time < end) {
                    runs.step(index, time);
                }
                runs.members.iter().map(|member| member.taken).collect::<Vec<_>>()
            };
            let (alone, together) = (taken(1)[0], taken(4));
            let all: usize = together.iter().sum();
            assert!(all * 10 >= alone * 9, "{rates:?}: {together:?}, alone {alone}");
            let (least, most) = (together.iter().min().unwrap(), together.iter().max().unwrap());
            assert!(most * 10 <= least * 13, "{rates:?}: {together:?}");
        }
    }
}
