//! One connection's bytes and requests: written, flushed, acknowledged.

use std::cell::{Cell, RefCell};
use std::io::IoSlice;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::Acks;
use super::frames::Frames;
use super::tap::Listen;

/// The first and the longest pause between two queries of the kernel.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));
/// Maximum time for which a new connection waits until the server's program accepts it.
pub(super) const ACCEPTED: Duration = Duration::from_millis(200);

/// The counts of a connection's bytes, for the life of the connection.
#[derive(Debug)]
pub struct Wire {
    acks: WireSource,
    opened: Instant,
    /// Whether the other side has sent anything: then it has accepted the connection.
    heard: Cell<bool>,
    /// Bytes that the kernel took.
    written: Cell<u64>,
    /// Number of requests passed to HTTP/2.
    handed: Cell<u64>,
    /// Waiters for a flush, which receive the number of bytes written by then.
    waiting: RefCell<Vec<oneshot::Sender<u64>>>,
}

/// Number of bytes that a server in memory has acknowledged so far.
pub type AckedBytes = Box<dyn Fn() -> u64>;

/// The source of the number of acknowledged bytes.
enum WireSource {
    Kernel(Acks),
    Memory(AckedBytes),
}

/// Listens below TLS: counts written bytes, and notes read ones.
#[derive(Debug)]
pub struct SentBytes(pub Rc<Wire>);

/// Listens above TLS: notes when requests have been flushed.
#[derive(Debug)]
pub struct WireRequests {
    wire: Rc<Wire>,
    /// With HTTP/2, requests can wait for their turn, or for flow control.
    frames: Option<Frames>,
}

/// The mark of a request, dropped when all of it is buffered for writing.
#[derive(Debug)]
pub struct WireMark {
    wire: Weak<Wire>,
    flushed: Option<oneshot::Sender<u64>>,
}

impl Wire {
    /// The wire of a connection without written bytes, if the kernel reports acknowledgements.
    pub fn of(stream: &TcpStream) -> Option<Rc<Wire>> {
        Acks::of(stream).map(|acks| Wire::told_by(WireSource::Kernel(acks)))
    }

    /// The wire of a connection in memory.
    pub fn of_memory(acked: AckedBytes) -> Rc<Wire> {
        Wire::told_by(WireSource::Memory(acked))
    }

    fn told_by(acks: WireSource) -> Rc<Wire> {
        Rc::new(Wire {
            acks,
            opened: Instant::now(),
            heard: Cell::default(),
            written: Cell::default(),
            handed: Cell::default(),
            waiting: RefCell::default(),
        })
    }

    /// Before this time, acknowledged bytes may be unread by the server's program.
    pub fn accepted_by(&self) -> Option<Instant> {
        (!self.heard.get()).then(|| self.opened + ACCEPTED)
    }

    /// Number of requests that have not been flushed.
    #[cfg(test)]
    pub fn waits(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Notifies the waiters that a flush has written all bytes.
    fn all_flushed(&self) {
        for waiting in self.waiting.borrow_mut().drain(..) {
            // A request with its answer doesn't wait any more.
            let _ = waiting.send(self.written.get());
        }
    }
}

impl std::fmt::Debug for WireSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireSource::Kernel(acks) => acks.fmt(f),
            WireSource::Memory(_) => f.write_str("Memory"),
        }
    }
}

impl WireSource {
    fn bytes(&self) -> Option<u64> {
        match self {
            WireSource::Kernel(acks) => acks.bytes(),
            WireSource::Memory(acked) => Some(acked()),
        }
    }
}

impl WireMark {
    /// The mark of a request about to be sent, and a future that is ready when the
    /// server's network stack has it; never, if that is unknown.
    pub fn new(wire: Weak<Wire>) -> (WireMark, impl Future<Output = ()>) {
        let (tell, flushed) = oneshot::channel();
        let mark = WireMark { wire: wire.clone(), flushed: Some(tell) };
        (mark, acknowledged(wire, flushed))
    }

    /// The request was passed to HTTP/2, which can delay it.
    pub fn hand(self) {
        if let Some(wire) = self.wire.upgrade() {
            wire.handed.set(wire.handed.get() + 1);
        }
    }
}

impl Drop for WireMark {
    fn drop(&mut self) {
        if let (Some(wire), Some(flushed)) = (self.wire.upgrade(), self.flushed.take()) {
            wire.waiting.borrow_mut().push(flushed);
        }
    }
}

async fn acknowledged(wire: Weak<Wire>, flushed: oneshot::Receiver<u64>) {
    if let Ok(end) = flushed.await
        && has(&wire, end).await
    {
        if let Some(accepted) = wire.upgrade().and_then(|wire| wire.accepted_by()) {
            sleep_until(accepted).await;
        }
        return;
    }
    std::future::pending().await
}

/// Waits until this number of bytes is acknowledged; false if that is unknown.
async fn has(wire: &Weak<Wire>, end: u64) -> bool {
    let (mut pause, longest) = PAUSES;
    while let Some(bytes) = wire.upgrade().and_then(|wire| wire.acks.bytes()) {
        if bytes >= end {
            return true;
        }
        sleep(pause).await;
        pause = (pause * 5 / 4).min(longest);
    }
    false
}

impl Listen for SentBytes {
    fn wrote(&mut self, _slices: &[IoSlice<'_>], written: usize) {
        self.0.written.set(self.0.written.get() + written as u64);
    }

    fn flushed(&mut self) {}

    fn heard(&mut self, _bytes: &[u8]) {
        self.0.heard.set(true);
    }
}

impl WireRequests {
    /// With HTTP/1.1, a flush has written all requests.
    pub fn http1(wire: Rc<Wire>) -> WireRequests {
        WireRequests { wire, frames: None }
    }

    /// With HTTP/2, a request is written when its stream is ended.
    pub fn http2(wire: Rc<Wire>) -> WireRequests {
        WireRequests { wire, frames: Some(Frames::new()) }
    }
}

impl Listen for WireRequests {
    fn wrote(&mut self, slices: &[IoSlice<'_>], written: usize) {
        if let Some(frames) = &mut self.frames {
            frames.read(slices, written);
        }
    }

    fn flushed(&mut self) {
        let handed = self.wire.handed.get();
        if self.frames.as_ref().is_none_or(|f| f.ended() == handed) {
            self.wire.all_flushed();
        }
    }
}
