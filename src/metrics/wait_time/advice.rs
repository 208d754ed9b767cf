//! The reason that limits a run's speed, and what would make it faster. Pure.

use std::time::Duration;

use jiff::Zoned;

use super::share::TimeShare;
use crate::limit::BlockerKind;

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
}

/// Shortest time for which advice is given, in seconds of all workers together.
const LONG_ENOUGH: f64 = 1.0;

/// One line with the largest reason and what would help; none for too short a run.
#[must_use]
pub fn advice(shares: &[TimeShare], setup: &RunSetup) -> Option<String> {
    let all: f64 = shares.iter().map(|share| share.seconds).sum();
    let first = shares.first().filter(|_| all >= LONG_ENOUGH)?;
    Some(format!(
        "bound by {} ({:.0} %); {}",
        first.describe(),
        first.share * 100.0,
        help(first, setup)
    ))
}

impl TimeShare {
    /// The reason in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match (self.cause, &self.name) {
            ("limit", Some(name)) => name.clone(),
            ("limit", None) => "the limits".into(),
            ("pause", _) => "pauses that the server asks for".into(),
            ("server", _) => "the server's answers".into(),
            ("retries", _) => "pauses before retries".into(),
            ("work", _) => "our own work".into(),
            (cause, _) => format!("the {cause}"),
        }
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
        ("limit", _) => format!("more workers will not help; {}", another_key(setup.keys)),
        ("pause", _) => {
            "more workers will not help; a lower rate would be refused less often".into()
        }
        ("server", _) if setup.in_flight == 1 => {
            "more requests in flight would help: --mode async, or more --workers".into()
        }
        ("server", _) => format!(
            "more requests in flight would help: more than --concurrency {}, if the server keeps up",
            setup.in_flight
        ),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn actual(cause: &'static str, held_by: Option<BlockerKind>, setup: RunSetup) -> String {
        let share = |cause, share| TimeShare {
            cause,
            name: held_by.map(|_| "300/1m".into()),
            seconds: share * 100.0,
            share,
            blocker: held_by,
        };
        advice(&[share(cause, 0.87), share("work", 0.13)], &setup).unwrap()
    }

    #[test]
    fn advice_names_the_largest_reason_and_what_would_help() {
        let setup = RunSetup { workers: 2, in_flight: 50, cores: 2, keys: 0 };
        assert_eq!(
            actual("limit", Some(BlockerKind::Limit), setup),
            "bound by 300/1m (87 %); more workers will not help; a second key would halve it"
        );
        let three = RunSetup { keys: 3, ..setup };
        assert!(actual("limit", Some(BlockerKind::Limit), three).ends_with("save 1/4 of it"));
        assert!(actual("limit", Some(BlockerKind::KeyLimit), setup).contains("rows of more keys"));
        assert!(actual("server", None, setup).contains("more than --concurrency 50"));
        let sync = RunSetup { in_flight: 1, ..setup };
        assert!(actual("server", None, sync).contains("--mode async"));
        assert!(actual("work", None, setup).ends_with("each core has one"));
        let few = RunSetup { workers: 1, ..setup };
        assert!(actual("work", None, few).contains("--workers 2"));
        assert!(actual("input", None, setup).starts_with("bound by the input (87 %)"));
        assert_eq!(advice(&[], &setup), None);
    }
}
