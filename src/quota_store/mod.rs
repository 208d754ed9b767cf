//! Quotas that outlive the process: what was spent of limits with long periods is
//! kept on the disk, and shared by all runs on this machine. [door: files, clock]
//!
//! Each account has a file for each of its quotas: `account` says which; `book`
//! is what it says, and the arithmetic; `file` locks and replaces it; `runs` knows
//! which processes live, so that what a dead one kept comes back.

mod account;
mod book;
mod file;
mod place;
mod runs;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::Error;
use crate::limit::{self, LeaseReply, LeaseRequest, Quota, Rule, ScopeKey, now};
pub use account::FileQuotaHandle;
use book::{ClockReading, Now};
use file::{LockedFile, QuotaFileContents};
pub use place::directory;
use runs::RunRegistry;

/// The quotas of this machine, for one run.
#[derive(Debug, Clone)]
pub struct FileQuotaStore {
    shared: Arc<StoreShared>,
    account: FileQuotaHandle,
}

#[derive(Debug)]
struct StoreShared {
    directory: PathBuf,
    salt: [u8; 32],
    runs: RunRegistry,
    trouble: OnceLock<String>,
}

/// What is left of a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaBalance {
    /// The limit, as the job writes it.
    pub limit: String,
    /// What it counts.
    pub unit: String,
    /// Units that may be used now, or none if each key has its own.
    pub left: Option<u64>,
    /// Of so many.
    pub of: u64,
    /// Units that runs kept which ended without giving them back: they count as used.
    pub unclosed: u64,
    /// How long it takes until one comes back where none is left, if that is known.
    pub wait: Option<Duration>,
    /// The file that says so, or the directory of those of the keys.
    pub path: PathBuf,
}

impl FileQuotaStore {
    /// Opens the quotas in a directory, which is made if it isn't there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(directory: &Path, account: FileQuotaHandle) -> Result<FileQuotaStore, Error> {
        let open = || -> io::Result<StoreShared> {
            make(directory)?;
            Ok(StoreShared {
                salt: account::salt(directory)?,
                runs: RunRegistry::begin(&runs_in(directory))?,
                directory: directory.to_owned(),
                trouble: OnceLock::new(),
            })
        };
        let shared = open().map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::TimedOut => "let it go on, or end it",
                _ => "make it writable, or set XDG_STATE_HOME to a directory that is",
            };
            Error::plan(format!(
                "what is used of long limits is kept in {}, and that can't be done: {error}; {advice}",
                directory.display()
            ))
        })?;
        Ok(FileQuotaStore {
            shared: Arc::new(shared),
            account,
        })
    }

    /// The same for another account.
    #[must_use]
    pub fn of(&self, account: FileQuotaHandle) -> FileQuotaStore {
        FileQuotaStore {
            account,
            ..self.clone()
        }
    }
}

/// What is left of the quotas among these limits, for somebody who only looks.
///
/// # Errors
/// Which file can't be read.
pub fn left(
    directory: &Path,
    account: &FileQuotaHandle,
    rules: &[Rule],
    keys: usize,
) -> Result<Vec<QuotaBalance>, Error> {
    let wrong = |error| unreadable(directory, &error);
    let salt = if directory.is_dir() {
        account::salt(directory).map_err(wrong)?
    } else {
        [0; 32]
    };
    let mut all = Vec::new();
    for rule in rules {
        let Some(quota) = rule.quota() else { continue };
        let whose: Vec<ScopeKey<'_>> = match rule.scope {
            limit::LimitScope::Run => vec![ScopeKey::Run],
            limit::LimitScope::Pool => (0..keys).map(ScopeKey::Pool).collect(),
            limit::LimitScope::Scope(_) => {
                all.push(QuotaBalance::of(&quota, None, directory.to_owned()));
                continue;
            }
        };
        for whose in whose {
            let path = path(directory, account, &salt, &quota, whose);
            let page = file::read(&path).map_err(|error| unreadable(&path, &error))?;
            let mut left = QuotaBalance::of(&quota, Some(quota.units), path);
            if let Some(QuotaFileContents { mut book, .. }) = page {
                let is_alive = |run: &str| runs::is_alive(&runs_in(directory), run);
                let now = read_clocks(now());
                left.unclosed = book.unclosed(&is_alive);
                book.turn(&now, &quota, &is_alive);
                let units = book.left(&quota);
                let back = (units == 0).then(|| book.back(&now, &quota, 1)).flatten();
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
    fn account(&self, quota: &Quota, whose: ScopeKey<'_>) -> Option<Box<dyn limit::QuotaHandle>> {
        let shared = self.shared.clone();
        let path = path(&shared.directory, &self.account, &shared.salt, quota, whose);
        Some(Box::new(QuotaFile {
            server: self.account.server.clone(),
            name: shared.runs.name(),
            path,
            quota: quota.clone(),
            shared,
        }))
    }

    fn trouble(&self) -> Option<String> {
        self.shared.trouble.get().cloned()
    }
}

/// One quota's file.
#[derive(Debug)]
struct QuotaFile {
    server: String,
    /// By which its units are kept.
    name: String,
    path: PathBuf,
    quota: Quota,
    shared: Arc<StoreShared>,
}

impl limit::QuotaHandle for QuotaFile {
    fn exchange(&mut self, now: limit::Time, offer: &LeaseRequest<'_>) -> LeaseReply {
        self.try_trade(now, offer).unwrap_or_else(|error| {
            let why = unreadable(&self.path, &error).to_string();
            self.shared.trouble.get_or_init(|| why);
            LeaseReply::Failed
        })
    }

    fn allow(&mut self, units: u64) {
        self.quota.units = units;
    }
}

impl QuotaFile {
    fn try_trade(&self, now: limit::Time, offer: &LeaseRequest<'_>) -> io::Result<LeaseReply> {
        let Some(held) = LockedFile::take(&self.path)? else {
            return Ok(LeaseReply::Busy);
        };
        let mut page = held.read()?.unwrap_or_else(|| QuotaFileContents {
            server: self.server.clone(),
            limit: self.quota.name.clone(),
            unit: self.quota.unit.clone(),
            book: Default::default(),
        });
        let before = page.book.clone();
        let (now, runs) = (read_clocks(now), &self.shared.runs);
        page.book.turn(&now, &self.quota, &|run| runs.is_alive(run));
        let lent = page.book.trade(&now, &self.quota, &self.name, offer);
        if page.book.says_more_than(&before) {
            held.write(&page)?;
        }
        Ok(lent)
    }
}

fn path(
    directory: &Path,
    account: &FileQuotaHandle,
    salt: &[u8; 32],
    quota: &Quota,
    whose: ScopeKey<'_>,
) -> PathBuf {
    let (pool, key) = match whose {
        ScopeKey::Run => (None, ""),
        ScopeKey::Pool(key) => (Some(key), ""),
        ScopeKey::Key(key) => (None, key),
    };
    directory.join(account.file(salt, [&quota.name, &quota.unit], pool, key))
}

fn runs_in(directory: &Path) -> PathBuf {
    directory.join("runs")
}

/// Nobody else needs to know what accounts there are.
fn make(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::plan(format!(
        "{} says what was used of a long limit, and {error}; so nothing is sent. Mend it; if nothing was sent for as long as the limit lasts, delete it",
        path.display()
    ))
}

/// All clocks, at one time.
fn read_clocks(time: limit::Time) -> Now {
    let wall = jiff::Timestamp::now().as_millisecond();
    let up = now().since(limit::Time::ZERO).as_millis();
    Now {
        time,
        clock: ClockReading {
            wall: u64::try_from(wall).unwrap_or(0),
            up: u64::try_from(up).unwrap_or(u64::MAX),
            boot: boot().map(str::to_owned),
        },
    }
}

/// Which start of the machine the limits' clock counts from.
fn boot() -> Option<&'static str> {
    static BOOT: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    };
    BOOT.get_or_init(read).as_deref()
}
