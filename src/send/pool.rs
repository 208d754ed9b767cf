//! The connections to one origin: the one used last is used first, so that there
//! are no more of them than there is work.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, Request};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until};

use super::SendError;
use super::connect::Transport;
use super::defaults::Defaults;
use super::http1or2::Connection;
use super::room::Slot;
use super::route::Origin;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Servers close connections that rest; most wait for longer than this.
const REST: Duration = Duration::from_secs(30);

/// The connections to one origin.
pub struct Connections {
    origin: Origin,
    resting: RefCell<Vec<Resting>>,
    shared: RefCell<Vec<(Connection, Slot)>>,
    /// Held while the first connection finds out which protocol the server
    /// speaks, and later while an HTTP/2 connection is opened.
    opening: Mutex<()>,
    one_at_a_time: Cell<Option<bool>>,
    /// The tasks of the connections that are open, and some of those that were.
    tasks: RefCell<Vec<AbortHandle>>,
    /// What requests say of us, and of this origin.
    defaults: Defaults,
}

struct Resting {
    connection: Connection,
    slot: Option<Slot>,
    until: Instant,
    timer: Timer,
}

/// Set anew for each request; setting a running one for later costs next to nothing.
pub type Timer = Pin<Box<Sleep>>;

/// A connection that is ours until the answer has been read.
pub struct Lease {
    pub(super) connection: Connection,
    /// Its place, unless the connection is shared and has one of its own.
    slot: Option<Slot>,
    /// When an answer takes too long.
    pub(super) timer: Timer,
    home: Rc<Connections>,
    until: Instant,
}

impl Connections {
    pub fn new(origin: Origin, one_at_a_time: Option<bool>) -> Connections {
        Connections {
            tasks: RefCell::default(),
            defaults: Defaults::of(&origin),
            origin,
            resting: RefCell::default(),
            shared: RefCell::default(),
            opening: Mutex::default(),
            one_at_a_time: Cell::new(one_at_a_time),
        }
    }

    /// A new connection in this place, or a shared one that has been opened meanwhile.
    pub async fn open(
        self: &Rc<Self>,
        transport: &Transport,
        slot: Slot,
    ) -> Result<Lease, SendError> {
        let turn = self.opening.lock().await;
        if self.one_at_a_time.get() == Some(true) {
            drop(turn);
            let connection = self.connect(transport).await?;
            return Ok(self.clone().lease_new(connection, Some(slot)));
        }
        if let Some(connection) = self.share() {
            return Ok(self.clone().lease_new(connection, None));
        }
        let connection = self.connect(transport).await?;
        let is_http1 = matches!(connection, Connection::Http1 { .. });
        self.one_at_a_time.set(Some(is_http1));
        match connection.share() {
            None => Ok(self.clone().lease_new(connection, Some(slot))),
            Some(mine) => {
                self.shared.borrow_mut().push((connection, slot));
                Ok(self.clone().lease_new(mine, None))
            }
        }
    }

    /// Ends the connection that has waited for work for the longest time; whether there
    /// was one.
    pub fn end_one_at_rest(&self) -> bool {
        let mut resting = self.resting.borrow_mut();
        let is_one = !resting.is_empty();
        if is_one {
            resting.remove(0);
        }
        is_one
    }

    async fn connect(&self, transport: &Transport) -> Result<Connection, SendError> {
        let connection = transport.connect(&self.origin).await?;
        let mut tasks = self.tasks.borrow_mut();
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(connection.task());
        Ok(connection)
    }

    /// Ends all connections, and with them the requests in flight.
    pub fn close(&self) {
        self.tasks.take().iter().for_each(AbortHandle::abort);
        self.shared.take();
        self.resting.take();
    }

    /// A connection that nothing has been sent on.
    fn lease_new(self: Rc<Self>, connection: Connection, slot: Option<Slot>) -> Lease {
        let until = Instant::now() + REST;
        Lease { connection, slot, timer: Box::pin(sleep_until(until)), home: self, until }
    }

    /// A connection that waits for work.
    pub fn free(self: &Rc<Self>) -> Option<Lease> {
        if let Some(connection) = self.share() {
            return Some(self.clone().lease_new(connection, None));
        }
        let mut resting = self.resting.borrow_mut();
        while let Some(rested) = resting.pop() {
            let lease = Lease {
                connection: rested.connection,
                slot: rested.slot,
                timer: rested.timer,
                home: self.clone(),
                until: rested.until,
            };
            if lease.is_fresh() {
                return Some(lease);
            }
        }
        None
    }

    fn share(&self) -> Option<Connection> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|(connection, _)| !connection.is_closed());
        shared.iter().find_map(|(connection, _)| connection.share())
    }
}

impl Lease {
    /// Adds to a request what it does not say itself.
    pub fn complete(&self, request: &mut Request<Bytes>) {
        let is_http1 = matches!(self.connection, Connection::Http1 { .. });
        self.home.defaults.add(request, is_http1);
    }

    /// Whether the server will probably take another request on it.
    pub fn is_fresh(&self) -> bool {
        let connection = &self.connection;
        !connection.is_closed() && connection.has_room() && Instant::now() < self.until
    }

    /// Whether others may use its connection as well.
    pub fn is_shared(&self) -> bool {
        self.slot.is_none()
    }

    /// Puts it to rest, if it can be used again.
    pub fn give_back(self, headers: &HeaderMap) {
        if matches!(self.connection, Connection::Http1 { .. }) && !self.connection.is_closed() {
            if let Some(slot) = &self.slot {
                slot.rests();
            }
            self.home.resting.borrow_mut().push(Resting {
                connection: self.connection,
                slot: self.slot,
                until: Instant::now() + rest(headers),
                timer: self.timer,
            });
        }
    }
}

/// How long the server lets a connection rest: a second less than `Keep-Alive: timeout=5`.
fn rest(headers: &HeaderMap) -> Duration {
    headers
        .get(KEEP_ALIVE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(',').find_map(|part| part.trim().strip_prefix("timeout=")))
        .and_then(|seconds| seconds.trim().parse().ok())
        .map_or(REST, |seconds: u64| Duration::from_secs(seconds.saturating_sub(1)).min(REST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_rests_as_long_as_the_server_says() {
        for (value, seconds) in [
            ("timeout=5, max=100", 4),
            ("max=1, timeout=3", 2),
            ("timeout=0", 0),
            ("timeout=9999", 30),
            ("forever", 30),
        ] {
            let headers = HeaderMap::from_iter([(KEEP_ALIVE, value.parse().unwrap())]);
            assert_eq!(rest(&headers), Duration::from_secs(seconds), "{value}");
        }
    }
}
