//! The limits of one account: of all clients, or of those with the same key. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use crate::counters::{self, LimitCounter};
use crate::limit::ServerLimits;
use crate::{LimitKind, ServerLimit};

/// The counters of an account's limits, and the fullest windows until now.
#[derive(Debug)]
pub(crate) struct LimitAccount {
    limits: Vec<AccountLimit>,
    /// Counts refusals: an account with more is banned.
    ban: Option<LimitCounter>,
    banned: bool,
    /// Requests that arrived and are not answered.
    in_flight: u64,
    /// Requests in flight that were admitted.
    admitted_in_flight: u64,
    most_in_flight: u64,
}

/// The reason of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The time until the request would be admitted.
    pub wait: Duration,
    /// Index of the limit among all.
    pub limit: usize,
    /// Whether the account is banned.
    pub banned: bool,
}

/// The state of a limit, as answers report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub units: u64,
    pub left: u64,
    /// The time until all units are left.
    pub reset: Duration,
}

/// One limit of an account.
#[derive(Debug)]
struct AccountLimit {
    /// Index among all limits.
    index: usize,
    kind: LimitKind,
    units: u64,
    /// The units of which it reports the rest.
    capacity: u64,
    counter: LimitCounter,
    window: WindowMeter,
}

/// Counts an arrival in each of its accounts, which must all admit it. `costs` are
/// its units for each limit. Refusals are counted for the ban of the first account.
pub(crate) fn arrive(
    accounts: &mut [&mut LimitAccount],
    now: Duration,
    costs: &[u64],
    refusals_count: bool,
) -> Result<(), Refused> {
    for account in &mut *accounts {
        account.record_arrival(now, costs);
    }
    let in_flight = accounts.iter().try_for_each(|account| account.check_in_flight());
    let admitted = in_flight.and_then(|()| {
        let counters = accounts.iter_mut().flat_map(|account| account.counters(costs));
        let waits = counters::admit(counters, now, refusals_count);
        waits.map_err(|wait| (longest(accounts, now, costs), wait))
    });
    let is_banned = accounts.first().is_some_and(|first| first.banned);
    let (limit, wait) = match admitted {
        Ok(()) if !is_banned => {
            accounts.iter_mut().for_each(|account| account.admitted_in_flight += 1);
            return Ok(());
        }
        Ok(()) => (0, Duration::ZERO),
        Err(why) => why,
    };
    Err(Refused {
        wait,
        limit,
        banned: accounts.first_mut().is_some_and(|first| first.count_refusal(now)),
    })
}

/// Index of the limit with the longest wait.
fn longest(accounts: &mut [&mut LimitAccount], now: Duration, costs: &[u64]) -> usize {
    let limits = accounts.iter_mut().flat_map(|account| &mut account.limits);
    let waits = limits.map(|limit| (limit.counter.wait_from(now, limit.cost(costs)), limit.index));
    let longest = waits.max_by_key(|(wait, _)| *wait);
    longest.map_or(0, |(_, index)| index)
}

impl LimitAccount {
    /// An account without arrivals, with the limits at these indices. `clock` is the
    /// time at the start, since 1970.
    pub(crate) fn new(limits: &ServerLimits, indices: &[usize], clock: Duration) -> LimitAccount {
        let limit = |index: &usize| {
            let limit = &limits.all[*index];
            AccountLimit {
                index: *index,
                kind: limit.kind,
                units: limit.units.into(),
                capacity: limit.most_at_once().into(),
                counter: LimitCounter::new(limit, clock),
                window: WindowMeter::new(limit.period),
            }
        };
        LimitAccount {
            limits: indices.iter().map(limit).collect(),
            ban: None,
            banned: false,
            in_flight: 0,
            admitted_in_flight: 0,
            most_in_flight: 0,
        }
    }

    /// An account that is banned after more refusals than this limit allows.
    pub(crate) fn banned_by(self, limit: &ServerLimit, clock: Duration) -> LimitAccount {
        LimitAccount { ban: Some(LimitCounter::new(limit, clock)), ..self }
    }

    fn record_arrival(&mut self, now: Duration, costs: &[u64]) {
        self.in_flight += 1;
        self.most_in_flight = self.most_in_flight.max(self.in_flight);
        for limit in &mut self.limits {
            limit.window.add(now, limit.cost(costs));
        }
    }

    fn counters(&mut self, costs: &[u64]) -> impl Iterator<Item = (&mut LimitCounter, u64)> {
        let counters = self.limits.iter_mut();
        counters.map(|limit| {
            let cost = limit.cost(costs);
            (&mut limit.counter, cost)
        })
    }

    /// Counts a refusal and returns whether the account is banned.
    fn count_refusal(&mut self, now: Duration) -> bool {
        if let Some(ban) = &mut self.ban {
            let within = counters::admit(std::iter::once((ban, 1)), now, false);
            self.banned |= within.is_err();
        }
        self.banned
    }

    /// The state of each limit.
    pub(crate) fn counts(&mut self, now: Duration) -> impl Iterator<Item = Count> {
        self.limits.iter_mut().map(move |limit| {
            let (left, reset) = limit.counter.left(now);
            let units = limit.capacity;
            Count { units, left, reset }
        })
    }

    /// Counts the end of a request that arrived.
    pub(crate) fn finish(&mut self, admitted: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.admitted_in_flight = self.admitted_in_flight.saturating_sub(u64::from(admitted));
    }

    /// The index of each limit and the most units that it ever counted at once.
    pub(crate) fn most(&self) -> impl Iterator<Item = (usize, u64)> {
        self.limits.iter().map(|limit| {
            let is_in_flight = limit.kind == LimitKind::IN_FLIGHT;
            let most = if is_in_flight { self.most_in_flight } else { limit.window.most() };
            (limit.index, most)
        })
    }

    /// An error if a limit on requests in flight is reached. Its wait is a guess.
    fn check_in_flight(&self) -> Result<(), (usize, Duration)> {
        let is_full = |limit: &&AccountLimit| {
            limit.kind == LimitKind::IN_FLIGHT && self.admitted_in_flight >= limit.units
        };
        match self.limits.iter().find(is_full) {
            Some(limit) => Err((limit.index, Duration::from_millis(100))),
            None => Ok(()),
        }
    }
}

impl AccountLimit {
    fn cost(&self, costs: &[u64]) -> u64 {
        costs.get(self.index).copied().unwrap_or(1)
    }
}

/// A window that slides along with the arrivals and keeps its highest count.
///
/// The window is half-open: two arrivals exactly one length apart are never both
/// in it. It keeps 24 bytes for each arrival of the last window.
#[derive(Debug)]
struct WindowMeter {
    length: Duration,
    recent: VecDeque<(Duration, u64)>,
    now: u64,
    most: u64,
}

impl WindowMeter {
    fn new(length: Duration) -> WindowMeter {
        WindowMeter { length, recent: VecDeque::new(), now: 0, most: 0 }
    }

    /// Counts an arrival of these units at `now`, a time since any fixed start
    /// that does not go backwards.
    ///
    /// Windows that end with an arrival are enough: any other can be moved back
    /// to one without losing an arrival.
    fn add(&mut self, now: Duration, units: u64) {
        while let Some(&(then, units)) = self.recent.front() {
            if now - then < self.length {
                break;
            }
            self.now -= units;
            self.recent.pop_front();
        }
        self.now += units;
        self.recent.push_back((now, units));
        self.most = self.most.max(self.now);
    }

    /// The most units that were ever in the window.
    fn most(&self) -> u64 {
        self.most
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::chance::rng;

    fn account(limits: &[&str]) -> LimitAccount {
        let limits: Vec<ServerLimit> = limits.iter().map(|text| text.parse().unwrap()).collect();
        let indices: Vec<usize> = (0..limits.len()).collect();
        LimitAccount::new(&ServerLimits::from(limits), &indices, Duration::ZERO)
    }

    #[test]
    fn only_admitted_requests_count_as_in_flight() {
        let mut account = account(&["in-flight:1"]);
        let admits =
            |account: &mut LimitAccount| arrive(&mut [account], Duration::ZERO, &[], false);
        assert!(admits(&mut account).is_ok() && admits(&mut account).is_err());
        account.finish(false);
        assert!(admits(&mut account).is_err());
        account.finish(true);
        assert!(admits(&mut account).is_ok());
        assert_eq!(account.most().collect::<Vec<_>>(), [(0, 2)]);
    }

    #[test]
    fn each_limit_counts_its_own_cost() {
        let mut account = account(&["3/1s", "100 tokens/1s"]);
        let mut admits =
            |tokens| arrive(&mut [&mut account], Duration::ZERO, &[1, tokens], false).is_ok();
        assert!(admits(60) && !admits(41) && admits(40) && !admits(1));
        assert_eq!(account.most().collect::<Vec<_>>(), [(0, 4), (1, 142)]);
    }

    fn fullest(length: u64, arrivals: &[u64]) -> u64 {
        let mut window = WindowMeter::new(Duration::from_millis(length));
        for &ms in arrivals {
            window.add(Duration::from_millis(ms), 1);
        }
        window.most()
    }

    /// The fullest window, counted for each arrival as its begin.
    fn brute(length: u64, arrivals: &[u64]) -> u64 {
        let within = |from: u64| arrivals.iter().filter(move |t| (from..from + length).contains(t));
        let counts = arrivals.iter().map(|&from| within(from).count() as u64);
        counts.max().unwrap_or(0)
    }

    #[test]
    fn one_length_apart_is_not_together() {
        assert_eq!(fullest(5, &[]), 0);
        assert_eq!(fullest(5, &[0, 5, 10]), 1);
        assert_eq!(fullest(5, &[0, 4, 5, 9]), 2);
        assert_eq!(fullest(5, &[3, 3, 3]), 3);
    }

    #[test]
    fn it_agrees_with_brute_force() {
        for seed in 0..200 {
            let mut rng = rng(seed, "window", 0);
            let length = rng.random_range(1..40);
            let mut arrivals: Vec<u64> = (0..60).map(|_| rng.random_range(0..300)).collect();
            arrivals.sort_unstable();
            assert_eq!(fullest(length, &arrivals), brute(length, &arrivals), "seed {seed}");
        }
    }
}
