//! HTTP/2: a share of a connection that takes many requests at a time.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;

use super::acked::tapped;
use super::request::{Interim, Outgoing, WriteResult};
use super::streams::{Listener, LocalExecutor, Streams, WatchedStream};
use super::{SendError, causes};

/// Why this build has no HTTP/2; none, since it has.
pub const MISSING: Option<&str> = None;

/// Size of a head at which HTTP/2 ends the whole connection with all its requests, in bytes.
/// It is larger than the maximum that is checked for each answer.
const MAX_HEADER_LIST: u32 = 4 << 20;

/// One request's share of a connection.
pub struct Http2 {
    sender: http2::SendRequest<Outgoing>,
    streams: Streams,
    watched: WatchedStream,
}

impl Http2 {
    /// Opens a connection, and the task that reads and writes it.
    pub async fn open<T>(io: T) -> Result<(Http2, AbortHandle), String>
    where
        T: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let watched = WatchedStream::default();
        let io = tapped(io, Some(Listener::new(watched.clone())));
        let local = LocalExecutor::default();
        let (sender, connection) = http2::Builder::new(local.clone())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            // None until the server's settings are known.
            .initial_max_send_streams(0)
            .max_header_list_size(MAX_HEADER_LIST)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| causes(&error))?;
        let (streams, task) = Streams::run(connection, local);
        Ok((Http2 { sender, streams, watched }, task))
    }

    /// Waits until the server has announced its maximum of concurrent requests.
    pub async fn welcome(&self) -> Result<(), SendError> {
        self.streams.welcome().await
    }

    /// Another share, if the connection allows more requests.
    pub fn share(&self) -> Option<Http2> {
        if self.is_closed() {
            return None;
        }
        Some(Http2 {
            sender: self.sender.clone(),
            streams: self.streams.take()?,
            watched: self.watched.clone(),
        })
    }

    /// Whether a request would be written at once: the server can reduce the maximum
    /// during the connection.
    pub fn has_room(&self) -> bool {
        self.streams.fit()
    }

    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub async fn ready(&mut self) -> Result<(), hyper::Error> {
        self.sender.ready().await
    }

    /// Sends a request; the future returns the head of its answer.
    pub fn write(
        &mut self,
        request: Request<Bytes>,
        interim: &Arc<Interim>,
    ) -> impl Future<Output = WriteResult> + use<> {
        let mut request = request.map(|body| Outgoing::new(body, None));
        self.watched.watch(&mut request, interim);
        self.sender.try_send_request(request)
    }
}

/// Whether the server reports that it did not process a request (RFC 9113, 8.7): it
/// refused the stream, or sent GOAWAY with an earlier stream as the last one. Earlier
/// streams never end with its GOAWAY.
pub fn is_turned_away(error: &hyper::Error) -> bool {
    cause(error).is_some_and(|cause| {
        cause.is_remote()
            && (cause.is_go_away() || cause.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Whether HTTP/2 ended a stream because of data on it. An error of the whole
/// connection can belong to another request.
pub fn is_malformed_stream(error: &hyper::Error) -> bool {
    cause(error).is_some_and(|cause| cause.is_library() && cause.is_reset())
}

fn cause(error: &hyper::Error) -> Option<&h2::Error> {
    error.source().and_then(|cause| cause.downcast_ref())
}
