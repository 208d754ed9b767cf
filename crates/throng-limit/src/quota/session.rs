//! What the handles of one run share: its registration, and which files they hold.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::quota::directory::runs_in;
use crate::quota::runs::{self, RunRegistry};
use crate::quota::salt::salt;
use crate::quota::state::QuotaState;

/// One run's part in the accounts of a directory.
#[derive(Debug)]
pub struct Session {
    /// The directory of the accounts.
    pub directory: PathBuf,
    /// The salt of the accounts' names.
    pub salt: [u8; 32],
    /// The registration of the run.
    pub runs: RunRegistry,
    handles: Mutex<Handles>,
    failure: OnceLock<String>,
    /// Other runs that have stated the limits of this one, or have reported to them, by the
    /// name of the limit.
    others: Mutex<HashMap<String, HashSet<String>>>,
}

/// The handles that are open.
#[derive(Debug, Default)]
struct Handles {
    /// The file of each handle's limit, and the handle's name.
    open: BTreeSet<(PathBuf, String)>,
    /// Directory and unit of which a handle reports to the limits of other runs.
    reporting: HashSet<(PathBuf, String)>,
}

impl Session {
    /// Registers a new run in the directory of the accounts.
    pub fn start(directory: &Path) -> io::Result<Session> {
        Ok(Session {
            directory: directory.to_owned(),
            // A directory without one is then known to have lost it.
            salt: salt(directory)?,
            runs: RunRegistry::start(&runs_in(directory))?,
            handles: Mutex::default(),
            failure: OnceLock::new(),
            others: Mutex::default(),
        })
    }

    /// A handle of this run leases from this file. Gives whether it reports to the limits
    /// of other runs: the first of a directory and a unit does.
    pub fn open(&self, path: &Path, unit: &str, handle: &str) -> bool {
        let mut handles = self.handles();
        handles.open.insert((path.to_owned(), handle.to_owned()));
        handles.reporting.insert(reporting(path, unit))
    }

    /// A handle doesn't lease from this file any more.
    pub fn close(&self, path: &Path, unit: &str, handle: &str, did_report: bool) {
        let mut handles = self.handles();
        handles.open.remove(&(path.to_owned(), handle.to_owned()));
        if did_report {
            handles.reporting.remove(&reporting(path, unit));
        }
    }

    /// Whether a handle of this run leases from this file.
    pub fn is_open(&self, path: &Path) -> bool {
        let first = (path.to_owned(), String::new());
        self.handles().open.range(first..).next().is_some_and(|(open, _)| open == path)
    }

    fn handles(&self) -> MutexGuard<'_, Handles> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store gives no units any more, for the first reason that there is.
    pub fn fail(&self, why: String) {
        self.failure.get_or_init(|| why);
    }

    /// Why the store gives no units any more, if so.
    pub fn failure(&self) -> Option<&String> {
        self.failure.get()
    }

    /// Remembers the other runs that share this limit now.
    pub fn meet(&self, limit: &str, state: &QuotaState) {
        for run in state.runs().filter(|run| !self.runs.is_own(run)) {
            let mut others = self.others();
            let known = others.entry(limit.to_owned()).or_default();
            known.insert(runs::id_of(run).to_owned());
        }
    }

    /// Number of other runs that have shared a limit with this one.
    pub fn met(&self, limit: &str) -> usize {
        self.others().get(limit).map_or(0, HashSet::len)
    }

    fn others(&self) -> MutexGuard<'_, HashMap<String, HashSet<String>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reporting(path: &Path, unit: &str) -> (PathBuf, String) {
    (path.parent().unwrap_or(path).to_owned(), unit.to_owned())
}
