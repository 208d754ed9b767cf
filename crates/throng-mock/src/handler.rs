//! Answers one request: its latency, its arrival, its answer.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Incoming;
use hyper::header::{DATE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::Refusal;
use crate::acks::AckCounter;
use crate::answer::MockAnswer;
use crate::jobs;
use crate::lists;
use crate::quotes;
use crate::recorder::lock;
use crate::reply::{ConnectionDropped, Reply};
use crate::request::ClientRequest;
use crate::routes::routes;
use crate::state::ServerState;

/// Longest wait, 34 years: neither timers nor HTTP dates overflow with it.
const LONGEST_WAIT: Duration = Duration::from_secs(1 << 30);

/// Latest time that is written as an HTTP date, in the year 9000.
const LAST_CLOCK: Duration = Duration::from_secs(221_845_000_000);

/// Answers a request, or drops its connection.
pub(crate) async fn handle(
    state: Arc<ServerState>,
    request: Request<Incoming>,
    acks: Option<AckCounter>,
) -> Result<Response<Reply>, ConnectionDropped> {
    let request = ClientRequest::read(request).await;
    let mut request = request.ok_or(ConnectionDropped)?;
    request.symbols = if quotes::is_route(request.path()) {
        quotes::symbols(&request)
    } else {
        lists::symbols(&request).or_else(|| jobs::symbols(&request))
    };
    if let Some(answer) = answer_as_judge(&state, &request) {
        return Ok(answer.uncounted());
    }
    let scenario = state.scenario(request.key());
    travel(&state, &request, scenario.to_server).await;
    let (open_arrival, info) = state.arrive(&request);
    if let Some(acks) = acks {
        acks.acknowledge_in(scenario.to_server);
    }
    let answer = match (info.admitted, &state.settings.dialect) {
        (Ok(()), None) => state.answer(&request, scenario.fault),
        (Ok(()), Some(dialect)) => dialect.admit(state.answer(&request, scenario.fault), &info),
        (Err(refused), None) => refuse(state.settings.refusal, refused.wait, info.clock),
        (Err(refused), Some(dialect)) => dialect.refuse(refused, &info),
    };
    let wait = scenario.to_client.saturating_add(answer.wait);
    // Most answers need no timer.
    if !wait.is_zero() {
        sleep(wait).await;
    }
    match state.settings.clock {
        // Hyper adds the date of the machine's clock otherwise.
        Some(_) => dated(answer, state.recorder.clock()).deliver(open_arrival),
        None => answer.deliver(open_arrival),
    }
}

/// Answers requests to `/judge`, and to `/` with the routes, without latency and uncounted.
fn answer_as_judge(state: &ServerState, request: &ClientRequest) -> Option<MockAnswer> {
    match (&request.method, request.path()) {
        (&Method::GET, "/") if !state.settings.anything => Some(MockAnswer::text(routes())),
        (&Method::GET, "/judge") => Some(MockAnswer::value(&state.recorder.judgement())),
        (&Method::GET, "/judge/batches") => Some(MockAnswer::value(&lock(&state.batches).counts())),
        (&Method::DELETE, "/judge") | (&Method::POST, "/judge/reset") => {
            state.reset();
            Some(MockAnswer::empty())
        }
        _ => None,
    }
}

/// Adds the date of the server's clock.
fn dated(answer: MockAnswer, clock: Duration) -> MockAnswer {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + clock.min(LAST_CLOCK));
    match HeaderValue::try_from(date) {
        Ok(date) => answer.with(DATE, date),
        Err(_) => answer,
    }
}

/// An answer with 429 for the limit; `clock` is the time since 1970.
fn refuse(refusal: Refusal, wait: Duration, clock: Duration) -> MockAnswer {
    let answer = MockAnswer::problem(StatusCode::TOO_MANY_REQUESTS, "over the limit");
    match retry_after(refusal, wait, UNIX_EPOCH + clock.min(LAST_CLOCK)) {
        Some(value) => answer.with(RETRY_AFTER, value),
        None => answer,
    }
}

/// The value of `retry-after`, rounded up: a request at that time is admitted.
fn retry_after(refusal: Refusal, wait: Duration, now: SystemTime) -> Option<HeaderValue> {
    let almost = Duration::from_nanos(999_999_999);
    let text = match refusal {
        Refusal::RetryAfterSeconds => wait.saturating_add(almost).as_secs().to_string(),
        Refusal::RetryAfterDate => {
            let wait = wait.saturating_add(almost).min(LONGEST_WAIT);
            httpdate::fmt_http_date(now.checked_add(wait)?)
        }
        Refusal::Bare => return None,
    };
    HeaderValue::try_from(text).ok()
}

/// Waits until the request arrives. A request whose client closes the
/// connection meanwhile arrives nevertheless.
async fn travel(state: &Arc<ServerState>, request: &ClientRequest, time: Duration) {
    if time.is_zero() {
        return;
    }
    let due = Instant::now() + time.min(LONGEST_WAIT);
    let mut trip = RequestTrip { state, request, due, arrived: false };
    sleep_until(due).await;
    trip.arrived = true;
}

/// A request that has not arrived yet. Dropped before, it arrives by itself.
struct RequestTrip<'a> {
    state: &'a Arc<ServerState>,
    request: &'a ClientRequest,
    due: Instant,
    arrived: bool,
}

impl Drop for RequestTrip<'_> {
    fn drop(&mut self) {
        if self.arrived {
            return;
        }
        let (state, due) = (Arc::clone(self.state), self.due);
        let request = self.request.clone();
        // Without a runtime the server is closing, and nothing arrives.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                sleep_until(due).await;
                state.arrive(&request);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(refusal: Refusal, wait_ms: u64, now_ms: u64) -> Option<String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now_ms);
        let value = retry_after(refusal, Duration::from_millis(wait_ms), now)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn seconds_are_rounded_up() {
        let after = |ms| after(Refusal::RetryAfterSeconds, ms, 0).unwrap();
        assert_eq!([after(1), after(1000), after(1001)], ["1", "1", "2"]);
    }

    #[test]
    fn dates_are_rounded_up() {
        let after = |wait, now| after(Refusal::RetryAfterDate, wait, now).unwrap();
        assert_eq!(after(1000, 0), "Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(after(1000, 1), "Thu, 01 Jan 1970 00:00:02 GMT");
        assert_eq!(after(400, 1500), "Thu, 01 Jan 1970 00:00:02 GMT");
    }

    #[test]
    fn a_bare_refusal_has_no_retry_after() {
        assert_eq!(after(Refusal::Bare, 1000, 0), None);
    }
}
