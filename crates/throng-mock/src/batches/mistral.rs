//! Mistral's batch jobs: their files go up and come down as OpenAI's do. Of a job whose time is
//! over, no file has what it did not get to.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{BatchRequest, Batches, Outcome, body};
use crate::answer::MockAnswer;
use crate::request::ClientRequest;

/// The beginning of the id of a job.
pub(super) const PREFIX: &str = "job-";

pub(super) fn answer(
    batches: &mut Batches,
    request: &ClientRequest,
    clock: Duration,
) -> Option<MockAnswer> {
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    Some(match parts[..] {
        ["v1", "batch", "jobs"] if request.method == Method::POST => {
            submit(batches, request, clock)
        }
        ["v1", "batch", "jobs"] => list(batches, request),
        ["v1", "batch", "jobs", id] => match batches.find(id) {
            Some(index) => MockAnswer::value(&described(batches, index)),
            None => problem(StatusCode::NOT_FOUND, "there is no such job"),
        },
        _ => return None,
    })
}

fn submit(batches: &mut Batches, request: &ClientRequest, clock: Duration) -> MockAnswer {
    let asked = body(request).unwrap_or_default();
    let file = asked["input_files"][0].as_str().and_then(|id| batches.files.get(id));
    let text = file.map(|file| String::from_utf8_lossy(file).into_owned());
    let requests: Option<Vec<BatchRequest>> =
        text.and_then(|text| text.lines().map(read).collect());
    let has_endpoint = asked["endpoint"].is_string() && asked["model"].is_string();
    let Some(requests) = requests.filter(|all| !all.is_empty() && has_endpoint) else {
        let why =
            "input_files, an endpoint and a model are wanted, and lines with custom_id and body";
        return problem(StatusCode::UNPROCESSABLE_ENTITY, why);
    };
    let index = batches.submit(PREFIX, requests, asked, clock);
    let described = described(batches, index);
    batches.or_lost(&batches.batches[index].id, MockAnswer::value(&described))
}

fn read(line: &str) -> Option<BatchRequest> {
    let line: Value = serde_json::from_str(line).ok()?;
    let custom_id = line["custom_id"].as_str()?.to_owned();
    Some(BatchRequest { custom_id, body: line.get("body")?.clone() })
}

/// A page of the list by its number, the newest job first.
fn list(batches: &mut Batches, request: &ClientRequest) -> MockAnswer {
    batches.counts();
    let number = |name: &str, default| {
        request.param(name).and_then(|it| it.parse::<usize>().ok()).unwrap_or(default)
    };
    let (page, size) = (number("page", 0), number("page_size", 100));
    let of_page = (0..batches.batches.len()).rev().skip(page * size).take(size);
    let data: Vec<Value> = of_page.map(|index| described(batches, index)).collect();
    MockAnswer::value(
        &json!({ "object": "list", "total": batches.batches.len(), "data": data, "page": page }),
    )
}

/// The description of a job.
fn described(batches: &Batches, index: usize) -> Value {
    let batch = &batches.batches[index];
    let [answered, expired] = [Outcome::Answered, Outcome::Expired].map(|it| batch.count(it));
    let failed = batch.count(Outcome::Failed) + batch.count(Outcome::Invalid);
    let status = match &batch.outcomes {
        _ if batch.refused.is_some() => "FAILED",
        None => "RUNNING",
        Some(_) if expired > 0 => "TIMEOUT_EXCEEDED",
        Some(_) => "SUCCESS",
    };
    let errors: Vec<Value> =
        batch.refused.iter().map(|why| json!({ "message": why, "count": 1 })).collect();
    json!({
        "id": batch.id,
        "object": "batch",
        "input_files": batch.submitted["input_files"],
        "metadata": batch.submitted["metadata"],
        "endpoint": batch.submitted["endpoint"],
        "model": batch.submitted["model"],
        "output_file": (answered > 0).then(|| format!("file-out-{}", batch.id)),
        "error_file": (failed > 0).then(|| format!("file-err-{}", batch.id)),
        "errors": errors,
        "status": status,
        "created_at": batch.created,
        "total_requests": batch.requests.len(),
        "completed_requests": answered + failed,
        "succeeded_requests": answered,
        "failed_requests": failed,
    })
}

fn problem(status: StatusCode, message: &str) -> MockAnswer {
    MockAnswer::json(status, json!({ "detail": message }).to_string())
}
