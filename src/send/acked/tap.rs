//! A connection with a listener.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Listens to written and read bytes.
pub trait Listen {
    /// The first `written` of these bytes were written.
    fn wrote(&mut self, slices: &[IoSlice<'_>], written: usize);

    /// All written bytes have been flushed.
    fn flushed(&mut self);

    /// These bytes were read.
    fn heard(&mut self, _bytes: &[u8]) {}
}

/// A connection with an optional listener.
#[derive(Debug)]
pub struct Tap<T, L> {
    io: T,
    listener: Option<L>,
}

impl<T, L> Tap<T, L> {
    pub fn new(io: T, listener: Option<L>) -> Tap<T, L> {
        Tap { io, listener }
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
        if let Some(listener) = &mut self.listener
            && buffer.filled().len() > before
        {
            listener.heard(&buffer.filled()[before..]);
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
        if let Some(listener) = &mut self.listener {
            listener.wrote(&[IoSlice::new(bytes)], written);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?;
        if let Some(listener) = &mut self.listener {
            listener.wrote(slices, written);
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        if let Some(listener) = &mut self.listener {
            listener.flushed();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
