//! A connection to a server.

use std::time::Duration;

use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value,
};

use crate::address::{Address, Sentinels};
use crate::error::StoreError;

/// Maximum time for a connection to be made, or for an answer, beside the time that a call asks
/// the server to wait. The client's own default of half a second loses answers.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum number of times that one command is sent on to another server of a cluster.
const MAX_MOVES: usize = 5;

/// A connection of one thread, made when it is needed and made anew after an error. In a cluster
/// it goes on with the server that has the keys of the last command.
pub struct Connection {
    address: Address,
    timeout: Duration,
    open: Option<redis::Connection>,
    /// The host and port of the server of a cluster that has the keys; none if it is that of
    /// the address.
    node: Option<(String, u16)>,
}

impl Connection {
    /// A connection that is not made yet.
    #[must_use]
    pub fn new(address: &Address) -> Connection {
        Connection { address: address.clone(), timeout: TIMEOUT, open: None, node: None }
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
                // An answer may still come, and would be taken for that of the next command. The
                // server may be gone for good.
                (self.open, self.node) = (None, None);
            }
            self.described(&error, may_pass)
        })
    }

    fn try_call(&mut self, command: &Cmd, wait: Duration) -> Result<Value, RedisError> {
        for _ in 0..MAX_MOVES {
            let answer = self.call_once(command, wait);
            let Some(node) = answer.as_ref().err().and_then(|error| self.moved_to(error)) else {
                return answer;
            };
            (self.open, self.node) = (None, Some(node));
        }
        self.call_once(command, wait)
    }

    /// The server of a cluster that has the keys, as another one says of it.
    fn moved_to(&self, error: &RedisError) -> Option<(String, u16)> {
        if error.kind() != ErrorKind::Server(ServerErrorKind::Moved) {
            return None;
        }
        let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
        // Without a host it is that of the server that says so.
        let own = self.node.as_ref().map_or(self.address.host(), |(host, _)| host);
        let host = if host.is_empty() { own } else { host };
        Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
    }

    fn call_once(&mut self, command: &Cmd, wait: Duration) -> Result<Value, RedisError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => connect(self.info()?, self.timeout)?,
        };
        open.set_read_timeout(Some(self.timeout + wait))?;
        let open = self.open.insert(open);
        command.query(open)
    }

    /// How the next connection is made.
    fn info(&self) -> Result<ConnectionInfo, RedisError> {
        match (&self.node, self.address.sentinels()) {
            (Some((host, port)), _) => Ok(self.address.info_of(host, *port)),
            (None, None) => Ok(self.address.info()),
            (None, Some(sentinels)) => {
                let (host, port) = self.primary(sentinels)?;
                Ok(self.address.info_of(&host, port))
            }
        }
    }

    /// The host and port of the primary of a service, as the first sentinel that knows it says.
    fn primary(&self, sentinels: &Sentinels) -> Result<(String, u16), RedisError> {
        let service = sentinels.service.clone();
        let unknown = "no sentinel knows a service of this name";
        let mut why = RedisError::from((ErrorKind::InvalidClientConfig, unknown, service.clone()));
        for host in &sentinels.hosts {
            let info = self.address.info_of(host, sentinels.port);
            // Sentinels have no users and databases of the server.
            let info = info.set_redis_settings(RedisConnectionInfo::default());
            let mut command = redis::cmd("SENTINEL");
            command.arg("GET-MASTER-ADDR-BY-NAME").arg(&service);
            let asked = connect(info, self.timeout)
                .and_then(|mut open| command.query::<Option<(String, u16)>>(&mut open));
            match asked {
                Ok(Some(primary)) => return Ok(primary),
                Ok(None) => {}
                Err(error) => why = error,
            }
        }
        Err(why)
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
            ServerErrorKind::Ask
                | ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::TryAgain
        ),
        // The server's memory is full, or its disk.
        _ => error.code().is_some_and(|code| matches!(code, "OOM" | "MISCONF" | "NOREPLICAS")),
    }
}
