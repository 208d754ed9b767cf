//! Jobs that a client submits, polls and fetches.

use std::collections::HashMap;
use std::time::Duration;

use hyper::header::{HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::answer::MockAnswer;
use crate::quotes::price;
use crate::request::ClientRequest;

/// Default number of polls after which a job is done.
const POLLS: u64 = 2;

/// The jobs that were submitted.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    jobs: HashMap<String, Job>,
    /// Number of submissions of each key.
    submitted: HashMap<String, u64>,
}

/// A job, as its submission asks for it.
#[derive(Debug)]
struct Job {
    key: String,
    begun: Instant,
    /// Minimum number of polls that find it running.
    polls: u64,
    /// Minimum time for which it runs.
    time: Duration,
    /// Whether it fails in the end.
    fails: bool,
    /// The status of a poll that finds it running.
    running: StatusCode,
    retry_after: Option<HeaderValue>,
    /// Number of polls so far.
    polled: u64,
}

/// The symbols by which the judge counts these requests: `submit:KEY`, `poll:ID` and
/// `fetch:ID`; none for other routes.
pub(crate) fn symbols(request: &ClientRequest) -> Option<String> {
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    match parts[..] {
        ["jobs"] => Some(format!("submit:{}", key(request))),
        ["jobs", id] => Some(format!("poll:{id}")),
        ["jobs", id, "result"] => Some(format!("fetch:{id}")),
        _ => None,
    }
}

impl Jobs {
    /// Answers these routes; none for other routes.
    pub(crate) fn answer(&mut self, request: &ClientRequest) -> Option<MockAnswer> {
        let parts: Vec<&str> = request.path().split('/').skip(1).collect();
        Some(match parts[..] {
            ["jobs"] if request.method == Method::POST => self.submit(request),
            ["jobs"] => {
                MockAnswer::problem(StatusCode::METHOD_NOT_ALLOWED, "a job is submitted by POST")
            }
            ["jobs", id] => self.poll(id),
            ["jobs", id, "result"] => self.result(id),
            _ => return None,
        })
    }

    fn submit(&mut self, request: &ClientRequest) -> MockAnswer {
        let key = key(request);
        let times = self.submitted.entry(key.clone()).or_default();
        *times += 1;
        let id = format!("{key}.{times}");
        let number = |name: &str| param(request, name).and_then(|it| it.parse::<u64>().ok());
        let running =
            number("running").and_then(|code| StatusCode::from_u16(code.try_into().ok()?).ok());
        let job = Job {
            key,
            begun: Instant::now(),
            polls: number("polls").unwrap_or(POLLS),
            time: Duration::from_millis(number("ms").unwrap_or(0)),
            fails: param(request, "fail").is_some_and(|it| it != "false"),
            running: running.unwrap_or(StatusCode::OK),
            retry_after: param(request, "retry_after").and_then(|it| it.try_into().ok()),
            polled: 0,
        };
        let place = HeaderValue::try_from(format!("/jobs/{id}"));
        let body = json!({ "id": id, "status": "queued" });
        let answer = job.with_retry_after(status(StatusCode::ACCEPTED, &body));
        self.jobs.insert(id, job);
        match place {
            Ok(place) => answer.with(LOCATION, place),
            Err(_) => answer,
        }
    }

    fn poll(&mut self, id: &str) -> MockAnswer {
        let Some(job) = self.jobs.get_mut(id) else {
            return unknown();
        };
        job.polled += 1;
        if job.is_running() {
            let body = json!({ "id": id, "status": "running", "polls": job.polled });
            return job.with_retry_after(status(job.running, &body));
        }
        if job.fails {
            return MockAnswer::value(&json!({
                "id": id,
                "status": "failed",
                "error": { "message": format!("{} cannot be done", job.key) },
            }));
        }
        MockAnswer::value(&json!({
            "id": id,
            "status": "done",
            "polls": job.polled,
            "price": price(&job.key),
            "result": format!("/jobs/{id}/result"),
        }))
    }

    fn result(&self, id: &str) -> MockAnswer {
        match self.jobs.get(id) {
            None => unknown(),
            Some(job) if job.is_running() || job.fails => {
                MockAnswer::problem(StatusCode::CONFLICT, "the job is not done")
            }
            Some(job) => MockAnswer::value(&json!({ "key": job.key, "price": price(&job.key) })),
        }
    }
}

impl Job {
    fn with_retry_after(&self, answer: MockAnswer) -> MockAnswer {
        match &self.retry_after {
            Some(value) => answer.with(RETRY_AFTER, value.clone()),
            None => answer,
        }
    }

    fn is_running(&self) -> bool {
        self.polled <= self.polls || self.begun.elapsed() < self.time
    }
}

fn status(status: StatusCode, body: &Value) -> MockAnswer {
    MockAnswer::json(status, body.to_string())
}

fn unknown() -> MockAnswer {
    MockAnswer::problem(StatusCode::NOT_FOUND, "there is no such job")
}

/// The key of a submission: a parameter, or else a field of its body.
fn key(request: &ClientRequest) -> String {
    param(request, "key").unwrap_or_default()
}

/// A parameter of the query, or a field of a JSON body.
fn param(request: &ClientRequest, name: &str) -> Option<String> {
    if let Some(value) = request.param(name) {
        return Some(value.into_owned());
    }
    let body: Value = serde_json::from_slice(request.body.as_deref()?).ok()?;
    Some(match body.get(name)? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn ask(jobs: &mut Jobs, method: Method, uri: &str, body: &str) -> (u16, Value, HeaderMap) {
        let mut request = ClientRequest::test(uri, body);
        request.method = method;
        let answer = jobs.answer(&request).unwrap();
        let headers = answer.headers.clone();
        (answer.status.as_u16(), answer.test_value(), headers)
    }

    #[test]
    fn a_job_runs_for_its_polls_and_its_time() {
        let mut jobs = Jobs::default();
        let uri = "/jobs?running=202&retry_after=7";
        let body = r#"{"key": "A", "polls": 1}"#;
        let (code, body, headers) = ask(&mut jobs, Method::POST, uri, body);
        assert_eq!((code, &body["id"]), (202, &json!("A.1")));
        assert_eq!(headers[LOCATION], "/jobs/A.1");
        ask(&mut jobs, Method::POST, "/jobs?key=B&polls=0&ms=3600000", "");
        let mut get = |uri| ask(&mut jobs, Method::GET, uri, "");
        let (code, body, headers) = get("/jobs/A.1");
        assert_eq!((code, &body["polls"]), (202, &json!(1)));
        assert_eq!(headers[RETRY_AFTER], "7");
        assert_eq!(get("/jobs/A.1/result").0, 409);
        let (code, body, _) = get("/jobs/A.1");
        assert_eq!((code, &body["status"]), (200, &json!("done")));
        assert_eq!(body["price"], price("A"));
        assert_eq!(get("/jobs/A.1/result").1["key"], "A");
        assert_eq!(get("/jobs/B.1").1["status"], "running");
        assert_eq!((get("/jobs/A.2").0, get("/jobs").0), (404, 405));
    }

    #[test]
    fn a_second_submission_is_another_job() {
        let mut jobs = Jobs::default();
        ask(&mut jobs, Method::POST, "/jobs?key=A&polls=0&fail=1", "");
        let (_, body, _) = ask(&mut jobs, Method::POST, "/jobs?key=A&polls=0", "");
        assert_eq!(body["id"], "A.2");
        let mut status = |uri| ask(&mut jobs, Method::GET, uri, "").1["status"].clone();
        assert_eq!((status("/jobs/A.1"), status("/jobs/A.2")), (json!("failed"), json!("done")));
    }
}
