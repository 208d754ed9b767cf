//! Whether a server is fit to keep a job.

use std::time::Duration;

use redis::Value;

use crate::connection::Connection;
use crate::error::StoreError;

/// Facts of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version, such as `7.0.15`.
    pub version: String,
    /// Its `appendfsync`, if it appends what it is given to a file.
    pub sync: Option<String>,
    /// The name of its process, which another one has after a restart.
    pub run_id: String,
}

/// Checks that the server has functions, and does not lose what it is given. `is_volatile` allows
/// a server that forgets all when it ends.
///
/// # Errors
/// What the server lacks, and how to set it.
pub fn check(connection: &mut Connection, is_volatile: bool) -> Result<ServerFacts, StoreError> {
    let address = connection.address().to_string();
    let wrong = |why: String| StoreError::Refused(format!("the store {address} {why}"));
    let info = text(&connection.call(&redis::cmd("INFO"), Duration::ZERO)?);
    let of = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let version = match of("valkey_version") {
        valkey if !valkey.is_empty() => valkey,
        _ => of("redis_version"),
    };
    let major = version.split('.').next().and_then(|it| it.parse::<u32>().ok()).unwrap_or(0);
    if major < 7 {
        return Err(wrong(format!("has version {version}: it must be 7.0 or later")));
    }
    if of("role") == "slave" {
        return Err(wrong("is a replica: give the address of its primary".to_owned()));
    }
    let policy = of("maxmemory_policy");
    if policy != "noeviction" {
        return Err(wrong(format!(
            "may throw away what it is given, since its maxmemory-policy is {policy}: set it by `CONFIG SET maxmemory-policy noeviction`"
        )));
    }
    let appends = of("aof_enabled") == "1";
    if !appends && !is_volatile {
        return Err(wrong(
            "forgets what it is given when it ends, since appendonly is no: set it by `CONFIG SET appendonly yes`, or give --volatile to go without".to_owned(),
        ));
    }
    // Where CONFIG is not allowed, the usual setting is assumed.
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg("appendfsync");
    let sync = match connection.call(&command, Duration::ZERO) {
        Ok(Value::Array(pair)) => pair.last().map(text),
        _ => None,
    };
    let sync = appends.then(|| sync.unwrap_or_else(|| "everysec".to_owned()));
    Ok(ServerFacts { version, sync, run_id: of("run_id") })
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        Value::VerbatimString { text, .. } => text.clone(),
        _ => String::new(),
    }
}
