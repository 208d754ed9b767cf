//! Anthropic: the submission has the requests, and one file has all results. Pure.
//!
//! Bounds: 100,000 requests and 256 MB, by the guide to message batches as of 28 November 2026.
//! A batch has no name there, so that one whose submission had no answer is found by its time,
//! its size and the ids of its results.

use serde_json::{Value, json};

use super::{
    BatchState, Call, Dialect, Endpoint, Match, NewBatch, RowOutcome, RowResult, SoughtBatch,
    answer, lines, split_at, text,
};

/// Anthropic's message batches.
pub struct Anthropic;

/// Seconds by which the clocks of the provider and of this machine may differ.
const CLOCKS: i64 = 300;

/// The status of a single request that ends with an error of this type.
const STATUSES: [(&str, u64); 9] = [
    ("invalid_request_error", 400),
    ("authentication_error", 401),
    ("billing_error", 402),
    ("permission_error", 403),
    ("not_found_error", 404),
    ("request_too_large", 413),
    ("rate_limit_error", 429),
    ("timeout_error", 504),
    ("overloaded_error", 529),
];

impl Dialect for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn bounds(&self) -> (u64, u64) {
        (100_000, 256_000_000)
    }

    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let (base, target) = split_at(path, "/v1/messages")?;
        let endpoint = Endpoint { base: base.to_owned(), target: target.to_owned() };
        Some(endpoint).filter(|it| it.target == "/v1/messages")
    }

    fn entry(&self, id: &str, _: &Endpoint, body: &str) -> String {
        format!("{{\"custom_id\":\"{id}\",\"params\":{body}}}")
    }

    fn separator(&self) -> &'static str {
        ",\n"
    }

    fn upload(&self, _: &NewBatch<'_>) -> Option<Call> {
        None
    }

    fn submit(&self, batch: &NewBatch<'_>, _: &str) -> Call {
        let body = format!("{{\"requests\":[\n{}\n]}}", batch.requests);
        Call::json("/v1/messages/batches", body)
    }

    fn status(&self, id: &str) -> Call {
        Call::get(format!("/v1/messages/batches/{id}"))
    }

    fn list(&self, after: Option<&str>) -> Call {
        let after = after.map(|after| format!("&after_id={after}")).unwrap_or_default();
        Call::get(format!("/v1/messages/batches?limit=1000{after}"))
    }

    fn listed(&self, page: &Value) -> (Vec<Value>, Option<String>) {
        let all = page["data"].as_array().cloned().unwrap_or_default();
        (all, text(&page["last_id"]).filter(|_| page["has_more"] == true))
    }

    fn is_batch(&self, described: &Value, batch: &SoughtBatch<'_>) -> Match {
        let counts = described["request_counts"].as_object();
        let rows: u64 =
            counts.into_iter().flat_map(|all| all.values()).filter_map(Value::as_u64).sum();
        let made =
            described["created_at"].as_str().and_then(|it| it.parse::<jiff::Timestamp>().ok());
        let is_later = made.is_some_and(|made| made.as_second() >= batch.at - CLOCKS);
        if rows == batch.rows as u64 && is_later { Match::ByResults } else { Match::No }
    }

    fn state(&self, described: &Value) -> BatchState {
        match (described["processing_status"].as_str(), described["id"].as_str()) {
            (Some("ended"), Some(id)) => {
                let results = vec![Call::get(format!("/v1/messages/batches/{id}/results"))];
                BatchState::Ended { results, rest: None }
            }
            _ => BatchState::Running,
        }
    }

    fn results(&self, body: &[u8]) -> Vec<RowResult> {
        lines(body).filter_map(|line| result(&line)).collect()
    }
}

fn result(line: &Value) -> Option<RowResult> {
    let result = &line["result"];
    let outcome = match result["type"].as_str()? {
        "succeeded" => answer(200, &result["message"]),
        "expired" => RowOutcome::Expired,
        "canceled" => RowOutcome::Cancelled,
        _ => answer(status(&result["error"]), &json!(result["error"])),
    };
    Some(RowResult { id: text(&line["custom_id"])?, outcome })
}

/// The status of an error; one of a type that is not known is the server's.
fn status(error: &Value) -> u64 {
    let kind = error["error"]["type"].as_str().unwrap_or_default();
    STATUSES.iter().find(|(name, _)| *name == kind).map_or(500, |(_, status)| *status)
}
