//! What a job asks of its limits, and what was asked of them before. Pure.

use std::collections::HashMap;
use std::time::Duration;

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

impl Workload {
    /// A workload of requests alone.
    #[must_use]
    pub fn requests(requests: u64) -> Workload {
        Workload { units: vec![requests], ..Workload::default() }
    }

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
    pub fn begin(&self, start: Time, latency: Duration) -> RunBegin {
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

/// When a run begins.
#[derive(Clone, Copy)]
pub struct RunBegin {
    pub start: Time,
    /// The earliest time at which requests were sent whose answers took the latency.
    pub sent: Time,
}
