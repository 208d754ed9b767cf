//! Sends requests over a worker's own connections, and reads their answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, Uri};
use tokio::time::{Instant, sleep};

use super::connect::Transport;
use super::deadline::Deadline;
use super::pool::{ConnectionLimit, ConnectionSlot, Connections, Lease, OpenConnection};
use super::request::RequestHead;
use super::route::Origin;
use super::{Answer, Delivery, SendError, body};
use crate::limit::duration;
use crate::record::FailureKind;
use crate::wording::worded;

/// Sends requests over a worker's own connections.
pub struct Sender {
    transport: Arc<Transport>,
    limit: Rc<ConnectionLimit>,
    origins: RefCell<HashMap<Origin, Rc<Connections>>>,
    /// The connections of the latest request, since most requests go to one server.
    latest: RefCell<Option<(Endpoint, Rc<Connections>)>>,
}

/// Maximum time for which a connection waits for a descriptor or a thread that is in use.
const MAX_SHORTAGE: Duration = Duration::from_secs(60);
/// Pause between two attempts to get it.
const SHORTAGE_RETRY: Duration = Duration::from_millis(100);

/// The scheme and the authority of a URL.
type Endpoint = (Scheme, Authority);

/// The time at which an attempt was sent, and its deadline.
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
    /// A sender without connections, with at most `max_connections` at a time.
    #[must_use]
    pub fn new(transport: Arc<Transport>, max_connections: usize) -> Sender {
        Sender {
            transport,
            limit: ConnectionLimit::new(max_connections),
            origins: RefCell::default(),
            latest: RefCell::default(),
        }
    }

    /// A connection to the URL's origin that is ready for a request, if it need not be waited
    /// for.
    pub fn lease_now(&self, uri: &Uri) -> Result<Option<Lease>, SendError> {
        Ok(self.connections(uri)?.reuse_ready())
    }

    /// A connection to the URL's origin that is ready for a request.
    pub async fn lease(&self, uri: &Uri) -> Result<Lease, SendError> {
        let connections = self.connections(uri)?;
        match reuse(&connections).await {
            Some(lease) => Ok(lease),
            // Seldom needed, and much larger than all the rest of an attempt.
            None => Box::pin(self.open(&connections)).await,
        }
    }

    /// A new connection as soon as there is a slot for it, or one that is idle by then.
    async fn open(&self, connections: &Rc<Connections>) -> Result<Lease, SendError> {
        let mut give_up_at = None;
        loop {
            match self.slot() {
                None => self.limit.freed().await,
                Some(slot) => match connections.open(&self.transport, slot).await {
                    Err(error) if error.kind == FailureKind::NoDescriptor => {
                        let until = *give_up_at.get_or_insert(Instant::now() + MAX_SHORTAGE);
                        self.wait_for_descriptor(until, error).await?;
                    }
                    opened => return opened,
                },
            }
            if let Some(lease) = reuse(connections).await {
                if lease.is_shared() {
                    self.limit.wake_one();
                }
                return Ok(lease);
            }
        }
    }

    /// A slot for a new connection, if need be that of an idle one.
    fn slot(&self) -> Option<ConnectionSlot> {
        self.limit.take_slot().or_else(|| {
            let origins = self.origins.borrow();
            origins.values().find(|connections| connections.close_one_idle())?;
            self.limit.take_slot()
        })
    }

    /// Waits until a descriptor may be free again, and closes idle connections for that.
    async fn wait_for_descriptor(&self, until: Instant, error: SendError) -> Result<(), SendError> {
        if Instant::now() >= until {
            return Err(SendError {
                kind: FailureKind::Connect,
                detail: format!("{}; is the limit too low (ulimit -n)?", error.detail),
                ..error
            });
        }
        for connections in self.origins.borrow().values() {
            connections.close_one_idle();
        }
        sleep(SHORTAGE_RETRY).await;
        Ok(())
    }

    /// Gives a lease back, or a new one if its connection has ended meanwhile.
    pub async fn renew(&self, lease: Lease, uri: &Uri) -> Result<Lease, SendError> {
        if lease.is_fresh() {
            Ok(lease)
        } else {
            drop(lease);
            self.lease(uri).await
        }
    }

    /// Writes a request and waits for the head of its answer, until the deadline.
    /// `arrived` is called if the server's network stack is seen to have the request
    /// before that.
    pub async fn send(
        &self,
        lease: &mut Lease,
        request: &Request<Bytes>,
        started: Started,
        arrived: impl FnOnce(),
    ) -> Result<RequestHead, SendError> {
        let OpenConnection { connection, timer, .. } = &mut *lease.open;
        timer.as_mut().reset(started.deadline);
        let head = {
            let defaults = &lease.connections.defaults;
            let sending = pin!(connection.send(request, defaults, arrived));
            Deadline::new(timer.as_mut()).keep(sending).await
        };
        let head = head.unwrap_or_else(|| Err(self.too_slow("no answer")))?;
        match connection.refusal_of_proxy(&head) {
            None => Ok(head),
            Some(error) => {
                self.transport.bar();
                Err(error)
            }
        }
    }

    /// Reads the rest of an answer, and keeps the connection.
    pub async fn read(
        &self,
        mut lease: Lease,
        head: RequestHead,
        started: Started,
    ) -> Result<Answer, SendError> {
        let cap = self.transport.settings.max_held_body();
        let (head, incoming) = head.into_parts();
        let mut deadline = Deadline::new(lease.open.timer.as_mut());
        let idle = self.transport.settings.idle_timeout;
        let body = body::read(incoming, cap, &mut deadline, idle).await;
        let body = body.unwrap_or_else(|| Err(self.too_slow_body(&deadline)))?;
        let now = Instant::now();
        let latency = now - started.sent;
        lease.give_back(&head.headers, now);
        Ok(Answer {
            status: head.status,
            body: self.decode(body, &head.headers, cap)?,
            headers: head.headers,
            latency,
            unfollowed: None,
        })
    }

    /// Passes the rest of an answer on piece by piece, as it was sent, and keeps the connection.
    /// The answer has no body.
    pub async fn receive(
        &self,
        mut lease: Lease,
        head: RequestHead,
        started: Started,
        take: &mut dyn FnMut(&[u8]) -> Result<(), SendError>,
    ) -> Result<Answer, SendError> {
        let cap = self.transport.settings.max_body.map_or(u64::MAX, |size| size.as_u64());
        let (head, incoming) = head.into_parts();
        let mut deadline = Deadline::new(lease.open.timer.as_mut());
        let idle = self.transport.settings.idle_timeout;
        let received = body::receive(incoming, cap, &mut deadline, idle, take).await;
        received.unwrap_or_else(|| Err(self.too_slow_body(&deadline)))?;
        let now = Instant::now();
        let latency = now - started.sent;
        lease.give_back(&head.headers, now);
        Ok(Answer {
            status: head.status,
            body: Bytes::new(),
            headers: head.headers,
            latency,
            unfollowed: None,
        })
    }

    fn decode(&self, body: Bytes, headers: &HeaderMap, cap: u64) -> Result<Bytes, SendError> {
        let body = body::decode(body, headers, cap)?;
        if self.transport.settings.keep_gzip { Ok(body) } else { body::unzip(body, cap) }
    }

    /// The clock of an attempt that is sent now.
    #[must_use]
    pub fn start(&self) -> Started {
        let sent = Instant::now();
        Started { sent, deadline: sent + self.transport.settings.timeout }
    }

    /// Ends all connections: each request in flight gets an error.
    pub fn close(&self) {
        self.latest.take();
        let origins = self.origins.take();
        origins.values().for_each(|connections| connections.close());
    }

    /// The connections to the URL's origin.
    fn connections(&self, uri: &Uri) -> Result<Rc<Connections>, SendError> {
        let endpoint = uri.scheme().zip(uri.authority());
        if let Some(((scheme, authority), connections)) = &*self.latest.borrow()
            && endpoint.is_some_and(|(s, a)| s == scheme && a.as_str() == authority.as_str())
        {
            return Ok(connections.clone());
        }
        let origin = Origin::of(uri).ok_or_else(|| SendError {
            kind: FailureKind::Input,
            detail: format!("{uri} has no http or https origin"),
            delivery: Delivery::Final,
        })?;
        let mut origins = self.origins.borrow_mut();
        let connections = origins.entry(origin).or_insert_with_key(|origin| {
            let one_at_a_time = self.transport.one_at_a_time(origin.scheme);
            Rc::new(Connections::new(origin.clone(), one_at_a_time))
        });
        let endpoint = endpoint.map(|(scheme, authority)| (scheme.clone(), authority.clone()));
        self.latest.replace(endpoint.map(|endpoint| (endpoint, connections.clone())));
        Ok(connections.clone())
    }

    fn too_slow_body(&self, deadline: &Deadline<'_>) -> SendError {
        let idle = self.transport.settings.idle_timeout.filter(|_| deadline.is_before_end());
        idle.map_or_else(|| self.too_slow("no whole answer"), idle_too_long)
    }

    fn too_slow(&self, what: &str) -> SendError {
        let limit = duration::exact(self.transport.settings.timeout);
        SendError {
            kind: FailureKind::Timeout,
            detail: worded(format!("{what} within {limit} (send.timeout or --timeout)")),
            delivery: Delivery::Unknown,
        }
    }
}

/// A body of which no more came for this time.
fn idle_too_long(idle: Duration) -> SendError {
    let idle = duration::exact(idle);
    SendError {
        kind: FailureKind::Timeout,
        detail: worded(format!(
            "the answer began, and then nothing more of it came for {idle} (send.idle-timeout or --idle-timeout)"
        )),
        delivery: Delivery::Unknown,
    }
}

/// A connection that is open already, and ready for a request.
async fn reuse(connections: &Rc<Connections>) -> Option<Lease> {
    while let Some(mut lease) = connections.reuse() {
        if lease.open.connection.ready().await.is_ok() {
            return Some(lease);
        }
    }
    None
}
