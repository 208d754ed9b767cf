//! Anthropic's message batches: the requests stand in the submission, and one file has all
//! results.

use std::time::Duration;

use hyper::header::HOST;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Batch, BatchRequest, Batches, Outcome, body, lines, page, rfc3339};
use crate::answer::MockAnswer;
use crate::request::ClientRequest;
use crate::tokens;

/// Most requests of a batch.
const MAX_REQUESTS: usize = 100_000;

pub(super) fn answer(
    batches: &mut Batches,
    request: &ClientRequest,
    clock: Duration,
) -> Option<MockAnswer> {
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    let host = request.headers.get(HOST).and_then(|it| it.to_str().ok()).unwrap_or_default();
    Some(match parts[..] {
        ["v1", "messages"] => single(request),
        ["v1", "messages", "batches"] if request.method == Method::POST => {
            submit(batches, request, clock, host)
        }
        ["v1", "messages", "batches"] => list(batches, request, host),
        ["v1", "messages", "batches", id] => match batches.find(id) {
            Some(index) => MockAnswer::value(&described(&batches.batches[index], host)),
            None => problem(StatusCode::NOT_FOUND, "not_found_error", "there is no such batch"),
        },
        ["v1", "messages", "batches", id, "results"] => match batches.find(id) {
            Some(index) => lines(batches.outcomes(index).into_iter().map(line)),
            None => problem(StatusCode::NOT_FOUND, "not_found_error", "there is no such batch"),
        },
        _ => return None,
    })
}

/// The answer to one message by itself.
fn single(request: &ClientRequest) -> MockAnswer {
    match body(request).filter(|body| body["messages"].is_array()) {
        Some(body) => MockAnswer::value(&message(&body)),
        None => invalid("messages: Field required"),
    }
}

fn submit(
    batches: &mut Batches,
    request: &ClientRequest,
    clock: Duration,
    host: &str,
) -> MockAnswer {
    let asked = body(request).unwrap_or_default();
    let requests: Option<Vec<BatchRequest>> =
        asked["requests"].as_array().and_then(|all| all.iter().map(read).collect());
    let Some(requests) = requests.filter(|it| (1..=MAX_REQUESTS).contains(&it.len())) else {
        return invalid(
            "requests: 1 to 100,000 of them are wanted, each with custom_id and params",
        );
    };
    let index = batches.submit("msgbatch_", requests, Value::Null, clock);
    let batch = &batches.batches[index];
    match batch.refused.as_deref() {
        Some("token_limit_exceeded") => {
            let refused = problem(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "too many requests are being processed",
            );
            batches.batches.pop();
            refused
        }
        Some(why) => invalid(why),
        None => batches.or_lost(&batch.id, MockAnswer::value(&described(batch, host))),
    }
}

fn read(request: &Value) -> Option<BatchRequest> {
    let is_right = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
    };
    let custom_id = request["custom_id"].as_str().filter(is_right)?.to_owned();
    let body = request.get("params")?.clone();
    Some(BatchRequest { custom_id, body })
}

fn list(batches: &mut Batches, request: &ClientRequest, host: &str) -> MockAnswer {
    batches.counts();
    let limit = request.param("limit").and_then(|it| it.parse().ok()).unwrap_or(20);
    let after = request.param("after_id");
    let (found, has_more) = page(&batches.batches, after.as_deref(), limit);
    let last = found.last().map(|batch| batch.id.clone());
    let data: Vec<Value> = found.into_iter().map(|batch| described(batch, host)).collect();
    MockAnswer::value(&json!({ "data": data, "has_more": has_more, "last_id": last }))
}

/// The description of a batch.
fn described(batch: &Batch, host: &str) -> Value {
    let is_ended = batch.outcomes.is_some();
    let results = format!("http://{host}/v1/messages/batches/{}/results", batch.id);
    json!({
        "id": batch.id,
        "type": "message_batch",
        "processing_status": if is_ended { "ended" } else { "in_progress" },
        "request_counts": {
            "processing": if is_ended { 0 } else { batch.requests.len() },
            "succeeded": batch.count(Outcome::Answered),
            "errored": batch.count(Outcome::Failed) + batch.count(Outcome::Invalid),
            "canceled": 0,
            "expired": batch.count(Outcome::Expired),
        },
        "created_at": rfc3339(batch.created),
        "results_url": is_ended.then_some(results),
    })
}

fn line((request, outcome): (&BatchRequest, Outcome)) -> Value {
    let error = |kind: &str, message: &str| {
        let error = json!({ "type": kind, "message": message });
        json!({ "type": "errored", "error": { "type": "error", "error": error } })
    };
    let result = match outcome {
        Outcome::Answered => json!({ "type": "succeeded", "message": message(&request.body) }),
        Outcome::Failed => error("api_error", "something broke"),
        Outcome::Invalid => error("invalid_request_error", "messages: Field required"),
        Outcome::Expired => json!({ "type": "expired" }),
    };
    json!({ "custom_id": request.custom_id, "result": result })
}

/// The message that answers this request.
fn message(body: &Value) -> Value {
    let completion = tokens::completion(body);
    let text = &completion["choices"][0]["message"]["content"];
    json!({
        "type": "message",
        "role": "assistant",
        "content": [{ "type": "text", "text": text }],
        "stop_reason": "end_turn",
        "usage": { "input_tokens": 1, "output_tokens": completion["usage"]["total_tokens"] },
    })
}

fn invalid(message: &str) -> MockAnswer {
    problem(StatusCode::BAD_REQUEST, "invalid_request_error", message)
}

fn problem(status: StatusCode, kind: &str, message: &str) -> MockAnswer {
    let error = json!({ "type": kind, "message": message });
    MockAnswer::json(status, json!({ "type": "error", "error": error }).to_string())
}
