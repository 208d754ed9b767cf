//! The accounts of this machine, whose limits all runs share.
//!
//! The limiter keeps them in files ([`FileQuotaStore`]); here is what names an account, where
//! the files are, and what an earlier version left.

mod account;
mod account_store;
mod legacy;
mod location;
mod shared;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::Access;

use crate::error::Error;
use crate::limit::{
    self, AccountNames, FileQuotaStore, LimitScope, NamedAccount, Policy, Quota, QuotaBalance,
    QuotaState, ScopeKey, UsedBefore, UsedUnits,
};
pub use account::QuotaAccount;
pub use account_store::{AccountStore, StoreAccess};
pub use location::directory;
pub use shared::shared_store;

/// Opens the accounts in a directory, which is created if it doesn't exist.
///
/// # Errors
/// If the directory can't be created, or nothing can be written in it.
pub fn open(directory: &Path, account: &QuotaAccount) -> Result<FileQuotaStore, Error> {
    let open = || {
        limit::create_private(directory)?;
        FileQuotaStore::open(directory, names(directory, account)?)
    };
    open().map_err(|error| unusable(directory, &error))
}

/// Checks that the accounts in a directory can be opened, and creates no directory.
///
/// # Errors
/// Those of [`open`].
pub fn check(directory: &Path, account: &QuotaAccount) -> Result<(), Error> {
    if directory.is_dir() {
        return open(directory, account).map(|_| ());
    }
    let existing = directory.ancestors().find(|ancestor| ancestor.exists());
    let is_writable = existing.map_or(Ok(()), |existing| {
        if existing.is_dir() {
            Ok(rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK)?)
        } else {
            Err(io::Error::from(io::ErrorKind::NotADirectory))
        }
    });
    is_writable.map_err(|error| unusable(directory, &error))
}

/// That the directory of the accounts can't be used, and what to do.
fn unusable(directory: &Path, error: &io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::TimedOut => "let that process go on, or end it",
        io::ErrorKind::InvalidData => {
            "delete it when no run is going on: the runs after that don't know what the ones before have used"
        }
        io::ErrorKind::NotFound => {
            "delete the directory when no run is going on and nothing was sent for one period of each limit"
        }
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            "remove the file that stands where a directory is needed, or set XDG_STATE_HOME to another directory"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room on its disk, or set XDG_STATE_HOME to a directory on another one"
        }
        _ => "make it writable, or set XDG_STATE_HOME to a directory that is",
    };
    Error::plan(format!(
        "the use of limits can't be kept in {}: {error}; {advice}",
        directory.display()
    ))
}

/// The store of another account of the same run.
///
/// # Errors
/// If the salt of this machine's names can't be read.
pub fn of_account(store: &FileQuotaStore, account: &QuotaAccount) -> Result<FileQuotaStore, Error> {
    let directory = store.directory();
    let names = names(directory, account).map_err(|error| unusable(directory, &error))?;
    Ok(store.with_names(names))
}

/// A short name of each key of the account's pool, by which records tell the keys apart.
///
/// # Errors
/// If the salt of this machine's names can't be read.
pub fn pool_names(directory: &Path, account: &QuotaAccount) -> Result<Vec<String>, Error> {
    let salt = limit::salt(directory);
    let salt = salt.map_err(|error| unusable(directory, &error))?;
    Ok(account.pool_names(&salt))
}

/// The names of an account's directories.
fn names(directory: &Path, account: &QuotaAccount) -> io::Result<Arc<dyn AccountNames>> {
    let (salt, account) = (limit::salt(directory)?, account.clone());
    Ok(Arc::new(SaltedNames { directory: directory.to_owned(), salt, account }))
}

/// The names of an account under the salt of this machine.
#[derive(Debug)]
struct SaltedNames {
    directory: PathBuf,
    salt: [u8; 32],
    account: QuotaAccount,
}

impl AccountNames for SaltedNames {
    fn directory(&self, key: ScopeKey<'_>) -> String {
        match (&self.account.named, key) {
            // A key of a pool is known by itself, wherever it stands in the pool.
            (Some(name), ScopeKey::Run | ScopeKey::Key(_)) => {
                NamedAccount::new(name).directory(key)
            }
            (Some(_), ScopeKey::Pool(_)) | (None, _) => self.salted(&[], key),
        }
    }

    fn earlier(&self, quota: &Quota, key: ScopeKey<'_>) -> io::Result<Option<QuotaState>> {
        if !quota.is_durable() || self.account.named.is_some() {
            return Ok(None);
        }
        let name = self.salted(&[&earlier_name(&quota.name), &quota.unit], key);
        legacy::read(&self.directory.join(format!("{name}.json")))
    }
}

/// A limit's name as earlier versions spelt its period: `25/1day` for `25/1d`.
fn earlier_name(name: &str) -> String {
    let Ok(limit) = name.parse::<limit::Limit>() else {
        return name.to_owned();
    };
    let period = limit.amount.period;
    let spelt = humantime::format_duration(period).to_string().replace(' ', "");
    name.replacen(&format!("/{}", limit::duration::exact(period)), &format!("/{spelt}"), 1)
}

impl SaltedNames {
    fn salted(&self, parts: &[&str], key: ScopeKey<'_>) -> String {
        let (pool, key) = match key {
            ScopeKey::Run => (None, ""),
            ScopeKey::Pool(index) => (Some(index), ""),
            ScopeKey::Key(key) => (None, key),
        };
        self.account.name(&self.salt, parts, pool, key)
    }
}

/// The processes of the runs that share the account now.
///
/// # Errors
/// If a limit's file can't be read.
pub fn processes(directory: &Path, account: &QuotaAccount) -> Result<Vec<u32>, Error> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let names = names(directory, account).map_err(|error| unusable(directory, &error))?;
    let processes = limit::processes(directory, &*names, ScopeKey::Run);
    processes.map_err(|error| unreadable(directory, &error))
}

/// By key of a scope, the cost of the rows by unit.
pub type KeyCosts = HashMap<Arc<str>, Vec<u64>>;

/// What is left of a limit that the runs of an account share.
#[derive(Debug, Clone)]
pub struct SharedLimit {
    /// The limit.
    pub quota: Quota,
    /// What is left; none if each key of a scope has its own.
    pub balance: Option<QuotaBalance>,
    /// What is left of the keys of a scope that the plan knows.
    pub keys: Vec<KeyBalance>,
    /// The limit's file, or the directory of the keys' files.
    pub path: PathBuf,
}

/// What is left of a limit under one key of a scope.
#[derive(Debug, Clone)]
pub struct KeyBalance {
    /// What is left.
    pub balance: QuotaBalance,
    /// By unit, the cost of the rows under this key.
    pub wanted: Vec<u64>,
}

/// The units of each limit of one limiter, by its name, that earlier runs have used.
#[must_use]
pub fn used_before(limits: &[SharedLimit]) -> UsedBefore {
    let mut all = UsedBefore::new();
    for limit in limits {
        let of_keys = limit.keys.iter().map(|key| (&key.balance, &key.wanted[..]));
        let balance = limit.balance.iter().map(|balance| (balance, &[][..]));
        for (balance, wanted) in balance.chain(of_keys).filter(|(it, _)| !it.used.is_empty()) {
            let used = UsedUnits { units: balance.used.clone(), wanted: wanted.to_owned() };
            all.entry(limit.quota.name.clone()).or_default().push(used);
        }
    }
    all
}

/// What is left of the shared limits of this policy, without a lease. The costs of the rows are
/// by scope and key.
///
/// # Errors
/// If a file can't be read.
pub fn balances(
    directory: &Path,
    account: &QuotaAccount,
    policy: &Policy,
    costs: &[KeyCosts],
) -> Result<Vec<SharedLimit>, Error> {
    let mut salted = None;
    if directory.is_dir() {
        salted = Some(names(directory, account).map_err(|error| unusable(directory, &error))?);
    }
    let read = |quota: &Quota, key: ScopeKey<'_>| match &salted {
        None => Ok((QuotaBalance::unused(quota), directory.to_owned())),
        Some(names) => {
            let path = limit::path_of(directory, &**names, quota, key);
            let balance = limit::balance(directory, &**names, quota, key);
            Ok((balance.map_err(|error| unreadable(&path, &error))?, path))
        }
    };
    let mut all = Vec::new();
    for rule in policy.rules() {
        let Some(quota) = rule.quota() else { continue };
        let scope_keys: Vec<ScopeKey<'_>> = match rule.scope {
            LimitScope::Run => vec![ScopeKey::Run],
            LimitScope::Pool => (0..policy.keys().len()).map(ScopeKey::Pool).collect(),
            LimitScope::Scope(scope) => {
                let mut keys = Vec::new();
                for (key, wanted) in costs.get(scope).into_iter().flatten() {
                    let (balance, _) = read(&quota, ScopeKey::Key(key))?;
                    keys.push(KeyBalance { balance, wanted: wanted.clone() });
                }
                all.push(SharedLimit { quota, balance: None, keys, path: directory.to_owned() });
                continue;
            }
        };
        for key in scope_keys {
            let (balance, path) = read(&quota, key)?;
            let (quota, balance) = (quota.clone(), Some(balance));
            all.push(SharedLimit { quota, balance, keys: Vec::new(), path });
        }
    }
    Ok(all)
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::plan(limit::store_error(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_kept_is_found_by_the_name_that_it_had() {
        for (name, earlier) in [
            ("25/1d", "25/1day"),
            ("25/1d@America/Los_Angeles", "25/1day@America/Los_Angeles"),
            ("90000 tokens/2d", "90000 tokens/2days"),
            ("5000/1h@reset", "5000/1h@reset"),
        ] {
            assert_eq!(earlier_name(name), earlier);
        }
    }
}
