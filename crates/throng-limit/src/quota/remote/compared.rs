//! Limits in a store that changes values by comparing their versions.
//!
//! An exchange reads the values of its accounts, carries out what the run asks by the arithmetic
//! that all stores have, and puts the new values in the place of those that it has read, unless
//! another client has changed them meanwhile: then it begins again with what the store answers
//! instead. Times are those of the reading: a change that comes late makes units count longer, and
//! leases end earlier.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::Duration;

use crate::quota::remote::account::LimitBalance;
use crate::quota::remote::ledger::{Ledger, LedgerError};
use crate::quota::remote::message::{AccountRequests, Answer, Exchange};
use crate::quota::remote::values::{ClockWatch, StoreStart, changed_text, kept, parse};
use crate::time::now;

/// A store that changes values by comparing their versions.
pub trait ValueStore: Send {
    /// Checks that the store is fit to keep limits.
    ///
    /// # Errors
    /// It is not, or can't be reached.
    fn check(&mut self) -> Result<(), LedgerError>;

    /// Reads the versions and values of accounts; both are empty where an account has none.
    ///
    /// # Errors
    /// The store can't be reached, or refuses.
    fn read(&mut self, accounts: &[&str]) -> Result<(StoreStart, Vec<StoredValue>), LedgerError>;

    /// Changes the values whose versions are those that were read, if the memory still has this
    /// id. Gives for each of them whether it was.
    ///
    /// # Errors
    /// The store can't be reached, or refuses. The values may have changed all the same.
    fn commit(&mut self, memory: &str, values: &[ChangedValue]) -> Result<Vec<bool>, LedgerError>;

    /// Changes values as `commit` does, and reads those of accounts that others have changed
    /// meanwhile; gives none if there are none. A store that does both in one step has a method of
    /// its own.
    ///
    /// # Errors
    /// The store can't be reached, or refuses. The values may have changed all the same.
    fn commit_or_read(
        &mut self,
        memory: &str,
        values: &[ChangedValue],
    ) -> Result<Option<Conflicts>, LedgerError> {
        let done = self.commit(memory, values)?;
        let is_done = |place: usize| done.get(place).copied().unwrap_or(false);
        let accounts = values.iter().enumerate().filter(|(place, _)| !is_done(*place));
        let accounts: Vec<&str> = accounts.map(|(_, value)| value.account.as_str()).collect();
        if accounts.is_empty() {
            return Ok(None);
        }
        let (start, read) = self.read(&accounts)?;
        let mut read = read.into_iter();
        let places = 0..values.len();
        Ok(Some((start, places.map(|it| (!is_done(it)).then(|| read.next())?).collect())))
    }

    /// The clock of the memory with this id was set forward: another memory is to begin.
    fn distrust(&mut self, memory: &str);

    /// The accounts that have a value.
    ///
    /// # Errors
    /// The store can't be reached, or refuses.
    fn accounts(&mut self) -> Result<Vec<String>, LedgerError>;
}

/// The version and the text of an account's value.
pub type StoredValue = (String, Vec<u8>);

/// The values of the accounts that others have changed meanwhile, at the time of a reading; none
/// for those that were changed as asked.
pub type Conflicts = (StoreStart, Vec<Option<StoredValue>>);

/// A new value of an account.
#[derive(Debug, Clone)]
pub struct ChangedValue {
    /// The account.
    pub account: String,
    /// The version that was read.
    pub before: String,
    /// The new version, which no other value has.
    pub version: String,
    /// The text of the value.
    pub text: Vec<u8>,
    /// Time for which it has to be kept.
    pub kept: Duration,
}

/// The limits in such a store.
pub struct ValueLedger {
    store: Box<dyn ValueStore>,
    clock: ClockWatch,
    /// Number of versions that were made.
    versions: u64,
    chance: u64,
}

/// Accounts, and their values at one time.
struct ReadAccounts<'a, 'b> {
    accounts: Vec<&'a AccountRequests<'b>>,
    values: Vec<StoredValue>,
    start: StoreStart,
}

/// Number of accounts that are read at a time.
const AT_ONCE: usize = 200;
/// Number of times that a change is tried.
const TRIES: u32 = 14;
/// Number of times that it is tried at once, with what the store answers to the one before: two
/// runs that have read the same value need no more.
const AT_HAND: u32 = 3;
/// The longest wait before the first of the further tries; that before each one after it is twice
/// as long, up to the longest of all.
const FIRST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

impl fmt::Debug for ValueLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueLedger").finish_non_exhaustive()
    }
}

impl ValueLedger {
    /// The limits in this store. `chance` is a number of chance, by which clients wait for times
    /// that differ.
    #[must_use]
    pub fn new(store: Box<dyn ValueStore>, chance: u64) -> ValueLedger {
        ValueLedger { store, clock: ClockWatch::default(), versions: 0, chance: chance | 1 }
    }

    /// Checks that the store is fit to keep limits.
    ///
    /// # Errors
    /// It is not, or can't be reached.
    pub fn check(&mut self) -> Result<(), LedgerError> {
        self.store.check()?;
        self.store.read(&[]).map(drop)
    }

    /// What is left of the limits of all accounts.
    ///
    /// # Errors
    /// The store can't be reached, or refuses.
    pub fn balances(&mut self) -> Result<BTreeMap<String, Vec<LimitBalance>>, LedgerError> {
        let accounts = self.store.accounts()?;
        let mut all = BTreeMap::new();
        for accounts in accounts.chunks(AT_ONCE) {
            let names: Vec<&str> = accounts.iter().map(String::as_str).collect();
            let (start, values) = self.store.read(&names)?;
            for (account, (_, text)) in names.into_iter().zip(values) {
                let limits = parse(account, &text)?.balances(&start);
                if !limits.is_empty() {
                    all.insert(account.to_owned(), limits);
                }
            }
        }
        Ok(all)
    }

    /// Carries out the requests of some accounts.
    fn exchange_some(
        &mut self,
        exchange: &Exchange,
        all: &[AccountRequests<'_>],
        answers: &mut [Answer],
    ) -> Result<(), LedgerError> {
        let mut left = self.read_all(all.iter().collect())?;
        for tried in 0..TRIES {
            if tried >= AT_HAND {
                thread::sleep(self.wait(tried - AT_HAND));
                left = self.read_all(left.accounts)?;
            }
            left = self.try_once(exchange, left, answers)?;
            if left.accounts.is_empty() {
                return Ok(());
            }
        }
        Err(LedgerError::unreachable(format!(
            "others have changed the limits of {} {TRIES} times while this run did",
            left.accounts[0].account
        )))
    }

    /// Gives the accounts that others have changed meanwhile.
    fn try_once<'a, 'b>(
        &mut self,
        exchange: &Exchange,
        read: ReadAccounts<'a, 'b>,
        answers: &mut [Answer],
    ) -> Result<ReadAccounts<'a, 'b>, LedgerError> {
        let (mut changes, mut changed) = (Vec::new(), Vec::new());
        for (of_account, (before, text)) in read.accounts.into_iter().zip(read.values) {
            let new = changed_text(&read.start, exchange, of_account, &text, answers)?;
            if let Some(text) = new {
                let version = self.version(exchange);
                let kept = kept(of_account.requests.iter().map(|(_, quota)| quota));
                let account = of_account.account.to_owned();
                changes.push(ChangedValue { account, before, version, text, kept });
                changed.push(of_account);
            }
        }
        let nothing = ReadAccounts { accounts: Vec::new(), values: Vec::new(), start: read.start };
        if changes.is_empty() {
            return Ok(nothing);
        }
        let asked = now();
        let conflicts = self.store.commit_or_read(&nothing.start.memory, &changes)?;
        let Some((start, conflicts)) = conflicts else { return Ok(nothing) };
        let conflicts = changed.into_iter().zip(conflicts);
        let conflicts = conflicts.filter_map(|(account, value)| Some((account, value?)));
        let (accounts, values): (Vec<_>, Vec<_>) = conflicts.unzip();
        if self.clock.holds(&start, asked, now()) {
            return Ok(ReadAccounts { accounts, values, start });
        }
        self.store.distrust(&start.memory);
        self.read_all(accounts)
    }

    /// Reads the values of accounts.
    fn read_all<'a, 'b>(
        &mut self,
        accounts: Vec<&'a AccountRequests<'b>>,
    ) -> Result<ReadAccounts<'a, 'b>, LedgerError> {
        let names: Vec<&str> = accounts.iter().map(|it| it.account).collect();
        let (start, values) = self.read(&names)?;
        Ok(ReadAccounts { accounts, values, start })
    }

    /// Reads values, again if the store's clock was set forward.
    fn read(&mut self, names: &[&str]) -> Result<(StoreStart, Vec<StoredValue>), LedgerError> {
        let asked = now();
        let (start, values) = self.store.read(names)?;
        if self.clock.holds(&start, asked, now()) {
            return Ok((start, values));
        }
        self.store.distrust(&start.memory);
        self.store.read(names)
    }

    /// A version that no other value has: names of runs are their own.
    fn version(&mut self, exchange: &Exchange) -> String {
        self.versions += 1;
        format!("{}-{}", exchange.run, self.versions)
    }

    /// A wait of chance before another try.
    fn wait(&mut self, tried: u32) -> Duration {
        // The generator is George Marsaglia's xorshift.
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let part = (self.chance >> 11) as f64 / (1_u64 << 53) as f64;
        (FIRST_WAIT * 2_u32.pow(tried + 1)).min(LONGEST_WAIT).mul_f64(part)
    }
}

impl Ledger for ValueLedger {
    fn exchange(&mut self, exchange: &Exchange) -> Result<Vec<Answer>, LedgerError> {
        let by_account = exchange.by_account().map_err(LedgerError::refused)?;
        let mut answers = vec![Answer::default(); exchange.requests.len()];
        for some in by_account.chunks(AT_ONCE) {
            self.exchange_some(exchange, some, &mut answers)?;
        }
        Ok(answers)
    }
}
