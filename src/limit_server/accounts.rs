//! The accounts of a limit server, each in a file of its own.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fs::file_lock;
use crate::limit::{
    self, AccountLimits, AccountRequests, Answer, ClockReading, ClockSnapshot, Exchange,
    LimitBalance, Quota, Request, StoreMemory, Time,
};

/// The accounts of a server.
#[derive(Debug)]
pub struct Accounts {
    known: HashMap<String, AccountLimits>,
    place: Place,
    /// The salt of the accounts' names.
    pub salt: [u8; 32],
}

/// Where accounts are kept.
#[derive(Debug)]
enum Place {
    /// In the files of this directory, which is locked.
    Directory { path: PathBuf, _lock: File },
    /// In memory, since this time, by this id.
    Memory { since: Time, id: String },
}

/// The content of an account's file.
#[derive(Serialize, Deserialize)]
struct AccountFile {
    account: String,
    limits: AccountLimits,
}

/// The reason why an exchange was not carried out.
#[derive(Debug)]
pub enum NotDone {
    /// The request is wrong.
    Wrong(String),
    /// A later exchange of the run was carried out before.
    Outdated(String),
    /// The state can't be read or written.
    Unusable(String),
}

impl Accounts {
    /// The accounts in a directory, which is created if it doesn't exist.
    ///
    /// # Errors
    /// It can't be used, or another server uses it.
    pub fn open(directory: &Path) -> io::Result<Accounts> {
        limit::create_private(directory)?;
        let Some(lock) = file_lock::take(&directory.join("lock"))? else {
            let text = "another limit server uses it";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
        };
        Ok(Accounts {
            known: HashMap::new(),
            salt: limit::salt(directory)?,
            place: Place::Directory { path: directory.to_owned(), _lock: lock },
        })
    }

    /// Accounts that end with the process: of what was before, all counts as used up when it was
    /// started.
    pub fn in_memory(salt: [u8; 32]) -> Accounts {
        let since = limit::now();
        let id = format!("{}-{}", std::process::id(), since.since(Time::ZERO).as_nanos());
        Accounts { known: HashMap::new(), salt, place: Place::Memory { since, id } }
    }

    fn clocks(&self) -> ClockSnapshot {
        let now = limit::now();
        match &self.place {
            Place::Directory { .. } => limit::read_clocks(now),
            Place::Memory { since, id } => {
                let up = now.since(*since);
                let clock = ClockReading {
                    up: i64::try_from(up.as_micros()).unwrap_or(i64::MAX),
                    boot: Some(id.clone()),
                    ..limit::read_clocks(now).clock
                };
                ClockSnapshot { time: Time::ZERO.after(up), clock }
            }
        }
    }

    /// Carries out the requests of a run.
    ///
    /// # Errors
    /// It is wrong, outdated, or can't be kept.
    pub fn exchange(&mut self, exchange: &Exchange) -> Result<Vec<Answer>, NotDone> {
        let by_account = exchange.by_account().map_err(NotDone::Wrong)?;
        let mut answers = vec![Answer::default(); exchange.requests.len()];
        for AccountRequests { account, indexes, requests } in by_account {
            let own = self.exchange_in(account, exchange, &requests)?;
            for (index, answer) in indexes.into_iter().zip(own) {
                answers[index] = answer;
            }
        }
        Ok(answers)
    }

    fn exchange_in(
        &mut self,
        account: &str,
        exchange: &Exchange,
        requests: &[(&Request, Quota)],
    ) -> Result<Vec<Answer>, NotDone> {
        let clocks = self.clocks();
        let memory = match self.place {
            Place::Directory { .. } => StoreMemory::Whole,
            Place::Memory { .. } => StoreMemory::SinceStart,
        };
        let unusable = |error: io::Error| NotDone::Unusable(error.to_string());
        let mut limits = self.load(account).map_err(unusable)?;
        let answers = limits.exchange(&clocks, memory, &exchange.run, exchange.sequence, requests);
        let answers = answers.map_err(|why| NotDone::Outdated(why.to_string()))?;
        let is_durable = requests.iter().any(|(_, quota)| quota.is_durable());
        self.keep(account, limits, is_durable).map_err(unusable)?;
        Ok(answers)
    }

    fn load(&self, account: &str) -> io::Result<AccountLimits> {
        let Place::Directory { path, .. } = &self.place else {
            return Ok(self.known.get(account).cloned().unwrap_or_default());
        };
        if let Some(known) = self.known.get(account) {
            return Ok(known.clone());
        }
        let path = file_of(path, account);
        match fs::read(&path) {
            Ok(text) => {
                let file: AccountFile = serde_json::from_slice(&text).map_err(|error| {
                    io::Error::other(format!("{} is damaged: {error}", path.display()))
                })?;
                Ok(file.limits)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(AccountLimits::default()),
            Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }

    /// Keeps the limits of an account: in memory only once they are in the file.
    fn keep(&mut self, account: &str, limits: AccountLimits, durably: bool) -> io::Result<()> {
        if let Place::Directory { path, .. } = &self.place {
            let path = file_of(path, account);
            let name = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            };
            let file = AccountFile { account: account.to_owned(), limits };
            write(&path, &serde_json::to_vec(&file)?, durably).map_err(name)?;
            self.known.insert(file.account, file.limits);
        } else {
            self.known.insert(account.to_owned(), limits);
        }
        Ok(())
    }

    /// What is left of the limits of all accounts that runs have used since the server began.
    pub fn balances(&self) -> BTreeMap<String, Vec<LimitBalance>> {
        let clocks = self.clocks();
        let balance =
            |(name, limits): (&String, &AccountLimits)| (name.clone(), limits.balances(&clocks));
        self.known.iter().map(balance).filter(|(_, limits)| !limits.is_empty()).collect()
    }

    /// Reads the accounts that an earlier server has left.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn load_all(&mut self) -> io::Result<()> {
        let Place::Directory { path, .. } = &self.place else { return Ok(()) };
        let mut read = Vec::new();
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let file: AccountFile =
                    serde_json::from_slice(&fs::read(&path)?).map_err(|error| {
                        io::Error::other(format!("{} is damaged: {error}", path.display()))
                    })?;
                read.push(file);
            }
        }
        self.known.extend(read.into_iter().map(|file| (file.account, file.limits)));
        Ok(())
    }
}

fn file_of(directory: &Path, account: &str) -> PathBuf {
    directory.join(format!("{}.json", &blake3::hash(account.as_bytes()).to_hex()[..32]))
}

/// Replaces a file by a new content. After a kill it has the one or the other.
fn write(path: &Path, content: &[u8], durably: bool) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(content)?;
    if durably {
        file.sync_data()?;
    }
    fs::rename(&new, path)?;
    match path.parent().filter(|_| durably) {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
