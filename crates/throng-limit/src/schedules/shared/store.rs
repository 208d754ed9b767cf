//! The store of schedules: the limits of an account in memory, by the rules of the store in
//! files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Time;
use crate::quota::{
    ClockReading, ClockSnapshot, LeaseReply, LeaseRequest, OtherLimit, Participant, Quota,
    QuotaHandle, QuotaState, QuotaStore, ScopeKey, quota_of,
};

/// The limits of one account, and the runs that live.
#[derive(Debug)]
pub struct Account {
    limits: BTreeMap<LimitKey, SharedLimit>,
    pub alive: BTreeSet<usize>,
    /// Runs, and the limits that a handle of them leases from.
    open: BTreeSet<(usize, LimitKey)>,
    /// Runs, keys and units of which a handle reports to the limits of other runs.
    reported: BTreeSet<(usize, String, String)>,
    handles: usize,
    /// By how many microseconds the calendar is wrong.
    pub calendar: i64,
    /// When the machine was started last, and how often it was before.
    pub started: Duration,
    starts: usize,
    /// The share of exchanges that find the store busy.
    busy: f64,
    bug: StoreBug,
    random: StdRng,
}

/// The key of a limit's scope, and the limit's name.
type LimitKey = (String, String);

#[derive(Debug)]
struct SharedLimit {
    unit: String,
    /// The limit that its name states.
    quota: Option<Quota>,
    state: QuotaState,
}

/// A mistake that a store could make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreBug {
    None,
    /// What a run leased that was killed is free.
    ForgetsTheKilled,
    /// A run keeps its own limits only.
    KeepsNoOthers,
    /// After a restart of the machine all units are free.
    ForgetsAtStart,
}

#[derive(Debug, Clone)]
pub struct Store(pub Arc<Mutex<Account>>, pub usize);

#[derive(Debug)]
struct Handle {
    store: Store,
    name: String,
    limit: LimitKey,
    quota: Quota,
    /// The limits of other runs that it knows of.
    others: BTreeSet<LimitKey>,
    is_open: bool,
    reports: bool,
}

impl Account {
    /// An account that no run has used.
    pub fn new(seed: u64, busy: f64, bug: StoreBug) -> Account {
        Account {
            limits: BTreeMap::new(),
            alive: BTreeSet::new(),
            open: BTreeSet::new(),
            reported: BTreeSet::new(),
            handles: 0,
            calendar: 0,
            started: Duration::ZERO,
            starts: 0,
            busy,
            bug,
            random: StdRng::seed_from_u64(seed),
        }
    }

    fn clocks(&self, time: Time) -> ClockSnapshot {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap();
        let up = micros(time.since(Time::ZERO));
        let wall = up + micros(self.started) + self.calendar;
        let boot = Some(self.starts.to_string());
        ClockSnapshot { time, clock: ClockReading { wall, up, boot } }
    }

    /// A run is not there any more.
    pub fn end(&mut self, run: usize) {
        self.alive.remove(&run);
        self.open.retain(|(open, _)| *open != run);
        self.reported.retain(|(reported, ..)| *reported != run);
        if self.bug == StoreBug::ForgetsTheKilled {
            let any_handle = format!("{run}.0");
            self.limits.values_mut().for_each(|limit| limit.state.end_run(&any_handle));
        }
    }

    /// The machine is started anew.
    pub fn start(&mut self, now: Time) {
        self.started = now.since(Time::ZERO);
        self.starts += 1;
        if self.bug == StoreBug::ForgetsAtStart {
            self.limits.clear();
        }
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
        Some(Box::new(Handle {
            store: self.clone(),
            name: format!("{}.{}", self.1, account.handles),
            limit: (format!("{key:?}"), quota.name.clone()),
            quota: quota.clone(),
            others: BTreeSet::new(),
            is_open: false,
            reports: false,
        }))
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}

impl Handle {
    fn reported(&self) -> (usize, String, String) {
        (self.store.1, self.limit.0.clone(), self.quota.unit.clone())
    }

    fn is_beside(&self, key: &LimitKey, limit: &SharedLimit) -> bool {
        key.0 == self.limit.0 && key.1 != self.limit.1 && limit.unit == self.quota.unit
    }

    fn open(&mut self, account: &mut Account, participant: &Participant<'_>) {
        let beside = account.limits.iter().filter(|(key, limit)| self.is_beside(key, limit));
        let others: Vec<QuotaState> = beside.map(|(_, limit)| limit.state.clone()).collect();
        let new = || SharedLimit {
            unit: self.quota.unit.clone(),
            quota: quota_of(&self.quota.name),
            state: QuotaState::default(),
        };
        let limit = account.limits.entry(self.limit.clone()).or_insert_with(new);
        participant.join(&mut limit.state, &self.quota, others);
        account.open.insert((self.store.1, self.limit.clone()));
        self.reports = account.reported.insert(self.reported());
        self.is_open = true;
    }

    /// Looks for the limits that only other runs state.
    fn list_others(&mut self, account: &Account, participant: &Participant<'_>) {
        if self.reports && account.bug != StoreBug::KeepsNoOthers {
            let found = account.limits.iter().filter(|(key, limit)| {
                let is_known = self.others.contains(key);
                self.is_beside(key, limit)
                    && !account.open.contains(&(self.store.1, (*key).clone()))
                    && (is_known || participant.is_stated_by_others(&limit.state))
            });
            self.others = found.map(|(key, _)| key.clone()).collect();
        }
    }

    /// Acts on the account as this handle.
    fn with_account<T>(
        &mut self,
        now: Time,
        act: impl FnOnce(&mut Handle, &mut Account, &Participant<'_>) -> T,
    ) -> T {
        let (store, name) = (self.store.clone(), self.name.clone());
        let mut account = store.lock();
        let (now, alive) = (account.clocks(now), account.alive.clone());
        let is_alive = |name: &str| {
            name.split('.').next().is_some_and(|run| alive.contains(&run.parse().unwrap()))
        };
        let participant = Participant { run: &name, now: &now, is_alive: Some(&is_alive) };
        act(self, &mut account, &participant)
    }
}

impl QuotaHandle for Handle {
    fn exchange(&mut self, now: Time, request: &LeaseRequest<'_>) -> LeaseReply {
        self.with_account(now, |handle, account, participant| {
            let busy = account.busy;
            if account.random.random_bool(busy) {
                return LeaseReply::Busy;
            }
            if !handle.is_open {
                handle.open(account, participant);
            }
            handle.list_others(account, participant);
            let mut own = account.limits.remove(&handle.limit).unwrap();
            let others = account.limits.iter_mut().filter(|(key, _)| handle.others.contains(key));
            let mut others: Vec<OtherLimit<'_>> = others
                .map(|(_, it)| OtherLimit { state: &mut it.state, quota: it.quota.as_ref() })
                .collect();
            let exchanged =
                participant.exchange(&mut own.state, &handle.quota, &mut others, request);
            account.limits.insert(handle.limit.clone(), own);
            exchanged.reply
        })
    }

    fn allow(&mut self, units: u64) {
        self.quota.set_units(units);
    }

    fn close(&mut self) -> bool {
        if !std::mem::take(&mut self.is_open) {
            return true;
        }
        self.with_account(Time::ZERO, |handle, account, participant| {
            handle.list_others(account, participant);
            for (_, other) in account.limits.iter_mut().filter(|(it, _)| handle.others.contains(it))
            {
                other.state.end_run(&handle.name);
            }
            if let Some(limit) = account.limits.get_mut(&handle.limit) {
                limit.state.end_handle(&handle.name);
                if limit.state.is_empty(participant.now) {
                    account.limits.remove(&handle.limit);
                }
            }
            account.open.remove(&(handle.store.1, handle.limit.clone()));
            if std::mem::take(&mut handle.reports) {
                account.reported.remove(&handle.reported());
            }
            true
        })
    }
}
