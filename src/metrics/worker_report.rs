//! What a worker of another process has counted since its report before. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counters::{Sending, TimeByReason};
use super::time_share::TimeBreakdown;
use crate::limit::{BlockedTime, BlockerKind};
use crate::price::BillPart;

/// The kinds of what blocks rows, by the names that reports have for them.
const BLOCKERS: [(&str, BlockerKind); 6] = [
    ("limit", BlockerKind::Limit),
    ("key-limit", BlockerKind::KeyLimit),
    ("in-flight", BlockerKind::InFlight),
    ("linger", BlockerKind::Linger),
    ("pause", BlockerKind::Pause),
    ("operator", BlockerKind::Operator),
];

/// The counts of a worker since its report before, and how it has spent the time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct WorkerReport {
    /// The name of the worker.
    pub worker: String,
    /// Number of its requests that wait for their answer now.
    pub in_flight: u64,
    /// The counts.
    pub sending: Sending,
    /// The time.
    pub time: ReportedTime,
    /// The bill.
    #[serde(skip_serializing_if = "BillPart::is_empty")]
    pub bill: BillPart,
}

/// The time of the workers of other processes by reason, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ReportedTime {
    spent: [u64; 9],
    /// The kind and the name of what has blocked rows at the limiters.
    blocked: Vec<(String, String, u64)>,
}

impl ReportedTime {
    /// The time of all threads of a worker.
    pub fn of(breakdown: &TimeBreakdown) -> ReportedTime {
        let mut spent = [0; 9];
        for by_reason in &breakdown.spent {
            for (sum, time) in spent.iter_mut().zip(by_reason) {
                *sum += milliseconds(*time);
            }
        }
        let blocked = breakdown.blocked.iter().filter(|it| !it.time.is_zero()).map(|it| {
            let kind = BLOCKERS.iter().find(|(_, kind)| *kind == it.by);
            let kind = kind.map_or_else(String::new, |(name, _)| (*name).to_owned());
            (kind, it.name.clone(), milliseconds(it.time))
        });
        ReportedTime { spent, blocked: blocked.collect() }
    }

    /// Adds the time of another report.
    pub fn add(&mut self, more: &ReportedTime) {
        for (sum, more) in self.spent.iter_mut().zip(more.spent) {
            *sum = sum.saturating_add(more);
        }
        for (kind, name, time) in &more.blocked {
            let same = self.blocked.iter_mut().find(|it| (&it.0, &it.1) == (kind, name));
            match same {
                Some(sum) => sum.2 = sum.2.saturating_add(*time),
                None => self.blocked.push((kind.clone(), name.clone(), *time)),
            }
        }
    }

    /// The shares of all workers' time, as those of one worker that was there for `wall`.
    pub fn breakdown(&self, wall: Duration) -> TimeBreakdown {
        let all: u64 = self.spent.iter().sum();
        let scale = wall.as_secs_f64() / (all as f64 / 1_000.0).max(f64::MIN_POSITIVE);
        let time = |milliseconds: u64| {
            Duration::try_from_secs_f64(milliseconds as f64 / 1_000.0 * scale).unwrap_or_default()
        };
        let mut spent = TimeByReason::default();
        for (of, reported) in spent.iter_mut().zip(self.spent) {
            *of = time(reported);
        }
        let blocked = self.blocked.iter().filter_map(|(kind, name, reported)| {
            let (_, by) = BLOCKERS.iter().find(|(name, _)| name == kind)?;
            Some(BlockedTime { by: *by, name: name.clone(), time: time(*reported) })
        });
        TimeBreakdown { spent: vec![spent], blocked: blocked.collect(), out: Vec::new() }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reports_of_workers_add_up_to_shares_of_the_wall_time() {
        let mut spent = TimeByReason::default();
        (spent[0], spent[2]) = (Duration::from_secs(1), Duration::from_secs(3));
        let blocked = |by, name: &str| BlockedTime {
            by,
            name: name.to_owned(),
            time: Duration::from_secs(3),
        };
        let one = TimeBreakdown {
            spent: vec![spent, spent],
            blocked: vec![blocked(BlockerKind::Linger, "22/5s")],
            out: Vec::new(),
        };
        let text = serde_json::to_string(&ReportedTime::of(&one)).unwrap();
        let read: ReportedTime = serde_json::from_str(&text).unwrap();
        let mut all = ReportedTime::default();
        (0..3).for_each(|_| all.add(&read));
        let shares = all.breakdown(Duration::from_secs(8)).shares();
        let shares: Vec<_> =
            shares.iter().map(|it| (it.cause, it.name.as_deref(), it.seconds)).collect();
        assert_eq!(shares, [("linger", Some("22/5s"), 6.0), ("work", None, 2.0)]);
        assert!(ReportedTime::default().breakdown(Duration::from_secs(8)).shares().is_empty());
    }
}
