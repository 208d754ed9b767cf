//! A store on the network through which limiters of programs share limits.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::quota::directory::NamedAccount;
use crate::quota::leased::{QuotaHandle, QuotaStore, ScopeKey};
use crate::quota::remote::ledger::{Ledger, LedgerError};
use crate::quota::remote::store::RemoteQuotaStore;
use crate::quota::terms::Quota;

/// A store on the network through which limiters on any machine share limits:
/// [`RateLimiterBuilder::share`](crate::RateLimiterBuilder::share). The crate `throng` has it for the
/// URL of a limit server, Redis, Valkey or PostgreSQL: `throng::shared_store`.
#[derive(Clone)]
pub struct SharedStore {
    url: String,
    open: Arc<Open>,
}

/// Makes a connection on which the store has answered.
type Open = dyn Fn() -> Result<Box<dyn Ledger>, LedgerError> + Send + Sync;

/// One limiter's use of an account in such a store.
#[derive(Debug)]
pub struct SharedAccount {
    store: RemoteQuotaStore,
    state: Arc<Mutex<AccountState>>,
}

#[derive(Debug, Default)]
struct AccountState {
    /// Why the store does not answer now, if so.
    outage: Option<String>,
    has_ended: bool,
}

impl SharedStore {
    /// The store at this URL. `open` makes a connection on which the store has answered, on a
    /// thread of its own.
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        url: String,
        open: impl Fn() -> Result<Box<dyn Ledger>, LedgerError> + Send + Sync + 'static,
    ) -> SharedStore {
        SharedStore { url, open: Arc::new(open) }
    }

    /// The account with this name, for one limiter.
    ///
    /// # Errors
    /// The store does not answer, or refuses.
    pub(crate) fn account(&self, name: &str) -> Result<SharedAccount, LedgerError> {
        let state: Arc<Mutex<AccountState>> = Arc::default();
        let noted = state.clone();
        let announce = move |error: Option<&LedgerError>| {
            locked(&noted).outage = error.map(ToString::to_string);
        };
        let names = Arc::new(NamedAccount::new(name));
        let store = RemoteQuotaStore::start(self.connect()?, names, Box::new(announce));
        Ok(SharedAccount { store: store.map_err(|error| unstarted(&error))?, state })
    }

    /// A connection that is made on a thread of its own, since a store may drive a runtime, and
    /// the caller may be a task of another one.
    fn connect(&self) -> Result<Box<dyn Ledger>, LedgerError> {
        let open = self.open.clone();
        let opening = thread::Builder::new().name("throng-limits".into()).spawn(move || open());
        let opened = opening.map_err(|error| unstarted(&error))?.join();
        opened.unwrap_or_else(|_| Err(LedgerError::refused(format!("{} was not opened", self.url))))
    }
}

fn locked(state: &Mutex<AccountState>) -> MutexGuard<'_, AccountState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unstarted(error: &io::Error) -> LedgerError {
    LedgerError::refused(format!("there is no thread, or no random number, for a store: {error}"))
}

impl fmt::Debug for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedStore").field(&self.url).finish()
    }
}

impl QuotaStore for SharedAccount {
    fn account(&self, quota: &Quota, key: ScopeKey<'_>) -> Option<Box<dyn QuotaHandle>> {
        self.store.account(quota, key)
    }

    fn trouble(&self) -> Option<String> {
        let closed = || "the limiter was closed, and shares no limit any more".to_owned();
        self.store.trouble().or_else(|| locked(&self.state).has_ended.then(closed))
    }

    fn outage(&self) -> Option<String> {
        locked(&self.state).outage.clone()
    }

    fn end(&self) {
        locked(&self.state).has_ended = true;
        self.store.end();
    }
}
