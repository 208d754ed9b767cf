//! Connections with a listener.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::either::Either;

/// Listens to written and read bytes.
pub trait Listen {
    /// The first `written` of these bytes were written.
    fn wrote(&mut self, slices: &[IoSlice<'_>], written: usize);

    /// All written bytes have been flushed.
    fn flushed(&mut self);

    /// These bytes were read.
    fn heard(&mut self, _bytes: &[u8]) {}
}

/// A connection with a listener.
#[derive(Debug)]
pub struct Tap<T, L> {
    io: T,
    listener: L,
}

/// A connection with a listener, or without one.
pub type MaybeTapped<T, L> = Either<T, Tap<T, L>>;

/// The connection, with this listener if there is one.
pub fn tapped<T, L>(io: T, listener: Option<L>) -> MaybeTapped<T, L> {
    match listener {
        None => Either::Left(io),
        Some(listener) => Either::Right(Tap { io, listener }),
    }
}

impl<T: AsyncRead + Unpin, L: Listen + Unpin> AsyncRead for Tap<T, L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.listener.heard(&buffer.filled()[before..]);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin, L: Listen + Unpin> AsyncWrite for Tap<T, L> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        self.listener.wrote(&[IoSlice::new(bytes)], written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        self.listener.wrote(slices, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.listener.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
