//! The accounts that a run shares, on this machine or in a store on the network.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::QuotaAccount;
use crate::error::Error;
use crate::limit::{
    AccountNames, FileQuotaStore, Ledger, LedgerError, NamedAccount, QuotaStore, RemoteQuotaStore,
    ScopeKey, Settings, Sharing, ValueLedger,
};
use crate::limit_server::{HttpLedger, TokenSource};
use crate::limit_store::StoreAddress;

/// The store on the network that a job shares its limits through.
#[derive(Debug, Clone)]
pub enum StoreAccess {
    /// A limit server.
    Server {
        /// Its URL.
        url: String,
        /// The source of the token that it wants.
        token: Option<TokenSource>,
        /// The certificate that it is trusted by.
        cacert: Option<PathBuf>,
    },
    /// A store of others.
    Store(StoreAddress),
}

/// A connection to such a store.
enum OpenStore {
    Server(HttpLedger),
    Store(ValueLedger),
}

/// The accounts that a run shares.
#[derive(Debug, Clone)]
pub enum AccountStore {
    /// With the runs on this machine.
    Machine(FileQuotaStore),
    /// With all runs that use a store on the network.
    Remote {
        /// The store.
        store: RemoteQuotaStore,
        /// The salt of the accounts' names.
        salt: [u8; 32],
        /// The times at which it did not answer.
        outages: Arc<Mutex<StoreOutages>>,
    },
}

/// The times at which a store on the network did not answer.
#[derive(Debug, Default)]
pub struct StoreOutages {
    /// Number of them.
    pub count: u64,
    /// The first reason.
    pub first: String,
}

/// The variable that has the token of a store if no other source is given.
const USUAL_TOKEN: &str = "THRONG_LIMIT_TOKEN";

impl StoreAccess {
    /// The store that these settings name; none if they name none.
    ///
    /// # Errors
    /// The settings are wrong.
    pub fn of(
        settings: &Settings,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<StoreAccess>, Error> {
        let Sharing::Store(url) = &settings.sharing else { return Ok(None) };
        if let Some(address) =
            StoreAddress::parse(url, settings.share_cacert.as_deref(), environment)?
        {
            return Ok(Some(StoreAccess::Store(address)));
        }
        crate::limit_server::ServerAddress::parse(url)
            .map_err(|why| Error::plan(format!("limit.share (--share): {why}")))?;
        let token =
            match &settings.share_token {
                Some(text) => Some(TokenSource::parse(text, environment).map_err(|why| {
                    Error::plan(format!("limit.share-token (--share-token): {why}"))
                })?),
                None if environment(USUAL_TOKEN).is_some() => {
                    TokenSource::parse(&format!("env:{USUAL_TOKEN}"), environment).ok()
                }
                None => None,
            };
        let cacert = settings.share_cacert.clone();
        Ok(Some(StoreAccess::Server { url: url.clone(), token, cacert }))
    }

    /// Checks that the store can be used: why it can't, if so.
    ///
    /// # Errors
    /// The token or the certificate can't be read.
    pub fn check(&self) -> Result<Option<LedgerError>, Error> {
        Ok(self.connect()?.salt().err())
    }

    fn connect(&self) -> Result<OpenStore, Error> {
        Ok(match self {
            StoreAccess::Server { url, token, cacert } => {
                let token = token.as_ref().map(TokenSource::read).transpose()?;
                OpenStore::Server(HttpLedger::new(url, token, cacert.as_deref())?)
            }
            StoreAccess::Store(address) => OpenStore::Store(address.ledger()),
        })
    }

    /// A connection on which the store has answered, and the salt of its accounts' names.
    ///
    /// # Errors
    /// It doesn't answer, or refuses.
    pub fn ledger(&self) -> Result<(Box<dyn Ledger>, [u8; 32]), Error> {
        let mut open = self.connect()?;
        let salt = open.salt().map_err(|error| Error::plan(error.to_string()))?;
        Ok((open.into_ledger(), salt))
    }

    /// Opens the accounts of the store.
    ///
    /// # Errors
    /// It doesn't answer, or refuses.
    pub fn open(&self, account: &QuotaAccount) -> Result<AccountStore, Error> {
        let (ledger, salt) = self.ledger()?;
        let outages: Arc<Mutex<StoreOutages>> = Arc::default();
        let noted = outages.clone();
        let announce = move |error: Option<&LedgerError>| {
            let Some(error) = error else { return };
            let mut outages = noted.lock().unwrap_or_else(PoisonError::into_inner);
            outages.count += 1;
            if outages.first.is_empty() {
                outages.first = error.to_string();
            }
        };
        let store = RemoteQuotaStore::start(ledger, names_of(salt, account), Box::new(announce));
        let store = store.map_err(|error| Error::stopped(error.to_string()))?;
        Ok(AccountStore::Remote { store, salt, outages })
    }
}

impl OpenStore {
    /// The salt of the accounts' names.
    fn salt(&mut self) -> Result<[u8; 32], LedgerError> {
        match self {
            OpenStore::Server(server) => server.salt(),
            OpenStore::Store(store) => store.check().map(|()| StoreAddress::salt()),
        }
    }

    fn into_ledger(self) -> Box<dyn Ledger> {
        match self {
            OpenStore::Server(server) => Box::new(server),
            OpenStore::Store(store) => Box::new(store),
        }
    }
}

impl AccountStore {
    /// Number of other runs that have shared a limit with this one.
    pub fn other_runs(&self, limit: &str) -> usize {
        match self {
            AccountStore::Machine(store) => store.other_runs(limit),
            AccountStore::Remote { store, .. } => store.other_runs(limit),
        }
    }

    /// How often a store on the network did not answer, and the first reason; none if it did.
    pub fn outages(&self) -> Option<(u64, String)> {
        let AccountStore::Remote { outages, .. } = self else { return None };
        let outages = outages.lock().unwrap_or_else(PoisonError::into_inner);
        (outages.count > 0).then(|| (outages.count, outages.first.clone()))
    }

    /// The limit whose units count longest as used since a store on the network knows nothing of the
    /// time before its start, and for how long they do; none if none do.
    pub fn unknown_use(&self) -> Option<(String, Duration)> {
        let AccountStore::Remote { store, .. } = self else { return None };
        store.unknown_use()
    }

    /// For how long a limit's units have counted as used since a store on the network knew nothing of
    /// the time before its start.
    pub fn unknown_for(&self) -> Duration {
        match self {
            AccountStore::Machine(_) => Duration::ZERO,
            AccountStore::Remote { store, .. } => store.unknown_for(),
        }
    }

    /// Ends the run, once its limiters are closed.
    pub fn end(&self) {
        match self {
            AccountStore::Machine(store) => store.end(),
            AccountStore::Remote { store, .. } => store.end(),
        }
    }

    /// The store of another account of the same run.
    ///
    /// # Errors
    /// If the salt of this machine's names can't be read.
    pub fn of_account(&self, account: &QuotaAccount) -> Result<Arc<dyn QuotaStore>, Error> {
        Ok(match self {
            AccountStore::Machine(store) => Arc::new(super::of_account(store, account)?),
            AccountStore::Remote { store, salt, .. } => {
                Arc::new(store.with_names(names_of(*salt, account)))
            }
        })
    }

    /// A short name of each key of the account's pool, by which records tell the keys apart.
    ///
    /// # Errors
    /// If the salt of this machine's names can't be read.
    pub fn pool_names(&self, account: &QuotaAccount) -> Result<Vec<String>, Error> {
        match self {
            AccountStore::Machine(store) => super::pool_names(store.directory(), account),
            AccountStore::Remote { salt, .. } => Ok(account.pool_names(salt)),
        }
    }
}

/// The names of an account under the salt of a store on the network.
fn names_of(salt: [u8; 32], account: &QuotaAccount) -> Arc<dyn AccountNames> {
    Arc::new(RemoteNames { salt, account: account.clone() })
}

#[derive(Debug)]
struct RemoteNames {
    salt: [u8; 32],
    account: QuotaAccount,
}

impl AccountNames for RemoteNames {
    fn directory(&self, key: ScopeKey<'_>) -> String {
        match (&self.account.named, key) {
            (Some(name), ScopeKey::Run | ScopeKey::Key(_)) => {
                NamedAccount::new(name).directory(key)
            }
            (_, ScopeKey::Run) => self.account.name(&self.salt, &[], None, ""),
            (_, ScopeKey::Pool(index)) => self.account.name(&self.salt, &[], Some(index), ""),
            (_, ScopeKey::Key(key)) => self.account.name(&self.salt, &[], None, key),
        }
    }
}
