//! The least time that all limits together allow. Pure.

use std::slice;
use std::time::Duration;

use super::load::{LimitLoad, Pace};
use super::used_share::UsedShare;
use super::workload::{UsedUnits, Workload};
use crate::config::{LimitScope, Policy, Rule};
use crate::time::Time;

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
