//! Where arrivals are counted: the judge and its clock, shared by all connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Judgement;
use crate::account::{Count, Refused};
use crate::judge::{Client, RateJudge, RequestKind, Stay};
use crate::limits::ServerLimits;

/// The judge, and the instant since which it counts.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    /// What the server's clock said at the start, since 1970.
    clock: Duration,
    judge: Mutex<RateJudge>,
    /// The arrivals, if they are wanted.
    log: Option<Mutex<Vec<Arrival>>>,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// When, since the start.
    pub at: Duration,
    /// Whether it was refused for the limits' sake.
    pub refused: bool,
    /// Its path.
    pub path: String,
}

/// What an answer to an arrival can tell.
#[derive(Debug)]
pub(crate) struct ArrivalInfo {
    /// What the server's clock said, since 1970.
    pub clock: Duration,
    pub admitted: Result<(), Refused>,
    pub counts: Vec<Count>,
}

impl Recorder {
    /// `clock` is what the server's clock says now, since 1970; every arrival is
    /// kept if `logs`.
    pub(crate) fn new(limits: ServerLimits, clock: Duration, logs: bool) -> Arc<Recorder> {
        Arc::new(Recorder {
            start: Instant::now(),
            clock,
            judge: Mutex::new(RateJudge::new(limits, clock)),
            log: logs.then(Mutex::default),
        })
    }

    /// Counts an arrival, and says whether it is admitted or how long to wait.
    ///
    /// The clock is read under the lock, so that the order of the instants is
    /// the order in which they are counted.
    pub(crate) fn arrive(desk: &Arc<Recorder>, visitor: Client) -> (OpenArrival, ArrivalInfo) {
        let mut judge = lock(&desk.judge);
        let now = desk.start.elapsed();
        let path = visitor.path;
        let verdict = judge.arrive(now, visitor);
        drop(judge);
        if let Some(log) = &desk.log {
            lock(log).push(Arrival {
                at: now,
                refused: verdict.admitted.is_err(),
                path: path.to_owned(),
            });
        }
        let ticket = OpenArrival {
            desk: Arc::clone(desk),
            stay: verdict.stay,
            kind: RequestKind::Gone,
        };
        let told = ArrivalInfo {
            clock: desk.clock + now,
            admitted: verdict.admitted,
            counts: verdict.counts,
        };
        (ticket, told)
    }

    /// What the server's clock says, since 1970.
    pub(crate) fn clock(&self) -> Duration {
        self.clock + self.start.elapsed()
    }

    pub(crate) fn judgement(&self) -> Judgement {
        lock(&self.judge).judgement()
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.log
            .as_ref()
            .map(|log| lock(log).clone())
            .unwrap_or_default()
    }

    pub(crate) fn reset(&self) {
        lock(&self.judge).reset();
    }
}

/// Held by a request from its arrival until it is answered. Dropped before,
/// it says that the client has gone.
#[derive(Debug)]
pub(crate) struct OpenArrival {
    desk: Arc<Recorder>,
    stay: Stay,
    kind: RequestKind,
}

impl OpenArrival {
    /// The request leaves, answered in this way.
    pub(crate) fn close(mut self, kind: RequestKind) {
        self.kind = kind;
    }
}

impl Drop for OpenArrival {
    fn drop(&mut self) {
        lock(&self.desk.judge).leave(&self.stay, self.kind);
    }
}

/// A panic elsewhere does not make the counts worthless.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_that_is_dropped_says_gone() {
        let desk = Recorder::new(ServerLimits::default(), Duration::ZERO, false);
        let two = Client {
            symbols: Some("A,B"),
            ..Client::default()
        };
        let (first, _) = Recorder::arrive(&desk, two);
        let (second, _) = Recorder::arrive(&desk, Client::default());
        drop(first);
        second.close(RequestKind::Status(200));
        let judgement = desk.judgement();
        assert_eq!(judgement.answers["gone"], 1);
        assert_eq!(judgement.answers["200"], 1);
        assert_eq!(judgement.symbols.len(), 2);
        assert_eq!(judgement.most_in_flight, 2);
    }
}
