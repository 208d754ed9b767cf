//! The least time that limits allow. Pure.

use std::collections::HashMap;
use std::slice;
use std::time::Duration;

use crate::config::{Guard, LimitScope, Policy, Rule};
use crate::kinds::RatePattern;
use crate::time::Time;

/// What a job asks of its limits, all in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    /// By unit, requests first.
    pub units: Vec<u64>,
    /// By scope: the units of its busiest key, where that is known.
    pub busiest: Vec<Option<Vec<u64>>>,
    /// The units that earlier runs of the account have used.
    pub used_before: UsedBefore,
    /// When the first answer of the run was seen, if it has had one.
    pub first_answer: Option<Time>,
}

/// By the name of a limit, the units that have been used: of each key that has a limit of its
/// own, or of the whole limit.
pub type UsedBefore = HashMap<String, Vec<UsedUnits>>;

/// Units of one limit that have been used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsedUnits {
    /// The units, with the time until they are available again, in the order of that.
    pub units: Vec<(Duration, u64)>,
    /// By unit, what the workload costs under this key of a scope; empty for other limits.
    pub wanted: Vec<u64>,
}

/// Requests that were sent at about the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentRequests {
    /// The latest time at which any of them was sent.
    pub at: Time,
    /// Number of requests.
    pub requests: u64,
}

impl UsedUnits {
    /// The sum of all units.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.units.iter().map(|(_, units)| units).sum()
    }
}

/// The least time for a job, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// No run that keeps the limits is shorter.
    pub time: Duration,
    /// The limit that alone would make it the longest.
    pub binds: String,
    /// Units that this limit lets be in flight at once, if they and the latency set the
    /// pace instead of its rate.
    pub at_a_time: Option<u64>,
}

impl Workload {
    /// A workload of requests alone.
    #[must_use]
    pub fn requests(requests: u64) -> Workload {
        Workload { units: vec![requests], ..Workload::default() }
    }
}

impl Workload {
    /// The workload whose cost in this unit has turned out to be `factor` times as high.
    pub fn scale(&mut self, unit: usize, factor: f64) {
        let used = self.used_before.values_mut().flatten();
        let of_keys = self.busiest.iter_mut().flatten().chain(used.map(|key| &mut key.wanted));
        let sums = of_keys.chain([&mut self.units]);
        for units in sums.filter_map(|units| units.get_mut(unit)) {
            *units = (*units as f64 * factor).floor() as u64;
        }
    }

    /// The beginning of a run that begins at `start`. No answer came before the first one, so none
    /// is counted as of an earlier time.
    fn begin(&self, start: Time, latency: Duration) -> RunBegin {
        let sent = self.first_answer.map(|first| first.before(latency));
        RunBegin { start, sent: sent.map_or(start, |sent| sent.max(start)) }
    }

    /// The part of it that so many of its requests ask.
    #[must_use]
    pub fn share(&self, requests: u64) -> Workload {
        let all = self.units.first().copied().unwrap_or_default().max(1);
        let part = |units: &u64| (*units as f64 / all as f64 * requests as f64).floor() as u64;
        let parts = |units: &Vec<u64>| units.iter().map(part).collect();
        let mut used_before = self.used_before.clone();
        for key in used_before.values_mut().flatten() {
            key.wanted = parts(&key.wanted);
        }
        Workload {
            units: parts(&self.units),
            busiest: self.busiest.iter().map(|units| units.as_ref().map(parts)).collect(),
            used_before,
            first_answer: self.first_answer,
        }
    }
}

impl Policy {
    /// The shortest time in which this demand can pass all limits under their
    /// guards, from `start` on, when each answer takes `latency`; none without a
    /// limit that binds anything.
    #[must_use]
    pub fn bound(&self, demand: &Workload, latency: Duration, start: Time) -> Option<Estimate> {
        let mut loads: Vec<LimitLoad> = self
            .rules()
            .iter()
            .filter_map(|rule| self.load(rule, demand, latency, start))
            .collect();
        let of_used_keys: Vec<LimitLoad> = self
            .rules()
            .iter()
            .flat_map(|rule| self.loads_of_used_keys(rule, demand, latency, start))
            .collect();
        let alone = |load: &LimitLoad| load.alone(load.units);
        let each = || loads.iter().chain(&of_used_keys);
        let binds = each().max_by(|a, b| alone(a).total_cmp(&alone(b)))?;
        let (name, at_a_time) = (binds.name.clone(), binds.at_a_time());
        let longest = each().map(alone).fold(0.0, f64::max);
        loads.sort_by(|a, b| b.pace.cycle().total_cmp(&a.pace.cycle()));
        let requests = demand.units.first().copied().unwrap_or_default();
        let seconds = together(&loads, requests as f64, requests as f64);
        Some(Estimate {
            time: Duration::try_from_secs_f64(seconds.max(longest) + latency.as_secs_f64()).ok()?,
            binds: name,
            at_a_time,
        })
    }

    /// The units that are used up now by requests which were sent at these times, in order, of
    /// limits on requests that hold for the whole run or for each key of a pool.
    #[must_use]
    pub fn used_by(&self, sent: &[SentRequests], latency: Duration, now: Time) -> UsedBefore {
        let rules = self.rules().iter().filter(|rule| rule.unit == 0);
        let rules = rules.filter(|rule| !matches!(rule.scope, LimitScope::Scope(_)));
        let used = |rule: &Rule| {
            let units = match rule.rate_pattern()? {
                RatePattern::Paced { per_second, .. } => in_bucket(sent, per_second, now),
                RatePattern::AtOnce { .. } => return None,
                pattern => in_windows(rule, pattern.period()?, sent, latency, now),
            };
            Some((rule.name.clone(), vec![UsedUnits { units, wanted: Vec::new() }]))
        };
        rules.filter_map(used).collect()
    }

    fn load(
        &self,
        rule: &Rule,
        demand: &Workload,
        latency: Duration,
        start: Time,
    ) -> Option<LimitLoad> {
        let used = demand.used_before.get(&rule.name).map_or(&[][..], Vec::as_slice);
        let units = |all: &Vec<u64>| all.get(rule.unit).map(|units| *units as f64);
        let (units, used) = match rule.scope {
            LimitScope::Run => (units(&demand.units)?, UsedShare::new(used, 1)),
            LimitScope::Pool => {
                let keys = self.keys().len();
                (units(&demand.units)? / keys as f64, UsedShare::new(used, keys))
            }
            LimitScope::Scope(scope) => {
                (units(demand.busiest.get(scope)?.as_ref()?)?, UsedShare::default())
            }
        };
        LimitLoad::new(rule, units, used, latency, demand.begin(start, latency))
    }

    /// The loads of the keys of a scope under which units have been used.
    fn loads_of_used_keys(
        &self,
        rule: &Rule,
        demand: &Workload,
        latency: Duration,
        start: Time,
    ) -> Vec<LimitLoad> {
        let used = demand.used_before.get(&rule.name);
        let Some(keys) = used.filter(|_| matches!(rule.scope, LimitScope::Scope(_))) else {
            return Vec::new();
        };
        let load = |key: &UsedUnits| {
            let units = *key.wanted.get(rule.unit)? as f64;
            let (used, begin) =
                (UsedShare::new(slice::from_ref(key), 1), demand.begin(start, latency));
            LimitLoad::new(rule, units, used, latency, begin)
        };
        keys.iter().filter_map(load).collect()
    }
}

/// The units of requests that still count in windows of this period.
fn in_windows(
    rule: &Rule,
    period: Duration,
    sent: &[SentRequests],
    latency: Duration,
    now: Time,
) -> Vec<(Duration, u64)> {
    let waits = if rule.guard() == Guard::Strict { latency } else { Duration::ZERO };
    let wait = |sent: &SentRequests| {
        let free = rule.free_again(sent.at, waits);
        free.unwrap_or_else(|| sent.at.after(period + waits)).since(now)
    };
    let units = sent.iter().map(|sent| (wait(sent), sent.requests));
    units.filter(|(wait, units)| !wait.is_zero() && *units > 0).collect()
}

/// The units of requests that have not leaked yet from a bucket.
fn in_bucket(sent: &[SentRequests], per_second: f64, now: Time) -> Vec<(Duration, u64)> {
    let mut level = 0.0_f64;
    let mut at = Time::ZERO;
    for SentRequests { at: sent, requests } in sent {
        level = (level - sent.since(at).as_secs_f64() * per_second).max(0.0) + *requests as f64;
        at = *sent;
    }
    level -= now.since(at).as_secs_f64() * per_second;
    let wait = Duration::try_from_secs_f64(level / per_second).unwrap_or_default();
    if wait.is_zero() { Vec::new() } else { vec![(wait, level.ceil() as u64)] }
}

/// When a run begins.
#[derive(Clone, Copy)]
struct RunBegin {
    start: Time,
    /// The earliest time at which requests were sent whose answers took the latency.
    sent: Time,
}

/// What one limit has to carry.
struct LimitLoad {
    name: String,
    units: f64,
    /// In one cycle, or at once.
    amount: f64,
    pace: Pace,
    used: UsedShare,
}

/// Units that were used before under the keys that a load is spread over, as the share of one
/// key. All times are in seconds.
#[derive(Default)]
struct UsedShare {
    /// By key, the units with the time until they are available again, in the order of that.
    by_key: Vec<Vec<(f64, f64)>>,
    /// Number of keys, with those that have used nothing.
    keys: usize,
}

impl UsedShare {
    fn new(used: &[UsedUnits], keys: usize) -> UsedShare {
        let unit = |(wait, units): &(Duration, u64)| (wait.as_secs_f64(), *units as f64);
        let by_key = used.iter().map(|key| key.units.iter().map(unit).collect());
        UsedShare { by_key: by_key.collect(), keys }
    }

    fn sum(&self) -> f64 {
        let units = self.by_key.iter().flatten().map(|(_, units)| units);
        units.sum::<f64>() / self.keys.max(1) as f64
    }

    /// The time until this number of the units is available.
    fn available(&self, units: f64) -> f64 {
        if units <= 0.0 {
            return 0.0;
        }
        let mut all: Vec<&(f64, f64)> = self.by_key.iter().flatten().collect();
        all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let mut sum = 0.0;
        let enough = all.into_iter().find(|(_, more)| {
            sum += more / self.keys.max(1) as f64;
            // Shares of keys are no whole numbers.
            sum >= units - 1e-9
        });
        enough.map_or(0.0, |(wait, _)| *wait)
    }

    /// The units in a bucket that leaks one in each interval, whose first ones have leaked in
    /// part.
    fn in_bucket(&self, interval: f64) -> f64 {
        let units = self.by_key.iter().flatten().map(|(wait, units)| units.min(wait / interval));
        units.sum::<f64>() / self.keys.max(1) as f64
    }

    /// The time until the bucket of some key, which holds this amount, takes one unit more.
    fn first_taken(&self, amount: f64, interval: f64) -> f64 {
        let room_in = |key: &Vec<(f64, f64)>| {
            let held: f64 = key.iter().map(|(wait, units)| units.min(wait / interval)).sum();
            let mut to_leak = held + 1.0 - amount;
            if to_leak <= 0.0 {
                return 0.0;
            }
            for (wait, units) in key {
                let units = units.min(wait / interval);
                if to_leak <= units {
                    return wait - (units - to_leak) * interval;
                }
                to_leak -= units;
            }
            0.0
        };
        if self.by_key.len() < self.keys {
            return 0.0;
        }
        self.by_key.iter().map(room_in).reduce(f64::min).unwrap_or_default()
    }
}

impl LimitLoad {
    fn new(
        rule: &Rule,
        units: f64,
        used: UsedShare,
        latency: Duration,
        begin: RunBegin,
    ) -> Option<LimitLoad> {
        // What is counted from its answer waits for it.
        let RunBegin { start, sent } = begin;
        let (waits, sent) = match rule.guard() {
            Guard::Strict => (latency, sent),
            Guard::Acked | Guard::Sent => (Duration::ZERO, start),
        };
        let (amount, pace) = match rule.rate_pattern()? {
            RatePattern::Windows { amount, period } => {
                (amount, Pace::Windows { cycle: (period + waits).as_secs_f64() })
            }
            RatePattern::TwoWindows { amount, period } => {
                let cycle = (period + waits).as_secs_f64();
                (amount, Pace::TwoWindows { cycle, period: period.as_secs_f64() })
            }
            RatePattern::Edges { amount, period } => {
                let edge = rule.free_again(sent, waits).unwrap_or(start.after(period));
                let next = rule.free_again(edge, waits).unwrap_or(edge.after(period));
                let periods = next.since(edge).div_duration_f64(period).round().max(1.0);
                let cycle = periods * period.as_secs_f64();
                (amount, Pace::Edges { first: edge.since(start).as_secs_f64(), cycle })
            }
            RatePattern::Paced { burst, per_second } => {
                let interval = 1.0 / per_second;
                (burst, Pace::Paced { interval, latency: waits.as_secs_f64() })
            }
            RatePattern::AtOnce { amount } => {
                (amount, Pace::Windows { cycle: latency.as_secs_f64() })
            }
        };
        Some(LimitLoad { name: rule.name.clone(), units, amount: amount as f64, pace, used })
    }
}

/// How the units of a limit follow one another. All times are in seconds.
#[derive(Clone, Copy)]
enum Pace {
    /// The amount at once, and each unit again after a cycle.
    Windows { cycle: f64 },
    /// The amount at once, and again in each cycle, one unit after the other.
    TwoWindows {
        cycle: f64,
        /// The time in which the amount comes back.
        period: f64,
    },
    /// The amount at once, and again at each edge.
    Edges {
        /// The first cycle, which may begin in the middle.
        first: f64,
        cycle: f64,
    },
    /// The amount at once, and then one unit after the other.
    Paced {
        /// The time in which one unit comes back.
        interval: f64,
        /// The time for which a unit is in flight before it begins to come back.
        latency: f64,
    },
}

impl Pace {
    fn cycle(self) -> f64 {
        match self {
            Pace::Windows { cycle }
            | Pace::TwoWindows { cycle, .. }
            | Pace::Edges { cycle, .. } => cycle,
            Pace::Paced { interval, .. } => interval,
        }
    }

    fn time_of(self, cycles: f64) -> f64 {
        match self {
            _ if cycles < 1.0 => 0.0,
            Pace::Edges { first, cycle } => first + (cycles - 1.0) * cycle,
            Pace::Windows { cycle }
            | Pace::TwoWindows { cycle, .. }
            | Pace::Paced { interval: cycle, .. } => cycles * cycle,
        }
    }
}

impl LimitLoad {
    /// From the first sending to the last, under this limit alone.
    fn alone(&self, units: f64) -> f64 {
        let used = self.used.sum();
        match self.pace {
            Pace::Windows { .. } => self.in_windows(units),
            // The least time of a counter, which its file derives.
            Pace::TwoWindows { period, .. } => {
                let cycles = self.full_cycles(units);
                let last = units - cycles * self.amount;
                let share = if cycles > 0.0 { last / self.amount } else { 0.0 };
                self.in_windows(units).max(self.pace.time_of(cycles) + share * period)
            }
            // What was used before is in one window with what is sent first.
            Pace::Edges { .. } => self.pace.time_of(self.full_cycles(units + used)),
            Pace::Paced { interval, latency } => {
                // What was used before leaks first, at the latest when it can have arrived.
                let first = self.used.first_taken(self.amount, interval);
                let held = self.used.in_bucket(interval);
                let after_it = first.max((held + units - self.amount) * interval);
                if units <= self.amount {
                    return after_it;
                }
                // The least time of a bucket, which its file derives, from the first sending.
                let before = units - 1.0;
                let rounds = (before / self.amount).floor();
                let left = before - rounds * self.amount;
                let at_the_rate = latency + (units - self.amount) * interval;
                let in_rounds = rounds * (latency + interval) + left * interval;
                after_it.max(first + at_the_rate.max(in_rounds))
            }
        }
    }

    /// From the first sending to the last, where all units of a cycle come back at once.
    fn in_windows(&self, units: f64) -> f64 {
        let free = (self.amount - self.used.sum()).max(0.0);
        let cycles = self.full_cycles(units);
        let last = units - cycles * self.amount;
        self.pace.time_of(cycles) + self.used.available(last - free)
    }

    fn full_cycles(&self, units: f64) -> f64 {
        ((units / self.amount).ceil() - 1.0).max(0.0)
    }

    /// The amount, if it and the latency set the pace instead of the rate.
    fn at_a_time(&self) -> Option<u64> {
        match self.pace {
            Pace::Paced { interval, latency } => {
                let binds = latency > (self.amount - 1.0) * interval;
                (binds && self.units > self.amount).then_some(self.amount as u64)
            }
            Pace::Windows { .. } | Pace::TwoWindows { .. } | Pace::Edges { .. } => None,
        }
    }
}

/// The time for `left` of `all` requests under all of these, the longest windows
/// first: full windows of the first, then what is left under the others; or the
/// others alone, where the first never binds.
fn together(loads: &[LimitLoad], all: f64, left: f64) -> f64 {
    let Some((first, others)) = loads.split_first() else {
        return 0.0;
    };
    let without = together(others, all, left);
    let units = first.units * (left / all.max(1.0));
    if matches!(first.pace, Pace::Paced { .. }) {
        return without.max(first.alone(units));
    }
    let cycles = first.full_cycles(units);
    if cycles == 0.0 {
        return without;
    }
    let done = cycles * first.amount / units * left;
    without.max(first.pace.time_of(cycles) + together(others, all, left - done))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::config::Settings;

    fn bound(rates: &[&str], guard: Guard, rows: u64, millis: u64) -> Option<Estimate> {
        let settings = Settings {
            rate: rates.iter().map(|rate| rate.parse().unwrap()).collect(),
            guard,
            ..Settings::default()
        };
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        policy.bound(&Workload::requests(rows), Duration::from_millis(millis), Time::ZERO)
    }

    fn seconds(rates: &[&str], guard: Guard, rows: u64, millis: u64) -> f64 {
        let bound = bound(rates, guard, rows, millis).unwrap();
        (bound.time.as_secs_f64() * 1e6).round() / 1e6
    }

    #[test]
    fn the_slowest_limit_binds() {
        let rates = ["22/5s", "1000/1m"];
        assert_eq!(seconds(&rates, Guard::Strict, 500, 0), 110.0);
        assert_eq!(seconds(&rates, Guard::Strict, 500, 250), 22.0 * 5.25 + 0.25);
        assert_eq!(seconds(&rates, Guard::Acked, 500, 250), 110.25);
        assert_eq!(seconds(&rates, Guard::Strict, 22, 0), 0.0);
        assert_eq!(bound(&[], Guard::Strict, 9, 0), None);
        assert_eq!(bound(&rates, Guard::Strict, 500, 0).unwrap().binds, "22/5s");
    }

    #[test]
    fn what_the_longest_window_leaves_is_up_to_the_others() {
        let rates = ["5/1s", "100/1m"];
        // 4 full minutes, and 100 more at 5 a second
        assert_eq!(seconds(&rates, Guard::Strict, 500, 0), 4.0 * 60.0 + 19.0);
        assert_eq!(seconds(&["bucket:10/1s"], Guard::Strict, 110, 0), 10.0);
        assert_eq!(seconds(&["5000/run", "10/1s"], Guard::Strict, 20, 0), 1.0);
    }

    #[test]
    fn a_bucket_leaks_from_the_first_answer_on_and_latency_binds_where_it_holds_little() {
        let seconds = |rate: &str, rows, millis| seconds(&[rate], Guard::Strict, rows, millis);
        // One at a time: each waits for the answer of the one before, and 0.1 s.
        assert_eq!(seconds("gcra:10/1s", 40, 50), 5.9);
        assert_eq!(seconds("gcra:10/1s", 1, 50), 0.05);
        // 10 at once, and from the first answer on one each 0.1 s.
        assert_eq!(seconds("bucket:10/1s", 110, 900), 11.8);
        // 10 in each 1.5 s: 10 answers in flight and 0.1 s.
        assert_eq!(seconds("bucket:10/1s", 101, 1_400), 16.4);
        assert_eq!(seconds("bucket:10/1s", 110, 1_400), 17.3);
        let at_a_time = |rate, guard, millis| {
            bound(&[rate], guard, 40, millis).and_then(|bound| bound.at_a_time)
        };
        assert_eq!(at_a_time("gcra:10/1s", Guard::Strict, 50), Some(1));
        assert_eq!(at_a_time("gcra:10/1s", Guard::Acked, 50), None);
        assert_eq!(at_a_time("gcra:10/1s", Guard::Strict, 0), None);
        assert_eq!(at_a_time("bucket:10/1s", Guard::Strict, 1_400), Some(10));
        assert_eq!(at_a_time("bucket:10/1s", Guard::Strict, 900), None);
    }

    #[test]
    fn what_is_answered_beyond_an_edge_counts_in_the_next_window_too() {
        // Windows begin at whole seconds, and clocks may differ by 50 ms.
        let bound = |start, millis| {
            let settings =
                Settings { rate: vec!["20/1s@clock".parse().unwrap()], ..Settings::default() };
            let policy = Policy::new(&settings, Duration::ZERO).unwrap();
            let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
            let start = Time::ZERO.after(Duration::from_millis(start));
            let bound = policy.bound(&Workload::requests(60), Duration::from_millis(millis), start);
            bound.unwrap().time.as_millis()
        };
        assert_eq!(bound(500, 100), 550 + 1_000 + 100);
        assert_eq!(bound(849, 100), 201 + 1_000 + 100);
        assert_eq!(bound(851, 100), 1_199 + 1_000 + 100);
        // What is sent at an edge is answered after the next one.
        assert_eq!(bound(50, 950), 2_000 + 2_000 + 950);
    }

    #[test]
    fn what_is_answered_late_at_first_counts_in_the_next_window_too() {
        let settings =
            Settings { rate: vec!["20/1s@clock".parse().unwrap()], ..Settings::default() };
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
        let at = |millis| Time::ZERO.after(Duration::from_millis(millis));
        let bound = |guard, first: Option<u64>| {
            let demand = Workload { first_answer: first.map(at), ..Workload::requests(60) };
            let latency = Duration::from_millis(50);
            let bound = policy.under(guard).bound(&demand, latency, at(820)).unwrap();
            bound.time.as_millis()
        };
        // The window ends at 1 s, and clocks may differ by 50 ms.
        for (first, time) in [(None, 230), (Some(860), 230), (Some(940), 230), (Some(960), 1_230)] {
            assert_eq!(bound(Guard::Strict, first), time + 1_000 + 50, "{first:?}");
        }
        assert_eq!(bound(Guard::Acked, Some(960)), 230 + 1_000 + 50);
    }

    #[test]
    fn costs_that_turned_out_otherwise_are_scaled() {
        let busiest = vec![Some(vec![4, 400]), None];
        let mut demand = Workload { units: vec![10, 1000], busiest, ..Workload::default() };
        demand.scale(1, 0.25);
        demand.scale(7, 0.5);
        assert_eq!(demand.units, [10, 250]);
        assert_eq!(demand.busiest, [Some(vec![4, 100]), None]);
    }

    #[test]
    fn what_earlier_runs_have_used_comes_first() {
        let bound = |rate: &str, rows, used: &[(u64, u64)]| {
            let settings = Settings { rate: vec![rate.parse().unwrap()], ..Settings::default() };
            let policy = Policy::new(&settings, Duration::ZERO).unwrap();
            let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
            let used = used.iter().map(|&(wait, units)| (Duration::from_secs(wait), units));
            let mut demand = Workload::requests(rows);
            let used = UsedUnits { units: used.collect(), wanted: Vec::new() };
            demand.used_before.insert(policy.rules()[0].name.clone(), vec![used]);
            policy.bound(&demand, Duration::ZERO, Time::ZERO).unwrap().time.as_secs_f64()
        };
        // 12 of 22 are free at once, 4 in 1 s, and 6 in 3 s.
        let used = [(1, 4), (3, 6)];
        for (rows, expected) in [(12, 0.0), (13, 1.0), (16, 1.0), (17, 3.0), (22, 3.0), (23, 5.0)] {
            assert_eq!(bound("22/5s", rows, &used), expected, "{rows}");
        }
        assert_eq!(bound("22/5s", 44, &used), 8.0);
        // They are used in the window that the run begins in.
        assert_eq!(bound("22/10s@clock", 12, &[(10, 10)]), 0.0);
        assert_eq!(bound("22/10s@clock", 13, &[(10, 10)]), 10.5);
        assert_eq!(bound("22/10s@clock", 35, &[(10, 10)]), 20.5);
        // 10 tokens come back in each second.
        assert_eq!(bound("bucket:10/1s", 5, &[(1, 10)]), 0.5);
        assert_eq!(bound("bucket:10/1s", 20, &[(1, 10)]), 2.0);
        assert_eq!(bound("bucket:10/1s", 1, &[(3, 10)]), 2.1);
        // Two that may arrive in 30 s hold their place, and no others up.
        assert_eq!(bound("bucket:10/1s", 8, &[(30, 2)]), 0.0);
        assert_eq!(bound("bucket:10/1s", 110, &[(30, 2)]), 10.2);
    }

    #[test]
    fn requests_that_were_sent_a_while_ago_count_for_the_rest_of_their_period() {
        let used = |rate: &str, sent: &[(u64, u64)], millis: u64| {
            let settings = Settings { rate: vec![rate.parse().unwrap()], ..Settings::default() };
            let policy = Policy::new(&settings, Duration::ZERO).unwrap();
            let policy = policy.on_clock(Timestamp::UNIX_EPOCH);
            let at = |millis| Time::ZERO.after(Duration::from_millis(millis));
            let sent: Vec<SentRequests> = sent
                .iter()
                .map(|&(millis, requests)| SentRequests { at: at(millis), requests })
                .collect();
            let used = policy.used_by(&sent, Duration::from_millis(250), at(millis));
            let used = used[&policy.rules()[0].name][0].units.clone();
            let in_millis = |(wait, units): (Duration, u64)| (wait.as_millis() as u64, units);
            used.into_iter().map(in_millis).collect::<Vec<_>>()
        };
        let sent = [(0, 20), (4_000, 2)];
        assert_eq!(used("22/5s", &sent, 4_100), [(1_150, 20), (5_150, 2)]);
        assert_eq!(used("22/5s", &sent, 6_000), [(3_250, 2)]);
        // Clocks may differ by a twentieth of the period.
        assert_eq!(used("22/5s@clock", &sent, 4_500), [(750, 20), (750, 2)]);
        assert_eq!(used("22/5s@clock", &sent, 5_300), []);
        // 10 of them have leaked in a second.
        assert_eq!(used("bucket:10/1s", &[(0, 15)], 1_000), [(500, 5)]);
        assert_eq!(used("bucket:10/1s", &[(0, 15)], 2_000), []);
    }

    #[test]
    fn the_busiest_key_and_the_number_of_keys_decide() {
        let settings: Settings = serde_json::from_value(serde_json::json!({
            "rate": ["10/1s", {"rate": "10/1m", "per": "{{ t }}"}],
            "keys": ["a", "b"],
        }))
        .unwrap();
        let policy = Policy::new(&settings, Duration::ZERO).unwrap();
        let mut demand = Workload::requests(40);
        let time =
            |demand: &Workload| policy.bound(demand, Duration::ZERO, Time::ZERO).unwrap().time;
        assert_eq!(time(&demand).as_secs_f64(), 1.0);
        demand.busiest = vec![Some(vec![11])];
        assert_eq!(time(&demand).as_secs_f64(), 60.0);
    }

    #[test]
    fn units_that_a_key_has_used_before_come_first() {
        let settings = serde_json::from_value(serde_json::json!({
            "rate": [{"rate": "10/1m", "per": "{{ t }}"}],
        }));
        let policy = Policy::new(&settings.unwrap(), Duration::ZERO).unwrap();
        // The busiest key asks for 10 and is new; another has used 8 of its 10.
        let mut demand = Workload { busiest: vec![Some(vec![10])], ..Workload::requests(20) };
        let used =
            |wanted| UsedUnits { units: vec![(Duration::from_secs(40), 8)], wanted: vec![wanted] };
        for (wanted, expected) in [(2, 0.0), (3, 40.0), (12, 60.0), (13, 100.0)] {
            demand.used_before.insert(policy.rules()[0].name.clone(), vec![used(wanted)]);
            let bound = policy.bound(&demand, Duration::ZERO, Time::ZERO).unwrap();
            assert_eq!(bound.time.as_secs_f64(), expected, "{wanted}");
        }
        // Half of the requests take half of each key's units.
        assert_eq!(demand.share(10).used_before[&policy.rules()[0].name][0].wanted, [6]);
    }

    #[test]
    fn the_keys_of_a_pool_have_together_what_each_has_left() {
        let bound = |rate: &str, rows, used: &[&[(u64, u64)]]| {
            let settings = serde_json::json!({"rate": [rate], "keys": ["a", "b"]});
            let settings = serde_json::from_value(settings).unwrap();
            let policy = Policy::new(&settings, Duration::ZERO).unwrap();
            let of_key = |used: &&[(u64, u64)]| UsedUnits {
                units: used
                    .iter()
                    .map(|&(wait, units)| (Duration::from_secs(wait), units))
                    .collect(),
                wanted: Vec::new(),
            };
            let mut demand = Workload::requests(rows);
            let used = used.iter().map(of_key).collect();
            demand.used_before.insert(policy.rules()[0].name.clone(), used);
            policy.bound(&demand, Duration::ZERO, Time::ZERO).unwrap().time.as_secs_f64()
        };
        // 2 of 6 are free at once, one in 2 s, and three in 4 s.
        let used: [&[(u64, u64)]; 2] = [&[(4, 3)], &[(2, 1)]];
        for (rows, expected) in [(2, 0.0), (3, 2.0), (4, 4.0), (6, 4.0), (7, 5.0)] {
            assert_eq!(bound("3/5s", rows, &used), expected, "{rows}");
        }
        // A full bucket and one that is empty: 20 tokens come back in each second.
        let used: [&[(u64, u64)]; 2] = [&[(1, 10)], &[]];
        for (rows, expected) in [(10, 0.0), (20, 0.5), (30, 1.0)] {
            assert_eq!(bound("bucket:10/1s", rows, &used), expected, "{rows}");
        }
    }
}
