//! The judge and its clock, shared by all connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Judgement;
use crate::judge::{ArrivalInfo, Client, InFlightRequest, RateJudge, RequestKind, TokenUsage};
use crate::limit::ServerLimits;

/// The judge, and the instant from which it counts.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    /// The time on the server's clock at the start, since 1970.
    clock: Duration,
    judge: Mutex<RateJudge>,
    /// The arrivals, if the settings ask for them.
    log: Option<Mutex<Vec<Arrival>>>,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The time since the start.
    pub at: Duration,
    /// Whether a limit refused it.
    pub refused: bool,
    /// The path of the request.
    pub path: String,
}

impl Recorder {
    /// `clock` is the time on the server's clock, since 1970. With `logs`, every
    /// arrival is kept.
    pub(crate) fn new(limits: ServerLimits, clock: Duration, logs: bool) -> Arc<Recorder> {
        Arc::new(Recorder {
            start: Instant::now(),
            clock,
            judge: Mutex::new(RateJudge::new(limits, clock)),
            log: logs.then(Mutex::default),
        })
    }

    /// Counts an arrival. The info says whether the limits admit it.
    ///
    /// The clock is read under the lock, so that the order of the instants is
    /// the order in which they are counted.
    pub(crate) fn arrive(self: &Arc<Recorder>, client: Client) -> (OpenArrival, ArrivalInfo) {
        let mut judge = lock(&self.judge);
        let now = self.start.elapsed();
        let path = client.path;
        let (in_flight_request, info) = judge.arrive(now, client);
        drop(judge);
        if let Some(log) = &self.log {
            let refused = info.admitted.is_err();
            lock(log).push(Arrival { at: now, refused, path: path.to_owned() });
        }
        let recorder = Arc::clone(self);
        (OpenArrival { recorder, in_flight_request, kind: RequestKind::Gone }, info)
    }

    /// The time on the server's clock, since 1970.
    pub(crate) fn clock(&self) -> Duration {
        self.clock + self.start.elapsed()
    }

    pub(crate) fn judgement(&self) -> Judgement {
        lock(&self.judge).judgement()
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.log.as_ref().map(|log| lock(log).clone()).unwrap_or_default()
    }

    pub(crate) fn reset(&self) {
        lock(&self.judge).reset();
    }
}

/// An arrival whose request is not answered. Dropped before `close`, it counts
/// as a client that has gone.
#[derive(Debug)]
pub(crate) struct OpenArrival {
    recorder: Arc<Recorder>,
    in_flight_request: InFlightRequest,
    kind: RequestKind,
}

impl OpenArrival {
    /// Counts the tokens that the answer bills, whether the client gets it or not.
    pub(crate) fn bill(&self, usage: TokenUsage) {
        lock(&self.recorder.judge).bill(&self.in_flight_request, usage);
    }

    /// Counts the end of the request, of this kind.
    pub(crate) fn close(mut self, kind: RequestKind) {
        self.kind = kind;
    }
}

impl Drop for OpenArrival {
    fn drop(&mut self) {
        lock(&self.recorder.judge).finish(&self.in_flight_request, self.kind);
    }
}

/// Locks the mutex, also after a panic elsewhere: the counts are still valid.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_arrival_counts_as_gone() {
        let recorder = Recorder::new(ServerLimits::default(), Duration::ZERO, false);
        let two = Client { symbols: Some("A,B"), ..Client::default() };
        let (first, _) = recorder.arrive(two);
        let (second, _) = recorder.arrive(Client::default());
        drop(first);
        second.close(RequestKind::Status(200));
        let judgement = recorder.judgement();
        assert_eq!(judgement.answers["gone"], 1);
        assert_eq!(judgement.answers["200"], 1);
        assert_eq!(judgement.symbols.len(), 2);
        assert_eq!(judgement.most_in_flight, 2);
    }
}
