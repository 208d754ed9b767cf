//! The limits that runs share: a value for each account, which clients change by comparing
//! versions.

use std::time::Duration;

use redis::Value;

use crate::address::Address;
use crate::checks::{ServerFacts, check};
use crate::connection::Connection;
use crate::error::StoreError;
use crate::functions::Library;

static LIBRARY: Library = Library::named("limits_", include_str!("ledger.lua"));

/// The key of the start of the server's memory of limits.
const START: &str = "throng:{limits}:start";

/// The key that is there for a moment on a server that has never had limits.
const NEW: &str = "throng:{limits}:new";

/// The beginning of the keys of accounts.
const ACCOUNT: &str = "throng:{limits}:account:";

/// Seconds for which it is told that a server has never had limits.
const TOLD: u64 = 10;

/// The values of accounts in a server.
pub struct LimitValues {
    connection: Connection,
    /// Facts of the server that the connection leads to; none until they are asked for.
    facts: Option<ServerFacts>,
    /// The id of a memory whose clock was set forward.
    distrusted: String,
}

/// The memory of a server when it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryFacts {
    /// Its id: a memory with another id may have forgotten something.
    pub id: String,
    /// The time since which nothing was forgotten, in microseconds since 1970 by the server's
    /// clock.
    pub since: u64,
    /// The time of the answer by the server's clock.
    pub now: u64,
}

/// The version and the value of an account; both are empty where it has none.
pub type VersionedValue = (String, Vec<u8>);

/// A new value of an account.
#[derive(Debug, Clone)]
pub struct NewValue {
    /// The account.
    pub account: String,
    /// The version that was read.
    pub before: String,
    /// The new version, which no other value has.
    pub version: String,
    /// The value.
    pub value: Vec<u8>,
    /// Time for which it has to be kept.
    pub kept: Duration,
}

impl LimitValues {
    /// The values in the server at this address. No connection is made.
    #[must_use]
    pub fn new(address: &Address) -> LimitValues {
        let connection = Connection::new(address);
        LimitValues { connection, facts: None, distrusted: String::new() }
    }

    /// Checks that the server throws nothing away. One that forgets all when it ends will do: it
    /// counts as one that knows nothing of what was before its start.
    ///
    /// # Errors
    /// The server can't be reached, or is not fit.
    pub fn check(&mut self) -> Result<(), StoreError> {
        self.facts = Some(check(&mut self.connection, true)?);
        Ok(())
    }

    /// The clock of the memory with this id was set forward: another memory begins.
    pub fn distrust(&mut self, memory: &str) {
        memory.clone_into(&mut self.distrusted);
    }

    /// Reads the values of accounts.
    ///
    /// # Errors
    /// The server can't be reached.
    pub fn read(
        &mut self,
        accounts: &[&str],
    ) -> Result<(MemoryFacts, Vec<VersionedValue>), StoreError> {
        let answer = self.call("read", accounts, &[])?;
        read_values(&answer)
            .filter(|(_, values)| values.len() == accounts.len())
            .ok_or_else(unexpected)
    }

    /// Changes the values of accounts whose versions are still those that were read, in the memory
    /// with this id. Gives the values of those that were not changed, since they have another
    /// version; none for those that were.
    ///
    /// # Errors
    /// The server can't be reached. The values may have changed all the same.
    pub fn commit(
        &mut self,
        memory: &str,
        values: &[NewValue],
    ) -> Result<(MemoryFacts, Vec<Option<VersionedValue>>), StoreError> {
        let accounts: Vec<&str> = values.iter().map(|it| it.account.as_str()).collect();
        let kept: Vec<String> = values.iter().map(|it| it.kept.as_millis().to_string()).collect();
        let mut arguments = vec![memory.as_bytes()];
        for (value, kept) in values.iter().zip(&kept) {
            arguments.extend([
                value.before.as_bytes(),
                value.version.as_bytes(),
                &value.value,
                kept.as_bytes(),
            ]);
        }
        let answer = self.call("commit", &accounts, &arguments)?;
        let committed = committed_values(&answer);
        committed.filter(|(_, conflicts)| conflicts.len() == values.len()).ok_or_else(unexpected)
    }

    /// The accounts that have a value.
    ///
    /// # Errors
    /// The server can't be reached.
    pub fn accounts(&mut self) -> Result<Vec<String>, StoreError> {
        let (mut accounts, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let mut command = redis::cmd("SCAN");
            command.arg(&cursor).arg("MATCH").arg(format!("{ACCOUNT}*")).arg("COUNT").arg(1_000);
            let answer = self.connection.call(&command, Duration::ZERO)?;
            let parts = if let Value::Array(parts) = answer { parts } else { Vec::new() };
            let [next, Value::Array(keys)] = parts.as_slice() else { return Err(unexpected()) };
            let names = keys.iter().filter_map(text);
            accounts.extend(names.filter_map(|key| Some(key.strip_prefix(ACCOUNT)?.to_owned())));
            cursor = text(next).ok_or_else(unexpected)?;
            if cursor == "0" {
                accounts.sort();
                accounts.dedup();
                return Ok(accounts);
            }
        }
    }

    fn facts(&mut self) -> Result<&ServerFacts, StoreError> {
        let facts = match self.facts.take() {
            Some(facts) => facts,
            None => check(&mut self.connection, true)?,
        };
        Ok(self.facts.insert(facts))
    }

    fn call(
        &mut self,
        function: &str,
        accounts: &[&str],
        arguments: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let sync = self.facts()?.sync.clone();
        let keeps: &[u8] = if sync.as_deref() == Some("always") { b"1" } else { b"0" };
        let distrusted = self.distrusted.clone();
        let arguments: Vec<&[u8]> =
            [keeps, distrusted.as_bytes()].into_iter().chain(arguments.iter().copied()).collect();
        let accounts: Vec<String> = accounts.iter().map(|it| format!("{ACCOUNT}{it}")).collect();
        let keys: Vec<&str> =
            [START, NEW].into_iter().chain(accounts.iter().map(String::as_str)).collect();
        let tell = |connection: &mut Connection| tell_if_new(connection, sync.is_some());
        let answer = LIBRARY.call_after(&mut self.connection, function, &keys, &arguments, tell);
        if answer.as_ref().is_err_and(StoreError::may_pass) {
            // The address may lead to another server then.
            self.facts = None;
        }
        answer
    }
}

/// Before functions are loaded: tells the server that it has never had limits, if so. Functions stay
/// where all keys are removed, and so tell an empty server from one that was emptied.
fn tell_if_new(connection: &mut Connection, appends: bool) -> Result<(), StoreError> {
    let mut list = redis::cmd("FUNCTION");
    list.arg("LIST").arg("LIBRARYNAME").arg("throng_limits_*");
    if connection.call(&list, Duration::ZERO)? != Value::Array(Vec::new()) {
        return Ok(());
    }
    let mut set = redis::cmd("SET");
    // What appends to a file would know if it had had limits before its process started.
    let what = if appends { "fresh" } else { "started" };
    set.arg(NEW).arg(what).arg("NX").arg("EX").arg(TOLD);
    connection.call(&set, Duration::ZERO).map(drop)
}

fn read_values(answer: &Value) -> Option<(MemoryFacts, Vec<VersionedValue>)> {
    let (facts, values) = memory_facts(answer)?;
    Some((facts, values.chunks_exact(2).map(versioned).collect::<Option<_>>()?))
}

fn committed_values(answer: &Value) -> Option<(MemoryFacts, Vec<Option<VersionedValue>>)> {
    let (facts, mut left) = memory_facts(answer)?;
    let mut conflicts = Vec::new();
    loop {
        left = match left {
            [] => return Some((facts, conflicts)),
            [Value::Int(1), rest @ ..] => {
                conflicts.push(None);
                rest
            }
            [_, conflict @ ..] => {
                conflicts.push(Some(versioned(conflict)?));
                &conflict[2..]
            }
        };
    }
}

/// The facts of the memory with which each answer begins, and what follows them.
fn memory_facts(answer: &Value) -> Option<(MemoryFacts, &[Value])> {
    let Value::Array(parts) = answer else { return None };
    let [id, since, now, rest @ ..] = parts.as_slice() else { return None };
    let (since, now) = (text(since)?.parse().ok()?, text(now)?.parse().ok()?);
    Some((MemoryFacts { id: text(id)?, since, now }, rest))
}

fn versioned(parts: &[Value]) -> Option<VersionedValue> {
    let [version, value, ..] = parts else { return None };
    Some((text(version)?, bytes(value)?))
}

fn text(value: &Value) -> Option<String> {
    bytes(value).and_then(|bytes| String::from_utf8(bytes).ok())
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes.clone()),
        Value::SimpleString(text) => Some(text.clone().into_bytes()),
        _ => None,
    }
}

fn unexpected() -> StoreError {
    StoreError::Refused("the answer of the store's functions is another than theirs".to_owned())
}
