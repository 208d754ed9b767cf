//! Seeded schedules of runs that share limits through a store of others, whose values they change by
//! comparing versions: each exchange is a reading and a change, and runs are killed, stopped and cut
//! off before, between and after them, calls and their answers are late, lost and doubled, and the
//! store is restarted without what it was given in its last second. The runs' arithmetic, messages
//! and waits are as they are; the store is a model of the functions in `ledger.lua`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::super::{Case, Kind, Rule, case, server, shared};
use super::{FAULTS, Faults, LedgerBug, Message, Network, play_on};
use crate::Time;
use crate::quota::{Answer, ChangedValue, Exchange, StoreStart, StoredValue, changed_text, kept};

/// The store, and the exchanges that runs have begun with it.
#[derive(Debug)]
pub struct Store {
    /// Number of times that it was started.
    starts: usize,
    started: Time,
    values: BTreeMap<String, StoredValue>,
    /// The values that there were in the last second, each with the time of the change.
    before: VecDeque<(Time, BTreeMap<String, StoredValue>)>,
    exchanges: BTreeMap<usize, Begun>,
    /// Number of calls, and of new values.
    calls: u64,
    bug: LedgerBug,
    conflicts: usize,
}

/// An exchange of a run that has not ended.
#[derive(Debug)]
struct Begun {
    exchange: Exchange,
    answers: Vec<Answer>,
    /// The accounts that are left to change.
    accounts: Vec<String>,
    /// The call that the run waits for.
    call: u64,
    tried: u32,
}

/// A call of a run's, with its number.
#[derive(Debug, Clone)]
pub struct Call {
    run: usize,
    number: u64,
    function: Function,
}

#[derive(Debug, Clone)]
enum Function {
    Read(Vec<String>),
    Commit(String, Vec<ChangedValue>),
}

/// The answer to a call: the values that there are, and none for those that were changed.
#[derive(Debug, Clone)]
pub struct Return {
    run: usize,
    number: u64,
    start: StoreStart,
    values: Vec<Option<StoredValue>>,
}

/// Time of which a store that is killed may have lost what it was given.
const LOST: Duration = Duration::from_secs(1);
/// Number of changes that are tried with what the one before has answered.
const AT_HAND: u32 = 3;

impl Store {
    fn new(bug: LedgerBug) -> Store {
        Store {
            starts: 1,
            started: Time::ZERO,
            values: BTreeMap::new(),
            before: VecDeque::new(),
            exchanges: BTreeMap::new(),
            calls: 0,
            bug,
            conflicts: 0,
        }
    }

    /// A run begins an exchange, or repeats it. Gives its first call.
    pub fn begin(&mut self, run: usize, exchange: Exchange) -> Call {
        let by_account = exchange.by_account().unwrap();
        let accounts: Vec<String> = by_account.iter().map(|it| it.account.to_owned()).collect();
        let answers = vec![Answer::default(); exchange.requests.len()];
        let call = self.call(run, Function::Read(accounts.clone()));
        let begun = Begun { exchange, answers, accounts, call: call.number, tried: 0 };
        self.exchanges.insert(run, begun);
        call
    }

    fn call(&mut self, run: usize, function: Function) -> Call {
        self.calls += 1;
        Call { run, number: self.calls, function }
    }

    fn memory(&self) -> String {
        // One that believes that it has lost nothing keeps its id.
        if self.bug == LedgerBug::Forgets { 1 } else { self.starts }.to_string()
    }

    /// What the store says of itself, and the time.
    fn start(&self, now: Time) -> StoreStart {
        let micros = |time: Time| time.since(Time::ZERO).as_micros() as u64;
        let since = if self.bug == LedgerBug::Forgets { Time::ZERO } else { self.started };
        StoreStart { memory: self.memory(), since: micros(since), now: micros(now) }
    }

    /// It is killed, and started without what it was given last.
    pub fn restart(&mut self, now: Time, random: &mut StdRng) {
        self.forget_before(now);
        let lost = random.random_range(0..=self.before.len());
        for _ in 0..lost {
            self.values = self.before.pop_back().unwrap().1;
        }
        self.before.clear();
        self.starts += 1;
        self.started = now;
    }

    fn forget_before(&mut self, now: Time) {
        while self.before.front().is_some_and(|(time, _)| time.after(LOST) < now) {
            self.before.pop_front();
        }
    }

    fn value(&self, account: &str) -> StoredValue {
        self.values.get(account).cloned().unwrap_or_default()
    }

    /// It carries out a call, as one step.
    fn carry_out(&mut self, now: Time, call: &Call) -> Return {
        let values = match &call.function {
            Function::Read(accounts) => accounts.iter().map(|it| Some(self.value(it))).collect(),
            Function::Commit(memory, changes) => {
                let is_same = *memory == self.memory();
                let change = |new: &ChangedValue| {
                    let known = self.value(&new.account);
                    let is_read = known.0 == new.before || self.bug == LedgerBug::Overwrites;
                    if !is_same || !is_read {
                        self.conflicts += 1;
                        return Some(known);
                    }
                    self.before.push_back((now, self.values.clone()));
                    let stored = (new.version.clone(), new.text.clone());
                    self.values.insert(new.account.clone(), stored);
                    None
                };
                changes.iter().map(change).collect()
            }
        };
        self.forget_before(now);
        Return { run: call.run, number: call.number, start: self.start(now), values }
    }

    /// A run goes on with the answer to its last call: by another call, or it has its answers.
    fn go_on(&mut self, returned: Return) -> Option<Result<Call, (u64, Vec<Answer>)>> {
        let run = returned.run;
        let mut begun = self.exchanges.remove(&run)?;
        if begun.call != returned.number {
            self.exchanges.insert(run, begun);
            return None;
        }
        let left = begun.accounts.iter().zip(returned.values);
        let left = left.filter_map(|(account, value)| Some((account.clone(), value?)));
        let left: Vec<(String, StoredValue)> = left.collect();
        begun.accounts = left.iter().map(|(account, _)| account.clone()).collect();
        begun.tried += 1;
        let function = if begun.tried % AT_HAND == 0 && !left.is_empty() {
            Function::Read(begun.accounts.clone())
        } else {
            let changes = self.changes(&mut begun, &returned.start, left);
            // A run whose exchange is outdated fails.
            let changes = changes?;
            if changes.is_empty() {
                return Some(Err((begun.exchange.sequence, begun.answers)));
            }
            begun.accounts = changes.iter().map(|it| it.account.clone()).collect();
            Function::Commit(returned.start.memory, changes)
        };
        let call = self.call(run, function);
        begun.call = call.number;
        self.exchanges.insert(run, begun);
        Some(Ok(call))
    }

    fn changes(
        &mut self,
        begun: &mut Begun,
        start: &StoreStart,
        values: Vec<(String, StoredValue)>,
    ) -> Option<Vec<ChangedValue>> {
        let Begun { exchange, answers, .. } = begun;
        let mut changes = Vec::new();
        for (account, (before, text)) in values {
            let by_account = exchange.by_account().unwrap();
            let own = by_account.iter().find(|it| it.account == account).unwrap();
            let kept = kept(own.requests.iter().map(|(_, quota)| quota));
            if let Some(text) = changed_text(start, exchange, own, &text, answers).ok()? {
                self.calls += 1;
                let version = self.calls.to_string();
                changes.push(ChangedValue { account, before, version, text, kept });
            }
        }
        Some(changes)
    }
}

impl Network {
    /// The store gets a call.
    pub fn serve(&mut self, call: &Call) {
        if self.random.random_bool(self.faults.restarts) {
            self.restart();
        }
        let Some(store) = &mut self.compared else { return };
        let returned = store.carry_out(self.now, call);
        if self.members.get(&call.run).is_some_and(|it| it.cut <= self.now) {
            self.send(&Message::Return(returned));
        }
    }

    /// A run gets what a call returns, unless it is killed just then, stopped or cut off.
    pub fn go_on(&mut self, returned: Return) {
        let (now, id) = (self.now, returned.run);
        let Faults { kills, stops, cuts, longest, .. } = self.faults;
        let long = Duration::from_millis(self.random.random_range(0..longest));
        let Some(member) = self.members.get_mut(&id) else { return };
        if member.stopped > now {
            let wait = member.stopped.since(now).as_micros() as u64 + 1;
            return self.enqueue(wait, Message::Return(returned));
        }
        if self.random.random_bool(kills) {
            let member = self.members.remove(&id).unwrap();
            return self.end(member, Some(now));
        }
        if self.random.random_bool(stops) {
            member.stopped = now.after(long);
            return self.enqueue(0, Message::Return(returned));
        }
        if self.random.random_bool(cuts) {
            member.cut = now.after(long);
        }
        let is_cut = member.cut > now;
        let Some(store) = &mut self.compared else { return };
        match store.go_on(returned) {
            Some(Ok(call)) if !is_cut => self.send(&Message::Call(call)),
            Some(Err((sequence, answers))) => self.receive(id, sequence, answers),
            _ => {}
        }
    }
}

/// Plays a schedule of runs on such a store, and judges it. Gives the number of arrivals, and of
/// changes for which another run was quicker.
fn play_compared(seed: u64, case: &Case, faults: Faults) -> Result<(usize, usize), String> {
    let mut network = Network::new(seed, faults);
    network.compared = Some(Store::new(faults.bug));
    let arrivals = play_on(&mut network, case)?;
    Ok((arrivals, network.compared.map_or(0, |store| store.conflicts)))
}

/// Number of schedules of each test run, and of `./test --long`.
const FEW: u64 = 100;
const MANY: u64 = 10_000;

#[test]
fn machines_share_a_limit_in_a_store_that_compares_versions_whatever_happens_at_each_step() {
    let count = if std::env::var_os("THRONG_LONG").is_some() { MANY } else { FEW };
    let (mut arrivals, mut conflicts) = (0, 0);
    for seed in 700_000..700_000 + count {
        let case = shared::any_case(seed, &shared::KINDS);
        match play_compared(seed, &case, FAULTS) {
            Ok(more) => (arrivals, conflicts) = (arrivals + more.0, conflicts + more.1),
            Err(why) => panic!("seed {seed}, {:?}: {why}", case.settings),
        }
    }
    assert!(arrivals > 500 && conflicts > 100, "{arrivals} arrivals, {conflicts} conflicts");
}

#[test]
fn every_planted_bug_of_a_store_that_compares_versions_is_found() {
    for (bug, faults) in
        [(LedgerBug::Overwrites, FAULTS), (LedgerBug::Forgets, Faults { restarts: 0.01, ..FAULTS })]
    {
        let is_over = |seed| {
            let mut case = case(seed, &[Kind::Sliding]);
            (case.world.there, case.world.back) = (8_000, 50);
            case.settings.rate[0].amount = "1/500ms".parse().unwrap();
            case.servers = vec![server(Rule::Sliding { most: 1, period: 500_000_000 }, 0, false)];
            let faults = Faults { bug, ..faults };
            play_compared(seed, &case, faults).is_err_and(|why| !why.contains("progress"))
        };
        assert!((0..400).any(is_over), "{bug:?}");
    }
}
