//! The time of all workers, by cause, as it is told. Pure.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::limit::{BlockedTime, BlockerKind};

use super::{TimeByReason, WaitReason};

/// What the time of all workers went to, up to some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeBreakdown {
    /// Each worker's time.
    pub spent: Vec<TimeByReason>,
    /// What its part at the gate went to.
    pub held: Vec<BlockedTime>,
}

impl TimeBreakdown {
    /// What has come since an earlier one.
    #[must_use]
    pub fn since(&self, before: &TimeBreakdown) -> TimeBreakdown {
        let mut later = self.clone();
        for (spent, before) in later.spent.iter_mut().zip(&before.spent) {
            for (time, before) in spent.iter_mut().zip(before) {
                *time = time.saturating_sub(*before);
            }
        }
        for held in &mut later.held {
            let same = |it: &&BlockedTime| (it.by, &it.name) == (held.by, &held.name);
            let before = before.held.iter().find(same);
            held.time = held
                .time
                .saturating_sub(before.map_or(Duration::ZERO, |it| it.time));
        }
        later
    }

    /// The largest part first; what took no time is left out.
    #[must_use]
    pub fn shares(&self) -> Vec<TimeShare> {
        shares(&self.spent, &self.held)
    }
}

/// A part of the time of all workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeShare {
    /// What it went to: `limit`, `pause`, `server`, `retries`, `input`, `output`, `work`.
    pub cause: &'static str,
    /// Which limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its share of the wall time, in seconds: they add up to that.
    #[serde(serialize_with = "exact")]
    pub seconds: f64,
    /// The same, 0 to 1.
    #[serde(serialize_with = "exact")]
    pub share: f64,
    /// Who holds rows up, at the gate.
    #[serde(skip)]
    pub held_by: Option<BlockerKind>,
}

fn shares(spent: &[TimeByReason], held: &[BlockedTime]) -> Vec<TimeShare> {
    let sum = |cause: WaitReason| spent.iter().map(|it| it[cause as usize]).sum::<Duration>();
    let all: Duration = spent.iter().flatten().sum();
    let workers = spent.len().max(1) as f64;
    let share = |cause, name, held_by, seconds: f64| TimeShare {
        cause,
        name,
        seconds: seconds / workers,
        share: seconds / all.as_secs_f64().max(f64::MIN_POSITIVE),
        held_by,
    };
    let plain = [
        ("work", WaitReason::Work),
        ("server", WaitReason::Server),
        ("retries", WaitReason::Backoff),
        ("output", WaitReason::Output),
        ("input", WaitReason::Input),
    ];
    let plain = plain.map(|(name, cause)| share(name, None, None, sum(cause).as_secs_f64()));
    let at_gate = at_gate(sum(WaitReason::Gate).as_secs_f64(), held);
    let at_gate = at_gate.into_iter().map(|(held, seconds)| match held {
        Some(held) if held.by == BlockerKind::Pause => share("pause", None, Some(held.by), seconds),
        held => share(
            "limit",
            held.map(|held| held.name.clone()),
            Some(held.map_or(BlockerKind::Limit, |held| held.by)),
            seconds,
        ),
    });
    let mut shares: Vec<TimeShare> = plain.into_iter().chain(at_gate).collect();
    shares.retain(|share| share.seconds > 0.0);
    shares.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    shares
}

/// What was waited for at the gate, shared out as those who hold rows up held them.
fn at_gate(seconds: f64, held: &[BlockedTime]) -> Vec<(Option<&BlockedTime>, f64)> {
    let all: f64 = held.iter().map(|held| held.time.as_secs_f64()).sum();
    if all <= 0.0 {
        return vec![(None, seconds)];
    }
    let part = |held: &BlockedTime| seconds * held.time.as_secs_f64() / all;
    held.iter().map(|held| (Some(held), part(held))).collect()
}

/// Six decimals.
fn exact<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_of_the_wall_time_and_add_up_to_it() {
        let seconds = |all: [u64; 6]| all.map(Duration::from_secs);
        let workers = [seconds([1, 7, 2, 0, 0, 0]), seconds([1, 5, 2, 0, 1, 1])];
        let held = |name: &str, time| BlockedTime {
            by: BlockerKind::Limit,
            name: name.into(),
            time: Duration::from_secs(time),
        };
        let all = TimeBreakdown {
            spent: workers.to_vec(),
            held: vec![held("5/1s", 3), held("300/1m", 9)],
        };
        let shares = all.shares();
        let told: Vec<(&str, Option<&str>, f64)> = shares
            .iter()
            .map(|it| (it.cause, it.name.as_deref(), it.seconds))
            .collect();
        let expected = [
            ("limit", Some("300/1m"), 4.5),
            ("server", None, 2.0),
            ("limit", Some("5/1s"), 1.5),
            ("work", None, 1.0),
            ("output", None, 0.5),
            ("input", None, 0.5),
        ];
        assert_eq!(told, expected);
        assert_eq!(all.since(&all).shares(), []);
        assert_eq!(all.since(&TimeBreakdown::default()), all);
        assert!((shares.iter().map(|it| it.share).sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
