//! How many workers send, how much each has in flight, and how many connections the
//! process may open for them.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use jiff::Zoned;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::deadline::Deadline;
use crate::error::Error;
use crate::limit::Policy;

const MAX_WORKERS: usize = 512;
const MAX_IN_FLIGHT: usize = 10_000;
const DEFAULT_IN_FLIGHT: usize = 50;
const MAX_CHUNK: usize = 64;
const GRACE: Duration = Duration::from_secs(10);

/// The `[workers]` part of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Number of threads, each with its own connections; one for each core by default.
    pub count: Option<usize>,
    /// Whether a worker waits for each answer before it sends again.
    pub mode: Mode,
    /// Maximum number of requests that one worker has in flight in `async` mode.
    pub concurrency: Option<usize>,
    /// Time for answers in flight to come when a run is to end early; 10 s by default.
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    #[serde(with = "humantime_serde")]
    pub grace: Option<Duration>,
    /// The time at which the run ends even if rows are left: a duration from its start, a
    /// time of day, or RFC 3339.
    pub deadline: Option<String>,
}

/// How many requests a worker has in flight.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One.
    Sync,
    /// As many as `concurrency`.
    #[default]
    Async,
}

/// The checked workers of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Number of threads.
    pub count: usize,
    /// Time for answers in flight to come when a run is to end early.
    pub shutdown_grace: Duration,
    /// The time at which the run ends even if rows are left.
    pub deadline: Option<Deadline>,
}

impl WorkerConfig {
    /// Checks the settings.
    pub fn new(settings: &Settings) -> Result<WorkerConfig, Error> {
        let deadline = settings.deadline.as_ref().map(|text| {
            let deadline = Deadline::parse(text, &Zoned::now());
            deadline.map_err(|why| Error::plan(format!("workers.deadline (--deadline): {why}")))
        });
        Ok(WorkerConfig {
            count: count(settings)?,
            deadline: deadline.transpose()?,
            shutdown_grace: settings.grace.unwrap_or(GRACE),
        })
    }
}

fn count(settings: &Settings) -> Result<usize, Error> {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    within("workers.count (--workers)", settings.count, cores, MAX_WORKERS)
}

/// Maximum number of requests that one worker has in flight, without those that the limits
/// would make wait anyway.
pub(crate) fn in_flight(settings: &Settings, policy: &Policy) -> Result<usize, Error> {
    let count = count(settings)?;
    let setting = "workers.concurrency (--concurrency)";
    let concurrency = within(setting, settings.concurrency, DEFAULT_IN_FLIGHT, MAX_IN_FLIGHT)?;
    Ok(match settings.mode {
        Mode::Sync => 1,
        Mode::Async => concurrency.min(useful(policy, count)),
    })
}

/// Twice the requests that the limits let be in flight, shared among the workers: enough
/// wait for a permit while some rows pause before a retry.
fn useful(policy: &Policy, workers: usize) -> usize {
    let allowed = policy.most_in_flight().unwrap_or(u64::MAX);
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    allowed.saturating_mul(2).div_ceil(workers)
}

/// Maximum number of rows that a worker takes at a time: as many as are sent in about 10 ms.
/// More would save wake-ups, but wait for one worker.
pub(crate) fn chunk(policy: &Policy) -> usize {
    let per_second = policy.requests_per_second().unwrap_or(f64::MAX);
    ((per_second / 100.0).min(MAX_CHUNK as f64) as usize).max(1)
}

/// Descriptors that files and all else but the workers need.
const FILES: u64 = 40;
/// Descriptors that each worker's event loop needs.
const EVENT_LOOP: u64 = 4;

/// Maximum number of connections that each worker has open in each stage, where the process
/// may open this number of files more.
///
/// # Errors
/// There are not enough files for this number of workers.
pub(crate) fn connections(workers: usize, stages: usize, free: u64) -> Result<usize, Error> {
    let (workers, stages) = (workers as u64, stages as u64);
    let left = free.saturating_sub(FILES);
    match left.saturating_sub(workers * EVENT_LOOP) / (workers * stages) {
        0 => Err(Error::plan(format!(
            "workers.count (--workers) is {workers}, and {free} more files may be open (ulimit -n), which is enough for {}: give fewer workers, or raise the limit",
            left / (EVENT_LOOP + stages)
        ))),
        each => Ok(usize::try_from(each).unwrap_or(usize::MAX)),
    }
}

/// Raises the number of files that this process may have open as far as the process
/// itself may. A limit that can't be raised stays as it is.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        // The plan counts with the limit that holds then.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

/// Number of files that this process may have open at a time.
pub(crate) fn file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Number of files that this process has open, as far as the system tells; some may come
/// from the process that started this one.
pub(crate) fn open_files() -> u64 {
    std::fs::read_dir("/dev/fd").map_or(0, |open| open.count() as u64)
}

/// The value of this setting, from 1 to the maximum.
fn within(setting: &str, value: Option<usize>, default: usize, max: usize) -> Result<usize, Error> {
    match value.unwrap_or(default) {
        0 => Err(Error::plan(format!("{setting} is 0: nothing would be sent; give at least 1"))),
        n if n > max => Err(Error::plan(format!("{setting} is {n}; the maximum is {max}"))),
        n => Ok(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(rates: &[&str]) -> Policy {
        let limit = crate::limit::Settings {
            rate: rates.iter().map(|rate| rate.parse().unwrap()).collect(),
            ..Default::default()
        };
        Policy::new(&limit, Duration::ZERO).unwrap()
    }

    fn settings(mode: Mode, count: usize, concurrency: usize) -> Settings {
        Settings { count: Some(count), mode, concurrency: Some(concurrency), ..Settings::default() }
    }

    #[test]
    fn no_more_is_in_flight_than_the_limit_lets_through() {
        let in_flight = |mode, rates: &[&str]| {
            super::in_flight(&settings(mode, 4, 50), &policy(rates)).unwrap()
        };
        assert_eq!(in_flight(Mode::Async, &[]), 50);
        assert_eq!(in_flight(Mode::Async, &["22/5s", "1000/1m"]), 11);
        assert_eq!(in_flight(Mode::Async, &["1/1s"]), 1);
        assert_eq!(in_flight(Mode::Sync, &[]), 1);
    }

    #[test]
    fn rows_are_taken_in_chunks_only_where_that_takes_no_time() {
        let chunk = |rates: &[&str]| super::chunk(&policy(rates));
        assert_eq!(chunk(&[]), 64);
        assert_eq!(chunk(&["2000/1s", "9999/1s"]), 20);
        assert_eq!(chunk(&["22/5s"]), 1);
    }

    #[test]
    fn workers_share_the_descriptors_that_files_leave() {
        assert_eq!(connections(8, 1, 248).unwrap(), 22);
        assert_eq!(connections(32, 1, 1_016).unwrap(), 26);
        assert_eq!(connections(8, 2, 248).unwrap(), 11);
        assert!(connections(2, 1, u64::MAX).unwrap() > 1_000_000);
        let error = connections(64, 1, 248).unwrap_err().to_string();
        assert!(error.contains("248 more files may be open (ulimit -n), which is enough for 41"));
        assert_eq!(connections(41, 1, 248).unwrap(), 1);
    }

    #[test]
    fn numbers_out_of_bounds_are_refused() {
        for (count, concurrency, why) in [
            (0, 1, "workers.count (--workers) is 0"),
            (1, 0, "workers.concurrency (--concurrency) is 0"),
            (1_000, 1, "the maximum is 512"),
        ] {
            let settings = settings(Mode::Async, count, concurrency);
            let error = in_flight(&settings, &policy(&[])).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
