//! The acknowledgements of a network stack, for connections without one.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The number of a connection's bytes that the server has acknowledged. A request's
/// bytes are counted as long after its arrival as it took to arrive. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AckCounter {
    read: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
}

impl AckCounter {
    /// Number of bytes that the client knows to have arrived.
    pub fn bytes(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Acknowledges all bytes read until now; the client learns of it after this time.
    pub(crate) fn acknowledge_in(self, back: Duration) {
        let read = self.read.load(Ordering::Relaxed);
        tokio::spawn(async move {
            tokio::time::sleep(back).await;
            self.acknowledged.fetch_max(read, Ordering::Relaxed);
        });
    }
}

/// A connection whose bytes are counted as they are read.
#[derive(Debug)]
pub(crate) struct CountedStream<S> {
    stream: S,
    acks: AckCounter,
}

impl<S> CountedStream<S> {
    pub fn new(stream: S, acks: AckCounter) -> CountedStream<S> {
        CountedStream { stream, acks }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let read = buffer.filled().len() - before;
        self.acks.read.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
