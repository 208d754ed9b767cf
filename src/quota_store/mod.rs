//! Quotas that outlive the process: the use of limits with long periods is kept on
//! the disk and shared by all runs on this machine.
//!
//! Each account has a file for each of its quotas. `account` names the file, `file`
//! locks and replaces it, and `quota_state` is its content with the arithmetic. `runs`
//! knows which processes live, so that units of a dead one are released.

mod account;
mod file;
mod location;
mod quota_state;
mod runs;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::Error;
use crate::limit::{self, LeaseReply, LeaseRequest, Quota, Rule, ScopeKey, now};
pub use account::QuotaAccount;
use file::{LockedFile, QuotaFileContents};
pub use location::directory;
use quota_state::{ClockReading, ClockSnapshot};
use runs::RunRegistry;

/// The quotas of this machine, for one run.
#[derive(Debug, Clone)]
pub struct FileQuotaStore {
    shared: Arc<StoreShared>,
    account: QuotaAccount,
}

#[derive(Debug)]
struct StoreShared {
    directory: PathBuf,
    salt: [u8; 32],
    runs: RunRegistry,
    failure: OnceLock<String>,
}

/// The state of a quota, for display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaBalance {
    /// The limit, as the job writes it.
    pub limit: String,
    /// The unit that the limit counts.
    pub unit: String,
    /// Units that are left now; none if each key has its own.
    pub left: Option<u64>,
    /// Units of the limit.
    pub of: u64,
    /// Units leased by runs that died without returning them. They count as used.
    pub unclosed: u64,
    /// The time until a unit is available, if none is left and it is known.
    pub wait: Option<Duration>,
    /// The quota's file, or the directory of the keys' files.
    pub path: PathBuf,
}

impl FileQuotaStore {
    /// Opens the quotas in a directory, which is created if it doesn't exist.
    ///
    /// # Errors
    /// If the directory can't be created or locked.
    pub fn open(directory: &Path, account: QuotaAccount) -> Result<FileQuotaStore, Error> {
        let open = || -> io::Result<StoreShared> {
            create_private(directory)?;
            Ok(StoreShared {
                salt: account::salt(directory)?,
                runs: RunRegistry::start(&runs_in(directory))?,
                directory: directory.to_owned(),
                failure: OnceLock::new(),
            })
        };
        let shared = open().map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::TimedOut => "let that process go on, or end it",
                _ => "make it writable, or set XDG_STATE_HOME to a directory that is",
            };
            Error::plan(format!(
                "the use of limits with long periods can't be kept in {}: {error}; {advice}",
                directory.display()
            ))
        })?;
        Ok(FileQuotaStore { shared: Arc::new(shared), account })
    }

    /// The store of another account.
    #[must_use]
    pub fn with_account(&self, account: QuotaAccount) -> FileQuotaStore {
        FileQuotaStore { account, ..self.clone() }
    }
}

/// The balances of the quotas among these rules, without a lease.
///
/// # Errors
/// If a file can't be read.
pub fn balances(
    directory: &Path,
    account: &QuotaAccount,
    rules: &[Rule],
    keys: usize,
) -> Result<Vec<QuotaBalance>, Error> {
    let error_in = |error| quota_error(directory, &error);
    let salt =
        if directory.is_dir() { account::salt(directory).map_err(error_in)? } else { [0; 32] };
    let mut all = Vec::new();
    for rule in rules {
        let Some(quota) = rule.quota() else { continue };
        let scope_key: Vec<ScopeKey<'_>> = match rule.scope {
            limit::LimitScope::Run => vec![ScopeKey::Run],
            limit::LimitScope::Pool => (0..keys).map(ScopeKey::Pool).collect(),
            limit::LimitScope::Scope(_) => {
                all.push(QuotaBalance::of(&quota, None, directory.to_owned()));
                continue;
            }
        };
        for scope_key in scope_key {
            let path = path(directory, account, &salt, &quota, scope_key);
            let contents = file::read(&path).map_err(|error| quota_error(&path, &error))?;
            let mut left = QuotaBalance::of(&quota, Some(quota.units), path);
            if let Some(QuotaFileContents { mut state, .. }) = contents {
                let is_alive = |run: &str| runs::is_alive(&runs_in(directory), run);
                let now = read_clocks(now());
                left.unclosed = state.units_of_dead_runs(&is_alive);
                state.advance(&now, &quota, &is_alive);
                let units = state.left(&quota);
                let back = (units == 0).then(|| state.free_at(&now, &quota, 1)).flatten();
                left.wait = back.map(|back| back.since(now.time));
                left.left = Some(units);
            }
            all.push(left);
        }
    }
    Ok(all)
}

impl QuotaBalance {
    fn of(quota: &Quota, left: Option<u64>, path: PathBuf) -> QuotaBalance {
        QuotaBalance {
            limit: quota.name.clone(),
            unit: quota.unit.clone(),
            left,
            of: quota.units,
            unclosed: 0,
            wait: None,
            path,
        }
    }
}

impl limit::QuotaStore for FileQuotaStore {
    fn account(
        &self,
        quota: &Quota,
        scope_key: ScopeKey<'_>,
    ) -> Option<Box<dyn limit::QuotaHandle>> {
        let shared = self.shared.clone();
        let path = path(&shared.directory, &self.account, &shared.salt, quota, scope_key);
        Some(Box::new(FileQuotaHandle {
            server: self.account.server.clone(),
            name: shared.runs.next_name(),
            path,
            quota: quota.clone(),
            shared,
        }))
    }

    fn trouble(&self) -> Option<String> {
        self.shared.failure.get().cloned()
    }
}

/// The file of one quota, through which a limiter leases units.
#[derive(Debug)]
struct FileQuotaHandle {
    server: String,
    /// The name under which its leased units are kept.
    name: String,
    path: PathBuf,
    quota: Quota,
    shared: Arc<StoreShared>,
}

impl limit::QuotaHandle for FileQuotaHandle {
    fn exchange(&mut self, now: limit::Time, request: &LeaseRequest<'_>) -> LeaseReply {
        self.try_exchange(now, request).unwrap_or_else(|error| {
            let message = quota_error(&self.path, &error).to_string();
            self.shared.failure.get_or_init(|| message);
            LeaseReply::Failed
        })
    }

    fn allow(&mut self, units: u64) {
        self.quota.units = units;
    }
}

impl FileQuotaHandle {
    fn try_exchange(&self, now: limit::Time, request: &LeaseRequest<'_>) -> io::Result<LeaseReply> {
        let Some(locked) = LockedFile::take(&self.path)? else {
            return Ok(LeaseReply::Busy);
        };
        let mut contents = locked.read()?.unwrap_or_else(|| QuotaFileContents {
            server: self.server.clone(),
            limit: self.quota.name.clone(),
            unit: self.quota.unit.clone(),
            state: Default::default(),
        });
        let before = contents.state.clone();
        let (now, runs) = (read_clocks(now), &self.shared.runs);
        contents.state.advance(&now, &self.quota, &|run| runs.is_alive(run));
        let reply = contents.state.exchange(&now, &self.quota, &self.name, request);
        if contents.state.differs_from(&before) {
            locked.write(&contents)?;
        }
        Ok(reply)
    }
}

fn path(
    directory: &Path,
    account: &QuotaAccount,
    salt: &[u8; 32],
    quota: &Quota,
    scope_key: ScopeKey<'_>,
) -> PathBuf {
    let (pool, key) = match scope_key {
        ScopeKey::Run => (None, ""),
        ScopeKey::Pool(key) => (Some(key), ""),
        ScopeKey::Key(key) => (None, key),
    };
    directory.join(account.file(salt, [&quota.name, &quota.unit], pool, key))
}

fn runs_in(directory: &Path) -> PathBuf {
    directory.join("runs")
}

/// Creates the directory, readable by its owner only: file names show the servers.
fn create_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)
}

fn quota_error(path: &Path, error: &io::Error) -> Error {
    Error::plan(format!(
        "{} keeps the use of a limit with a long period, and {error}; so nothing is sent. Repair the file; if nothing was sent for one period of the limit, delete it",
        path.display()
    ))
}

/// All clocks, read at one time.
fn read_clocks(time: limit::Time) -> ClockSnapshot {
    let wall = jiff::Timestamp::now().as_millisecond();
    let up = now().since(limit::Time::ZERO).as_millis();
    ClockSnapshot {
        time,
        clock: ClockReading {
            wall: u64::try_from(wall).unwrap_or(0),
            up: u64::try_from(up).unwrap_or(u64::MAX),
            boot: boot().map(str::to_owned),
        },
    }
}

/// The id of the machine's start, from which the limits' clock counts.
fn boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    };
    BOOT.get_or_init(read).as_deref()
}
