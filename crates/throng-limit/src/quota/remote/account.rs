//! The limits of one account at a store for several machines, and the answers that its runs got
//! last. Pure: the caller keeps it, and changes it for one run at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quota::account::{OtherLimit, Participant, quota_of};
use crate::quota::clocks::{ClockSnapshot, micros};
use crate::quota::leased::LeaseRequest;
use crate::quota::remote::message::{Answer, Request, millis};
use crate::quota::runs::id_of;
use crate::quota::state::QuotaState;
use crate::quota::terms::Quota;
use crate::time::Time;

/// The limits of one account, and the answers that its runs got last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AccountLimits {
    /// By unit and text of the limit.
    limits: BTreeMap<String, StoredLimit>,
    /// By the name of the run.
    runs: BTreeMap<String, LastAnswers>,
    /// When limits with long periods that no run states learnt last what was sent.
    #[serde(default)]
    kept_up: u64,
}

/// One limit of an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct StoredLimit {
    limit: String,
    unit: String,
    state: QuotaState,
}

/// The answers of a run's last exchange, for the case that they were lost on their way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LastAnswers {
    sequence: u64,
    heard: u64,
    answers: Vec<Answer>,
}

/// Whether a store remembers what was before it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreMemory {
    /// It does: a limit that it doesn't know was not used.
    Whole,
    /// It may not: a limit that it doesn't know may have been used up when it was started.
    SinceStart,
}

/// An exchange that comes after a later one of the same run: a network has delayed or repeated
/// it. Nothing of it was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outdated;

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a later exchange of this run was carried out before")
    }
}

impl std::error::Error for Outdated {}

/// What is left of a limit, for display.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitBalance {
    /// The limit, as a run states it.
    pub limit: String,
    /// The unit that it counts.
    pub unit: String,
    /// Number of its units.
    pub units: u64,
    /// Units that are left now.
    pub left: u64,
    /// Units that runs lease.
    pub leased: u64,
    /// Number of runs that share it.
    pub runs: u64,
}

/// How long the answers of a run are kept that is not heard of any more, in microseconds.
const REMEMBERED: u64 = 600_000_000;
/// Time after which limits with long periods that no run states learn what was sent.
const KEEP_UP: Duration = Duration::from_secs(240);

impl AccountLimits {
    /// Carries out the requests of one exchange that are of this account.
    ///
    /// # Errors
    /// The exchange is outdated.
    pub fn exchange(
        &mut self,
        now: &ClockSnapshot,
        memory: StoreMemory,
        run: &str,
        sequence: u64,
        requests: &[(&Request, Quota)],
    ) -> Result<Vec<Answer>, Outdated> {
        // The number of a handle follows a dot.
        let run = &run.replace('.', "%2e");
        if let Some(last) = self.runs.get(run) {
            if sequence == last.sequence && last.answers.len() == requests.len() {
                return Ok(last.answers.clone());
            }
            if sequence <= last.sequence {
                return Err(Outdated);
            }
        }
        let apply =
            |(request, quota): &(&Request, Quota)| self.apply(now, memory, run, request, quota);
        let answers: Vec<Answer> = requests.iter().map(apply).collect();
        let heard = now.line();
        self.runs.insert(run.to_owned(), LastAnswers { sequence, heard, answers: answers.clone() });
        let is_recent = |it: &LastAnswers| it.heard.abs_diff(heard) < REMEMBERED;
        self.runs.retain(|_, last| is_recent(last));
        Ok(answers)
    }

    /// Whether nothing of the account has to be remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.runs.is_empty()
    }

    fn apply(
        &mut self,
        now: &ClockSnapshot,
        memory: StoreMemory,
        run: &str,
        request: &Request,
        quota: &Quota,
    ) -> Answer {
        let name = format!("{}.{}", id_of(run), request.limiter);
        let participant = Participant { run: &name, now, is_alive: None };
        let key = format!("{} {}", quota.unit, quota.name);
        let mut own = match self.limits.remove(&key) {
            Some(own) => own,
            None => StoredLimit {
                limit: quota.name.clone(),
                unit: quota.unit.clone(),
                state: new_state(now, memory, request, quota),
            },
        };
        if !own.state.handles_of(id_of(run)).any(|it| it == name) {
            participant.join(&mut own.state, quota, self.states_of(&quota.unit));
            self.kept_up = 0;
        }
        let arrived = request.arrived(now.time);
        let (wanted, least) = if request.ends { (0, 0) } else { request.wanted() };
        let lease = LeaseRequest {
            arrived: &arrived,
            kept: if request.ends { 0 } else { request.kept() },
            wanted,
            least,
            reset: request.reset(now.time),
            pause: request.pause(now.time),
            learnt: request.learnt,
            search: request.search,
        };
        let reports = self.reports(&own, run, &name);
        let quotas = self.quotas_beside(&quota.unit, reports);
        let beside = self.limits.iter_mut().filter(|(key, _)| quotas.contains_key(*key));
        let mut others: Vec<OtherLimit<'_>> = beside
            .filter(|(_, it)| participant.is_stated_by_others(&it.state))
            .filter(|(_, it)| it.state.handles_of(id_of(run)).next().is_none())
            .map(|(key, it)| OtherLimit {
                state: &mut it.state,
                quota: quotas.get(key).and_then(Option::as_ref),
            })
            .collect();
        let exchanged = participant.exchange(&mut own.state, quota, &mut others, &lease);
        let others = own.state.runs().map(id_of).filter(|it| *it != id_of(run));
        let answer = Answer {
            lease: millis(quota.lease()),
            others: others.collect::<BTreeSet<_>>().len() as u64,
            others_lease: exchanged.others_lease,
            plenty: exchanged.plenty,
            searches: exchanged.searches,
            pause: exchanged.paused.map(|until| millis(until.since(now.time))),
            unknown: exchanged.unknown.map(|until| millis(until.since(now.time))),
            ..Answer::of(exchanged.reply, now.time)
        };
        if request.ends {
            self.end(&participant, &mut own, reports);
        }
        self.keep_up(&participant, &own, reports || request.ends);
        if quota.is_durable() || !own.state.is_empty(now) {
            self.limits.insert(key, own);
        }
        answer
    }

    /// Whether this handle is the one of its run that reports to the limits that only other runs
    /// state: of those with the same unit, the first.
    fn reports(&self, own: &StoredLimit, run: &str, name: &str) -> bool {
        let run = id_of(run);
        let beside = self.limits.values().filter(|it| it.unit == own.unit);
        let others = beside.flat_map(|it| it.state.handles_of(run));
        let first = own.state.handles_of(run).chain(others).min_by_key(|name| number(name));
        first.is_none_or(|first| first == name)
    }

    /// The limits that count this unit, by their texts.
    fn quotas_beside(&self, unit: &str, reports: bool) -> BTreeMap<String, Option<Quota>> {
        let beside = self.limits.iter().filter(|(_, it)| reports && it.unit == unit);
        beside.map(|(key, it)| (key.clone(), quota_of(&it.limit))).collect()
    }

    fn states_of(&self, unit: &str) -> Vec<QuotaState> {
        let beside = self.limits.values().filter(|it| it.unit == unit);
        beside.map(|it| it.state.clone()).collect()
    }

    /// Ends a handle in all limits.
    fn end(&mut self, participant: &Participant<'_>, own: &mut StoredLimit, reports: bool) {
        self.kept_up = 0;
        let run = id_of(participant.run);
        own.state.end_handle(participant.run);
        let is_last = own.state.handles_of(run).next().is_none();
        for other in self.limits.values_mut().filter(|it| reports && it.unit == own.unit) {
            if is_last && other.state.handles_of(run).next().is_none() {
                other.state.end_run(participant.run);
            }
        }
    }

    /// Adds what was sent to the limits with long periods that no run states.
    fn keep_up(&mut self, participant: &Participant<'_>, own: &StoredLimit, is_due: bool) {
        let now = participant.now.line();
        if !is_due || now.abs_diff(self.kept_up) < micros(KEEP_UP) {
            return;
        }
        self.kept_up = now;
        let states: Vec<(String, QuotaState)> =
            self.limits.iter().map(|(key, it)| (key.clone(), it.state.clone())).collect();
        for (key, other) in self.limits.iter_mut().filter(|(_, it)| it.unit == own.unit) {
            let quota = quota_of(&other.limit);
            let dormant = OtherLimit { state: &mut other.state, quota: quota.as_ref() };
            if participant.is_dormant(&dormant) {
                let beside = states.iter().filter(|(beside, _)| beside != key);
                let known = beside.map(|(_, state)| state.clone()).chain([own.state.clone()]);
                participant.keep_up(dormant, known.collect());
            }
        }
    }

    /// What is left of each limit.
    #[must_use]
    pub fn balances(&self, now: &ClockSnapshot) -> Vec<LimitBalance> {
        let balance = |it: &StoredLimit| {
            let quota = quota_of(&it.limit)?;
            let mut state = it.state.clone();
            state.advance(now, &quota, None);
            Some(LimitBalance {
                limit: it.limit.clone(),
                unit: it.unit.clone(),
                units: quota.units(),
                left: state.left(now, &quota, None),
                leased: state.leased(),
                runs: state.runs().map(id_of).collect::<BTreeSet<_>>().len() as u64,
            })
        };
        self.limits.values().filter_map(balance).collect()
    }
}

/// The state of a limit that the store doesn't know.
fn new_state(
    now: &ClockSnapshot,
    memory: StoreMemory,
    request: &Request,
    quota: &Quota,
) -> QuotaState {
    let since = match memory {
        // The store has lost it.
        _ if request.known => now.time,
        StoreMemory::SinceStart => Time::ZERO,
        StoreMemory::Whole => return QuotaState::default(),
    };
    // A run that had leased units may send and wait for so long without a word.
    QuotaState::full(now, quota, since.after(quota.unheard()))
}

/// The number of a handle within its run.
fn number(name: &str) -> u64 {
    name.rsplit('.').next().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX)
}
