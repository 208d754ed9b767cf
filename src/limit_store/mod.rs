//! The stores of others that runs on several machines share limits through, in the place of a limit
//! server.
//!
//! - `redis`: a server of Redis or Valkey
//! - `postgres`: a database of PostgreSQL

use std::fmt;
use std::path::Path;

use crate::error::Error;
use crate::limit::{ValueLedger, ValueStore};

#[cfg_attr(not(feature = "postgres"), path = "postgres/disabled.rs")]
mod postgres;
#[cfg_attr(not(feature = "redis"), path = "redis/disabled.rs")]
mod redis;

use postgres::PostgresLimits;
pub(crate) use redis::RedisLimits;

/// The address of a store.
#[derive(Clone)]
pub(crate) enum StoreAddress {
    /// A server of Redis or Valkey.
    Redis(RedisLimits),
    /// A database of PostgreSQL.
    Postgres(PostgresLimits),
}

/// The beginnings of the addresses of Redis. A limit server has those that begin with `unix:`.
const REDIS: [&str; 3] = ["redis://", "rediss://", "redis+unix://"];

/// The beginnings of the addresses of PostgreSQL.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

impl StoreAddress {
    /// Parses the URL of a store; none if it is not that of one. Passwords are in the environment;
    /// a server with TLS is trusted by the certificate, or by the platform's.
    ///
    /// # Errors
    /// It is wrong.
    pub fn parse(
        url: &str,
        cacert: Option<&Path>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Option<StoreAddress>, Error> {
        let is_of = |beginnings: &[&str]| beginnings.iter().any(|it| url.starts_with(it));
        if is_of(&REDIS) {
            return RedisLimits::parse(url, environment).map(StoreAddress::Redis).map(Some);
        }
        if is_of(&POSTGRES) {
            let limits = PostgresLimits::parse(url, cacert, environment)?;
            return Ok(Some(StoreAddress::Postgres(limits)));
        }
        Ok(None)
    }

    /// The limits in the store.
    pub fn ledger(&self) -> ValueLedger {
        let store: Box<dyn ValueStore> = match self {
            StoreAddress::Redis(limits) => limits.values(),
            StoreAddress::Postgres(limits) => limits.values(),
        };
        ValueLedger::new(store, rand::random())
    }

    /// The salt of the accounts' names in every store: what a store keeps, all who reach it can
    /// read, and a salt of its own would be lost with the rest where it is emptied. Runs that go
    /// on and runs that begin would have other names for one account then.
    pub fn salt() -> [u8; 32] {
        *blake3::hash(b"the accounts whose limits throng keeps in a store").as_bytes()
    }
}

impl fmt::Debug for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreAddress::Redis(limits) => fmt::Display::fmt(limits, f),
            StoreAddress::Postgres(limits) => fmt::Display::fmt(limits, f),
        }
    }
}
