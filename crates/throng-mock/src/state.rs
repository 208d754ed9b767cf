//! The state that all connections share: settings, recorder, and counts of keys.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;

use crate::answer::MockAnswer;
use crate::batches::Batches;
use crate::chance::{KeyCounts, Scenario};
use crate::jobs::Jobs;
use crate::judge::{ArrivalInfo, Client};
use crate::limit::{ServerLimit, ServerLimits, ServerUnit, SharedLimits};
use crate::recorder::{OpenArrival, Recorder, lock};
use crate::request::ClientRequest;
use crate::{Fault, Settings, lists, quotes, recipes, scripted, tokens, tools};

/// The server's settings, limits and counts.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub settings: Settings,
    /// Filler fields of every quote, made once.
    padding: String,
    pub recorder: Arc<Recorder>,
    limits: ServerLimits,
    /// Number of requests for each key; counted only if scenarios are random.
    requested: Mutex<KeyCounts>,
    /// Number of values in scripted answers so far.
    values: AtomicU64,
    /// Number of tries for each flaky id.
    tries: Mutex<KeyCounts>,
    jobs: Mutex<Jobs>,
    pub batches: Mutex<Batches>,
}

impl ServerState {
    pub(crate) fn new(settings: Settings) -> ServerState {
        let limits = settings.all_limits();
        ServerState {
            padding: quotes::padding(settings.padding),
            recorder: Recorder::new(
                limits.clone(),
                settings.clock.unwrap_or_else(since_1970),
                settings.logs,
            ),
            limits,
            requested: Mutex::default(),
            tries: Mutex::default(),
            jobs: Mutex::default(),
            batches: Mutex::new(Batches::new(settings.batches, settings.seed)),
            values: AtomicU64::default(),
            settings,
        }
    }

    /// The latency and the fault of the next request for this key.
    pub(crate) fn scenario(&self, key: &str) -> Scenario {
        let times = if Scenario::is_random(&self.settings) {
            lock(&self.requested).count_up(key)
        } else {
            0
        };
        Scenario::draw(&self.settings, key, times)
    }

    /// Counts an arrival. The info says whether the limits admit it.
    pub(crate) fn arrive(&self, request: &ClientRequest) -> (OpenArrival, ArrivalInfo) {
        let key = |shared: &SharedLimits| {
            let partition = shared.partition.as_ref()?;
            partition.value_in(request).map(Cow::into_owned)
        };
        let limits = &self.limits;
        let client = Client {
            keys: limits.shared.iter().map(|it| key(it).unwrap_or_default()).collect(),
            costs: limits.all.iter().map(|it| cost(it, request)).collect(),
            symbols: request.symbols.as_deref(),
            path: request.path(),
            wants_counts: self.settings.dialect.is_some(),
        };
        self.recorder.arrive(client)
    }

    /// Answers a request that the limits admitted.
    pub(crate) fn answer(&self, request: &ClientRequest, fault: Option<Fault>) -> MockAnswer {
        if request.body.is_none() {
            return MockAnswer::problem(StatusCode::PAYLOAD_TOO_LARGE, "a body is at most 64 MiB");
        }
        match fault {
            None => self.route(request, None),
            Some(Fault::Refuse) => {
                MockAnswer::problem(StatusCode::TOO_MANY_REQUESTS, "too many requests")
            }
            Some(Fault::ServerError) => {
                MockAnswer::problem(StatusCode::INTERNAL_SERVER_ERROR, "something broke")
            }
            Some(Fault::DropBefore) => MockAnswer::connection_dropped(),
            Some(Fault::NotJson) => MockAnswer::not_json().of_kind(Fault::NotJson),
            Some(Fault::DropMiddle) => {
                self.route(request, None).truncated().of_kind(Fault::DropMiddle)
            }
            Some(Fault::Drip) => self.route(request, None).dripping().of_kind(Fault::Drip),
            Some(Fault::EmptyResult | Fault::MissingKey) => self.route(request, fault),
        }
    }

    fn route(&self, request: &ClientRequest, fault: Option<Fault>) -> MockAnswer {
        if self.settings.anything {
            return scripted::answer(request, &self.values);
        }
        if quotes::is_route(request.path()) {
            return quotes::answer(&self.settings, &self.padding, request, fault);
        }
        lists::answer(request)
            .or_else(|| lock(&self.jobs).answer(request))
            .or_else(|| lock(&self.batches).answer(request, self.recorder.clock()))
            .or_else(|| recipes::answer(request, &self.tries))
            .unwrap_or_else(|| tools::answer(request, &self.tries))
    }

    /// Resets the counts, the limits, the scenarios, the flaky ids, the jobs and the
    /// batches.
    pub(crate) fn reset(&self) {
        self.recorder.reset();
        lock(&self.requested).clear();
        lock(&self.tries).clear();
        *lock(&self.jobs) = Jobs::default();
        *lock(&self.batches) = Batches::new(self.settings.batches, self.settings.seed);
        self.values.store(0, Ordering::Relaxed);
    }
}

/// The units of a limit that a request costs.
fn cost(limit: &ServerLimit, request: &ClientRequest) -> u64 {
    match &limit.unit {
        ServerUnit::Requests => 1,
        ServerUnit::Tokens => tokens::used(request),
        ServerUnit::Header(name) => {
            let value = request.headers.get(name).and_then(|value| value.to_str().ok());
            value.and_then(|value| value.parse().ok()).unwrap_or(1)
        }
    }
}

/// The time on the machine's clock.
fn since_1970() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_repeats_the_same_scenarios() {
        let faults = "500=50%".parse().unwrap();
        let settings = Settings { faults, ..Settings::default() };
        let state = ServerState::new(settings);
        let scenarios = || (0..20).map(|_| state.scenario("A")).collect::<Vec<_>>();
        let first = scenarios();
        assert_ne!(first, scenarios());
        state.reset();
        assert_eq!(first, scenarios());
    }
}
