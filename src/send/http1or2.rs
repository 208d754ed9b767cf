//! One connection: HTTP/1.1, or HTTP/2 with concurrent requests.
//!
//! No request is sent twice here: a request that hyper could not write is returned
//! unsent, and the caller judges any other failure.

use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio_util::either::Either;

use super::acked::{Acks, Wire, WireMark, WireRequests, tapped};
use super::faults::{self, MAX_HEAD, MAX_HEADERS, lost};
use super::http2::Http2;
use super::request::{
    Defaults, Interim, InterimWatch, Outgoing, RequestHead, RequestTarget, WriteResult,
};
use super::{Delivery, SendError};
use crate::record::FailureKind;

/// An open connection.
pub enum Connection {
    /// One request at a time.
    Http1 {
        sender: http1::SendRequest<Outgoing>,
        form: RequestTarget,
        interim: InterimWatch,
        wire: Weak<Wire>,
        task: AbortHandle,
        /// Another handle to the socket, where requests must not be sent twice.
        socket: Option<Acks>,
    },
    /// Many requests at a time.
    Http2 { share: Http2, wire: Weak<Wire>, task: AbortHandle },
}

/// The settings of HTTP/1.1 for servers and proxies.
pub fn http1_builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        // A client has to read them (RFC 9112, 5.2).
        .allow_obsolete_multiline_headers_in_responses(true)
        // Others read them, and leave a line out that is no header.
        .allow_spaces_after_header_name_in_responses(true)
        .ignore_invalid_headers_in_responses(true);
    builder
}

impl Connection {
    /// The wire is present if arrivals are observed.
    pub async fn http1<T>(
        io: T,
        form: RequestTarget,
        wire: Option<Rc<Wire>>,
    ) -> Result<Connection, SendError>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let weak = wire.as_ref().map_or_else(Weak::new, Rc::downgrade);
        let io = tapped(io, wire.map(WireRequests::http1));
        let (sender, connection) = http1_builder()
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| lost(&error, Delivery::NotSent))?;
        // Its errors reach the requests that wait for answers on it.
        let task = tokio::task::spawn_local(connection).abort_handle();
        let interim = InterimWatch::new();
        Ok(Connection::Http1 { sender, form, interim, wire: weak, task, socket: None })
    }

    /// The connection with another handle to its socket.
    pub fn on(self, socket: Option<Acks>) -> Connection {
        match self {
            Connection::Http1 { sender, form, interim, wire, task, .. } => {
                Connection::Http1 { sender, form, interim, wire, task, socket }
            }
            shared => shared,
        }
    }

    pub async fn http2<T>(io: T, wire: Option<Rc<Wire>>) -> Result<Connection, SendError>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let weak = wire.as_ref().map_or_else(Weak::new, Rc::downgrade);
        let io = tapped(io, wire.map(WireRequests::http2));
        let (share, task) = Http2::open(io).await.map_err(|detail| SendError {
            kind: FailureKind::ConnectionLost,
            detail,
            delivery: Delivery::NotSent,
        })?;
        Ok(Connection::Http2 { share, wire: weak, task })
    }

    /// Waits until the server has announced its maximum of concurrent requests.
    pub async fn welcome(&self) -> Result<(), SendError> {
        match self {
            Connection::Http1 { .. } => Ok(()),
            Connection::Http2 { share, .. } => share.welcome().await,
        }
    }

    /// Another handle to the connection, if it allows more requests.
    pub fn share(&self) -> Option<Connection> {
        let Connection::Http2 { share, wire, task } = self else {
            return None;
        };
        Some(Connection::Http2 { share: share.share()?, wire: wire.clone(), task: task.clone() })
    }

    /// Whether a request would be written at once: the server can reduce the maximum
    /// during the connection.
    pub fn has_room(&self) -> bool {
        match self {
            Connection::Http1 { .. } => true,
            Connection::Http2 { share, .. } => share.has_room(),
        }
    }

    /// The task that reads and writes it, without which it ends.
    pub fn task(&self) -> AbortHandle {
        match self {
            Connection::Http1 { task, .. } | Connection::Http2 { task, .. } => task.clone(),
        }
    }

    /// The error of an answer by which a proxy asks for credentials.
    pub fn refusal_of_proxy(&self, head: &RequestHead) -> Option<SendError> {
        match self {
            Connection::Http1 { form: RequestTarget::Absolute(proxy), .. } => {
                proxy.refusal(head.status(), head.headers())
            }
            _ => None,
        }
    }

    pub fn is_http1(&self) -> bool {
        matches!(self, Connection::Http1 { .. })
    }

    pub fn is_closed(&self) -> bool {
        match self {
            Connection::Http1 { sender, socket, .. } => {
                sender.is_closed() || socket.as_ref().is_some_and(Acks::has_ended)
            }
            Connection::Http2 { share, .. } => share.is_closed(),
        }
    }

    /// Whether the last answer has been read to its end, so that [`ready`](Self::ready) need not
    /// be waited for.
    pub fn is_ready(&self) -> bool {
        match self {
            Connection::Http1 { sender, .. } => sender.is_ready(),
            Connection::Http2 { share, .. } => !share.is_closed(),
        }
    }

    /// Waits until the last answer has been read to its end.
    pub async fn ready(&mut self) -> Result<(), SendError> {
        match self {
            Connection::Http1 { sender, .. } => sender.ready().await,
            Connection::Http2 { share, .. } => share.ready().await,
        }
        .map_err(|error| lost(&error, Delivery::NotSent))
    }

    /// Writes a request with the default headers; the future waits for the head of its answer. If
    /// arrivals are observed and the server's network stack has the request first, `arrived` is
    /// called.
    pub fn send<'a, F: FnOnce()>(
        &'a mut self,
        request: &Request<Bytes>,
        defaults: &Defaults,
        arrived: F,
    ) -> impl Future<Output = Result<RequestHead, SendError>> + use<'a, F> {
        let before = self.acked();
        let wire = self.wire();
        let seen = (wire.strong_count() > 0).then(|| WireMark::new(wire.clone()));
        let (mark, arrival) = seen.unzip();
        // Both are boxed, as a future has more than one copy of what is moved into it.
        let arrival = arrival.map(Box::pin);
        let (head, interim) = self.write(request, defaults, mark);
        let mut head = Box::pin(head);
        // The future has no room for the request, which is written by now.
        async move {
            let head = async {
                let head = interim.keep(head.as_mut()).await;
                self.checked(head.ok_or_else(faults::too_many_interim)?)
            };
            let head = first(pin!(head), arrival, arrived).await;
            head.map_err(|error| match error.delivery {
                // The kernel of a server that has closed the connection takes no byte of it.
                Delivery::Unknown
                    if error.kind == FailureKind::ConnectionLost
                        && before.is_some()
                        && before == self.acked() =>
                {
                    SendError { delivery: Delivery::NotSent, ..error }
                }
                _ => error,
            })
        }
    }

    /// Number of bytes that the server's network stack has, if the socket is looked at.
    fn acked(&self) -> Option<u64> {
        match self {
            Connection::Http1 { socket: Some(socket), .. } => socket.bytes(),
            _ => None,
        }
    }

    /// Sends a request; the future returns the head of its answer. Also gives the interim
    /// answers to it.
    fn write(
        &mut self,
        request: &Request<Bytes>,
        defaults: &Defaults,
        mark: Option<WireMark>,
    ) -> (impl Future<Output = WriteResult> + use<>, Arc<Interim>) {
        match self {
            Connection::Http1 { sender, form, interim, .. } => {
                let body = Outgoing::new(request.body().clone(), mark);
                let mut request = defaults.http1(request, form, body);
                let interim = interim.watch(&mut request);
                (Either::Left(sender.try_send_request(request)), interim)
            }
            Connection::Http2 { share, .. } => {
                if let Some(mark) = mark {
                    mark.hand();
                }
                let interim = Arc::default();
                let request = defaults.http2(request, request.body().clone());
                (Either::Right(share.write(request, &interim)), interim)
            }
        }
    }

    /// Refuses too large a head of HTTP/2; HTTP/1.1 does so by itself.
    fn checked(&self, head: WriteResult) -> Result<RequestHead, SendError> {
        let head = head.map_err(faults::of_head)?;
        if let Connection::Http2 { .. } = self {
            faults::check_size(head.headers())?;
        }
        Ok(head)
    }

    fn wire(&self) -> &Weak<Wire> {
        match self {
            Connection::Http1 { wire, .. } | Connection::Http2 { wire, .. } => wire,
        }
    }
}

/// The head of an answer. If the request is seen to have arrived before that, `arrived` is called.
async fn first<F: Future>(
    mut head: Pin<&mut F>,
    arrival: Option<impl Future<Output = ()>>,
    arrived: impl FnOnce(),
) -> F::Output {
    if let Some(arrival) = arrival {
        tokio::select! {
            biased;
            head = &mut head => return head,
            () = arrival => arrived(),
        }
    }
    head.await
}

#[cfg(test)]
mod tests;
