//! What binds, and what would help. Pure.

use std::time::Duration;

use jiff::Zoned;

use super::share::TimeShare;
use crate::limit::BlockerKind;

/// What a run has, as far as it could have more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Setup {
    /// Workers.
    pub workers: usize,
    /// Requests that each may have in flight.
    pub in_flight: usize,
    /// The processor's cores.
    pub cores: usize,
    /// Keys of the pool, 0 without one.
    pub keys: usize,
}

/// Shorter runs are all beginning and end.
const LONG_ENOUGH: f64 = 1.0;

/// One line: what binds, and what would help; nothing if there is no telling.
#[must_use]
pub fn advice(shares: &[TimeShare], setup: &Setup) -> Option<String> {
    let all: f64 = shares.iter().map(|share| share.seconds).sum();
    let first = shares.first().filter(|_| all >= LONG_ENOUGH)?;
    Some(format!(
        "bound by {} ({:.0} %); {}",
        first.what(),
        first.share * 100.0,
        help(first, setup)
    ))
}

impl TimeShare {
    /// What it went to, in words.
    #[must_use]
    pub fn what(&self) -> String {
        match (self.cause, &self.name) {
            ("limit", Some(name)) => name.clone(),
            ("limit", None) => "the limits".into(),
            ("pause", _) => "the server, which asks for pauses".into(),
            ("server", _) => "the server's answers".into(),
            ("retries", _) => "pauses before retries".into(),
            ("work", _) => "our own work".into(),
            (cause, _) => format!("the {cause}"),
        }
    }
}

/// When that is by the clock on the wall, which says `now`, in so long.
#[must_use]
pub fn free_again(now: &Zoned, wait: Duration) -> String {
    let Ok(then) = now.checked_add(wait) else {
        return "not free again for ages".into();
    };
    let format = if then.date() == now.date() {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    format!("free again at {}", then.strftime(format))
}

fn help(share: &TimeShare, setup: &Setup) -> String {
    match (share.cause, share.held_by) {
        ("limit", Some(BlockerKind::InFlight)) => {
            "more workers will not help; only a larger number in flight, if the server allows it, or faster answers would".into()
        }
        ("limit", Some(BlockerKind::KeyLimit)) => {
            "more workers will not help; rows of more keys at a time would".into()
        }
        ("limit", _) => format!("more workers will not help; {}", another_key(setup.keys)),
        ("pause", _) => {
            "more workers will not help; a lower rate is refused less often".into()
        }
        ("server", _) if setup.in_flight == 1 => {
            "more in flight would help: --mode async, or more --workers".into()
        }
        ("server", _) => format!(
            "more in flight would help: more than --concurrency {}, if the server keeps up",
            setup.in_flight
        ),
        ("retries", _) => "more workers will not help; why attempts fail is what matters".into(),
        ("work", _) if setup.workers < setup.cores => format!(
            "more workers would help: --workers {}, as many as there are cores",
            setup.cores
        ),
        ("work", _) => "more workers will not help: all cores have one".into(),
        ("output", _) => "more workers will not help; a faster disk, or fewer values would".into(),
        _ => "more workers will not help; rows come no faster".into(),
    }
}

fn another_key(keys: usize) -> String {
    match keys {
        0 | 1 => "a second key would halve it".into(),
        keys => format!("one more key would take 1/{} of it away", keys + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cause: &'static str, held_by: Option<BlockerKind>, setup: Setup) -> String {
        let share = |cause, share| TimeShare {
            cause,
            name: held_by.map(|_| "300/1m".into()),
            seconds: share * 100.0,
            share,
            held_by,
        };
        advice(&[share(cause, 0.87), share("work", 0.13)], &setup).unwrap()
    }

    #[test]
    fn it_says_what_binds_and_what_would_help() {
        let setup = Setup {
            workers: 2,
            in_flight: 50,
            cores: 2,
            keys: 0,
        };
        assert_eq!(
            told("limit", Some(BlockerKind::Limit), setup),
            "bound by 300/1m (87 %); more workers will not help; a second key would halve it"
        );
        let three = Setup { keys: 3, ..setup };
        assert!(told("limit", Some(BlockerKind::Limit), three).ends_with("take 1/4 of it away"));
        assert!(told("limit", Some(BlockerKind::KeyLimit), setup).contains("rows of more keys"));
        assert!(told("server", None, setup).contains("more than --concurrency 50"));
        let sync = Setup {
            in_flight: 1,
            ..setup
        };
        assert!(told("server", None, sync).contains("--mode async"));
        assert!(told("work", None, setup).ends_with("all cores have one"));
        let few = Setup {
            workers: 1,
            ..setup
        };
        assert!(told("work", None, few).contains("--workers 2"));
        assert!(told("input", None, setup).starts_with("bound by the input (87 %)"));
        assert_eq!(advice(&[], &setup), None);
    }
}
