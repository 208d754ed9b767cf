//! The least time that limits allow. Pure.

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
}

/// The least time for a job, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// No run that keeps the limits is shorter.
    pub time: Duration,
    /// The limit that alone would make it the longest.
    pub binds: String,
}

impl Workload {
    /// A workload of requests alone.
    #[must_use]
    pub fn requests(requests: u64) -> Workload {
        Workload { units: vec![requests], busiest: Vec::new() }
    }
}

impl Workload {
    /// The part of it that so many of its requests ask.
    #[must_use]
    pub fn share(&self, requests: u64) -> Workload {
        let all = self.units.first().copied().unwrap_or_default().max(1);
        let part = |units: &u64| (*units as f64 / all as f64 * requests as f64).floor() as u64;
        let parts = |units: &Vec<u64>| units.iter().map(part).collect();
        Workload {
            units: parts(&self.units),
            busiest: self.busiest.iter().map(|units| units.as_ref().map(parts)).collect(),
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
        let alone = |load: &LimitLoad| load.alone(load.units);
        let binds = loads.iter().max_by(|a, b| alone(a).total_cmp(&alone(b)))?;
        let binds = binds.name.clone();
        loads.sort_by(|a, b| b.cycle.total_cmp(&a.cycle));
        let requests = demand.units.first().copied().unwrap_or_default();
        let seconds = together(&loads, requests as f64, requests as f64);
        Some(Estimate {
            time: Duration::try_from_secs_f64(seconds + latency.as_secs_f64()).ok()?,
            binds,
        })
    }

    fn load(
        &self,
        rule: &Rule,
        demand: &Workload,
        latency: Duration,
        start: Time,
    ) -> Option<LimitLoad> {
        let units = match rule.scope {
            LimitScope::Run => demand.units.get(rule.unit).copied()? as f64,
            LimitScope::Pool => {
                demand.units.get(rule.unit).copied()? as f64 / self.keys().len() as f64
            }
            LimitScope::Scope(scope) => {
                let busiest = demand.busiest.get(scope)?.as_ref()?;
                busiest.get(rule.unit).copied()? as f64
            }
        };
        let latency = latency.as_secs_f64();
        let (amount, cycle, paced) = match rule.rate_pattern()? {
            RatePattern::Windows { amount, period } => {
                let waits = match rule.guard() {
                    Guard::Strict => latency,
                    Guard::Acked | Guard::Sent => 0.0,
                };
                (amount as f64, period.as_secs_f64() + waits, false)
            }
            RatePattern::Edges { amount, period } => (amount as f64, period.as_secs_f64(), false),
            RatePattern::Paced { burst, per_second } => {
                // No more than the burst is in flight.
                let per_second = match rule.guard() {
                    Guard::Strict => per_second.min(burst as f64 / latency),
                    Guard::Acked | Guard::Sent => per_second,
                };
                (burst as f64, 1.0 / per_second, true)
            }
            RatePattern::AtOnce { amount } => (amount as f64, latency, false),
        };
        Some(LimitLoad {
            name: rule.name.clone(),
            units,
            amount,
            first: rule.first_edge(start).map_or(cycle, |first| first.as_secs_f64()),
            cycle,
            paced,
        })
    }
}

/// What one limit has to carry.
struct LimitLoad {
    name: String,
    units: f64,
    /// In one cycle, or at once.
    amount: f64,
    /// Seconds for a window; for what is paced, seconds for a unit.
    cycle: f64,
    /// Seconds of the first cycle, which may begin in the middle.
    first: f64,
    paced: bool,
}

impl LimitLoad {
    /// From the first sending to the last, under this limit alone.
    fn alone(&self, units: f64) -> f64 {
        if self.paced {
            (units - self.amount).max(0.0) * self.cycle
        } else {
            self.time_of(self.full_cycles(units))
        }
    }

    fn time_of(&self, cycles: f64) -> f64 {
        if cycles < 1.0 { 0.0 } else { self.first + (cycles - 1.0) * self.cycle }
    }

    fn full_cycles(&self, units: f64) -> f64 {
        ((units / self.amount).ceil() - 1.0).max(0.0)
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
    if first.paced {
        return without.max(first.alone(units));
    }
    let cycles = first.full_cycles(units);
    if cycles == 0.0 {
        return without;
    }
    let done = cycles * first.amount / units * left;
    without.max(first.time_of(cycles) + together(others, all, left - done))
}

#[cfg(test)]
mod tests {
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
}
