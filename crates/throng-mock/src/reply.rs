//! The bodies of answers: at once, in pieces, or broken off.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::judge::RequestKind;
use crate::recorder::OpenArrival;

/// The connection (with HTTP/2, the stream) ends here, on purpose or because
/// the client broke off.
#[derive(Debug)]
pub(crate) struct Severed;

impl fmt::Display for Severed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is dropped")
    }
}

impl std::error::Error for Severed {}

/// The body of an answer.
pub(crate) enum Reply {
    /// All of it at once; nothing once it is sent.
    Whole(Bytes),
    /// One piece after the other.
    Pieces(BodyPieces),
}

/// A body that comes in pieces. It never makes more than one ahead.
pub(crate) struct BodyPieces {
    chunks: Box<dyn Iterator<Item = Bytes> + Send>,
    /// The bytes still to be promised to the client, if their number is known.
    left: Option<u64>,
    /// The time between two pieces.
    pause: Duration,
    /// Whether it ends with the end of the connection.
    severed: bool,
    rest: PieceGap,
    /// Given back just before the last piece, so that a client that has the
    /// whole answer finds it counted.
    exit: Option<(OpenArrival, RequestKind)>,
}

/// What happens between two pieces.
enum PieceGap {
    /// Nothing any more.
    Over,
    /// What was sent until now is flushed, and others have their turn.
    Turn,
    /// Time passes.
    Nap(Pin<Box<Sleep>>),
}

impl BodyPieces {
    /// `length` is all of them together, in bytes, if that is known.
    pub(crate) fn new(
        length: Option<u64>,
        chunks: impl Iterator<Item = Bytes> + Send + 'static,
    ) -> BodyPieces {
        BodyPieces {
            chunks: Box::new(chunks),
            left: length,
            pause: Duration::ZERO,
            severed: false,
            rest: PieceGap::Over,
            exit: None,
        }
    }

    pub(crate) fn paused(self, pause: Duration) -> BodyPieces {
        BodyPieces { pause, ..self }
    }

    /// Ends after the first piece, and the connection with it.
    ///
    /// The pause lets that piece reach the client before the end overtakes it.
    pub(crate) fn cut(self) -> BodyPieces {
        BodyPieces {
            chunks: Box::new(self.chunks.take(1)),
            pause: Duration::from_millis(5),
            severed: true,
            ..self
        }
    }

    pub(crate) fn closing(self, ticket: OpenArrival, kind: RequestKind) -> BodyPieces {
        let exit = Some((ticket, kind));
        BodyPieces { exit, ..self }
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match std::mem::replace(&mut self.rest, PieceGap::Over) {
            PieceGap::Over => Poll::Ready(()),
            PieceGap::Turn => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            PieceGap::Nap(mut nap) => {
                let nap_over = nap.as_mut().poll(cx);
                if nap_over.is_pending() {
                    self.rest = PieceGap::Nap(nap);
                }
                nap_over
            }
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Severed>>> {
        loop {
            ready!(self.poll_rest(cx));
            let Some(chunk) = self.chunks.next() else {
                self.close();
                return Poll::Ready(self.severed.then_some(Err(Severed)));
            };
            self.rest = if self.pause.is_zero() {
                PieceGap::Turn
            } else {
                PieceGap::Nap(Box::pin(sleep(self.pause)))
            };
            // An encoder that has nothing yet still worked: others come first.
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
        if let Some((ticket, kind)) = self.exit.take() {
            ticket.close(kind);
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Severed;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Severed>>> {
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
