//! A connection to a server.

use std::time::Duration;

use redis::{Client, Cmd, ConnectionInfo, ErrorKind, RedisError, ServerErrorKind, Value};

use crate::address::Address;
use crate::error::StoreError;

/// Maximum time for a connection to be made, or for an answer, beside the time that a call asks
/// the server to wait. The client's own default of half a second loses answers.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A connection of one thread, made when it is needed and made anew after an error.
pub struct Connection {
    address: Address,
    timeout: Duration,
    open: Option<redis::Connection>,
}

impl Connection {
    /// A connection that is not made yet.
    #[must_use]
    pub fn new(address: &Address) -> Connection {
        Connection { address: address.clone(), timeout: TIMEOUT, open: None }
    }

    /// The address of its server.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends a command that the server may answer after `wait`, and gives the answer.
    pub(crate) fn call(&mut self, command: &Cmd, wait: Duration) -> Result<Value, StoreError> {
        let answer = self.try_call(command, wait);
        answer.map_err(|error| {
            let may_pass = may_pass(&error);
            if may_pass {
                // An answer may still come, and would be taken for that of the next command.
                self.open = None;
            }
            self.described(&error, may_pass)
        })
    }

    fn try_call(&mut self, command: &Cmd, wait: Duration) -> Result<Value, RedisError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => connect(self.address.info(), self.timeout)?,
        };
        open.set_read_timeout(Some(self.timeout + wait))?;
        let open = self.open.insert(open);
        command.query(open)
    }

    fn described(&self, error: &RedisError, may_pass: bool) -> StoreError {
        let what = match error.kind() {
            ErrorKind::AuthenticationFailed => "it refuses the user or the password".to_owned(),
            ErrorKind::Server(ServerErrorKind::NoPerm) => {
                format!("the user may not do it: {error}")
            }
            _ => error.to_string(),
        };
        let text = format!("the store {}: {what}", self.address);
        if may_pass { StoreError::Unreachable(text) } else { StoreError::Refused(text) }
    }
}

fn connect(info: ConnectionInfo, timeout: Duration) -> Result<redis::Connection, RedisError> {
    let open = Client::open(info)?.get_connection_with_timeout(timeout)?;
    open.set_write_timeout(Some(timeout))?;
    Ok(open)
}

/// Whether the same command may succeed later.
fn may_pass(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain
        ),
        // The server's memory is full, or its disk.
        _ => error.code().is_some_and(|code| matches!(code, "OOM" | "MISCONF" | "NOREPLICAS")),
    }
}
