//! Gemini's batches: the requests stand in the submission, and the results in the description of
//! the batch. A batch that expires has no results at all.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{BatchRequest, Batches, Outcome, body, page, rfc3339};
use crate::answer::MockAnswer;
use crate::request::ClientRequest;
use crate::tokens;

/// The type of what a description holds, as a message in JSON names it.
const TYPE: &str = "type.googleapis.com/google.ai.generativelanguage.v1main.";

pub(super) fn answer(
    batches: &mut Batches,
    request: &ClientRequest,
    clock: Duration,
) -> Option<MockAnswer> {
    let parts: Vec<&str> = request.path().split('/').skip(1).collect();
    let is_post = request.method == Method::POST;
    Some(match parts[..] {
        ["v1beta", "models", model] if is_post => match model.split_once(':')? {
            (_, "generateContent") => single(request),
            (model, "batchGenerateContent") => submit(batches, request, model, clock),
            _ => return None,
        },
        ["v1beta", "batches"] => list(batches, request),
        ["v1beta", "batches", id] => match batches.find(&format!("batches/{id}")) {
            Some(index) => MockAnswer::value(&described(batches, index)),
            None => problem(StatusCode::NOT_FOUND, "NOT_FOUND", "there is no such batch"),
        },
        _ => return None,
    })
}

/// The answer to one request by itself.
fn single(request: &ClientRequest) -> MockAnswer {
    match body(request).map(|body| messages(&body)).filter(|body| body["messages"].is_array()) {
        Some(body) => MockAnswer::value(&content(&body)),
        None => problem(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", "contents is not specified"),
    }
}

fn submit(
    batches: &mut Batches,
    request: &ClientRequest,
    model: &str,
    clock: Duration,
) -> MockAnswer {
    let asked = body(request).unwrap_or_default();
    let either = |of: &Value, camel: &str, snake: &str| match &of[camel] {
        Value::Null => of[snake].clone(),
        found => found.clone(),
    };
    let config = either(&asked["batch"], "inputConfig", "input_config");
    let requests: Option<Vec<BatchRequest>> =
        config["requests"]["requests"].as_array().and_then(|all| all.iter().map(read).collect());
    let name = either(&asked["batch"], "displayName", "display_name");
    let Some(requests) = requests.filter(|all| !all.is_empty() && name.is_string()) else {
        let why = "a display name and requests are wanted, each with request and metadata.key";
        return problem(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", why);
    };
    let submitted = json!({ "displayName": name, "model": format!("models/{model}") });
    let index = batches.submit("batches/m", requests, submitted, clock);
    let batch = &mut batches.batches[index];
    batch.expires_whole = true;
    match batch.refused.as_deref() {
        Some("token_limit_exceeded") => {
            batches.batches.pop();
            let why = "You exceeded your current quota of batch tokens in progress";
            problem(StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED", why)
        }
        Some(why) => problem(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", why),
        None => {
            let described = described(batches, index);
            batches.or_lost(&batches.batches[index].id, MockAnswer::value(&described))
        }
    }
}

fn read(item: &Value) -> Option<BatchRequest> {
    let custom_id = item["metadata"]["key"].as_str()?.to_owned();
    Some(BatchRequest { custom_id, body: messages(item.get("request")?) })
}

/// A request as the others have it: the texts of its contents as messages.
fn messages(request: &Value) -> Value {
    let Some(contents) = request["contents"].as_array() else {
        return Value::Null;
    };
    let texts = contents.iter().map(|content| json!({ "content": content["parts"][0]["text"] }));
    let most = &request["generationConfig"]["maxOutputTokens"];
    json!({ "messages": texts.collect::<Vec<Value>>(), "max_tokens": most })
}

fn list(batches: &mut Batches, request: &ClientRequest) -> MockAnswer {
    batches.counts();
    let limit = request.param("pageSize").and_then(|it| it.parse().ok()).unwrap_or(10);
    let after = request.param("pageToken");
    let (found, has_more) = page(&batches.batches, after.as_deref(), limit);
    let ids: Vec<String> = found.iter().map(|batch| batch.id.clone()).collect();
    let next = ids.last().filter(|_| has_more).cloned();
    let index = |id: &String| batches.batches.iter().position(|batch| batch.id == *id);
    let found = ids.iter().filter_map(index).collect::<Vec<usize>>();
    let all: Vec<Value> = found.into_iter().map(|index| described(batches, index)).collect();
    MockAnswer::value(&json!({ "operations": all, "nextPageToken": next }))
}

/// The description of a batch, an operation.
fn described(batches: &Batches, index: usize) -> Value {
    let batch = &batches.batches[index];
    let [answered, expired] = [Outcome::Answered, Outcome::Expired].map(|it| batch.count(it));
    let state = match &batch.outcomes {
        None => "BATCH_STATE_RUNNING",
        Some(_) if expired > 0 => "BATCH_STATE_EXPIRED",
        Some(_) => "BATCH_STATE_SUCCEEDED",
    };
    let metadata = json!({
        "@type": format!("{TYPE}GenerateContentBatch"),
        "model": batch.submitted["model"],
        "displayName": batch.submitted["displayName"],
        "createTime": rfc3339(batch.created),
        "batchStats": {
            "requestCount": batch.requests.len().to_string(),
            "successfulRequestCount": answered.to_string(),
        },
        "state": state,
        "name": batch.id,
    });
    let mut described = json!({ "name": batch.id, "metadata": metadata });
    if state == "BATCH_STATE_SUCCEEDED" {
        let all: Vec<Value> = batches.outcomes(index).into_iter().map(result).collect();
        described["done"] = true.into();
        described["response"] = json!({
            "@type": format!("{TYPE}GenerateContentBatchOutput"),
            "inlinedResponses": { "inlinedResponses": all },
        });
    }
    if state == "BATCH_STATE_EXPIRED" {
        described["done"] = true.into();
        described["error"] = json!({ "code": 4, "message": "the batch has expired" });
    }
    described
}

fn result((request, outcome): (&BatchRequest, Outcome)) -> Value {
    let metadata = json!({ "key": request.custom_id });
    let error = |code: u8, message: &str| json!({ "code": code, "message": message });
    match outcome {
        Outcome::Answered => json!({ "response": content(&request.body), "metadata": metadata }),
        Outcome::Invalid => {
            json!({ "error": error(3, "contents is not specified"), "metadata": metadata })
        }
        Outcome::Failed | Outcome::Expired => {
            json!({ "error": error(13, "something broke"), "metadata": metadata })
        }
    }
}

/// The content that answers a request.
fn content(body: &Value) -> Value {
    let completion = tokens::completion(body);
    let (text, usage) = (&completion["choices"][0]["message"]["content"], &completion["usage"]);
    json!({
        "candidates": [{
            "content": { "parts": [{ "text": text }], "role": "model" },
            "finishReason": "STOP",
            "index": 0,
        }],
        "usageMetadata": {
            "promptTokenCount": usage["prompt_tokens"],
            "candidatesTokenCount": usage["completion_tokens"],
            "totalTokenCount": usage["total_tokens"],
        },
    })
}

fn problem(status: StatusCode, name: &str, message: &str) -> MockAnswer {
    let error = json!({ "code": status.as_u16(), "message": message, "status": name });
    MockAnswer::json(status, json!({ "error": error }).to_string())
}
