//! The accounts of this machine, whose limits all runs share.
//!
//! The limiter keeps them in files ([`FileQuotaStore`]); here is what names an account, where
//! the files are, and what an earlier version left.

mod account;
mod legacy;
mod location;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::limit::{
    self, AccountNames, FileQuotaStore, LimitScope, NamedAccount, Quota, QuotaBalance, QuotaState,
    Rule, ScopeKey, UsedBefore,
};
pub use account::QuotaAccount;
pub use location::directory;

/// Opens the accounts in a directory, which is created if it doesn't exist.
///
/// # Errors
/// If the directory can't be created, or nothing can be written in it.
pub fn open(directory: &Path, account: &QuotaAccount) -> Result<FileQuotaStore, Error> {
    let open = || {
        limit::create_private(directory)?;
        FileQuotaStore::open(directory, names(directory, account)?)
    };
    open().map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::TimedOut => "let that process go on, or end it",
            _ => "make it writable, or set XDG_STATE_HOME to a directory that is",
        };
        Error::plan(format!(
            "the use of limits can't be kept in {}: {error}; {advice}",
            directory.display()
        ))
    })
}

/// The store of another account of the same run.
///
/// # Errors
/// If the salt of this machine's names can't be read.
pub fn of_account(store: &FileQuotaStore, account: &QuotaAccount) -> Result<FileQuotaStore, Error> {
    let directory = store.directory();
    let names = names(directory, account)
        .map_err(|error| Error::plan(limit::store_error(directory, &error)))?;
    Ok(store.with_names(names))
}

/// The names of an account's directories.
fn names(directory: &Path, account: &QuotaAccount) -> io::Result<Arc<dyn AccountNames>> {
    let (salt, account) = (account::salt(directory)?, account.clone());
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
    let read = || limit::processes(directory, &*names(directory, account)?, ScopeKey::Run);
    read().map_err(|error| Error::plan(limit::store_error(directory, &error)))
}

/// What is left of a limit that the runs of an account share.
#[derive(Debug, Clone)]
pub struct SharedLimit {
    /// The limit.
    pub quota: Quota,
    /// What is left; none if each key has its own.
    pub balance: Option<QuotaBalance>,
    /// The limit's file, or the directory of the keys' files.
    pub path: PathBuf,
}

/// The units of each limit, by its name, that earlier runs have used, and the time until they
/// are available again.
#[must_use]
pub fn used_before(limits: &[SharedLimit]) -> UsedBefore {
    let mut all = UsedBefore::new();
    for limit in limits {
        let used = limit.balance.as_ref().map(|balance| &balance.used);
        if let Some(used) = used.filter(|used| !used.is_empty()) {
            all.entry(limit.quota.name.clone()).or_insert_with(|| used.clone());
        }
    }
    all
}

/// What is left of the shared limits among these rules, without a lease.
///
/// # Errors
/// If a file can't be read.
pub fn balances(
    directory: &Path,
    account: &QuotaAccount,
    rules: &[Rule],
    keys: usize,
) -> Result<Vec<SharedLimit>, Error> {
    if !directory.is_dir() {
        let unused = |quota: Quota| SharedLimit {
            balance: Some(QuotaBalance::unused(&quota)),
            quota,
            path: directory.to_owned(),
        };
        return Ok(rules.iter().filter_map(Rule::quota).map(unused).collect());
    }
    let names = names(directory, account)
        .map_err(|error| Error::plan(limit::store_error(directory, &error)))?;
    let mut all = Vec::new();
    for rule in rules {
        let Some(quota) = rule.quota() else { continue };
        let scope_keys: Vec<ScopeKey<'_>> = match rule.scope {
            LimitScope::Run => vec![ScopeKey::Run],
            LimitScope::Pool => (0..keys).map(ScopeKey::Pool).collect(),
            LimitScope::Scope(_) => {
                all.push(SharedLimit { quota, balance: None, path: directory.to_owned() });
                continue;
            }
        };
        for key in scope_keys {
            let path = limit::path_of(directory, &*names, &quota, key);
            let balance = limit::balance(directory, &*names, &quota, key)
                .map_err(|error| Error::plan(limit::store_error(&path, &error)))?;
            all.push(SharedLimit { quota: quota.clone(), balance: Some(balance), path });
        }
    }
    Ok(all)
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
