//! Gemini: the submission has the requests, and the batch's description has the results. Pure.
//!
//! Bounds: 20 MB for requests that stand in the submission, by the guide to the batch API as of
//! 28 November 2026; no number of them is published.

use serde_json::{Value, json};

use super::{
    BatchState, Call, Dialect, Endpoint, Match, NewBatch, RowOutcome, RowResult, SoughtBatch,
    answer, split_at, text,
};

/// Gemini's batches.
pub struct Gemini;

/// The method of a single request.
const SINGLE: &str = ":generateContent";
/// The method of a batch of them.
const BATCH: &str = ":batchGenerateContent";
/// Bytes of the submission beside its requests, of which it keeps clear.
const ENVELOPE: u64 = 10_000;

/// The status of a single request that ends with this code of an RPC.
const STATUSES: [(u64, u64); 9] =
    [(3, 400), (4, 504), (5, 404), (7, 403), (8, 429), (9, 400), (13, 500), (14, 503), (16, 401)];

impl Dialect for Gemini {
    fn name(&self) -> &'static str {
        "gemini"
    }

    fn bounds(&self) -> (u64, u64) {
        (1_000_000, 20_000_000 - ENVELOPE)
    }

    /// The target is the path with the version and the model.
    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let (base, target) = split_at(path, "/v1")?;
        let target = target.strip_suffix(SINGLE).filter(|it| it.contains("/models/"))?;
        Some(Endpoint { base: base.to_owned(), target: target.to_owned() })
    }

    fn entry(&self, id: &str, _: &Endpoint, body: &str) -> String {
        format!("{{\"request\":{body},\"metadata\":{{\"key\":\"{id}\"}}}}")
    }

    fn separator(&self) -> &'static str {
        ",\n"
    }

    fn upload(&self, _: &NewBatch<'_>) -> Option<Call> {
        None
    }

    fn submit(&self, batch: &NewBatch<'_>, _: &str) -> Call {
        let body = format!(
            "{{\"batch\":{{\"display_name\":\"{}\",\"input_config\":{{\"requests\":{{\"requests\":[\n{}\n]}}}}}}}}",
            batch.name, batch.requests
        );
        Call::json(format!("{}{BATCH}", batch.endpoint.target), body)
    }

    fn id(&self, described: &Value) -> Option<String> {
        text(&described["name"])
    }

    fn status(&self, id: &str) -> Call {
        Call::get(format!("/v1beta/{id}"))
    }

    fn list(&self, after: Option<&str>) -> Call {
        let after = after.map(|after| format!("&pageToken={after}")).unwrap_or_default();
        Call::get(format!("/v1beta/batches?pageSize=100{after}"))
    }

    fn listed(&self, page: &Value) -> (Vec<Value>, Option<String>) {
        let all = page["operations"].as_array().cloned().unwrap_or_default();
        (all, text(&page["nextPageToken"]).filter(|next| !next.is_empty()))
    }

    fn is_batch(&self, described: &Value, batch: &SoughtBatch<'_>) -> Match {
        if described["metadata"]["displayName"] == batch.name { Match::Yes } else { Match::No }
    }

    fn state(&self, described: &Value) -> BatchState {
        let error = &described["error"];
        let state = described["metadata"]["state"].as_str().unwrap_or_default();
        let is_ended =
            ["_SUCCEEDED", "_EXPIRED", "_CANCELLED"].iter().any(|it| state.ends_with(it));
        let has_results = !responses(described).is_empty();
        if error.is_object() && !has_results && !is_ended {
            let why = error["message"].as_str().unwrap_or("the batch failed").to_owned();
            BatchState::Refused { why, is_queue_full: error["code"] == 8 }
        } else if is_ended || described["done"] == true {
            let id = described["name"].as_str().unwrap_or_default();
            let rest = match state {
                state if state.ends_with("_EXPIRED") => Some(RowOutcome::Expired),
                state if state.ends_with("_CANCELLED") => Some(RowOutcome::Cancelled),
                _ => None,
            };
            BatchState::Ended { results: vec![self.status(id)], rest }
        } else {
            BatchState::Running
        }
    }

    fn results(&self, body: &[u8]) -> Vec<RowResult> {
        let described: Value = serde_json::from_slice(body).unwrap_or_default();
        responses(&described).iter().filter_map(result).collect()
    }
}

/// The responses in the description of a batch.
fn responses(described: &Value) -> &[Value] {
    let places = [&described["response"], &described["metadata"]["output"]];
    let all =
        places.iter().find_map(|place| place["inlinedResponses"]["inlinedResponses"].as_array());
    all.map_or(&[], Vec::as_slice)
}

fn result(response: &Value) -> Option<RowResult> {
    let error = &response["error"];
    let outcome = match error["code"].as_u64() {
        None => answer(200, &response["response"]),
        Some(1) => RowOutcome::Cancelled,
        Some(code) => {
            let status = STATUSES.iter().find(|(rpc, _)| *rpc == code).map_or(500, |it| it.1);
            answer(status, &json!({ "error": error }))
        }
    };
    Some(RowResult { id: text(&response["metadata"]["key"])?, outcome })
}
