//! Limits in a store that changes values by comparing their versions.
//!
//! An exchange reads the values of its accounts, carries out what the run asks by the arithmetic
//! that all stores have, and puts the new values in the place of those that it has read, unless
//! another client has changed them meanwhile: then it begins again. Times are those of the reading:
//! a change that comes late makes units count longer, and leases end earlier.

use std::collections::BTreeMap;
use std::fmt;
use std::thread;
use std::time::Duration;

use crate::quota::remote::account::LimitBalance;
use crate::quota::remote::ledger::{Ledger, LedgerError};
use crate::quota::remote::message::{AccountRequests, Answer, Exchange};
use crate::quota::remote::values::{AccountValue, ClockWatch, StoreStart, kept};
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

    /// Changes the values whose versions are those that were read, in the memory with this id.
    /// Gives for each of them whether it was.
    ///
    /// # Errors
    /// The store can't be reached, or refuses. The values may have changed all the same.
    fn commit(&mut self, memory: &str, values: &[ChangedValue]) -> Result<Vec<bool>, LedgerError>;

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

/// Number of accounts that are read at a time.
const AT_ONCE: usize = 200;
/// Number of times that a change is tried at once.
const TRIES: u32 = 12;
/// The longest wait before the second try; that before each further one is twice as long, up to
/// the longest of all.
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
        mut left: Vec<&AccountRequests<'_>>,
        answers: &mut [Answer],
    ) -> Result<(), LedgerError> {
        for tried in 0..TRIES {
            if tried > 0 {
                thread::sleep(self.wait(tried));
            }
            left = self.try_once(exchange, left, answers)?;
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(LedgerError::unreachable(format!(
            "others have changed the limits of {} {TRIES} times while this run did",
            left[0].account
        )))
    }

    /// Gives the requests of those accounts that others have changed meanwhile.
    fn try_once<'a, 'b>(
        &mut self,
        exchange: &Exchange,
        all: Vec<&'a AccountRequests<'b>>,
        answers: &mut [Answer],
    ) -> Result<Vec<&'a AccountRequests<'b>>, LedgerError> {
        let names: Vec<&str> = all.iter().map(|it| it.account).collect();
        let (start, values) = self.read(&names)?;
        let (mut changes, mut changed) = (Vec::new(), Vec::new());
        for (of_account, (before, text)) in all.into_iter().zip(values) {
            let AccountRequests { account, indexes, requests } = of_account;
            let mut value = parse(account, &text)?;
            let own = value.exchange(&start, &exchange.run, exchange.sequence, requests);
            let own = own.map_err(|why| LedgerError::refused(why.to_string()))?;
            for (index, answer) in indexes.iter().zip(own) {
                answers[*index] = answer;
            }
            let new = value.text();
            if new != text {
                let version = self.version(exchange);
                let kept = kept(requests.iter().map(|(_, quota)| quota));
                changes.push(ChangedValue {
                    account: (*account).to_owned(),
                    before,
                    version,
                    text: new,
                    kept,
                });
                changed.push(of_account);
            }
        }
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let done = self.store.commit(&start.memory, &changes)?;
        let all = changed.into_iter().zip(done.into_iter().chain(std::iter::repeat(false)));
        Ok(all.filter(|(_, done)| !done).map(|(of_account, _)| of_account).collect())
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
        (FIRST_WAIT * 2_u32.pow(tried)).min(LONGEST_WAIT).mul_f64(part)
    }
}

impl Ledger for ValueLedger {
    fn exchange(&mut self, exchange: &Exchange) -> Result<Vec<Answer>, LedgerError> {
        let by_account = exchange.by_account().map_err(LedgerError::refused)?;
        let mut answers = vec![Answer::default(); exchange.requests.len()];
        for some in by_account.chunks(AT_ONCE) {
            self.exchange_some(exchange, some.iter().collect(), &mut answers)?;
        }
        Ok(answers)
    }
}

fn parse(account: &str, text: &[u8]) -> Result<AccountValue, LedgerError> {
    AccountValue::parse(text)
        .map_err(|why| LedgerError::refused(format!("the limits of {account}: {why}")))
}
