//! Mistral: a file of requests is uploaded, and a job takes it. Pure.
//!
//! Bounds: 100,000 requests and 512 MB, by the page on known limitations as of 28 November 2026
//! (the guide to batch inference says 1,000,000).

use serde_json::{Value, json};

use super::openai::{NAME, result};
use super::{
    BatchState, Call, Dialect, Endpoint, Match, NewBatch, RowOutcome, RowResult, SoughtBatch, form,
    lines, split_at,
};

/// Mistral's batch jobs.
pub struct Mistral;

/// Number of jobs on a page of the list.
const PAGE: usize = 100;

impl Dialect for Mistral {
    fn name(&self) -> &'static str {
        "mistral"
    }

    fn bounds(&self) -> (u64, u64) {
        (100_000, 512_000_000)
    }

    fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let (base, target) = split_at(path, "/v1/")?;
        Some(Endpoint { base: base.to_owned(), target: target.to_owned() })
    }

    fn entry(&self, id: &str, _: &Endpoint, body: &str) -> String {
        format!("{{\"custom_id\":\"{id}\",\"body\":{body}}}")
    }

    fn separator(&self) -> &'static str {
        "\n"
    }

    fn upload(&self, batch: &NewBatch<'_>) -> Option<Call> {
        Some(form(batch))
    }

    fn submit(&self, batch: &NewBatch<'_>, file: &str) -> Call {
        let body = json!({
            "input_files": [file],
            "model": batch.model,
            "endpoint": batch.endpoint.target,
            "metadata": { NAME: batch.name },
        });
        Call::json("/v1/batch/jobs", body.to_string())
    }

    fn status(&self, id: &str) -> Call {
        Call::get(format!("/v1/batch/jobs/{id}"))
    }

    fn list(&self, after: Option<&str>) -> Call {
        let page = after.unwrap_or("0");
        Call::get(format!("/v1/batch/jobs?page_size={PAGE}&page={page}"))
    }

    fn listed(&self, page: &Value) -> (Vec<Value>, Option<String>) {
        let all = page["data"].as_array().cloned().unwrap_or_default();
        let number = page["page"].as_u64().unwrap_or(0);
        let next = (all.len() == PAGE).then(|| (number + 1).to_string());
        (all, next)
    }

    fn is_batch(&self, described: &Value, batch: &SoughtBatch<'_>) -> Match {
        if described["metadata"][NAME] == batch.name { Match::Yes } else { Match::No }
    }

    fn state(&self, described: &Value) -> BatchState {
        let files = ["output_file", "error_file"];
        let files = files.iter().filter_map(|file| described[file].as_str());
        let results: Vec<Call> =
            files.map(|file| Call::get(format!("/v1/files/{file}/content"))).collect();
        let rest = match described["status"].as_str() {
            Some("FAILED") if results.is_empty() => {
                let why = described["errors"][0]["message"].as_str().unwrap_or("the job failed");
                return BatchState::Refused { why: why.to_owned(), is_queue_full: false };
            }
            Some("SUCCESS" | "FAILED") => None,
            Some("TIMEOUT_EXCEEDED") => Some(RowOutcome::Expired),
            Some("CANCELLED") => Some(RowOutcome::Cancelled),
            _ => return BatchState::Running,
        };
        BatchState::Ended { results, rest }
    }

    fn results(&self, body: &[u8]) -> Vec<RowResult> {
        lines(body).filter_map(|line| result(&line)).collect()
    }
}
