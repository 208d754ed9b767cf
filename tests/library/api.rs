//! A server, and jobs that ask it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use throng::{Job, JobBuilder, Record};
use throng_mock::{Mock, Settings};

/// A row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    pub id: u64,
}

/// A server that answers every path.
pub fn server(settings: Settings) -> Mock {
    Mock::start(Settings { anything: true, ..settings }, "127.0.0.1:0").unwrap()
}

/// A job with this number of rows, whose limits are no other test's.
pub fn job(server: &Mock, rows: u64) -> JobBuilder {
    Job::builder()
        .rows((0..rows).map(|id| Item { id }))
        .url(server.url())
        .set("limit.share", "none")
        .workers(2)
}

/// The records of a job, by the id of their row.
pub fn records(job: JobBuilder) -> BTreeMap<u64, Record> {
    let records = job.build().unwrap().into_stream().blocking();
    records.map(Result::unwrap).map(|record| (id(&record), record)).collect()
}

/// The id of a record's row.
pub fn id(record: &Record) -> u64 {
    record.row.fields["id"].as_u64().unwrap()
}

/// The kind and the detail of a record's failure.
pub fn failure(record: &Record) -> (String, &str) {
    let failure = record.outcome.as_ref().unwrap_err();
    (failure.kind.to_string(), &failure.detail)
}
