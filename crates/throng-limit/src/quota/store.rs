//! The limits of this machine's accounts, in files that all runs share.
//!
//! An account has a directory with a file for each of its limits. A run leases units from
//! the file of each limit that it states ([`state`](crate::quota::state)), and reports its
//! requests to those that other runs of the account state, so that each limit knows all
//! requests of the account ([`account`](crate::quota::account)).

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::quota::directory::{AccountNames, create_private, path_of, remove_unused};
use crate::quota::handle::FileQuotaHandle;
use crate::quota::leased::{QuotaHandle, QuotaStore, ScopeKey};
use crate::quota::session::Session;
use crate::quota::terms::Quota;

/// The accounts of this machine, for one run.
#[derive(Debug, Clone)]
pub struct FileQuotaStore {
    session: Arc<Session>,
    names: Arc<dyn AccountNames>,
}

impl FileQuotaStore {
    /// Opens the accounts in a directory, which is created if it doesn't exist.
    ///
    /// # Errors
    /// If the directory can't be created, nothing can be written in it, or it has lost the salt
    /// of its names.
    pub fn open(directory: &Path, names: Arc<dyn AccountNames>) -> io::Result<FileQuotaStore> {
        create_private(directory)?;
        let session = Arc::new(Session::start(directory)?);
        // What can't be removed now is found again by the next run.
        let _ = remove_unused(directory, &session.runs);
        Ok(FileQuotaStore { session, names })
    }

    /// The directory of the accounts.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.session.directory
    }

    /// Number of other runs that have shared a limit with this one.
    #[must_use]
    pub fn other_runs(&self, limit: &str) -> usize {
        self.session.met(limit)
    }

    /// Shows other runs that this one has ended, once its limiters are closed: threads that still
    /// have the store can outlive it.
    pub fn end(&self) {
        self.session.runs.end();
    }

    /// The store with the names of another account.
    #[must_use]
    pub fn with_names(&self, names: Arc<dyn AccountNames>) -> FileQuotaStore {
        FileQuotaStore { names, ..self.clone() }
    }
}

impl QuotaStore for FileQuotaStore {
    fn account(&self, quota: &Quota, key: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>> {
        let path = path_of(&self.session.directory, &*self.names, quota, key);
        let earlier = || self.names.earlier(quota, key);
        Some(Box::new(FileQuotaHandle::new(&self.session, path, quota, earlier)))
    }

    fn trouble(&self) -> Option<String> {
        self.session.failure().cloned()
    }
}
