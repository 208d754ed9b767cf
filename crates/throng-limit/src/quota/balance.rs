//! What is left of shared limits, and which runs share them, for display.

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::quota::directory::{AccountNames, limit_paths, path_of, runs_in};
use crate::quota::file::{self, FileError};
use crate::quota::leased::ScopeKey;
use crate::quota::machine::read_clocks;
use crate::quota::runs;
use crate::quota::state::QuotaState;
use crate::quota::terms::Quota;
use crate::time::now;

/// The state of a shared limit, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaBalance {
    /// Units that are left now.
    pub left: u64,
    /// Units leased by runs that died. Those that were in flight may still arrive.
    pub of_dead: u64,
    /// For how long these may still arrive.
    pub arriving: Duration,
    /// Processes of other runs that share the limit now.
    pub processes: Vec<u32>,
    /// The time until a unit is available, if none is left and it is known.
    pub wait: Option<Duration>,
    /// Units that have been used, by the time until they are available again.
    pub used: Vec<(Duration, u64)>,
}

impl QuotaBalance {
    /// The balance of a limit that no run has used.
    #[must_use]
    pub fn unused(quota: &Quota) -> QuotaBalance {
        QuotaBalance {
            left: quota.units(),
            of_dead: 0,
            arriving: Duration::ZERO,
            processes: Vec::new(),
            wait: None,
            used: Vec::new(),
        }
    }
}

/// The balance of a shared limit, without a lease.
///
/// # Errors
/// If its file can't be read.
pub fn balance(
    directory: &Path,
    names: &dyn AccountNames,
    quota: &Quota,
    key: ScopeKey<'_>,
) -> io::Result<QuotaBalance> {
    let path = path_of(directory, names, quota, key);
    let mut state = match file::read(&path)? {
        Some(contents) => contents.state,
        None => names.earlier(quota, key)?.unwrap_or_default(),
    };
    let is_alive = |run: &str| runs::is_alive(&runs_in(directory), run);
    let now = read_clocks(now());
    if !state.is_stated_beside(&now, "", Some(&is_alive)) {
        state.take_over(&now, "", other_states(&path, quota)?, quota);
    }
    let (of_dead, arriving) = state.of_dead(&now, quota, Some(&is_alive));
    state.advance(&now, quota, Some(&is_alive));
    let left = state.left(&now, quota, None);
    let back = (left == 0).then(|| state.free_at(&now, quota, 1)).flatten();
    let mut processes: Vec<u32> = state.runs().filter_map(runs::process_of).collect();
    processes.dedup();
    let used = state.used(&now, quota).into_iter();
    Ok(QuotaBalance {
        left,
        of_dead,
        arriving,
        processes,
        wait: back.map(|it| it.since(now.time)),
        used: used.map(|(time, units)| (time.since(now.time), units)).collect(),
    })
}

/// The processes of the runs that share limits of this key's account now.
///
/// # Errors
/// If a limit's file can't be read.
pub fn processes(
    directory: &Path,
    names: &dyn AccountNames,
    key: ScopeKey<'_>,
) -> io::Result<Vec<u32>> {
    let account = directory.join(names.directory(key));
    let mut processes = Vec::new();
    for path in limit_paths(&account)? {
        let read = file::read(&path).map_err(FileError::of(&path));
        let Some(contents) = read? else { continue };
        let runs = contents.state.runs().filter(|run| runs::is_alive(&runs_in(directory), run));
        processes.extend(runs.filter_map(runs::process_of));
    }
    processes.sort_unstable();
    processes.dedup();
    Ok(processes)
}

/// The states of the other limits of the account that count the same unit.
fn other_states(path: &Path, quota: &Quota) -> io::Result<Vec<QuotaState>> {
    let mut others = Vec::new();
    for other in limit_paths(path.parent().unwrap_or(path))? {
        let contents = file::read(&other).map_err(FileError::of(&other))?;
        let contents = contents.filter(|it| other != path && it.unit == quota.unit);
        others.extend(contents.map(|contents| contents.state));
    }
    Ok(others)
}
