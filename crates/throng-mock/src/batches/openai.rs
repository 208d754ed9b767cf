//! OpenAI's batches: files of requests that are uploaded, and files of answers and of errors.

use std::time::Duration;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{BatchRequest, Batches, Outcome, body, lines, mistral, page};
use crate::answer::MockAnswer;
use crate::request::ClientRequest;
use crate::tokens;

/// Most requests of a batch.
const MAX_REQUESTS: usize = 50_000;

pub(super) fn answer(
    batches: &mut Batches,
    request: &ClientRequest,
    clock: Duration,
) -> Option<MockAnswer> {
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    let is_post = request.method == Method::POST;
    Some(match parts[..] {
        ["v1", "files"] if is_post => upload(batches, request),
        ["v1", "files", id, "content"] => content(batches, id),
        ["v1", "batches"] if is_post => submit(batches, request, clock),
        ["v1", "batches"] => list(batches, request),
        ["v1", "batches", id] => match batches.find(id) {
            Some(index) => MockAnswer::value(&described(batches, index)),
            None => problem(StatusCode::NOT_FOUND, &format!("No batch found with id '{id}'.")),
        },
        _ => return None,
    })
}

/// Keeps the file of a form, whose boundary is its first line.
fn upload(batches: &mut Batches, request: &ClientRequest) -> MockAnswer {
    let form = request.body.clone().unwrap_or_default();
    let Some(file) = file_of_form(&form) else {
        return problem(
            StatusCode::BAD_REQUEST,
            "a form with the fields purpose and file is wanted",
        );
    };
    let id = format!("file-in{}", batches.files.len() + 1);
    let bytes = file.len();
    batches.files.insert(id.clone(), file);
    MockAnswer::value(&json!({ "id": id, "object": "file", "bytes": bytes, "purpose": "batch" }))
}

fn file_of_form(form: &Bytes) -> Option<Bytes> {
    let text = std::str::from_utf8(form).ok()?;
    let (boundary, _) = text.split_once("\r\n")?;
    let of_batch = text
        .split(boundary)
        .any(|part| part.contains("name=\"purpose\"") && part.contains("\r\n\r\nbatch\r\n"));
    let file = text.split(boundary).find(|part| part.contains("filename="))?;
    let (_, file) = file.split_once("\r\n\r\n")?;
    let file = file.strip_suffix("\r\n")?;
    of_batch.then(|| Bytes::copy_from_slice(file.as_bytes()))
}

fn submit(batches: &mut Batches, request: &ClientRequest, clock: Duration) -> MockAnswer {
    let asked = body(request).unwrap_or_default();
    let file = asked["input_file_id"].as_str().and_then(|id| batches.files.get(id));
    let Some(file) = file else {
        return problem(StatusCode::BAD_REQUEST, "there is no such input file");
    };
    let requests: Option<Vec<BatchRequest>> =
        String::from_utf8_lossy(file).lines().map(|line| read_line(line, &asked)).collect();
    let Some(requests) = requests.filter(|it| (1..=MAX_REQUESTS).contains(&it.len())) else {
        return problem(
            StatusCode::BAD_REQUEST,
            "the input file is not one of 1 to 50,000 requests to the endpoint",
        );
    };
    if asked["completion_window"] != "24h" {
        return problem(StatusCode::BAD_REQUEST, "completion_window is 24h");
    }
    let index = batches.submit("batch_", requests, asked, clock);
    let described = described(batches, index);
    batches.or_lost(&batches.batches[index].id, MockAnswer::value(&described))
}

fn read_line(line: &str, asked: &Value) -> Option<BatchRequest> {
    let line: Value = serde_json::from_str(line).ok()?;
    let is_right = line["url"] == asked["endpoint"] && line["method"] == "POST";
    let custom_id = line["custom_id"].as_str().filter(|_| is_right)?.to_owned();
    Some(BatchRequest { custom_id, body: line["body"].clone() })
}

fn list(batches: &mut Batches, request: &ClientRequest) -> MockAnswer {
    batches.counts();
    let limit = request.param("limit").and_then(|it| it.parse().ok()).unwrap_or(20);
    let after = request.param("after");
    let (found, has_more) = page(&batches.batches, after.as_deref(), limit);
    let ids: Vec<&str> = found.iter().map(|batch| &*batch.id).collect();
    let all = 0..batches.batches.len();
    let is_found = |index: &usize| ids.contains(&&*batches.batches[*index].id);
    let data: Vec<Value> =
        all.rev().filter(is_found).map(|index| described(batches, index)).collect();
    MockAnswer::value(
        &json!({ "object": "list", "data": data, "last_id": ids.last(), "has_more": has_more }),
    )
}

/// The description of a batch.
fn described(batches: &Batches, index: usize) -> Value {
    let batch = &batches.batches[index];
    let [answered, expired] = [Outcome::Answered, Outcome::Expired].map(|it| batch.count(it));
    let has_errors = batch.outcomes.as_ref().is_some_and(|all| all.len() > answered);
    let status = match &batch.outcomes {
        _ if batch.refused.is_some() => "failed",
        None => "in_progress",
        Some(_) if expired > 0 => "expired",
        Some(_) => "completed",
    };
    let error = |code: &String| json!({ "data": [{ "code": code, "message": format!("the batch was not taken: {code}") }] });
    json!({
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.submitted["endpoint"],
        "input_file_id": batch.submitted["input_file_id"],
        "completion_window": "24h",
        "status": status,
        "errors": batch.refused.as_ref().map(error),
        "output_file_id": (answered > 0).then(|| format!("file-out-{}", batch.id)),
        "error_file_id": has_errors.then(|| format!("file-err-{}", batch.id)),
        "created_at": batch.created,
        "metadata": batch.submitted["metadata"],
        "request_counts": { "total": batch.requests.len(), "completed": answered, "failed": batch.outcomes.as_ref().map_or(0, |all| all.len() - answered) },
    })
}

fn content(batches: &mut Batches, file: &str) -> MockAnswer {
    let batch = |prefix: &str| file.strip_prefix(prefix).map(str::to_owned);
    let (id, of_errors) = match (batch("file-out-"), batch("file-err-")) {
        (Some(id), _) => (id, false),
        (_, Some(id)) => (id, true),
        _ => return problem(StatusCode::NOT_FOUND, "there is no such file"),
    };
    match batches.find(&id) {
        Some(index) => {
            let tells_expired = !id.starts_with(mistral::PREFIX);
            let all = batches.outcomes(index).into_iter();
            let all = all.filter(|(_, it)| (*it != Outcome::Answered) == of_errors);
            lines(all.filter(|(_, it)| tells_expired || *it != Outcome::Expired).map(line))
        }
        None => problem(StatusCode::NOT_FOUND, "there is no such file"),
    }
}

fn line((request, outcome): (&BatchRequest, Outcome)) -> Value {
    let answer = |status: StatusCode, body: Value| json!({ "status_code": status.as_u16(), "request_id": format!("req_{}", request.custom_id), "body": body });
    let error = |message: &str| json!({ "error": { "message": message } });
    let (response, error) = match outcome {
        Outcome::Answered => {
            (answer(StatusCode::OK, tokens::completion(&request.body)), Value::Null)
        }
        Outcome::Failed => {
            (answer(StatusCode::INTERNAL_SERVER_ERROR, error("something broke")), Value::Null)
        }
        Outcome::Invalid => {
            (answer(StatusCode::BAD_REQUEST, error("messages is missing")), Value::Null)
        }
        Outcome::Expired => {
            let message =
                "This request could not be executed before the completion window expired.";
            (Value::Null, json!({ "code": "batch_expired", "message": message }))
        }
    };
    let id = format!("batch_req_{}", request.custom_id);
    json!({ "id": id, "custom_id": request.custom_id, "response": response, "error": error })
}

fn problem(status: StatusCode, message: &str) -> MockAnswer {
    MockAnswer::json(
        status,
        json!({ "error": { "message": message, "type": "invalid_request_error" } }).to_string(),
    )
}
