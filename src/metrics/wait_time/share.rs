//! The time of all workers by reason, as it is reported. Pure.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::limit::{BlockedTime, BlockerKind};

use super::{TimeByReason, WaitReason};

/// The time of all workers by reason, up to some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeBreakdown {
    /// Each worker's time by reason.
    pub spent: Vec<TimeByReason>,
    /// The time at the limiters, by their blockers.
    pub blocked: Vec<BlockedTime>,
}

impl TimeBreakdown {
    /// The difference to an earlier breakdown.
    #[must_use]
    pub fn since(&self, before: &TimeBreakdown) -> TimeBreakdown {
        let mut later = self.clone();
        for (spent, before) in later.spent.iter_mut().zip(&before.spent) {
            for (time, before) in spent.iter_mut().zip(before) {
                *time = time.saturating_sub(*before);
            }
        }
        for held in &mut later.blocked {
            let same = |it: &&BlockedTime| (it.by, &it.name) == (held.by, &held.name);
            let before = before.blocked.iter().find(same);
            held.time = held.time.saturating_sub(before.map_or(Duration::ZERO, |it| it.time));
        }
        later
    }

    /// The shares, largest first, without those of no time.
    #[must_use]
    pub fn shares(&self) -> Vec<TimeShare> {
        shares(&self.spent, &self.blocked)
    }
}

/// A part of the time of all workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TimeShare {
    /// The reason: `limit`, `pause`, `server`, `retries`, `input`, `output`, `work`.
    pub cause: &'static str,
    /// The limit's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its part of the wall time, in seconds. All parts add up to the wall time.
    #[serde(serialize_with = "exact")]
    pub seconds: f64,
    /// Its part of the wall time, 0 to 1.
    #[serde(serialize_with = "exact")]
    pub share: f64,
    /// The kind of blocker at the limiters.
    #[serde(skip)]
    pub blocker: Option<BlockerKind>,
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
        blocker: held_by,
    };
    let plain = [
        ("work", WaitReason::Work),
        ("server", WaitReason::Server),
        ("retries", WaitReason::Backoff),
        ("output", WaitReason::Output),
        ("input", WaitReason::Input),
    ];
    let plain = plain.map(|(name, cause)| share(name, None, None, sum(cause).as_secs_f64()));
    let by_blocker = by_blocker(sum(WaitReason::Limit).as_secs_f64(), held);
    let by_blocker = by_blocker.into_iter().map(|(held, seconds)| match held {
        Some(held) if held.by == BlockerKind::Pause => share("pause", None, Some(held.by), seconds),
        held => share(
            "limit",
            held.map(|held| held.name.clone()),
            Some(held.map_or(BlockerKind::Limit, |held| held.by)),
            seconds,
        ),
    });
    let mut shares: Vec<TimeShare> = plain.into_iter().chain(by_blocker).collect();
    shares.retain(|share| share.seconds > 0.0);
    shares.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    shares
}

/// Divides the time at the limiters among their blockers.
fn by_blocker(seconds: f64, held: &[BlockedTime]) -> Vec<(Option<&BlockedTime>, f64)> {
    let all: f64 = held.iter().map(|held| held.time.as_secs_f64()).sum();
    if all <= 0.0 {
        return vec![(None, seconds)];
    }
    let part = |held: &BlockedTime| seconds * held.time.as_secs_f64() / all;
    held.iter().map(|held| (Some(held), part(held))).collect()
}

/// Rounds to six decimals.
fn exact<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_wall_time() {
        let seconds = |all: [u64; 6]| all.map(Duration::from_secs);
        let workers = [seconds([1, 7, 2, 0, 0, 0]), seconds([1, 5, 2, 0, 1, 1])];
        let held = |name: &str, time| BlockedTime {
            by: BlockerKind::Limit,
            name: name.into(),
            time: Duration::from_secs(time),
        };
        let all = TimeBreakdown {
            spent: workers.to_vec(),
            blocked: vec![held("5/1s", 3), held("300/1m", 9)],
        };
        let shares = all.shares();
        let actual: Vec<(&str, Option<&str>, f64)> =
            shares.iter().map(|it| (it.cause, it.name.as_deref(), it.seconds)).collect();
        let expected = [
            ("limit", Some("300/1m"), 4.5),
            ("server", None, 2.0),
            ("limit", Some("5/1s"), 1.5),
            ("work", None, 1.0),
            ("output", None, 0.5),
            ("input", None, 0.5),
        ];
        assert_eq!(actual, expected);
        assert_eq!(all.since(&all).shares(), []);
        assert_eq!(all.since(&TimeBreakdown::default()), all);
        assert!((shares.iter().map(|it| it.share).sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
