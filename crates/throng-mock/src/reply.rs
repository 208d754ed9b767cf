//! The bodies of answers: whole, in pieces, or truncated.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::judge::RequestKind;
use crate::recorder::OpenArrival;

/// The end of a connection (with HTTP/2, of a stream) before its answer, as the
/// fault demands or because the client closed it.
#[derive(Debug)]
pub(crate) struct ConnectionDropped;

impl fmt::Display for ConnectionDropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is dropped")
    }
}

impl std::error::Error for ConnectionDropped {}

/// The body of an answer.
pub(crate) enum Reply {
    /// All of it at once; empty once it is sent.
    Whole(Bytes),
    /// One piece after the other.
    Pieces(BodyPieces),
}

/// A body in pieces, each made when it is sent.
pub(crate) struct BodyPieces {
    chunks: Box<dyn Iterator<Item = Bytes> + Send>,
    /// Bytes that are still to come, if their number is known.
    left: Option<u64>,
    /// The time between two pieces.
    pause: Duration,
    /// Whether the connection is dropped at the end of the pieces.
    drops_connection: bool,
    gap: PieceGap,
    /// Closed just before the last piece, so that a client that has the
    /// whole answer finds it counted.
    open_arrival: Option<(OpenArrival, RequestKind)>,
}

/// The gap before the next piece.
enum PieceGap {
    /// No gap, or it is over.
    None,
    /// Flushes the pieces until now and lets other tasks run.
    Yield,
    /// Waits for the pause between two pieces.
    Pause(Pin<Box<Sleep>>),
}

impl BodyPieces {
    /// `length` is that of the whole body in bytes, if it is known.
    pub(crate) fn new(
        length: Option<u64>,
        chunks: impl Iterator<Item = Bytes> + Send + 'static,
    ) -> BodyPieces {
        BodyPieces {
            chunks: Box::new(chunks),
            left: length,
            pause: Duration::ZERO,
            drops_connection: false,
            gap: PieceGap::None,
            open_arrival: None,
        }
    }

    pub(crate) fn paused(self, pause: Duration) -> BodyPieces {
        BodyPieces { pause, ..self }
    }

    /// Ends after the first piece, and drops the connection.
    ///
    /// The pause lets that piece reach the client before the end does.
    pub(crate) fn truncated(self) -> BodyPieces {
        BodyPieces {
            chunks: Box::new(self.chunks.take(1)),
            pause: Duration::from_millis(5),
            drops_connection: true,
            ..self
        }
    }

    pub(crate) fn closing(self, open_arrival: OpenArrival, kind: RequestKind) -> BodyPieces {
        BodyPieces { open_arrival: Some((open_arrival, kind)), ..self }
    }

    fn poll_gap(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.gap, PieceGap::None) {
            PieceGap::None => Poll::Ready(()),
            PieceGap::Yield => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            PieceGap::Pause(mut pause) => {
                let polled = pause.as_mut().poll(cx);
                if polled.is_pending() {
                    self.gap = PieceGap::Pause(pause);
                }
                polled
            }
        }
    }

    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ConnectionDropped>>> {
        loop {
            ready!(self.poll_gap(cx));
            let Some(chunk) = self.chunks.next() else {
                self.close();
                return Poll::Ready(self.drops_connection.then_some(Err(ConnectionDropped)));
            };
            self.gap = if self.pause.is_zero() {
                PieceGap::Yield
            } else {
                PieceGap::Pause(Box::pin(sleep(self.pause)))
            };
            // An encoder without output has worked nevertheless: other tasks run first.
            if !chunk.is_empty() {
                self.sent(chunk.len() as u64);
                return Poll::Ready(Some(Ok(chunk)));
            }
        }
    }

    fn sent(&mut self, bytes: u64) {
        self.left = self.left.map(|left| left.saturating_sub(bytes));
        if self.left == Some(0) {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some((open_arrival, kind)) = self.open_arrival.take() {
            open_arrival.close(kind);
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = ConnectionDropped;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ConnectionDropped>>> {
        let chunk = match self.get_mut() {
            Reply::Whole(bytes) if bytes.is_empty() => None,
            Reply::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Reply::Pieces(pieces) => ready!(pieces.poll_chunk(cx)),
        };
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Reply::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Reply::Pieces(pieces) => pieces.left.map(SizeHint::with_exact).unwrap_or_default(),
        }
    }
}
