//! Sends requests over a worker's own connections.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Uri};
use tokio::time::{Instant, sleep};

use super::connect::Transport;
use super::http1or2::RequestHead;
use super::pool::{Connections, Lease};
use super::room::{Room, Slot};
use super::route::Origin;
use super::{Answer, Delivery, SendError, body};
use crate::record::FailureKind;
use crate::send::deadline::Deadline;

/// Sends requests over a worker's own connections.
pub struct Sender {
    transport: Arc<Transport>,
    room: Rc<Room>,
    origins: RefCell<HashMap<Origin, Rc<Connections>>>,
    /// Those of the latest request, since most go to one server.
    latest: RefCell<Option<(Endpoint, Rc<Connections>)>>,
}

/// How long a connection waits for a descriptor or a thread that others hold.
const SCARCE_FOR: Duration = Duration::from_secs(60);
/// How often it asks for it.
const SCARCE_EVERY: Duration = Duration::from_millis(100);

/// What a URL says of whom to ask.
type Endpoint = (Scheme, Authority);

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
    /// No connections yet, and never more than so many at a time.
    #[must_use]
    pub fn new(transport: Arc<Transport>, most: usize) -> Sender {
        Sender {
            transport,
            room: Room::new(most),
            origins: RefCell::default(),
            latest: RefCell::default(),
        }
    }

    /// A connection to the URL's origin that is ready for a request.
    pub async fn lease(&self, uri: &Uri) -> Result<Lease, SendError> {
        let home = self.home(uri)?;
        match rested(&home).await {
            Some(lease) => Ok(lease),
            // Seldom needed, and much larger than all the rest of an attempt.
            None => Box::pin(self.open(&home)).await,
        }
    }

    /// A new connection, as soon as there is room for it; or one that is there by then.
    async fn open(&self, home: &Rc<Connections>) -> Result<Lease, SendError> {
        let mut patience = None;
        loop {
            match self.slot() {
                None => self.room.freed().await,
                Some(slot) => match home.open(&self.transport, slot).await {
                    Err(trouble) if trouble.kind == FailureKind::NoDescriptor => {
                        let until = *patience.get_or_insert(Instant::now() + SCARCE_FOR);
                        self.wait_for_others(until, trouble).await?;
                    }
                    opened => return opened,
                },
            }
            if let Some(lease) = rested(home).await {
                if lease.is_shared() {
                    self.room.pass_on();
                }
                return Ok(lease);
            }
        }
    }

    /// A place for a new connection; that of one that waits for work, if need be.
    fn slot(&self) -> Option<Slot> {
        self.room.take().or_else(|| {
            let origins = self.origins.borrow();
            let mut homes = origins.values();
            homes.find(|home| home.end_one_at_rest())?;
            self.room.take()
        })
    }

    /// What others hold they give back after a while.
    async fn wait_for_others(&self, until: Instant, trouble: SendError) -> Result<(), SendError> {
        if Instant::now() >= until {
            return Err(SendError {
                kind: FailureKind::Connect,
                detail: format!("{}; is the limit too low (ulimit -n)?", trouble.detail),
                ..trouble
            });
        }
        for home in self.origins.borrow().values() {
            home.end_one_at_rest();
        }
        sleep(SCARCE_EVERY).await;
        Ok(())
    }

    /// The same lease, or a new one if its connection has ended meanwhile.
    pub async fn renew(&self, lease: Lease, uri: &Uri) -> Result<Lease, SendError> {
        if lease.is_fresh() {
            Ok(lease)
        } else {
            drop(lease);
            self.lease(uri).await
        }
    }

    /// Writes a request and waits for the head of its answer, until it has taken too
    /// long. `arrived` is called if the server's network stack is seen to have the
    /// request before that.
    pub async fn send(
        &self,
        lease: &mut Lease,
        mut request: Request<Bytes>,
        started: Started,
        arrived: impl FnOnce(),
    ) -> Result<RequestHead, SendError> {
        lease.complete(&mut request);
        let timer = &mut lease.timer;
        timer.as_mut().reset(started.deadline);
        let sending = pin!(lease.connection.send(request, arrived));
        let head = Deadline::new(timer.as_mut()).keep(sending).await;
        head.unwrap_or_else(|| Err(self.too_slow("no answer")))
    }

    /// Reads the rest of an answer, and keeps the connection.
    pub async fn read(
        &self,
        mut lease: Lease,
        head: RequestHead,
        started: Started,
    ) -> Result<Answer, SendError> {
        let cap = self.transport.settings().max_body.as_u64();
        let (head, incoming) = head.into_parts();
        let limit = Deadline::new(lease.timer.as_mut());
        let body = body::read(incoming, cap, limit).await;
        let body = body.unwrap_or_else(|| Err(self.too_slow("no whole answer")))?;
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
        Started { sent, deadline: sent + self.transport.settings().timeout }
    }

    /// Ends all connections: each request in flight gets an error.
    pub fn close(&self) {
        self.latest.take();
        let origins = self.origins.take();
        origins.values().for_each(|home| home.close());
    }

    fn home(&self, uri: &Uri) -> Result<Rc<Connections>, SendError> {
        let (scheme, authority) = (uri.scheme(), uri.authority());
        let asked = scheme.zip(authority);
        let is_same = |server: &Endpoint| {
            asked.is_some_and(|(scheme, authority)| {
                *scheme == server.0 && authority.as_str() == server.1.as_str()
            })
        };
        if let Some((server, home)) = &*self.latest.borrow()
            && is_same(server)
        {
            return Ok(home.clone());
        }
        let origin = Origin::of(uri).ok_or_else(|| SendError {
            kind: FailureKind::Input,
            detail: format!("{uri} has no http or https origin"),
            delivery: Delivery::Final,
        })?;
        let mut origins = self.origins.borrow_mut();
        let home = origins.entry(origin).or_insert_with_key(|origin| {
            let one_at_a_time = self.transport.one_at_a_time(origin.scheme);
            Rc::new(Connections::new(origin.clone(), one_at_a_time))
        });
        let server = asked.map(|(scheme, authority)| (scheme.clone(), authority.clone()));
        self.latest.replace(server.map(|server| (server, home.clone())));
        Ok(home.clone())
    }

    fn too_slow(&self, what: &str) -> SendError {
        let limit = humantime::format_duration(self.transport.settings().timeout);
        SendError {
            kind: FailureKind::Timeout,
            detail: format!("{what} within {limit} (send.timeout or --timeout)"),
            delivery: Delivery::Unknown,
        }
    }
}

/// A connection that is there already, and ready.
async fn rested(home: &Rc<Connections>) -> Option<Lease> {
    while let Some(mut lease) = home.free() {
        if lease.connection.ready().await.is_ok() {
            return Some(lease);
        }
    }
    None
}
