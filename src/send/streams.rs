//! The streams of an HTTP/2 connection: how many the server allows at a time, and the
//! interim answers (1xx) on each.
//!
//! A request beyond the server's maximum would wait inside the HTTP stack, after its permit
//! was taken. Hyper reports no interim answers of HTTP/2, so a [`Tap`](super::acked)
//! above TLS counts the heads of each stream.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::Request;
use hyper::client::conn::http2;
use hyper::rt::{Executor, Read, Write};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, spawn_local};

use super::acked::{Heads, Listen};
use super::request::{Interim, MAX_INTERIM, Outgoing};
use super::{Delivery, SendError, causes};
use crate::record::FailureKind;

/// What most servers allow on one connection; more are not put on it.
const MOST: usize = 100;

/// How many requests are on a connection now; one less when it is dropped.
pub struct Streams {
    line: Rc<SharedConnection>,
}

/// A connection, for all who share it.
struct SharedConnection {
    taken: Cell<usize>,
    /// How many the server allows now; none before its settings are there.
    allowed: Box<dyn Fn() -> usize>,
    welcome: Rc<Welcome>,
    /// The error with which it ended.
    end: RefCell<Option<SendError>>,
}

/// The error of a connection that has ended. Bytes that are no HTTP/2 would come again.
fn connection_end(end: Result<(), hyper::Error>) -> SendError {
    let cause = end.as_ref().err().and_then(Error::source);
    let cause = cause.and_then(|cause| cause.downcast_ref::<h2::Error>());
    let is_other_protocol = cause.is_some_and(h2::Error::is_library);
    SendError {
        kind: FailureKind::Connect,
        detail: end.map_or_else(|error| causes(&error), |()| "it was closed".to_owned()),
        delivery: if is_other_protocol { Delivery::Final } else { Delivery::NotSent },
    }
}

/// Tells when the server's settings may have come.
#[derive(Default)]
struct Welcome {
    is_over: Cell<bool>,
    news: Notify,
}

/// Runs HTTP/2's tasks on the worker's own thread.
#[derive(Clone, Default)]
pub struct LocalExecutor {
    welcome: Rc<Welcome>,
}

impl Streams {
    /// Reads and writes a connection from now on.
    pub fn run<T>(
        connection: http2::Connection<T, Outgoing, LocalExecutor>,
        local: LocalExecutor,
    ) -> (Streams, AbortHandle)
    where
        T: Read + Write + Unpin + 'static,
    {
        let connection = Rc::new(RefCell::new(connection));
        let seen = Rc::downgrade(&connection);
        let line = Rc::new(SharedConnection {
            taken: Cell::default(),
            allowed: Box::new(move || {
                let connection = seen.upgrade();
                connection.map_or(0, |it| it.borrow().current_max_send_streams())
            }),
            welcome: local.welcome,
            end: RefCell::default(),
        });
        let streams = Streams { line: line.clone() };
        let task = spawn_local(async move {
            let end = poll_fn(|cx| Pin::new(&mut *connection.borrow_mut()).poll(cx)).await;
            line.end.replace(Some(connection_end(end)));
            line.welcome.news.notify_one();
        });
        (streams, task.abort_handle())
    }

    /// Waits until the server has said how many requests it takes, or gives why it
    /// never will.
    pub async fn welcome(&self) -> Result<(), SendError> {
        let SharedConnection { welcome, end, .. } = &*self.line;
        while self.allowed() == 0 {
            if let Some(error) = &*end.borrow() {
                return Err(error.clone());
            }
            welcome.news.notified().await;
        }
        welcome.is_over.set(true);
        Ok(())
    }

    /// Room for one more, if there is any.
    pub fn take(&self) -> Option<Streams> {
        let taken = self.line.taken.get();
        (taken < self.allowed()).then(|| {
            self.line.taken.set(taken + 1);
            Streams { line: self.line.clone() }
        })
    }

    /// Whether the server still allows as many as there are.
    pub fn fit(&self) -> bool {
        self.line.taken.get() <= self.allowed()
    }

    fn allowed(&self) -> usize {
        (self.line.allowed)().min(MOST)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let taken = &self.line.taken;
        taken.set(taken.get().saturating_sub(1));
    }
}

impl<F> Executor<F> for LocalExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, task: F) {
        if self.welcome.is_over.get() {
            spawn_local(task);
            return;
        }
        // The first task of a connection reads what comes, hyper's own handle doesn't
        // hear of settings.
        let welcome = self.welcome.clone();
        spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                let polled = task.as_mut().poll(cx);
                welcome.news.notify_one();
                polled
            })
            .await;
        });
    }
}

/// The streams of an HTTP/2 connection that wait for an answer.
#[derive(Debug, Clone, Default)]
pub struct WatchedStream(Arc<Mutex<InterimStreams>>);

#[derive(Debug, Default)]
struct InterimStreams {
    opened: u32,
    waiting: HashMap<u32, Weak<Interim>>,
}

/// Travels with a request and is dropped when HTTP/2 opens its stream. Streams have
/// odd numbers in this order (RFC 9113, 5.1.1).
#[derive(Debug, Clone)]
struct Opens(#[expect(dead_code, reason = "it only has to be dropped")] Arc<Opening>);

#[derive(Debug)]
struct Opening {
    watched: WatchedStream,
    interim: Weak<Interim>,
}

impl WatchedStream {
    /// Counts the interim answers to a request on this connection.
    pub fn watch<B>(&self, request: &mut Request<B>, interim: &Arc<Interim>) {
        let opening = Opening { watched: self.clone(), interim: Arc::downgrade(interim) };
        request.extensions_mut().insert(Opens(Arc::new(opening)));
    }

    fn with<T>(&self, act: impl FnOnce(&mut InterimStreams) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        // A cancelled request gets no stream.
        if self.interim.strong_count() > 0 {
            let interim = std::mem::take(&mut self.interim);
            self.watched.with(|streams| streams.open(interim));
        }
    }
}

impl InterimStreams {
    fn open(&mut self, interim: Weak<Interim>) {
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|_, interim| interim.strong_count() > 0);
        }
        self.waiting.insert(2 * self.opened + 1, interim);
        self.opened += 1;
    }
}

/// Reads the frames of an HTTP/2 server.
#[derive(Debug)]
pub struct Listener {
    heads: Heads,
    watched: WatchedStream,
}

impl Listener {
    pub fn new(watched: WatchedStream) -> Listener {
        Listener { heads: Heads::of_server(), watched }
    }
}

impl Listen for Listener {
    fn wrote(&mut self, _slices: &[IoSlice<'_>], _written: usize) {}

    fn flushed(&mut self) {}

    fn heard(&mut self, bytes: &[u8]) {
        self.heads.read(bytes, |head| {
            // The head of a final answer with a body looks the same.
            if head.is_headers() && !head.ends_stream() {
                let interim = self.watched.with(|streams| {
                    let interim = streams.waiting.get(&head.stream);
                    interim.and_then(Weak::upgrade)
                });
                if let Some(interim) = interim {
                    interim.receive(MAX_INTERIM + 1);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    /// The head of an empty HEADERS frame, which ends its header block.
    fn headers(stream: u8) -> [u8; 9] {
        [0, 0, 0, 1, 4, 0, 0, 0, stream]
    }

    fn is_over(interim: &Interim) -> bool {
        interim.received.load(Ordering::Relaxed) > MAX_INTERIM + 1
    }

    #[test]
    fn only_awaited_requests_have_streams() {
        let watched = WatchedStream::default();
        let interims = [(); 4].map(|()| Arc::<Interim>::default());
        let requests = interims.each_ref().map(|interim| {
            let mut request = Request::new(());
            watched.watch(&mut request, interim);
            request
        });
        let [first, given_up, third, last] = interims;
        drop(given_up);
        drop(requests);
        let mut listener = Listener::new(watched);
        for _ in 0..=MAX_INTERIM {
            listener.heard(&headers(3));
            listener.heard(&headers(5));
        }
        assert!(!is_over(&third) && !is_over(&last));
        listener.heard(&headers(3));
        listener.heard(&headers(7));
        assert!(is_over(&third) && !is_over(&first) && !is_over(&last));
    }

    #[test]
    fn finished_streams_are_dropped() {
        let watched = WatchedStream::default();
        for _ in 0..1_000 {
            let (interim, mut request) = (Arc::default(), Request::new(()));
            watched.watch(&mut request, &interim);
            drop(request);
        }
        let kept = watched.with(|streams| streams.waiting.len());
        assert!(kept < 10, "{kept}");
    }
}
