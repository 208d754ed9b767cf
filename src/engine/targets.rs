//! The targets of a run's requests: which of them are left alone for a while, since their servers
//! want no requests, or not with these credentials. All workers share them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, StopCause};
use crate::limit::Time;
use crate::plan::Target;

/// Number of rows in a row whose credentials a target refuses, after which it is left alone.
const REFUSED_KEYS: u32 = 20;

/// The time for which a target is left alone whose server names none.
pub const LEFT_ALONE: Duration = Duration::from_secs(600);

/// The targets of a run.
#[derive(Debug)]
pub struct Targets(Vec<TargetState>);

#[derive(Debug)]
struct TargetState {
    name: String,
    /// Number of rows, one after the other, whose credentials it has refused.
    refused_keys: AtomicU32,
    closed: Mutex<Option<Closed>>,
}

/// Why a target is left alone.
#[derive(Debug, Clone)]
struct Closed {
    /// When it is asked again; none if never.
    until: Option<Time>,
    /// Whether its key is refused, or nothing leads to it.
    is_wrong: bool,
    why: Error,
}

/// Why a target takes no request of a row now.
#[derive(Debug)]
pub struct NotFree {
    /// When that may change, if it is known, and not too long to be waited for.
    pub until: Option<Time>,
    /// Whether it may change before, by what becomes of other requests.
    pub may_change: bool,
    /// Whether the job seems to be wrong there, with a key or an address: then a wait mends little.
    pub is_wrong: bool,
    /// The error that ends the run if no target is worth waiting for.
    pub why: Error,
}

impl NotFree {
    /// Whether a row that another target has failed waits for this one.
    pub fn is_worth_waiting(&self) -> bool {
        !self.is_wrong && (self.may_change || self.until.is_some())
    }
}

impl Targets {
    pub fn new(targets: &[Target]) -> Targets {
        let state = |target: &Target| TargetState {
            name: target.name.to_string(),
            refused_keys: AtomicU32::new(0),
            closed: Mutex::default(),
        };
        Targets(targets.iter().map(state).collect())
    }

    /// Leaves a target alone until this time, or for the rest of the run.
    pub fn close(&self, target: usize, until: Option<Time>, why: Error) {
        self.close_as(target, Closed { until, is_wrong: false, why });
    }

    /// Leaves a target alone until this time to which nothing leads.
    pub fn close_unreached(&self, target: usize, until: Time, why: Error) {
        self.close_as(target, Closed { until: Some(until), is_wrong: true, why });
    }

    fn close_as(&self, target: usize, why: Closed) {
        *self.0[target].closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Why a target is left alone, if it is.
    pub fn closed(&self, target: usize, now: Time) -> Option<NotFree> {
        let mut closed = self.0[target].closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.as_ref()?.until.is_some_and(|until| until <= now) {
            *closed = None;
        }
        let Closed { until, is_wrong, why } = closed.clone()?;
        Some(NotFree { until, may_change: false, is_wrong, why })
    }

    /// Notes that a target has taken the credentials of a row.
    pub fn key_accepted(&self, target: usize) {
        let refused = &self.0[target].refused_keys;
        if refused.load(Ordering::Relaxed) > 0 {
            refused.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that a target has refused the credentials of a row. After some of them, it is left
    /// alone; then gives the sentence that says so.
    pub fn key_refused(&self, target: usize, now: Time) -> Option<String> {
        let TargetState { name, refused_keys, .. } = &self.0[target];
        if refused_keys.fetch_add(1, Ordering::Relaxed) + 1 < REFUSED_KEYS {
            return None;
        }
        refused_keys.store(0, Ordering::Relaxed);
        let why = format!(
            "{name} has refused the credentials of {REFUSED_KEYS} rows one after the other: check its key (auth, request.headers)"
        );
        let error = Error::stopped_by(StopCause::Credentials, why.clone());
        let until = Some(now.after(LEFT_ALONE));
        self.close_as(target, Closed { until, is_wrong: true, why: error });
        Some(why)
    }
}
