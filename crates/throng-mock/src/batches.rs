//! Batches of requests, as providers of language models take them: a file or a list of requests
//! goes in, and their answers come out later, in another order.
//!
//! The answers of a batch are made once its time is over, and each one is paid for then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::ParseError;
use crate::answer::MockAnswer;
use crate::chance::{KeyCounts, hash, rng};
use crate::parse;
use crate::request::ClientRequest;

mod anthropic;
mod gemini;
mod mistral;
mod openai;

/// What goes wrong with batches, and how long they take. From text: `time=2s,expired=10%`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BatchFaults {
    /// `time`: the time from the submission of a batch until its answers are there.
    pub time: Duration,
    /// `expired`: the share of requests that the batch did not get to.
    pub expired: f64,
    /// `failed`: the share of requests that end with the status 500.
    pub failed: f64,
    /// `lost`: the share of submissions that are taken, and whose connection is dropped.
    pub lost: f64,
    /// `queue`: the most requests that may be in progress together, if any number is not right.
    pub queue: Option<usize>,
}

/// The counts of batches since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCounts {
    /// Batches that were submitted.
    pub submitted: u64,
    /// Batches whose answers are there.
    pub ended: u64,
    /// Requests that expired.
    pub expired: u64,
    /// Requests that failed.
    pub failed: u64,
    /// The number of answers that were paid for, by the `custom_id` of the request.
    pub paid: BTreeMap<String, u64>,
    /// The number of answers that were paid for, by the last message of the request.
    pub prompts: BTreeMap<String, u64>,
}

/// The files and batches of the server.
#[derive(Debug)]
pub(crate) struct Batches {
    faults: BatchFaults,
    seed: u64,
    files: HashMap<String, Bytes>,
    batches: Vec<Batch>,
    /// Number of times that each `custom_id` was answered or not.
    times: KeyCounts,
    counts: BatchCounts,
}

/// A batch.
#[derive(Debug)]
struct Batch {
    id: String,
    begun: Instant,
    /// The time of its submission, in seconds since 1970.
    created: u64,
    requests: Vec<BatchRequest>,
    /// The fields of its submission, which its description repeats.
    submitted: Value,
    /// Why it was not taken, if it was not.
    refused: Option<String>,
    /// The outcome of each request, once its time is over.
    outcomes: Option<Vec<Outcome>>,
    /// Whether none of its requests is answered if one of them expires.
    expires_whole: bool,
}

#[derive(Debug, Clone)]
struct BatchRequest {
    custom_id: String,
    body: Value,
}

/// How a request of a batch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// The body of the request is not right.
    Invalid,
    Failed,
    Expired,
}

impl FromStr for BatchFaults {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<BatchFaults, ParseError> {
        let wrong = || {
            ParseError::new(
                "batches are such as time=2s,expired=10%,failed=5%,lost=1%,queue=1000",
                text,
            )
        };
        let mut faults = BatchFaults::default();
        for part in text.split(',') {
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            match name.trim() {
                "time" => faults.time = parse::duration(value).ok_or_else(wrong)?,
                "expired" => faults.expired = parse::share(value).ok_or_else(wrong)?,
                "failed" => faults.failed = parse::share(value).ok_or_else(wrong)?,
                "lost" => faults.lost = parse::share(value).ok_or_else(wrong)?,
                "queue" => faults.queue = Some(value.trim().parse().map_err(|_| wrong())?),
                _ => return Err(wrong()),
            }
        }
        Ok(faults)
    }
}

impl Batches {
    pub(crate) fn new(faults: BatchFaults, seed: u64) -> Batches {
        Batches {
            faults,
            seed,
            files: HashMap::new(),
            batches: Vec::new(),
            times: KeyCounts::default(),
            counts: BatchCounts::default(),
        }
    }

    /// Answers the routes of all providers; none for other routes. `clock` is the time since
    /// 1970.
    pub(crate) fn answer(
        &mut self,
        request: &ClientRequest,
        clock: Duration,
    ) -> Option<MockAnswer> {
        openai::answer(self, request, clock)
            .or_else(|| anthropic::answer(self, request, clock))
            .or_else(|| gemini::answer(self, request, clock))
            .or_else(|| mistral::answer(self, request, clock))
    }

    /// The counts until now.
    pub(crate) fn counts(&mut self) -> BatchCounts {
        (0..self.batches.len()).for_each(|index| self.settle(index));
        self.counts.clone()
    }

    /// Takes a batch, and gives its index.
    fn submit(
        &mut self,
        prefix: &str,
        requests: Vec<BatchRequest>,
        submitted: Value,
        clock: Duration,
    ) -> usize {
        (0..self.batches.len()).for_each(|index| self.settle(index));
        self.counts.submitted += 1;
        let waiting = self.batches.iter().filter(|batch| batch.outcomes.is_none());
        let waiting: usize = waiting.map(|batch| batch.requests.len()).sum();
        let ids: BTreeSet<&str> = requests.iter().map(|it| &*it.custom_id).collect();
        let refused = if ids.len() < requests.len() {
            Some("duplicate_custom_id")
        } else if self.faults.queue.is_some_and(|most| waiting + requests.len() > most) {
            Some("token_limit_exceeded")
        } else {
            None
        };
        self.batches.push(Batch {
            id: format!("{prefix}{}", self.counts.submitted),
            begun: Instant::now(),
            created: clock.as_secs(),
            outcomes: refused.map(|_| Vec::new()),
            refused: refused.map(str::to_owned),
            requests,
            submitted,
            expires_whole: false,
        });
        self.batches.len() - 1
    }

    /// The answer to the submission of a batch, unless it gets lost.
    fn or_lost(&self, id: &str, answer: MockAnswer) -> MockAnswer {
        if rng(self.seed, id, 0).random_bool(self.faults.lost) {
            MockAnswer::connection_dropped()
        } else {
            answer
        }
    }

    /// The index of a batch.
    fn find(&mut self, id: &str) -> Option<usize> {
        let index = self.batches.iter().position(|batch| batch.id == id)?;
        self.settle(index);
        Some(index)
    }

    /// Ends a batch whose time is over.
    fn settle(&mut self, index: usize) {
        let batch = &mut self.batches[index];
        if batch.outcomes.is_some() || batch.begun.elapsed() < self.faults.time {
            return;
        }
        let mut outcomes = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            let times = self.times.count_up(&request.custom_id);
            let draw: f64 = rng(self.seed, &request.custom_id, times).random();
            let outcome = match draw {
                _ if !request.body["messages"].is_array() => Outcome::Invalid,
                draw if draw < self.faults.expired => Outcome::Expired,
                draw if draw < self.faults.expired + self.faults.failed => Outcome::Failed,
                _ => Outcome::Answered,
            };
            outcomes.push(outcome);
        }
        if batch.expires_whole && outcomes.contains(&Outcome::Expired) {
            outcomes.fill(Outcome::Expired);
        }
        for (request, outcome) in batch.requests.iter().zip(&outcomes) {
            match outcome {
                Outcome::Answered => {
                    *self.counts.paid.entry(request.custom_id.clone()).or_default() += 1;
                    *self.counts.prompts.entry(request.prompt()).or_default() += 1;
                }
                Outcome::Expired => self.counts.expired += 1,
                Outcome::Failed | Outcome::Invalid => self.counts.failed += 1,
            }
        }
        self.counts.ended += 1;
        batch.outcomes = Some(outcomes);
    }

    /// The requests of a batch with their outcomes, in no order that a client could expect.
    fn outcomes(&self, index: usize) -> Vec<(&BatchRequest, Outcome)> {
        let batch = &self.batches[index];
        let outcomes = batch.outcomes.iter().flatten().copied();
        let mut all: Vec<_> = batch.requests.iter().zip(outcomes).collect();
        all.sort_by_key(|(request, _)| hash(&request.custom_id));
        all
    }
}

impl Batch {
    /// Number of requests that ended in this way.
    fn count(&self, outcome: Outcome) -> usize {
        self.outcomes.iter().flatten().filter(|it| **it == outcome).count()
    }
}

impl BatchRequest {
    /// The text of the last message.
    fn prompt(&self) -> String {
        let last = self.body["messages"].as_array().and_then(|messages| messages.last());
        last.and_then(|last| last["content"].as_str()).unwrap_or_default().to_owned()
    }
}

/// A time in seconds since 1970.
fn rfc3339(seconds: u64) -> String {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds.min(4_000_000_000));
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Lines of JSON.
fn lines(values: impl Iterator<Item = Value>) -> MockAnswer {
    let text: String = values.map(|value| format!("{value}\n")).collect();
    MockAnswer::json(StatusCode::OK, text)
}

/// The body of a request as JSON.
fn body(request: &ClientRequest) -> Option<Value> {
    serde_json::from_slice(request.body.as_deref()?).ok()
}

/// The page of a list after the batch with this id, the newest first, and whether more follow.
fn page<'a>(all: &'a [Batch], after: Option<&str>, limit: usize) -> (Vec<&'a Batch>, bool) {
    let newest = all.iter().rev();
    let rest: Vec<&Batch> = match after {
        Some(after) => newest.skip_while(|batch| batch.id != after).skip(1).collect(),
        None => newest.collect(),
    };
    let has_more = rest.len() > limit;
    (rest.into_iter().take(limit).collect(), has_more)
}

#[cfg(test)]
mod tests {
    use hyper::Method;
    use serde_json::json;

    use super::*;

    fn ask(batches: &mut Batches, method: Method, uri: &str, body: &str) -> MockAnswer {
        let mut request = ClientRequest::test(uri, body);
        request.method = method;
        batches.answer(&request, Duration::from_secs(9)).unwrap()
    }

    fn batches(faults: &str) -> Batches {
        Batches::new(faults.parse().unwrap(), 1)
    }

    #[test]
    fn settings_of_batches_are_read() {
        let faults: BatchFaults = "time=2s, expired=10%,queue=7".parse().unwrap();
        assert_eq!(faults.time, Duration::from_secs(2));
        assert_eq!((faults.expired, faults.queue), (0.1, Some(7)));
        assert!("expired".parse::<BatchFaults>().is_err());
    }

    #[test]
    fn a_batch_of_messages_ends_with_an_outcome_for_each_request() {
        let mut batches = batches("expired=30%,failed=20%");
        let request = |n: usize| json!({"custom_id": format!("r{n}"), "params": {"messages": [{"content": format!("p{n}")}]}});
        let requests: Vec<Value> = (0..200).map(request).collect();
        let body = json!({ "requests": requests }).to_string();
        let made = ask(&mut batches, Method::POST, "/v1/messages/batches", &body).test_value();
        let id = made["id"].as_str().unwrap().to_owned();
        let state = ask(&mut batches, Method::GET, &format!("/v1/messages/batches/{id}"), "");
        assert_eq!(state.test_value()["processing_status"], "ended");
        let counts = batches.counts();
        assert_eq!(counts.paid.len() as u64 + counts.expired + counts.failed, 200);
        assert!((30..90).contains(&counts.expired), "{counts:?}");
        let list = ask(&mut batches, Method::GET, "/v1/messages/batches?limit=1", "").test_value();
        assert_eq!(list["data"][0]["id"], id);
    }

    #[test]
    fn a_file_of_chat_completions_is_answered_by_two_files() {
        let mut batches = batches("expired=30%");
        let line = |n: usize| json!({"custom_id": format!("r{n}"), "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [{"content": "hi"}]}});
        let file: String = (0..50).map(|n| format!("{}\n", line(n))).collect();
        let form = format!(
            "--B\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--B\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{file}\r\n--B--\r\n"
        );
        let made = ask(&mut batches, Method::POST, "/v1/files", &form).test_value();
        let submit = json!({"input_file_id": made["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": {"name": "x"}});
        let batch =
            ask(&mut batches, Method::POST, "/v1/batches", &submit.to_string()).test_value();
        let uri = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
        let batch = ask(&mut batches, Method::GET, &uri, "").test_value();
        assert_eq!(
            (&batch["status"], &batch["metadata"]["name"]),
            (&json!("expired"), &json!("x"))
        );
        let mut answers = 0;
        for file in ["output_file_id", "error_file_id"] {
            let uri = format!("/v1/files/{}/content", batch[file].as_str().unwrap());
            let crate::reply::Reply::Whole(body) = ask(&mut batches, Method::GET, &uri, "").body
            else {
                panic!()
            };
            answers += String::from_utf8(body.to_vec()).unwrap().lines().count();
        }
        assert_eq!(answers, 50);
    }

    #[test]
    fn a_queue_that_is_full_takes_no_batch() {
        let mut batches = batches("queue=1,time=1h");
        let body = json!({ "requests": [{"custom_id": "a", "params": {}}] }).to_string();
        let mut submit = || ask(&mut batches, Method::POST, "/v1/messages/batches", &body).status;
        assert_eq!((submit(), submit()), (StatusCode::OK, StatusCode::TOO_MANY_REQUESTS));
    }
}
