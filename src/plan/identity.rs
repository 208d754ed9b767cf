//! What the records of a job depend on, as prints that can be compared later.

use serde_json::{Value, json};

use super::Job;
use crate::error::Error;
use crate::limit;
use crate::sink::{Identity, print};
use crate::source::Source;

/// What identifies a run of this job. The input is read once for it.
pub fn of(job: &Job, source: &Source) -> Result<Identity, Error> {
    let request = &job.request;
    let body = json!([
        request.data,
        request.json,
        request.jq,
        request.form,
        request.multipart,
        request.body_file
    ]);
    let parts: [(&str, Value); 12] = [
        ("input.table", json!(job.input.table)),
        ("request.method", json!(request.method)),
        ("request.url", json!(request.url)),
        ("request.query", json!(request.query)),
        ("request.headers", json!(request.headers)),
        ("the request's body", body),
        ("extract", json!(job.extract)),
        ("items", json!(job.items)),
        ("batch", json!(job.batch)),
        ("step", json!(job.step)),
        ("pages", json!(job.pages)),
        ("output.key", json!(job.output.key)),
    ];
    Ok(Identity {
        input: source.print(u64::MAX)?,
        parts: parts
            .map(|(name, value)| (name.to_owned(), print(&value.to_string())))
            .into(),
        limits: limits(&job.limit),
    })
}

/// The limits as the job writes them, and whose they are.
fn limits(settings: &limit::Settings) -> String {
    let all = settings.rate.iter().map(|rate| {
        let per = rate.details.per.as_ref().or(settings.per.as_ref());
        match (per, settings.keys.len()) {
            (Some(per), _) => format!("{rate} per {per}"),
            (None, 0) => rate.to_string(),
            (None, keys) => format!("{rate} for each of {keys} API keys"),
        }
    });
    all.collect::<Vec<_>>().join(", ")
}
