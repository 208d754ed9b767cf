//! Limits in Redis or Valkey.

use std::fmt;

use throng_redis::{Address, LimitValues, MemoryFacts, NewValue, StoreError};
use url::Url;

use crate::error::Error;
use crate::limit::{ChangedValue, Conflicts, LedgerError, StoreStart, StoredValue, ValueStore};

/// A server of Redis or Valkey that keeps limits.
#[derive(Clone)]
pub(crate) struct RedisLimits(Address);

/// The variable with the password of the server.
const PASSWORD: &str = "THRONG_REDIS_PASSWORD";

impl RedisLimits {
    /// The server at this URL, with the password that the environment has.
    ///
    /// # Errors
    /// The URL is wrong, or has a password.
    pub fn parse(
        url: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<RedisLimits, Error> {
        if Url::parse(url).is_ok_and(|url| url.password().is_some()) {
            return Err(Error::plan(format!(
                "limit.share (--share) has a password, which others can see there: leave it out, and set {PASSWORD}"
            )));
        }
        let address = Address::parse(url, environment(PASSWORD).as_deref());
        let address =
            address.map_err(|error| Error::plan(format!("limit.share (--share): {error}")))?;
        Ok(RedisLimits(address))
    }

    /// The server that has a queue.
    pub fn of_queue(address: &Address) -> RedisLimits {
        RedisLimits(address.clone())
    }

    /// The values of accounts, over a connection of their own.
    pub fn values(&self) -> Box<dyn ValueStore> {
        Box::new(RedisValues(LimitValues::new(&self.0)))
    }
}

impl fmt::Display for RedisLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

struct RedisValues(LimitValues);

impl ValueStore for RedisValues {
    fn check(&mut self) -> Result<(), LedgerError> {
        self.0.check().map_err(ledger_error)
    }

    fn read(&mut self, accounts: &[&str]) -> Result<(StoreStart, Vec<StoredValue>), LedgerError> {
        let (facts, values) = self.0.read(accounts).map_err(ledger_error)?;
        Ok((start(facts), values))
    }

    fn commit(&mut self, memory: &str, values: &[ChangedValue]) -> Result<Vec<bool>, LedgerError> {
        let conflicts = self.commit_or_read(memory, values)?;
        let done = conflicts.map(|(_, conflicts)| conflicts.iter().map(Option::is_none).collect());
        Ok(done.unwrap_or_else(|| vec![true; values.len()]))
    }

    fn commit_or_read(
        &mut self,
        memory: &str,
        values: &[ChangedValue],
    ) -> Result<Option<Conflicts>, LedgerError> {
        let new = |it: &'_ ChangedValue| NewValue {
            account: it.account.clone(),
            before: it.before.clone(),
            version: it.version.clone(),
            value: it.text.clone(),
            kept: it.kept,
        };
        let values: Vec<NewValue> = values.iter().map(new).collect();
        let (facts, conflicts) = self.0.commit(memory, &values).map_err(ledger_error)?;
        Ok(Some((start(facts), conflicts)).filter(|(_, it)| it.iter().any(Option::is_some)))
    }

    fn distrust(&mut self, memory: &str) {
        self.0.distrust(memory);
    }

    fn accounts(&mut self) -> Result<Vec<String>, LedgerError> {
        self.0.accounts().map_err(ledger_error)
    }
}

fn start(facts: MemoryFacts) -> StoreStart {
    StoreStart { memory: facts.id, since: facts.since, now: facts.now }
}

fn ledger_error(error: StoreError) -> LedgerError {
    LedgerError { is_final: !error.may_pass(), reason: error.to_string() }
}
