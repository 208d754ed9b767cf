//! Interim answers (1xx): a few are skipped, too many end their request.
//!
//! Hyper reports each in HTTP/1.1. In HTTP/2 a [`Tap`](super::acked::Tap) above TLS
//! counts the heads of each stream.

use std::collections::HashMap;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use http::Request;
use tokio::sync::Notify;

use super::acked::{Heads, Listen};

/// Maximum number of interim answers to one request.
pub const MOST: u32 = 10;

/// The interim answers to one request.
#[derive(Debug, Default)]
pub struct Interim {
    came: AtomicU32,
    too_many: Notify,
}

impl Interim {
    /// Waits until there are too many interim answers.
    pub async fn too_many(&self) {
        self.too_many.notified().await;
    }

    /// Counts the interim answers of HTTP/1.1.
    pub fn watch<B>(self: &Arc<Self>, request: &mut Request<B>) {
        let interim = self.clone();
        hyper::ext::on_informational(request, move |_| interim.came(MOST));
    }

    fn came(&self, most: u32) {
        if self.came.fetch_add(1, Ordering::Relaxed) == most {
            self.too_many.notify_one();
        }
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
                    interim.came(MOST + 1);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of an empty HEADERS frame, which ends its header block.
    fn headers(stream: u8) -> [u8; 9] {
        [0, 0, 0, 1, 4, 0, 0, 0, stream]
    }

    fn is_over(interim: &Interim) -> bool {
        interim.came.load(Ordering::Relaxed) > MOST + 1
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
        for _ in 0..=MOST {
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
