//! What all connections share: the settings, the judge and the clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;

use crate::answer::Answer;
use crate::asked::{Asked, each_symbol};
use crate::chance::Seen;
use crate::fate::Fate;
use crate::judge::{Judge, Kind};
use crate::{Fault, Judgement, Settings, quotes, tools};

/// The server behind the door.
#[derive(Debug)]
pub(crate) struct House {
    pub settings: Settings,
    /// The filler for every quote, made once.
    padding: String,
    /// Judged times are since then.
    start: Instant,
    judge: Mutex<Judge>,
    /// How often each key was asked for, if chance wants to know.
    seen: Mutex<Seen>,
    /// How often each flaky id was tried.
    tries: Mutex<Seen>,
}

impl House {
    pub(crate) fn new(settings: Settings) -> House {
        House {
            padding: quotes::padding(settings.padding),
            start: Instant::now(),
            judge: Mutex::new(Judge::new(settings.limits.clone())),
            seen: Mutex::default(),
            tries: Mutex::default(),
            settings,
        }
    }

    /// What chance has in store for this request.
    pub(crate) fn fate(&self, key: &str) -> Fate {
        let times = match Fate::is_random(&self.settings) {
            true => lock(&self.seen).again(key),
            false => 0,
        };
        Fate::draw(&self.settings, key, times)
    }

    /// Counts an arrival, and says whether it is admitted or how long to wait.
    ///
    /// The clock is read under the lock, so that the order of the instants is
    /// the order in which they are counted.
    pub(crate) fn arrive(
        self: &Arc<House>,
        symbols: Option<&str>,
    ) -> (Ticket, Result<(), Duration>) {
        let mut judge = lock(&self.judge);
        let verdict = judge.arrive(self.start.elapsed(), each_symbol(symbols));
        drop(judge);
        let ticket = Ticket {
            house: Arc::clone(self),
            round: verdict.round,
            kind: Kind::Gone,
        };
        (ticket, verdict.admitted)
    }

    /// Answers a request that the limits admitted.
    pub(crate) fn answer(&self, asked: &Asked, fault: Option<Fault>) -> Answer {
        if asked.body.is_none() {
            return Answer::problem(StatusCode::PAYLOAD_TOO_LARGE, "a body is at most 64 MiB");
        }
        match fault {
            None => self.route(asked, None),
            Some(Fault::Refuse) => {
                Answer::problem(StatusCode::TOO_MANY_REQUESTS, "too many requests")
            }
            Some(Fault::ServerError) => {
                Answer::problem(StatusCode::INTERNAL_SERVER_ERROR, "something broke")
            }
            Some(Fault::DropBefore) => Answer::severed(),
            Some(Fault::NotJson) => Answer::not_json().of_kind(Fault::NotJson),
            Some(Fault::DropMiddle) => self.route(asked, None).cut().of_kind(Fault::DropMiddle),
            Some(Fault::Drip) => self.route(asked, None).drip().of_kind(Fault::Drip),
            Some(Fault::EmptyResult | Fault::MissingKey) => self.route(asked, fault),
        }
    }

    fn route(&self, asked: &Asked, fault: Option<Fault>) -> Answer {
        match quotes::is_route(asked.path()) {
            true => quotes::answer(&self.settings, &self.padding, asked, fault),
            false => tools::answer(asked, &self.tries),
        }
    }

    pub(crate) fn judgement(&self) -> Judgement {
        lock(&self.judge).judgement()
    }

    /// Starts afresh: the counts, the limits, chance and what is flaky.
    pub(crate) fn reset(&self) {
        lock(&self.judge).reset();
        lock(&self.seen).clear();
        lock(&self.tries).clear();
    }
}

/// Held by a request from its arrival until it is answered. Dropped before,
/// it says that the client has gone.
#[derive(Debug)]
pub(crate) struct Ticket {
    house: Arc<House>,
    round: u64,
    kind: Kind,
}

impl Ticket {
    /// The request leaves, answered in this way.
    pub(crate) fn close(mut self, kind: Kind) {
        self.kind = kind;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.house.judge).leave(self.round, self.kind);
    }
}

/// A panic elsewhere does not make the counts worthless.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_that_is_dropped_says_gone() {
        let house = Arc::new(House::new(Settings::default()));
        let (first, _) = house.arrive(Some("A,B"));
        let (second, _) = house.arrive(None);
        drop(first);
        second.close(Kind::Status(200));
        let judgement = house.judgement();
        assert_eq!(judgement.answers["gone"], 1);
        assert_eq!(judgement.answers["200"], 1);
        assert_eq!(judgement.symbols.len(), 2);
        assert_eq!(judgement.most_in_flight, 2);
    }

    #[test]
    fn a_reset_begins_the_same_story_again() {
        let faults = "500=50%".parse().unwrap();
        let settings = Settings {
            faults,
            ..Settings::default()
        };
        let house = House::new(settings);
        let story = || (0..20).map(|_| house.fate("A")).collect::<Vec<_>>();
        let first = story();
        assert_ne!(first, story());
        house.reset();
        assert_eq!(first, story());
    }
}
