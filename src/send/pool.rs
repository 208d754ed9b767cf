//! A worker's connections, by origin: the one used last is used first, so that
//! there are no more of them than there is work.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, Uri};
use http_body_util::Full;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connect::Transport;
use super::http1or2::{Connection, Head};
use super::route::{Origin, Scheme};
use super::{Answer, Landed, Trouble, body};

/// Servers close connections that rest; most wait for longer than this.
const REST: Duration = Duration::from_secs(30);

/// Sends requests over a worker's own connections.
pub struct Sender {
    transport: Arc<Transport>,
    origins: RefCell<HashMap<Origin, Rc<Connections>>>,
}

/// The connections to one origin.
struct Connections {
    resting: RefCell<Vec<Resting>>,
    shared: RefCell<Vec<Connection>>,
    /// Held while the first connection finds out which protocol the server
    /// speaks, and later while an HTTP/2 connection is opened.
    opening: Mutex<()>,
    one_at_a_time: Cell<Option<bool>>,
}

struct Resting {
    connection: Connection,
    until: Instant,
}

/// A connection that is ours until the answer has been read.
pub struct Lease {
    connection: Connection,
    home: Rc<Connections>,
    until: Instant,
}

/// When an attempt was sent, and when it has taken too long.
#[derive(Debug, Clone, Copy)]
pub struct Started {
    sent: Instant,
    deadline: Instant,
}

impl Started {
    /// The time since it was sent.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.sent.elapsed()
    }
}

impl Sender {
    /// No connections yet.
    #[must_use]
    pub fn new(transport: Arc<Transport>) -> Sender {
        Sender {
            transport,
            origins: RefCell::default(),
        }
    }

    /// A connection to the URL's origin that is ready for a request.
    pub async fn lease(&self, uri: &Uri) -> Result<Lease, Trouble> {
        let origin = Origin::of(uri).ok_or_else(|| Trouble {
            kind: "input",
            detail: format!("{uri} has no http or https origin"),
            landed: Landed::Final,
        })?;
        let home = self.home(&origin);
        while let Some(mut lease) = home.free() {
            if lease.connection.ready().await.is_ok() {
                return Ok(lease);
            }
        }
        let connection = self.open(&origin, &home).await?;
        Ok(home.lease(connection, Instant::now() + REST))
    }

    /// The same lease, or a new one if its connection has ended meanwhile.
    pub async fn renew(&self, lease: Lease, uri: &Uri) -> Result<Lease, Trouble> {
        match lease.is_fresh() {
            true => Ok(lease),
            false => self.lease(uri).await,
        }
    }

    /// Writes a request and waits for the head of its answer, until it has taken too long.
    pub async fn send(
        &self,
        lease: &mut Lease,
        request: Request<Bytes>,
        started: Started,
    ) -> Result<Head, Trouble> {
        let mut request = request.map(Full::new);
        add_defaults(request.headers_mut());
        tokio::time::timeout_at(started.deadline, lease.connection.send(request))
            .await
            .unwrap_or_else(|_| Err(self.too_slow("no answer")))
    }

    /// Reads the rest of an answer, and keeps the connection.
    pub async fn read(
        &self,
        lease: Lease,
        head: Head,
        started: Started,
    ) -> Result<Answer, Trouble> {
        let cap = self.transport.settings().max_body.as_u64();
        let (head, incoming) = head.into_parts();
        let body = tokio::time::timeout_at(started.deadline, body::read(incoming, cap))
            .await
            .unwrap_or_else(|_| Err(self.too_slow("no whole answer")))?;
        let latency = started.elapsed();
        lease.give_back(&head.headers);
        Ok(Answer {
            status: head.status,
            body: body::decode(body, &head.headers, cap)?,
            headers: head.headers,
            latency,
        })
    }

    /// The clock of an attempt that is sent now.
    #[must_use]
    pub fn start(&self) -> Started {
        let sent = Instant::now();
        Started {
            sent,
            deadline: sent + self.transport.settings().timeout,
        }
    }

    fn home(&self, origin: &Origin) -> Rc<Connections> {
        if let Some(home) = self.origins.borrow().get(origin) {
            return home.clone();
        }
        let home = Rc::new(Connections::new(origin.scheme));
        self.origins
            .borrow_mut()
            .insert(origin.clone(), home.clone());
        home
    }

    async fn open(&self, origin: &Origin, home: &Connections) -> Result<Connection, Trouble> {
        if home.one_at_a_time.get() == Some(true) {
            return self.transport.connect(origin).await;
        }
        let _turn = home.opening.lock().await;
        if let Some(connection) = home.share() {
            return Ok(connection);
        }
        let connection = self.transport.connect(origin).await?;
        let shared = connection.share();
        home.one_at_a_time.set(Some(shared.is_none()));
        match shared {
            None => Ok(connection),
            Some(mine) => {
                home.shared.borrow_mut().push(connection);
                Ok(mine)
            }
        }
    }

    fn too_slow(&self, what: &str) -> Trouble {
        let limit = humantime::format_duration(self.transport.settings().timeout);
        Trouble {
            kind: "timeout",
            detail: format!("{what} within {limit} (send.timeout or --timeout)"),
            landed: Landed::Maybe,
        }
    }
}

impl Connections {
    fn new(scheme: Scheme) -> Connections {
        let in_clear = scheme == Scheme::Http;
        Connections {
            resting: RefCell::default(),
            shared: RefCell::default(),
            opening: Mutex::default(),
            one_at_a_time: Cell::new(in_clear.then_some(true)),
        }
    }

    fn lease(self: Rc<Self>, connection: Connection, until: Instant) -> Lease {
        Lease {
            connection,
            home: self,
            until,
        }
    }

    fn free(self: &Rc<Self>) -> Option<Lease> {
        if let Some(connection) = self.share() {
            return Some(self.clone().lease(connection, Instant::now() + REST));
        }
        let mut resting = self.resting.borrow_mut();
        while let Some(Resting { connection, until }) = resting.pop() {
            let lease = self.clone().lease(connection, until);
            if lease.is_fresh() {
                return Some(lease);
            }
        }
        None
    }

    fn share(&self) -> Option<Connection> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.is_closed());
        shared.iter().find_map(Connection::share)
    }
}

impl Lease {
    fn is_fresh(&self) -> bool {
        !self.connection.is_closed() && Instant::now() < self.until
    }

    fn give_back(self, headers: &HeaderMap) {
        if matches!(self.connection, Connection::Http1 { .. }) && !self.connection.is_closed() {
            let until = Instant::now() + rest(headers);
            let connection = self.connection;
            self.home
                .resting
                .borrow_mut()
                .push(Resting { connection, until });
        }
    }
}

/// How long the server lets a connection rest: a second less than `Keep-Alive: timeout=5`.
fn rest(headers: &HeaderMap) -> Duration {
    headers
        .get("keep-alive")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| {
            text.split(',')
                .find_map(|part| part.trim().strip_prefix("timeout="))
        })
        .and_then(|seconds| seconds.trim().parse().ok())
        .map_or(REST, |seconds: u64| {
            Duration::from_secs(seconds.saturating_sub(1)).min(REST)
        })
}

fn add_defaults(headers: &mut HeaderMap) {
    const AGENT: &str = concat!("throng/", env!("CARGO_PKG_VERSION"));
    let defaults: [(HeaderName, &'static str); 2] =
        [(USER_AGENT, AGENT), (ACCEPT_ENCODING, body::ACCEPTED)];
    for (name, value) in defaults {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
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
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static("keep-alive"),
                value.parse().unwrap(),
            )]);
            assert_eq!(rest(&headers), Duration::from_secs(seconds), "{value}");
        }
    }

    #[test]
    fn the_job_s_own_headers_win() {
        let mut headers = HeaderMap::from_iter([(USER_AGENT, "me".parse().unwrap())]);
        add_defaults(&mut headers);
        assert_eq!(headers[USER_AGENT], "me");
        assert_eq!(headers[ACCEPT_ENCODING], body::ACCEPTED);
    }
}
