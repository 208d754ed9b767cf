//! OpenAI: a file of requests is uploaded, and two files come back. Pure.
//!
//! Bounds: 50,000 requests and 200 MB, by the reference of `POST /v1/batches` as of
//! 28 November 2026. How many tokens may wait depends on the account (`batch.tokens`).

use serde_json::{Value, json};

use super::{
    BatchState, Call, Dialect, Endpoint, Match, NewBatch, RowOutcome, RowResult, SoughtBatch,
    answer, form, lines, split_at, text,
};

/// OpenAI's batches.
pub struct OpenAi;

/// The key of the metadata with the name of a batch.
pub(super) const NAME: &str = "throng";

impl Dialect for OpenAi {
    fn name(&self) -> &'static str {
        "openai"
    }

    fn bounds(&self) -> (u64, u64) {
        (50_000, 200_000_000)
    }

    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let (base, target) = split_at(path, "/v1/")?;
        Some(Endpoint { base: base.to_owned(), target: target.to_owned() })
    }

    fn entry(&self, id: &str, endpoint: &Endpoint, body: &str) -> String {
        let url = json!(endpoint.target);
        format!("{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":{url},\"body\":{body}}}")
    }

    fn separator(&self) -> &'static str {
        "\n"
    }

    fn upload(&self, batch: &NewBatch<'_>) -> Option<Call> {
        Some(form(batch))
    }

    fn submit(&self, batch: &NewBatch<'_>, file: &str) -> Call {
        let body = json!({
            "input_file_id": file,
            "endpoint": batch.endpoint.target,
            "completion_window": "24h",
            "metadata": { NAME: batch.name },
        });
        Call::json("/v1/batches", body.to_string())
    }

    fn status(&self, id: &str) -> Call {
        Call::get(format!("/v1/batches/{id}"))
    }

    fn list(&self, after: Option<&str>) -> Call {
        let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
        Call::get(format!("/v1/batches?limit=100{after}"))
    }

    fn listed(&self, page: &Value) -> (Vec<Value>, Option<String>) {
        let all = page["data"].as_array().cloned().unwrap_or_default();
        let last = all.last().and_then(|batch| text(&batch["id"]));
        (all, last.filter(|_| page["has_more"] == true))
    }

    fn is_batch(&self, described: &Value, batch: &SoughtBatch<'_>) -> Match {
        if described["metadata"][NAME] == batch.name { Match::Yes } else { Match::No }
    }

    fn state(&self, described: &Value) -> BatchState {
        match described["status"].as_str() {
            Some(status @ ("completed" | "expired" | "cancelled")) => {
                let files = ["output_file_id", "error_file_id"];
                let files = files.iter().filter_map(|file| described[file].as_str());
                let call = |file| Call::get(format!("/v1/files/{file}/content"));
                let rest = match status {
                    "expired" => Some(RowOutcome::Expired),
                    "cancelled" => Some(RowOutcome::Cancelled),
                    _ => None,
                };
                BatchState::Ended { results: files.map(call).collect(), rest }
            }
            Some("failed") => {
                let error = &described["errors"]["data"][0];
                let why = error["message"].as_str().unwrap_or("the batch failed");
                let is_queue_full = error["code"] == "token_limit_exceeded";
                BatchState::Refused { why: why.to_owned(), is_queue_full }
            }
            _ => BatchState::Running,
        }
    }

    fn results(&self, body: &[u8]) -> Vec<RowResult> {
        lines(body).filter_map(|line| result(&line)).collect()
    }
}

/// The result in a line of an output file or an error file.
pub(super) fn result(line: &Value) -> Option<RowResult> {
    let (response, error) = (&line["response"], &line["error"]);
    let code = error["code"].as_str().unwrap_or_default();
    let outcome = match response["status_code"].as_u64() {
        Some(status) => answer(status, &response["body"]),
        None if code == "batch_expired" => RowOutcome::Expired,
        None if code == "batch_cancelled" => RowOutcome::Cancelled,
        None => answer(500, &json!({ "error": error })),
    };
    Some(RowResult { id: text(&line["custom_id"])?, outcome })
}
