//! The time of all workers by reason, and advice against the largest one. Pure.

use std::time::Duration;

use jiff::Zoned;
use serde::{Serialize, Serializer};

use super::counters::{TimeByReason, WaitReason};
use crate::limit::{BlockedTime, BlockerKind, duration};
use crate::wording::worded;

/// Shortest time for which advice is given, in seconds of all workers together.
const LONG_ENOUGH: f64 = 1.0;
/// Smallest share of lost requests that the advice is about.
const LARGE: f64 = 0.1;
/// Smallest part of the time at a limit that is told as the reason for it.
const LARGE_PART: f64 = 0.5;

/// The reason of a worker that has ended before others, which nothing holds up.
const NO_ROWS: &str = "idle";

/// The time of all workers by reason, up to some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeBreakdown {
    /// Each worker's time by reason.
    pub spent: Vec<TimeByReason>,
    /// The time at the limiters, by their blockers.
    pub blocked: Vec<BlockedTime>,
    /// The servers that are or were out.
    pub out: Vec<String>,
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
        for blocked in &mut later.blocked {
            let same = |it: &&BlockedTime| (it.by, &it.name) == (blocked.by, &blocked.name);
            let before = before.blocked.iter().find(same).map(|before| before.time);
            blocked.time = blocked.time.saturating_sub(before.unwrap_or_default());
        }
        later
    }

    /// The shares, largest first, without those of no time.
    #[must_use]
    pub fn shares(&self) -> Vec<TimeShare> {
        let sum = |reason: WaitReason| -> f64 {
            let times = self.spent.iter().map(|it| it[reason as usize]);
            times.sum::<Duration>().as_secs_f64()
        };
        let all: Duration = self.spent.iter().flatten().sum();
        let workers = self.spent.len().max(1) as f64;
        let share = |cause, seconds: f64| TimeShare {
            cause,
            name: None,
            seconds: seconds / workers,
            share: seconds / all.as_secs_f64().max(f64::MIN_POSITIVE),
            blocker: None,
        };
        let mut shares = vec![
            share("work", sum(WaitReason::Work)),
            TimeShare {
                name: (!self.out.is_empty()).then(|| self.out.join(", ")),
                ..share("outage", sum(WaitReason::Outage))
            },
            share("server", sum(WaitReason::Server)),
            share("jobs", sum(WaitReason::Jobs)),
            share("retries", sum(WaitReason::Backoff)),
            share("output", sum(WaitReason::Output)),
            share("input", sum(WaitReason::Input)),
            share(NO_ROWS, sum(WaitReason::NoRows)),
        ];
        for (blocked, seconds) in by_blocker(sum(WaitReason::Limit), &self.blocked) {
            let blocker = Some(blocked.map_or(BlockerKind::Limit, |blocked| blocked.by));
            let name = blocked.map(|blocked| blocked.name.clone());
            shares.push(match blocker {
                Some(BlockerKind::Pause) => TimeShare { blocker, ..share("pause", seconds) },
                Some(BlockerKind::Operator) => TimeShare { blocker, ..share("operator", seconds) },
                Some(BlockerKind::Linger) => {
                    TimeShare { name, blocker, ..share("linger", seconds) }
                }
                _ => TimeShare { name, blocker, ..share("limit", seconds) },
            });
        }
        shares.retain(|share| share.seconds > 0.0);
        shares.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        shares
    }
}

/// A part of the time of all workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
pub struct TimeShare {
    /// The reason: `limit`, `linger`, `pause`, `operator`, `outage`, `server`, `jobs`, `retries`, `input`, `output`,
    /// `idle` or `work`.
    pub cause: &'static str,
    /// The name of the limit, or of the servers that were out.
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

/// The resources of a run that a user can increase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RunSetup {
    /// Workers.
    pub workers: usize,
    /// Maximum number of requests in flight of each.
    pub in_flight: usize,
    /// The processor's cores.
    pub cores: usize,
    /// Keys of the pool, 0 without one.
    pub keys: usize,
    /// Other runs that shared the limit which binds.
    pub other_runs: u64,
    /// For how long the units of a limit counted as used since the store of the shared limits did
    /// not know what was used before.
    pub unknown_use: Duration,
    /// Answers that refused a request.
    pub refused: u64,
    /// Whether the server has answered anything.
    pub has_answers: bool,
    /// Whether the workers are processes of their own, on any machine.
    pub has_processes: bool,
}

/// The largest of these shares that held a row up; none if there is no such share.
#[must_use]
pub fn largest(shares: &[TimeShare]) -> Option<&TimeShare> {
    shares.iter().find(|share| share.cause != NO_ROWS)
}

/// One line with the largest reason and what would help; none for too short a run.
#[must_use]
pub fn advice(shares: &[TimeShare], setup: &RunSetup) -> Option<String> {
    let all: f64 = shares.iter().map(|share| share.seconds).sum();
    let first = largest(shares).filter(|_| all >= LONG_ENOUGH)?;
    let named = |share: &TimeShare| format!("{} ({:.0} %)", share.describe(), share.share * 100.0);
    // Lost requests cost the time by which a limit takes longer than it must.
    let is_large = |share: &&TimeShare| share.cause == "linger" && share.share >= LARGE;
    Some(worded(match shares.iter().find(|it| it.cause != first.cause && is_large(it)) {
        Some(lost) => {
            format!("bound by {} and {}; {}", named(first), named(lost), help(lost, setup))
        }
        None => format!("bound by {}; {}", named(first), help(first, setup)),
    }))
}

impl TimeShare {
    /// The reason in words.
    #[must_use]
    pub fn describe(&self) -> String {
        describe(self.cause, self.name.as_deref())
    }
}

/// A reason, and the name of its limit or servers, in words.
#[must_use]
pub fn describe(cause: &str, name: Option<&str>) -> String {
    match (cause, name) {
        ("limit", Some(name)) => name.to_owned(),
        ("limit", None) => "the limits".into(),
        ("linger", Some(name)) => format!("lost requests that still count for {name}"),
        ("outage", Some(name)) => format!("outages of {name}"),
        ("outage", None) => "outages".into(),
        ("pause", _) => "pauses that the server asks for".into(),
        ("operator", _) => "pauses and lower rates by hand".into(),
        ("server", _) => "the server's answers".into(),
        ("jobs", _) => "jobs that the server works on".into(),
        ("retries", _) => "pauses before retries".into(),
        ("work", _) => "our own work".into(),
        (NO_ROWS, _) => "workers without a row left".into(),
        (cause, _) => format!("the {cause}"),
    }
}

/// The local time after this wait, in words.
#[must_use]
pub fn free_at(now: &Zoned, wait: Duration) -> String {
    let Ok(then) = now.checked_add(wait) else {
        return "not available again in this calendar".into();
    };
    let format = if then.date() == now.date() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    format!("available again at {}", then.strftime(format))
}

fn help(share: &TimeShare, setup: &RunSetup) -> String {
    match (share.cause, share.blocker) {
        ("limit", Some(BlockerKind::InFlight)) => {
            "more workers will not help; more requests in flight, if the server allows them, or faster answers would".into()
        }
        ("limit", Some(BlockerKind::KeyLimit)) => {
            "more workers will not help; rows of more keys at a time would".into()
        }
        ("limit", _) if setup.unknown_use.as_secs_f64() > share.seconds * LARGE_PART => format!(
            "for {} all of it counted as used, since the store of the shared limits did not know what was used before",
            duration::rounded(setup.unknown_use)
        ),
        ("limit", _) if setup.other_runs > 0 => {
            let runs = if setup.other_runs == 1 { "another run" } else { "other runs" };
            format!("more workers will not help; {runs} of the account shared it")
        }
        ("limit", _) => format!("more workers will not help; {}", another_key(setup.keys)),
        ("linger", _) => "fewer requests without an answer would help, or a shorter --linger, if none arrives so late".into(),
        ("pause", _) if setup.refused == 0 => {
            "more workers will not help; the server's headers say how little is left until its reset: if they are wrong, --no-headers ignores them".into()
        }
        ("pause", _) => {
            "more workers will not help; a lower rate would be refused less often".into()
        }
        ("operator", _) => "more workers will not help; the whole rate would".into(),
        ("outage", _) => "more workers will not help; the server could not be reached, or had no answer".into(),
        ("server", _) if !setup.has_answers => "nothing was answered".into(),
        ("server", _) if setup.has_processes => format!(
            "more requests in flight would help: another `throng worker`, or more than --concurrency {} for each, if the server keeps up",
            setup.in_flight
        ),
        ("work", _) if setup.has_processes => {
            "more machines with a `throng worker` would help".into()
        }
        ("server", _) if setup.in_flight == 1 => {
            "more requests in flight would help: --mode async, or more --workers".into()
        }
        ("server", _) => format!(
            "more requests in flight would help: more than --concurrency {}, if the server keeps up",
            setup.in_flight
        ),
        ("jobs", _) => "more workers will not help; jobs that are done sooner would, or a shorter poll.every where they are done long before they are polled".into(),
        ("retries", _) => "more workers will not help; fewer failed attempts would".into(),
        ("work", _) if setup.workers < setup.cores => format!(
            "more workers would help: --workers {}, as many as there are cores",
            setup.cores
        ),
        ("work", _) => "more workers will not help: each core has one".into(),
        ("output", _) => "more workers will not help; a faster disk, or fewer values would".into(),
        _ => "more workers will not help; rows come no faster".into(),
    }
}

fn another_key(keys: usize) -> String {
    match keys {
        0 | 1 => "a second key would halve it".into(),
        keys => format!("one more key would save 1/{} of it", keys + 1),
    }
}

/// Divides the time at the limiters among their blockers.
fn by_blocker(seconds: f64, blocked: &[BlockedTime]) -> Vec<(Option<&BlockedTime>, f64)> {
    let all: f64 = blocked.iter().map(|blocked| blocked.time.as_secs_f64()).sum();
    if all <= 0.0 {
        return vec![(None, seconds)];
    }
    let part = |blocked: &BlockedTime| seconds * blocked.time.as_secs_f64() / all;
    blocked.iter().map(|blocked| (Some(blocked), part(blocked))).collect()
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
        let seconds = |all: [u64; 9]| all.map(Duration::from_secs);
        let workers = [seconds([1, 0, 7, 2, 0, 0, 0, 0, 0]), seconds([1, 0, 5, 2, 0, 0, 1, 1, 0])];
        let blocked = |name: &str, time| BlockedTime {
            by: BlockerKind::Limit,
            name: name.into(),
            time: Duration::from_secs(time),
        };
        let all = TimeBreakdown {
            spent: workers.to_vec(),
            out: Vec::new(),
            blocked: vec![blocked("5/1s", 3), blocked("300/1m", 9)],
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

    fn actual(cause: &'static str, blocker: Option<BlockerKind>, setup: RunSetup) -> String {
        let share = |cause, share| TimeShare {
            cause,
            name: blocker.map(|_| "300/1m".into()),
            seconds: share * 100.0,
            share,
            blocker,
        };
        advice(&[share(cause, 0.87), share("work", 0.13)], &setup).unwrap()
    }

    #[test]
    fn advice_names_the_largest_reason_and_what_would_help() {
        let setup = RunSetup {
            workers: 2,
            in_flight: 50,
            cores: 2,
            has_answers: true,
            has_processes: false,
            ..RunSetup::default()
        };
        assert_eq!(
            actual("limit", Some(BlockerKind::Limit), setup),
            "bound by 300/1m (87 %); more workers will not help; a second key would halve it"
        );
        let three = RunSetup { keys: 3, ..setup };
        assert!(actual("limit", Some(BlockerKind::Limit), three).ends_with("save 1/4 of it"));
        let shared = RunSetup { other_runs: 3, ..setup };
        assert!(actual("limit", Some(BlockerKind::Limit), shared).ends_with("shared it"));
        assert!(actual("limit", Some(BlockerKind::KeyLimit), setup).contains("rows of more keys"));
        assert!(actual("server", None, setup).contains("more than --concurrency 50"));
        let sync = RunSetup { in_flight: 1, ..setup };
        assert!(actual("server", None, sync).contains("--mode async"));
        assert!(actual("work", None, setup).ends_with("each core has one"));
        let new_store = RunSetup { unknown_use: Duration::from_secs(61), other_runs: 1, ..setup };
        let told = actual("limit", Some(BlockerKind::Limit), new_store);
        assert!(told.contains("for 1 m 1 s all of it counted as used"), "{told}");
        let unanswered = RunSetup { has_answers: false, ..setup };
        assert!(actual("server", None, unanswered).ends_with("; nothing was answered"));
        let few = RunSetup { workers: 1, ..setup };
        assert!(actual("work", None, few).contains("--workers 2"));
        assert!(actual("input", None, setup).starts_with("bound by the input (87 %)"));
        assert!(actual("pause", None, setup).contains("--no-headers"));
        let refused = RunSetup { refused: 1, ..setup };
        assert!(actual("pause", None, refused).ends_with("refused less often"));
        assert_eq!(advice(&[], &setup), None);
        let share = |cause, share| TimeShare {
            cause,
            name: Some("30/1s".into()),
            seconds: share * 50.0,
            share,
            blocker: Some(BlockerKind::Linger),
        };
        let lost = advice(&[share("limit", 0.6), share("linger", 0.39)], &setup).unwrap();
        assert!(lost.starts_with("bound by 30/1s (60 %) and lost requests that still"), "{lost}");
        assert!(lost.contains("--linger"), "{lost}");
    }

    #[test]
    fn a_worker_without_a_row_left_is_no_reason_to_wait_for() {
        let seconds = |all: [u64; 9]| all.map(Duration::from_secs);
        let spent =
            vec![seconds([0, 0, 4, 0, 0, 0, 0, 0, 0]), seconds([0, 0, 0, 0, 0, 0, 0, 0, 4])];
        let shares = TimeBreakdown { spent, ..TimeBreakdown::default() }.shares();
        assert_eq!(shares.len(), 2);
        assert!((shares.iter().map(|it| it.seconds).sum::<f64>() - 4.0).abs() < 1e-9);
        assert_eq!(largest(&shares).unwrap().cause, "limit");
        let words: Vec<String> = shares.iter().map(TimeShare::describe).collect();
        assert!(words.contains(&"workers without a row left".to_owned()), "{words:?}");
    }
}
