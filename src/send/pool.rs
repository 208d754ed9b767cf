//! A worker's connections: those to one origin, and how many there may be at a time, as each
//! needs a file descriptor, of which a process has a limited number.
//!
//! The connection used last is used first, so that there are no more than there is work.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep, sleep_until};

use super::SendError;
use super::connect::Transport;
use super::http1or2::Connection;
use super::request::Defaults;
use super::route::Origin;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// Maximum time for which a connection may be idle: most servers close it later.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// The connections to one origin.
pub struct Connections {
    origin: Origin,
    #[expect(clippy::vec_box, reason = "a lease takes the box")]
    idle: RefCell<Vec<Box<OpenConnection>>>,
    /// HTTP/2 connections, which several requests use at a time.
    shared: RefCell<Vec<(Connection, ConnectionSlot)>>,
    /// Held while the first connection finds out which protocol the server
    /// speaks, and later while an HTTP/2 connection is opened.
    opening: Mutex<()>,
    one_at_a_time: Cell<Option<bool>>,
    /// The tasks of all open connections, and of some closed ones.
    tasks: RefCell<Vec<AbortHandle>>,
    /// The default headers of requests to the origin.
    pub(super) defaults: Defaults,
}

/// A connection, and what stays with it from one request to the next.
pub(super) struct OpenConnection {
    pub connection: Connection,
    /// The timer of the answer.
    pub timer: Timer,
    /// The connection's slot, unless it is shared.
    slot: Option<ConnectionSlot>,
    /// When the server may close it.
    until: Instant,
}

/// The timer of a connection's requests. Setting a running one for later costs next to nothing.
pub type Timer = Pin<Box<Sleep>>;

/// A connection that one request has until its answer was read.
pub struct Lease {
    /// It is boxed, as a lease is moved several times for each request.
    pub(super) open: Box<OpenConnection>,
    pub(super) connections: Rc<Connections>,
}

/// The maximum number of a worker's connections, and how many there are.
pub struct ConnectionLimit {
    max: usize,
    open: Cell<usize>,
    freed: Notify,
}

/// One of the connections that a [`ConnectionLimit`] allows.
pub struct ConnectionSlot(Rc<ConnectionLimit>);

impl Connections {
    pub fn new(origin: Origin, one_at_a_time: Option<bool>) -> Connections {
        Connections {
            tasks: RefCell::default(),
            defaults: Defaults::of(&origin),
            origin,
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: Mutex::default(),
            one_at_a_time: Cell::new(one_at_a_time),
        }
    }

    /// An idle connection, or a share of an HTTP/2 connection.
    pub fn reuse(self: &Rc<Self>) -> Option<Lease> {
        if let Some(connection) = self.share() {
            return Some(self.lease_new(connection, None));
        }
        let mut all_idle = self.idle.borrow_mut();
        while let Some(open) = all_idle.pop() {
            let lease = Lease { open, connections: self.clone() };
            if lease.is_fresh() {
                return Some(lease);
            }
        }
        None
    }

    /// The connection that [`reuse`](Self::reuse) would give, if a request can be sent on it at
    /// once.
    pub fn reuse_ready(self: &Rc<Self>) -> Option<Lease> {
        if let Some(connection) = self.share() {
            return Some(self.lease_new(connection, None));
        }
        let open = self.idle.borrow_mut().pop_if(|open| open.connection.is_ready())?;
        Some(Lease { open, connections: self.clone() }).filter(Lease::is_fresh)
    }

    /// A new connection in this slot, or a shared one that has been opened meanwhile.
    pub async fn open(
        self: &Rc<Self>,
        transport: &Transport,
        slot: ConnectionSlot,
    ) -> Result<Lease, SendError> {
        let turn = self.opening.lock().await;
        if self.one_at_a_time.get() == Some(true) {
            drop(turn);
            let connection = self.connect(transport).await?;
            return Ok(self.lease_new(connection, Some(slot)));
        }
        if let Some(connection) = self.share() {
            return Ok(self.lease_new(connection, None));
        }
        let connection = self.connect(transport).await?;
        self.one_at_a_time.set(Some(connection.is_http1()));
        match connection.share() {
            None => Ok(self.lease_new(connection, Some(slot))),
            Some(share) => {
                self.shared.borrow_mut().push((connection, slot));
                Ok(self.lease_new(share, None))
            }
        }
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

    /// A lease of a connection on which nothing has been sent.
    fn lease_new(self: &Rc<Self>, connection: Connection, slot: Option<ConnectionSlot>) -> Lease {
        let until = Instant::now() + MAX_IDLE;
        let timer = Box::pin(sleep_until(until));
        let open = Box::new(OpenConnection { connection, timer, slot, until });
        Lease { open, connections: self.clone() }
    }

    fn share(&self) -> Option<Connection> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|(connection, _)| !connection.is_closed());
        shared.iter().find_map(|(connection, _)| connection.share())
    }

    /// Ends the connection that has been idle for the longest time; returns whether there
    /// was one.
    pub fn close_one_idle(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let has_one = !idle.is_empty();
        if has_one {
            idle.remove(0);
        }
        has_one
    }

    /// Ends all connections, and with them the requests in flight.
    pub fn close(&self) {
        self.tasks.take().iter().for_each(AbortHandle::abort);
        self.shared.take();
        self.idle.take();
    }
}

impl Lease {
    /// Whether the server will probably take another request on it.
    pub fn is_fresh(&self) -> bool {
        let OpenConnection { connection, until, .. } = &*self.open;
        !connection.is_closed() && connection.has_room() && Instant::now() < *until
    }

    /// Whether other requests may use its connection as well.
    pub fn is_shared(&self) -> bool {
        self.open.slot.is_none()
    }

    /// Keeps the connection, which is idle from `now` on, for the next request, if it can be used
    /// again.
    pub fn give_back(mut self, headers: &HeaderMap, now: Instant) {
        if self.open.connection.is_http1() && !self.open.connection.is_closed() {
            if let Some(slot) = &self.open.slot {
                // A waiter for a slot can have this one.
                slot.0.wake_one();
            }
            self.open.until = now + max_idle(headers);
            self.connections.idle.borrow_mut().push(self.open);
        }
    }
}

impl ConnectionLimit {
    /// A limit of this many connections, of which there are none yet.
    pub fn new(max: usize) -> Rc<ConnectionLimit> {
        Rc::new(ConnectionLimit { max, open: Cell::new(0), freed: Notify::new() })
    }

    /// A slot, if one is free.
    pub fn take_slot(self: &Rc<Self>) -> Option<ConnectionSlot> {
        (self.open.get() < self.max).then(|| {
            self.open.set(self.open.get() + 1);
            ConnectionSlot(self.clone())
        })
    }

    /// Waits until a slot is free, or a connection is idle.
    pub async fn freed(&self) {
        self.freed.notified().await;
    }

    /// Wakes one waiter.
    pub fn wake_one(&self) {
        self.freed.notify_one();
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.wake_one();
    }
}

/// The time for which the server lets a connection be idle: a second less than
/// `Keep-Alive: timeout=5` says.
fn max_idle(headers: &HeaderMap) -> Duration {
    headers
        .get(KEEP_ALIVE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(',').find_map(|part| part.trim().strip_prefix("timeout=")))
        .and_then(|seconds| seconds.trim().parse().ok())
        .map_or(MAX_IDLE, |seconds: u64| {
            Duration::from_secs(seconds.saturating_sub(1)).min(MAX_IDLE)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_as_long_as_the_server_says() {
        for (value, seconds) in [
            ("timeout=5, max=100", 4),
            ("max=1, timeout=3", 2),
            ("timeout=0", 0),
            ("timeout=9999", 30),
            ("forever", 30),
        ] {
            let headers = HeaderMap::from_iter([(KEEP_ALIVE, value.parse().unwrap())]);
            assert_eq!(max_idle(&headers), Duration::from_secs(seconds), "{value}");
        }
    }

    #[tokio::test]
    async fn a_slot_is_taken_once_until_it_is_given_back() {
        let limit = ConnectionLimit::new(2);
        let slots = [limit.take_slot(), limit.take_slot()];
        assert!(slots.iter().all(Option::is_some) && limit.take_slot().is_none());
        let waits = async {
            limit.freed().await;
            limit.take_slot().is_some()
        };
        let (has_one, ()) = tokio::join!(waits, async { drop(slots) });
        assert!(has_one);
    }
}
