//! What all connections share: the settings, the desk, and what chance has seen.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;

use crate::answer::MockAnswer;
use crate::chance::SeenKeys;
use crate::judge::Client;
use crate::limit::{ServerLimit, ServerUnit};
use crate::limits::{ServerLimits, SharedLimits};
use crate::recorder::{Arrival, ArrivalInfo, OpenArrival, Recorder, lock};
use crate::request::{ClientRequest, is_quotes};
use crate::scenario::Scenario;
use crate::{Fault, Judgement, Settings, lists, quotes, tokens, tools};

/// The server behind the door.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub settings: Settings,
    /// The filler for every quote, made once.
    padding: String,
    desk: Arc<Recorder>,
    limits: ServerLimits,
    /// How often each key was asked for, if chance wants to know.
    seen: Mutex<SeenKeys>,
    /// How often each flaky id was tried.
    tries: Mutex<SeenKeys>,
}

impl ServerState {
    pub(crate) fn new(settings: Settings) -> ServerState {
        let limits = settings.all_limits();
        ServerState {
            padding: quotes::padding(settings.padding),
            desk: Recorder::new(
                limits.clone(),
                settings.clock.unwrap_or_else(since_1970),
                settings.logs,
            ),
            limits,
            seen: Mutex::default(),
            tries: Mutex::default(),
            settings,
        }
    }

    /// What chance has in store for this request.
    pub(crate) fn fate(&self, key: &str) -> Scenario {
        let times = if Scenario::is_random(&self.settings) {
            lock(&self.seen).again(key)
        } else {
            0
        };
        Scenario::draw(&self.settings, key, times)
    }

    /// Counts an arrival, and says whether it is admitted or how long to wait.
    pub(crate) fn arrive(&self, asked: &ClientRequest) -> (OpenArrival, ArrivalInfo) {
        let key = |shared: &SharedLimits| {
            let key = shared.per.as_ref().and_then(|per| per.of(asked));
            key.map(Cow::into_owned).unwrap_or_default()
        };
        let visitor = Client {
            keys: self.limits.shared.iter().map(key).collect(),
            costs: self.limits.all.iter().map(|it| cost(it, asked)).collect(),
            symbols: asked.symbols.as_deref(),
            path: asked.path(),
            asks_counts: self.settings.dialect.is_some(),
        };
        Recorder::arrive(&self.desk, visitor)
    }

    /// Answers a request that the limits admitted.
    pub(crate) fn answer(&self, asked: &ClientRequest, fault: Option<Fault>) -> MockAnswer {
        if asked.body.is_none() {
            return MockAnswer::problem(StatusCode::PAYLOAD_TOO_LARGE, "a body is at most 64 MiB");
        }
        match fault {
            None => self.route(asked, None),
            Some(Fault::Refuse) => {
                MockAnswer::problem(StatusCode::TOO_MANY_REQUESTS, "too many requests")
            }
            Some(Fault::ServerError) => {
                MockAnswer::problem(StatusCode::INTERNAL_SERVER_ERROR, "something broke")
            }
            Some(Fault::DropBefore) => MockAnswer::severed(),
            Some(Fault::NotJson) => MockAnswer::not_json().of_kind(Fault::NotJson),
            Some(Fault::DropMiddle) => self.route(asked, None).cut().of_kind(Fault::DropMiddle),
            Some(Fault::Drip) => self.route(asked, None).drip().of_kind(Fault::Drip),
            Some(Fault::EmptyResult | Fault::MissingKey) => self.route(asked, fault),
        }
    }

    fn route(&self, asked: &ClientRequest, fault: Option<Fault>) -> MockAnswer {
        if self.settings.anything {
            return MockAnswer::fine();
        }
        if is_quotes(asked.path()) {
            quotes::answer(&self.settings, &self.padding, asked, fault)
        } else {
            lists::answer(asked).unwrap_or_else(|| tools::answer(asked, &self.tries))
        }
    }

    /// What its clock says, since 1970.
    pub(crate) fn clock(&self) -> Duration {
        self.desk.clock()
    }

    pub(crate) fn judgement(&self) -> Judgement {
        self.desk.judgement()
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.desk.arrivals()
    }

    /// Starts afresh: the counts, the limits, chance and what is flaky.
    pub(crate) fn reset(&self) {
        self.desk.reset();
        lock(&self.seen).clear();
        lock(&self.tries).clear();
    }
}

/// What a request costs of a limit.
fn cost(limit: &ServerLimit, asked: &ClientRequest) -> u64 {
    match &limit.unit {
        ServerUnit::Requests => 1,
        ServerUnit::Tokens => tokens::used(asked),
        ServerUnit::Said(name) => {
            let said = asked.headers.get(name).and_then(|said| said.to_str().ok());
            said.and_then(|said| said.parse().ok()).unwrap_or(1)
        }
    }
}

/// What the machine's clock says.
fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_begins_the_same_story_again() {
        let faults = "500=50%".parse().unwrap();
        let settings = Settings {
            faults,
            ..Settings::default()
        };
        let house = ServerState::new(settings);
        let story = || (0..20).map(|_| house.fate("A")).collect::<Vec<_>>();
        let first = story();
        assert_ne!(first, story());
        house.reset();
        assert_eq!(first, story());
    }
}
