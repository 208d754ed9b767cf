//! One connection: HTTP/1.1, or HTTP/2 with many requests at once. [door: network]
//!
//! Nothing here sends a request twice: what hyper could not write comes back
//! unsent, and anything else is the caller's to judge.

use std::error::Error;
use std::pin::pin;
use std::rc::{Rc, Weak};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_util::either::Either;

use super::acked::{Mark, Requests, Tap, Wire};
use super::outgoing::Outgoing;
use super::route::Form;
use super::streams::{Local, Streams};
use super::{Landed, Trouble, causes};

/// The head of an answer; its body is still on the way.
pub type Head = Response<Incoming>;

type Written = Result<Head, TrySendError<Request<Outgoing>>>;

/// An open connection.
pub enum Connection {
    /// One request at a time.
    Http1 {
        sender: http1::SendRequest<Outgoing>,
        form: Form,
        wire: Weak<Wire>,
        task: AbortHandle,
    },
    /// Many at a time.
    Http2 {
        sender: http2::SendRequest<Outgoing>,
        streams: Streams,
        wire: Weak<Wire>,
        task: AbortHandle,
    },
}

impl Connection {
    /// The wire is there if arrivals are to be seen, and can be.
    pub async fn http1<T>(io: T, form: Form, wire: Option<Rc<Wire>>) -> Result<Connection, Trouble>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let weak = wire.as_ref().map_or_else(Weak::new, Rc::downgrade);
        let io = Tap::new(io, wire.map(Requests::http1));
        let (sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(|error| lost(&error, Landed::No))?;
        // Its errors reach whoever waits for an answer on it.
        let task = tokio::task::spawn_local(connection).abort_handle();
        Ok(Connection::Http1 {
            sender,
            form,
            wire: weak,
            task,
        })
    }

    pub async fn http2<T>(io: T, wire: Option<Rc<Wire>>) -> Result<Connection, Trouble>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let weak = wire.as_ref().map_or_else(Weak::new, Rc::downgrade);
        let io = Tap::new(io, wire.map(Requests::http2));
        let local = Local::default();
        let (sender, connection) = http2::Builder::new(local.clone())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            // None until the server has said how many.
            .initial_max_send_streams(0)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| lost(&error, Landed::No))?;
        let (streams, task) = Streams::run(connection, local);
        Ok(Connection::Http2 {
            sender,
            streams,
            wire: weak,
            task,
        })
    }

    /// Waits until the server has said how many requests it takes at once.
    pub async fn welcome(&self) -> Result<(), String> {
        match self {
            Connection::Http1 { .. } => Ok(()),
            Connection::Http2 { streams, .. } => streams.welcome().await,
        }
    }

    /// Another way into the same connection, if it takes more requests.
    pub fn share(&self) -> Option<Connection> {
        let Connection::Http2 {
            sender,
            streams,
            wire,
            task,
        } = self
        else {
            return None;
        };
        if sender.is_closed() {
            return None;
        }
        Some(Connection::Http2 {
            sender: sender.clone(),
            streams: streams.take()?,
            wire: wire.clone(),
            task: task.clone(),
        })
    }

    /// Whether a request would be written at once: the server may have come to allow
    /// fewer than it did.
    pub fn has_room(&self) -> bool {
        match self {
            Connection::Http1 { .. } => true,
            Connection::Http2 { streams, .. } => streams.fit(),
        }
    }

    /// What reads and writes it; without that it is at its end.
    pub fn task(&self) -> AbortHandle {
        match self {
            Connection::Http1 { task, .. } | Connection::Http2 { task, .. } => task.clone(),
        }
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Connection::Http1 { sender, .. } => sender.is_closed(),
            Connection::Http2 { sender, .. } => sender.is_closed(),
        }
    }

    /// Waits until the last answer has been read to its end.
    pub async fn ready(&mut self) -> Result<(), Trouble> {
        match self {
            Connection::Http1 { sender, .. } => sender.ready().await,
            Connection::Http2 { sender, .. } => sender.ready().await,
        }
        .map_err(|error| lost(&error, Landed::No))
    }

    /// Writes a request and waits for the head of its answer. Where arrivals are
    /// seen, and the server's network stack has the request before that, `arrived`
    /// is called.
    pub async fn send(
        &mut self,
        request: Request<Bytes>,
        arrived: impl FnOnce(),
    ) -> Result<Head, Trouble> {
        let wire = self.wire();
        let seen = (wire.strong_count() > 0).then(|| Mark::new(wire.clone()));
        let (mark, arrival) = seen.unzip();
        let mut head = pin!(self.write(request, mark));
        if let Some(arrival) = arrival {
            tokio::select! {
                biased;
                head = &mut head => return head.map_err(unsent_or_lost),
                () = arrival => arrived(),
            }
        }
        head.await.map_err(unsent_or_lost)
    }

    /// Hands a request over; gives what its answer's head comes to.
    fn write(
        &mut self,
        request: Request<Bytes>,
        mark: Option<Mark>,
    ) -> impl Future<Output = Written> + use<> {
        match self {
            Connection::Http1 { sender, form, .. } => {
                let mut request = request.map(|body| Outgoing::new(body, mark));
                form.apply(&mut request);
                Either::Left(sender.try_send_request(request))
            }
            Connection::Http2 { sender, .. } => {
                if let Some(mark) = mark {
                    mark.hand();
                }
                let request = request.map(|body| Outgoing::new(body, None));
                Either::Right(sender.try_send_request(request))
            }
        }
    }

    fn wire(&self) -> &Weak<Wire> {
        match self {
            Connection::Http1 { wire, .. } | Connection::Http2 { wire, .. } => wire,
        }
    }
}

/// What hyper hands back was never written.
fn unsent_or_lost<B>(mut error: TrySendError<B>) -> Trouble {
    let landed = match error.take_message() {
        Some(_) => Landed::No,
        None if is_turned_away(error.error()) => Landed::Undone,
        None => Landed::Maybe,
    };
    lost(error.error(), landed)
}

/// Whether the server says that it did nothing with a request (RFC 9113, 8.7): it
/// refused the stream, or left while streams up to an earlier one were all it had
/// taken in. Others never end with its GOAWAY.
fn is_turned_away(error: &hyper::Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        cause.is_remote()
            && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

fn lost(error: &hyper::Error, landed: Landed) -> Trouble {
    Trouble {
        kind: "connection lost",
        detail: causes(error),
        landed,
    }
}

#[cfg(test)]
mod tests;
