//! Seeded schedules of runs on several machines that share limits through a store on the
//! network: messages are late, lost and doubled, runs are killed, stopped and cut off, the store
//! is restarted and forgets all, and clocks differ. The servers know only arrivals. In `compared`
//! the store is one of others, whose values runs change by comparing versions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::servers::Arrival;
use super::world::{Bug, LINGER, Run, START};
use super::{Case, World, calm};
use crate::quota::{
    AccountLimits, Answer, ClockReading, ClockSnapshot, Exchange, Mailbox, MailboxHandle, Quota,
    QuotaHandle, QuotaStore, Request, ScopeKey, StoreMemory,
};
use crate::{Availability, Policy, Settings, Time};

mod compared;
mod keyed;

/// A mistake that a store or its client could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LedgerBug {
    None,
    /// An exchange that comes twice, or late, is carried out each time.
    Repeats,
    /// After a restart all units are free.
    Forgets,
    /// What a silent run leases is free when its lease ends.
    BelievesSilence,
    /// A permit from before a long stop is used after it.
    SendsLate,
    /// A value is changed that another run has changed since it was read.
    Overwrites,
}

/// What the network and the machines do.
#[derive(Debug, Clone, Copy)]
struct Faults {
    /// Shares of messages that are lost, and that come twice, the second one late.
    lost: f64,
    doubled: f64,
    /// The longest way of a message, in milliseconds.
    delay: u64,
    /// Shares of steps at which a run is killed, stopped or cut off.
    kills: f64,
    stops: f64,
    cuts: f64,
    /// The longest time for which a run is stopped or cut off, in milliseconds.
    longest: u64,
    /// Share of steps at which the store is restarted, and has forgotten all.
    restarts: f64,
    bug: LedgerBug,
}

const CALM: Faults = Faults {
    lost: 0.0,
    doubled: 0.0,
    delay: 2,
    kills: 0.0,
    stops: 0.0,
    cuts: 0.0,
    longest: 40_000,
    restarts: 0.0,
    bug: LedgerBug::None,
};
const FAULTS: Faults = Faults {
    lost: 0.1,
    doubled: 0.1,
    delay: 30,
    kills: 0.001,
    stops: 0.001,
    cuts: 0.001,
    longest: 40_000,
    restarts: 0.0003,
    bug: LedgerBug::None,
};
/// Runs are stopped for longer than what they lease counts, and so are taken for dead.
const LONG_STOPS: Faults = Faults { stops: 0.02, longest: 200_000, ..FAULTS };

/// Time after which a run repeats an exchange that was not answered.
const ANSWERED: Duration = Duration::from_millis(100);
/// The longest time after a stop for which only messages come and go, in milliseconds: a run's
/// thread for the store may be quicker than all others.
const WAKING: u64 = 100;

/// A run on a machine of its own.
struct Member {
    run: Run,
    mailbox: Arc<Mutex<Mailbox>>,
    stopped: Time,
    /// Until when its limiters do nothing after a stop.
    waking: Time,
    /// Until when no message comes or goes.
    cut: Time,
    wakes: Option<Time>,
    repeats: Option<Time>,
    taken: usize,
    is_closed: bool,
}

/// A message on its way.
#[derive(Debug, Clone)]
enum Message {
    Exchange(usize, Exchange),
    Answers(usize, u64, Vec<Answer>),
    Call(compared::Call),
    Return(compared::Return),
}

#[derive(Debug)]
struct Network {
    members: BTreeMap<usize, Member>,
    messages: BTreeMap<usize, Message>,
    queue: BinaryHeap<Reverse<(Time, usize)>>,
    sent: usize,
    accounts: BTreeMap<String, AccountLimits>,
    /// The store in the place of the accounts, if it is one of others.
    compared: Option<compared::Store>,
    store_started: Time,
    starts: usize,
    arrivals: Vec<Arrival>,
    random: StdRng,
    faults: Faults,
    /// The longest wait for an answer, as runs state it.
    timeout: Duration,
    now: Time,
    begun: usize,
    exchanges: usize,
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}

/// The store as one run's limiters see it.
#[derive(Debug)]
struct Mail(Arc<Mutex<Mailbox>>);

impl QuotaStore for Mail {
    fn account(&self, quota: &Quota, key: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>> {
        Some(Box::new(MailboxHandle::new(&self.0, format!("{key:?}"), quota, None)))
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}

impl Network {
    fn new(seed: u64, faults: Faults) -> Network {
        Network {
            members: BTreeMap::new(),
            messages: BTreeMap::new(),
            queue: BinaryHeap::new(),
            sent: 0,
            accounts: BTreeMap::new(),
            compared: None,
            store_started: Time::ZERO,
            starts: 0,
            arrivals: Vec::new(),
            random: StdRng::seed_from_u64(seed ^ 0x4E7),
            faults,
            timeout: LINGER,
            now: START,
            begun: 0,
            exchanges: 0,
        }
    }

    /// Begins a run, whose clock is its own.
    fn begin(&mut self, settings: &Settings, world: World, requests: u32) {
        self.begun += 1;
        let started = Duration::from_millis(self.random.random_range(0..6_000));
        let zero = Timestamp::UNIX_EPOCH + started;
        let policy = Policy::new(settings, self.timeout).unwrap().on_clock(zero);
        let mailbox = Arc::new(Mutex::new(Mailbox::new(format!("run{}", self.begun))));
        let mut limits = policy.limits();
        limits.use_store(Arc::new(Mail(mailbox.clone())));
        let seed = self.random.random_range(0..u64::MAX);
        let bug = match self.faults.bug {
            LedgerBug::SendsLate => Bug::SendsLate,
            _ => Bug::None,
        };
        let mut run = Run::new(limits, world, bug, seed, requests);
        (run.now, run.started) = (self.now, started);
        self.members.insert(
            self.begun,
            Member {
                run,
                mailbox,
                stopped: START,
                waking: START,
                cut: START,
                wakes: Some(self.now),
                repeats: None,
                taken: 0,
                is_closed: false,
            },
        );
    }

    /// The next time at which something happens, and the run to which it does; none for a
    /// message.
    fn next(&self) -> Option<(Time, Option<usize>)> {
        let of_run = |(id, member): (&usize, &Member)| {
            let due = member.mailbox.lock().unwrap().due().map(|due| due.after(member.run.started));
            let of_limiters = [member.run.next_event(), member.wakes].into_iter().flatten().min();
            let of_limiters = of_limiters.map(|time| time.max(member.waking));
            let first = [of_limiters, member.repeats, due].into_iter().flatten().min()?;
            Some((first.max(member.stopped).max(self.now), Some(*id)))
        };
        let message = self.queue.peek().map(|Reverse((time, _))| (*time, None));
        self.members.iter().filter_map(of_run).chain(message).min()
    }

    fn step(&mut self, now: Time, run: Option<usize>) {
        self.now = now;
        match run {
            None => self.deliver(),
            Some(id) => self.step_run(id),
        }
    }

    fn step_run(&mut self, id: usize) {
        let Faults { kills, stops, cuts, longest, restarts, .. } = self.faults;
        let now = self.now;
        if self.random.random_bool(restarts) {
            self.restart();
        }
        let long = Duration::from_millis(self.random.random_range(0..longest));
        let member = self.members.get_mut(&id).unwrap();
        if self.random.random_bool(kills) {
            let member = self.members.remove(&id).unwrap();
            return self.end(member, Some(now));
        }
        if self.random.random_bool(stops) {
            member.stopped = now.after(long);
            let waking = Duration::from_millis(self.random.random_range(0..WAKING));
            member.waking = member.stopped.after(waking);
            return;
        }
        if self.random.random_bool(cuts) {
            member.cut = now.after(long);
        }
        if !member.is_closed && member.waking <= now {
            member.work(now);
        }
        self.post(id);
        let member = &self.members[&id];
        if member.is_closed && member.mailbox.lock().unwrap().is_done() {
            let member = self.members.remove(&id).unwrap();
            self.end(member, None);
        }
    }

    /// Sends what the run's mailbox has, or repeats it.
    fn post(&mut self, id: usize) {
        let (member, now) = (self.members.get_mut(&id).unwrap(), self.now);
        let clock = member.run.clock();
        let mut mailbox = member.mailbox.lock().unwrap();
        let is_due = mailbox.due().is_some_and(|due| due <= clock) && mailbox.begin(clock);
        if !is_due && member.repeats.is_none_or(|repeats| repeats > now) {
            return;
        }
        let Some(exchange) = mailbox.exchange(clock) else {
            member.repeats = None;
            return;
        };
        drop(mailbox);
        // A store that compares versions is called several times.
        let calls = if self.compared.is_some() { 4 } else { 1 };
        member.repeats = Some(now.after(ANSWERED * calls));
        if member.cut <= now {
            match &mut self.compared {
                Some(store) => {
                    let call = store.begin(id, exchange);
                    self.send(&Message::Call(call));
                }
                None => self.send(&Message::Exchange(id, exchange)),
            }
        }
    }

    fn send(&mut self, message: &Message) {
        let Faults { lost, doubled, delay, .. } = self.faults;
        if !self.random.random_bool(lost) {
            let wait = self.random.random_range(0..=delay * 1_000);
            self.enqueue(wait, message.clone());
        }
        if self.random.random_bool(doubled) {
            let longest = [delay, 1_000, 20_000][self.random.random_range(0..3)];
            let wait = self.random.random_range(0..=longest * 1_000);
            self.enqueue(wait, message.clone());
        }
    }

    fn enqueue(&mut self, micros: u64, message: Message) {
        self.sent += 1;
        self.messages.insert(self.sent, message);
        self.queue.push(Reverse((self.now.after(Duration::from_micros(micros)), self.sent)));
    }

    fn deliver(&mut self) {
        let Some(Reverse((_, number))) = self.queue.pop() else { return };
        match self.messages.remove(&number).unwrap() {
            Message::Exchange(id, exchange) => {
                if let Some(answers) = self.carry_out(&exchange) {
                    let is_cut = self.members.get(&id).is_some_and(|it| it.cut > self.now);
                    if !is_cut {
                        let sequence = exchange.sequence;
                        self.send(&Message::Answers(id, sequence, answers));
                    }
                }
            }
            Message::Answers(id, sequence, answers) => self.receive(id, sequence, answers),
            Message::Call(call) => self.serve(&call),
            Message::Return(returned) => self.go_on(returned),
        }
    }

    /// A run gets the answers to its exchange.
    fn receive(&mut self, id: usize, sequence: u64, answers: Vec<Answer>) {
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.stopped > self.now {
            // They are read when the run goes on.
            let wait = member.stopped.since(self.now).as_micros() as u64 + 1;
            return self.enqueue(wait, Message::Answers(id, sequence, answers));
        }
        member.run.now = self.now;
        let clock = member.run.clock();
        let mut mailbox = member.mailbox.lock().unwrap();
        mailbox.receive(sequence, &answers, clock);
        if mailbox.exchange(clock).is_none() {
            member.repeats = None;
        }
    }

    /// The store carries out an exchange.
    fn carry_out(&mut self, exchange: &Exchange) -> Option<Vec<Answer>> {
        self.exchanges += 1;
        let now = self.store_clock();
        let mut requests = exchange.requests.clone();
        let memory = if self.faults.bug == LedgerBug::Forgets {
            requests.iter_mut().for_each(|request| request.known = false);
            StoreMemory::Whole
        } else if self.starts == 0 {
            StoreMemory::Whole
        } else {
            StoreMemory::SinceStart
        };
        if self.faults.bug == LedgerBug::BelievesSilence {
            for request in &mut requests {
                (request.timeout, request.linger) = (0.0, Some(0.0));
            }
        }
        let mut answers = vec![Answer::default(); requests.len()];
        let names: std::collections::BTreeSet<&str> =
            requests.iter().map(|request| request.account.as_str()).collect();
        for name in names {
            let of_account = requests.iter().enumerate().filter(|(_, it)| it.account == name);
            let (places, own): (Vec<usize>, Vec<(&Request, Quota)>) =
                of_account.map(|(place, it)| (place, (it, it.quota().unwrap()))).unzip();
            let account = self.accounts.entry(name.to_owned()).or_default();
            let mut sequence = exchange.sequence;
            if self.faults.bug == LedgerBug::Repeats {
                sequence = self.exchanges as u64;
            }
            let answered = account.exchange(&now, memory, &exchange.run, sequence, &own).ok()?;
            for (place, answer) in places.into_iter().zip(answered) {
                answers[place] = answer;
            }
        }
        Some(answers)
    }

    fn store_clock(&self) -> ClockSnapshot {
        let up = self.now.since(self.store_started);
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap();
        ClockSnapshot {
            time: Time::ZERO.after(up),
            clock: ClockReading {
                wall: micros(self.now.since(Time::ZERO)),
                up: micros(up),
                boot: Some(self.starts.to_string()),
            },
        }
    }

    /// The store is started anew, and has forgotten all.
    fn restart(&mut self) {
        if let Some(store) = &mut self.compared {
            return store.restart(self.now, &mut self.random);
        }
        self.accounts.clear();
        self.store_started = self.now;
        self.starts += 1;
    }

    fn end(&mut self, member: Member, killed: Option<Time>) {
        let nanos = |time: Time| time.since(Time::ZERO).as_nanos() as u64;
        let latest = killed.map_or(u64::MAX, |now| nanos(now.after(LINGER)));
        self.arrivals.extend(member.run.arrivals.iter().map(|arrival| Arrival {
            at: arrival.at.min(latest),
            until: arrival.until.min(latest),
            ..arrival.clone()
        }));
    }
}

impl Member {
    /// The run does what is due, and takes what it can.
    fn work(&mut self, now: Time) {
        self.run.now = now;
        if self.run.next_event().is_some_and(|time| time <= now) {
            self.run.happen();
        }
        self.run.now = now;
        self.wakes = loop {
            match self.run.try_take() {
                Some(Availability::Now) => self.taken += 1,
                Some(Availability::At(time)) => break Some(time.max(now)),
                _ => break None,
            }
        };
        if self.wakes.is_none() && self.run.next_event().is_none() {
            let clock = self.run.clock();
            assert!(self.run.limits.close(clock), "a mailbox takes everything");
            self.is_closed = true;
        }
    }
}

/// Plays a schedule of several runs, and judges it. Gives the number of arrivals.
fn play(seed: u64, case: &Case, faults: Faults) -> Result<usize, String> {
    play_on(&mut Network::new(seed, faults), case)
}

fn play_on(network: &mut Network, case: &Case) -> Result<usize, String> {
    let mut left = network.random.random_range(2..6);
    let mut begins = START;
    for _ in 0..400_000 {
        if left > 0 && network.now >= begins {
            left -= 1;
            let requests = network.random.random_range(1..60);
            network.begin(&case.settings, case.world.clone(), requests);
            let soon = [0, 10, 1_000, 20_000][network.random.random_range(0..4)];
            begins = network.now.after(Duration::from_millis(soon));
        }
        match network.next() {
            Some((time, _)) if left > 0 && begins < time => network.now = begins,
            Some((time, run)) => network.step(time, run),
            None if left == 0 => {
                case.servers.iter().try_for_each(|server| server.judge(&network.arrivals))?;
                return Ok(network.arrivals.len());
            }
            None => network.now = network.now.max(begins),
        }
    }
    Err(format!("{} runs make no progress", network.members.len()))
}

fn all_hold(seeds: std::ops::Range<u64>, faults: Faults, case: impl Fn(u64) -> Case) {
    let mut arrivals = 0;
    let is_long = std::env::var_os("THRONG_LONG").is_some();
    for seed in seeds.step_by(if is_long { 1 } else { 25 }) {
        let case = case(seed);
        match play(seed, &case, faults) {
            Ok(more) => arrivals += more,
            Err(why) => panic!("seed {seed}, {:?}: {why}", case.settings),
        }
    }
    assert!(arrivals > 1_000, "{arrivals}");
}

#[test]
fn machines_share_a_limit_whatever_happens_to_messages_runs_and_the_store() {
    all_hold(600_000..605_000, FAULTS, |seed| super::shared::any_case(seed, &super::shared::KINDS));
}

// Two halves, so that two cores share them.

#[test]
fn machines_share_a_limit_for_every_other_seed_too() {
    all_hold(605_000..610_000, FAULTS, |seed| super::shared::any_case(seed, &super::shared::KINDS));
}

#[test]
fn a_run_that_was_stopped_for_so_long_that_it_was_taken_for_dead_uses_no_old_permit() {
    all_hold(610_000..612_500, LONG_STOPS, |seed| {
        let case = super::shared::any_case(seed, &super::shared::KINDS);
        let connect = [case.world.connect, 1_000, 10_000][seed as usize / 25 % 3];
        Case { world: World { connect, ..case.world }, ..case }
    });
}

#[test]
fn every_planted_bug_of_a_ledger_is_found() {
    let kind = [super::Kind::Sliding];
    for (bug, faults) in [
        (LedgerBug::Repeats, Faults { doubled: 0.5, ..FAULTS }),
        (LedgerBug::Forgets, Faults { restarts: 0.01, ..FAULTS }),
        (LedgerBug::BelievesSilence, Faults { cuts: 0.02, kills: 0.01, ..FAULTS }),
        (LedgerBug::SendsLate, LONG_STOPS),
    ] {
        let faults = Faults { bug, ..faults };
        let is_over = |seed| {
            let mut case = super::case(seed, &kind);
            (case.world.there, case.world.back) = (8_000, 50);
            case.settings.rate[0].amount = "1/500ms".parse().unwrap();
            let rule = super::Rule::Sliding { most: 1, period: 500_000_000 };
            case.servers = vec![super::server(rule, 0, false)];
            play(seed, &case, faults).is_err_and(|why| !why.contains("progress"))
        };
        assert!((0..400).any(is_over), "{bug:?}");
    }
}

/// Runs on several machines that all want more have about as much each, and together what one
/// has alone without a network, for few exchanges.
#[test]
fn machines_that_all_want_more_share_evenly_and_use_all_for_few_exchanges() {
    for (rate, seconds) in [("22/5s", 100), ("1000/1s", 31), ("20/1s", 50)] {
        let settings = serde_json::json!({"rate": [rate], "shape": "burst"});
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let mut network = Network::new(1, CALM);
        for _ in 0..4 {
            network.begin(&settings, World { there: 10, back: 10, ..calm() }, 1_000_000);
        }
        let end = START.after(Duration::from_secs(seconds));
        while let Some((time, run)) = network.next().filter(|(time, _)| *time < end) {
            network.step(time, run);
        }
        let taken: Vec<usize> = network.members.values().map(|member| member.taken).collect();
        let all: usize = taken.iter().sum();
        let limit = &settings.rate[0].amount;
        let cycle = limit.period.as_secs_f64() * 1.0005 + 0.001 + 0.011;
        let bound = limit.units as f64 * (seconds as f64 / cycle).ceil();
        let share = all as f64 / bound;
        let (least, most) = (taken.iter().min().unwrap(), taken.iter().max().unwrap());
        assert!(share > 0.93, "{rate}: {taken:?}, {share}");
        assert!(most * 10 <= least * 13, "{rate}: {taken:?}");
        if all > 1_000 {
            assert!(
                network.exchanges * 20 < all,
                "{rate}: {} exchanges for {all}",
                network.exchanges
            );
        }
    }
}
