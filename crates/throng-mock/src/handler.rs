//! The way of a request: there, through the house, and back.

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
use crate::reply::{Reply, Severed};
use crate::request::ClientRequest;
use crate::state::ServerState;

/// 34 years: the calendar of HTTP and the timers end, but not before that.
const FARTHEST: Duration = Duration::from_secs(1 << 30);

/// The year 9000, where HTTP's calendar is about to end.
const LAST_CLOCK: Duration = Duration::from_secs(221_845_000_000);

/// Answers a request, or drops its connection.
pub(crate) async fn visit(
    house: Arc<ServerState>,
    request: Request<Incoming>,
    acks: Option<AckCounter>,
) -> Result<Response<Reply>, Severed> {
    let asked = ClientRequest::read(request).await?;
    if let Some(answer) = ask_judge(&house, &asked) {
        return Ok(answer.uncounted());
    }
    let fate = house.fate(asked.key());
    travel(&house, &asked, fate.there).await;
    let (ticket, told) = house.arrive(&asked);
    if let Some(acks) = acks {
        acks.acknowledge_in(fate.there);
    }
    let answer = match (told.admitted, &house.settings.dialect) {
        (Ok(()), None) => house.answer(&asked, fate.fault),
        (Ok(()), Some(dialect)) => dialect.tell(house.answer(&asked, fate.fault), &told),
        (Err(refused), None) => refuse(house.settings.refusal, refused.wait, told.clock),
        (Err(refused), Some(dialect)) => dialect.refuse(refused, &told),
    };
    nap(fate.back.saturating_add(answer.wait)).await;
    match house.settings.clock {
        // Otherwise the machine's clock is the server's.
        Some(_) => dated(answer, house.clock()).deliver(ticket),
        None => answer.deliver(ticket),
    }
}

/// Questions to the judge take no time and are not counted.
fn ask_judge(house: &ServerState, asked: &ClientRequest) -> Option<MockAnswer> {
    match (&asked.method, asked.path()) {
        (&Method::GET, "/judge") => Some(MockAnswer::value(&house.judgement())),
        (&Method::DELETE, "/judge") | (&Method::POST, "/judge/reset") => {
            house.reset();
            Some(MockAnswer::fine())
        }
        _ => None,
    }
}

/// With the time at which it was given.
fn dated(answer: MockAnswer, clock: Duration) -> MockAnswer {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + clock.min(LAST_CLOCK));
    match HeaderValue::try_from(date) {
        Ok(date) => answer.with(DATE, date),
        Err(_) => answer,
    }
}

/// A 429 for the limit, at this time since 1970.
fn refuse(refusal: Refusal, wait: Duration, clock: Duration) -> MockAnswer {
    let answer = MockAnswer::problem(StatusCode::TOO_MANY_REQUESTS, "over the limit");
    match retry_after(refusal, wait, UNIX_EPOCH + clock.min(LAST_CLOCK)) {
        Some(value) => answer.with(RETRY_AFTER, value),
        None => answer,
    }
}

/// When to come back, rounded up: who comes back then is admitted.
fn retry_after(refusal: Refusal, wait: Duration, now: SystemTime) -> Option<HeaderValue> {
    let almost = Duration::from_nanos(999_999_999);
    let text = match refusal {
        Refusal::RetryAfterSeconds => wait.saturating_add(almost).as_secs().to_string(),
        Refusal::RetryAfterDate => {
            let wait = wait.saturating_add(almost).min(FARTHEST);
            httpdate::fmt_http_date(now.checked_add(wait)?)
        }
        Refusal::Bare => return None,
    };
    HeaderValue::try_from(text).ok()
}

/// The way there. A request that is on its way arrives, even if its client
/// has gone meanwhile: then it arrives on its own.
async fn travel(house: &Arc<ServerState>, asked: &ClientRequest, there: Duration) {
    if there.is_zero() {
        return;
    }
    let due = Instant::now() + there.min(FARTHEST);
    let mut trip = RequestTrip {
        house,
        asked,
        due,
        over: false,
    };
    sleep_until(due).await;
    trip.over = true;
}

/// A request on its way.
struct RequestTrip<'a> {
    house: &'a Arc<ServerState>,
    asked: &'a ClientRequest,
    due: Instant,
    over: bool,
}

impl Drop for RequestTrip<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (house, due) = (Arc::clone(self.house), self.due);
        let asked = self.asked.clone();
        let arrive = async move {
            sleep_until(due).await;
            house.arrive(&asked);
        };
        // Without a runtime the server is closing, and nothing arrives.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(arrive);
        }
    }
}

/// Most answers need no timer.
async fn nap(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
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
    fn a_bare_refusal_says_nothing() {
        assert_eq!(after(Refusal::Bare, 1000, 0), None);
    }
}
