//! The files of the accounts: their places, and those that have no use any more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::quota::account::quota_of;
use crate::quota::file::{self, Contents, FileError, LimitFile};
use crate::quota::leased::ScopeKey;
use crate::quota::lock;
use crate::quota::machine::read_clocks;
use crate::quota::runs::RunRegistry;
use crate::quota::state::QuotaState;
use crate::quota::terms::Quota;
use crate::time::now;

/// Names of an account's directories, and what an earlier version has left of a limit.
pub trait AccountNames: std::fmt::Debug + Send + Sync {
    /// The name of the directory of the account of this key.
    fn directory(&self, key: ScopeKey<'_>) -> String;

    /// The state of a limit that an earlier version kept elsewhere; taken once.
    fn earlier(&self, _quota: &Quota, _key: ScopeKey<'_>) -> io::Result<Option<QuotaState>> {
        Ok(None)
    }
}

/// An account by a name that users give it.
#[derive(Debug)]
pub struct NamedAccount {
    name: String,
}

impl NamedAccount {
    /// The account with this name.
    #[must_use]
    pub fn new(name: &str) -> NamedAccount {
        NamedAccount { name: name.to_owned() }
    }
}

impl AccountNames for NamedAccount {
    fn directory(&self, key: ScopeKey<'_>) -> String {
        let key = match key {
            ScopeKey::Run => String::new(),
            ScopeKey::Pool(index) => format!("pool {index}"),
            ScopeKey::Key(key) => format!("key {key}"),
        };
        let hash = file::checksum(format!("{}\n{key}", self.name).as_bytes());
        format!("{}-{hash:016x}", file_name(&self.name))
    }
}

/// The directory of the accounts: `throng/quotas` in `XDG_STATE_HOME` if that is set, else in
/// the platform's directory for state; none if the environment names neither that nor the
/// home directory.
#[must_use]
pub fn state_directory(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = environment(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let usual = || {
        let home = absolute("HOME");
        match std::env::consts::OS {
            "macos" => home.map(|home| home.join("Library/Application Support")),
            "windows" => absolute("LOCALAPPDATA"),
            _ => home.map(|home| home.join(".local/state")),
        }
    };
    let base = absolute("XDG_STATE_HOME").or_else(usual)?;
    Some(base.join("throng/quotas"))
}

/// A text as part of a file name.
fn file_name(text: &str) -> String {
    let replace = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    text.chars().take(60).map(replace).collect()
}

/// The files of all limits of an account, in the order of their paths; none if it has no
/// directory.
pub fn limit_paths(account: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(account) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "limit") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Whether an account in this directory has a limit.
pub fn has_limits(directory: &Path) -> io::Result<bool> {
    for account in fs::read_dir(directory)? {
        let account = account?;
        if account.file_type()?.is_dir() && !limit_paths(&account.path())?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The file of a limit in its account's directory.
#[must_use]
pub fn path_of(
    directory: &Path,
    names: &dyn AccountNames,
    quota: &Quota,
    key: ScopeKey<'_>,
) -> PathBuf {
    let text = format!("{} {}", quota.unit, quota.name);
    let hash = file::checksum(text.as_bytes());
    let name = file_name(&text);
    let mut account = names.directory(key);
    if let Some(shard) = quota.shard {
        account.push_str(&format!("-shard-{}-of-{}", shard.index(), shard.count()));
    }
    directory.join(account).join(format!("{name}-{hash:016x}.limit"))
}

/// The directory of the files that show which runs live.
pub fn runs_in(directory: &Path) -> PathBuf {
    directory.join("runs")
}

/// Creates a directory that only its owner can read: names show the servers.
///
/// # Errors
/// What the system says.
pub fn create_private(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// The sentence that a limit's file, or its directory, can't be used. An error of another
/// file names that one.
#[must_use]
pub fn store_error(path: &Path, error: &io::Error) -> String {
    let other = error.get_ref().and_then(|error| error.downcast_ref::<FileError>());
    let (path, error) = other.map_or((path, error), |other| (&other.path, &other.error));
    let is_of_system = error.raw_os_error().is_some();
    let verb = if is_of_system { "can't be used: " } else { "" };
    format!(
        "{} keeps the use of a limit for all runs of the account, and {verb}{error}; so nothing more is sent. {}",
        path.display(),
        advice(error.kind())
    )
}

/// What a user can do about a limit's file that can't be used.
fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => {
            "Start it again when nothing was sent for one period of the limit"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Make room on its disk, and start it again"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "Make it readable and writable for this user, and start it again"
        }
        _ => "Repair the file; if nothing was sent for one period of the limit, delete it",
    }
}

/// Age after which the file of a limit with a short period has no use any more.
const UNUSED: Duration = Duration::from_secs(3_600);
/// Maximum number of accounts that one run looks at for unused files.
const LOOKED_AT: usize = 1_000;

/// Removes files of limits that no run has used for long: each key of a scope has one.
pub fn remove_unused(directory: &Path, runs: &RunRegistry) -> io::Result<()> {
    let now = read_clocks(now());
    for account in fs::read_dir(directory)?.take(LOOKED_AT) {
        let account = account?;
        if !account.file_type()?.is_dir() {
            continue;
        }
        let account = account.path();
        for path in limit_paths(&account)? {
            let is_old = path.metadata()?.modified()?.elapsed().is_ok_and(|age| age > UNUSED);
            if !is_old {
                continue;
            }
            let Some(mut file) = LimitFile::open_existing(&path)? else { continue };
            let Some(locked) = file.lock()? else { continue };
            let is_unused = locked.contents().is_some_and(|Contents { limit, state, .. }| {
                let is_short = quota_of(limit).is_some_and(|it| !it.is_durable());
                // The calendar may have been set since.
                let is_old = state.age(&now) > UNUSED;
                is_short && is_old && !state.runs().any(|run| runs.is_alive(run))
            });
            // A limit with a long period may still have to learn what it knows.
            if is_unused && !has_durable(&account)? {
                locked.remove()?;
            }
        }
        remove_if_empty(&account);
    }
    Ok(())
}

/// Whether an account has a limit with a long period.
fn has_durable(account: &Path) -> io::Result<bool> {
    for path in limit_paths(account)? {
        let contents = file::read(&path)?;
        if contents.is_some_and(|it| quota_of(&it.limit).is_some_and(|it| it.is_durable())) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes an account's directory that has no limit any more, unless a run is joining.
pub fn remove_if_empty(directory: &Path) {
    if let Ok(Some(_lock)) = lock::lock_directory(directory) {
        // One that is not empty stays.
        let _ = fs::remove_dir(directory);
    }
}
