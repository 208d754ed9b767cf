//! The log of jobs that were submitted, `FILE.polls`: a line is on the disk before a job is
//! polled first, so that no later run submits it again.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use super::durable_log::{self, LogClosed, LogLines, LogThread};
use super::resume::completed::CompletedRows;
use crate::format::Format;
use crate::format::entry::ReadRecord;
use crate::fs::beside;
use crate::row::{Fields, Row};

/// A job that was submitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SubmittedJob {
    /// A hash of the row's fields: a row with others has not submitted it.
    #[serde(rename = "of", skip_serializing_if = "String::is_empty", default)]
    pub fields_hash: String,
    /// The address of its polls; none if the job's template gives it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// The values of the answer to its submission.
    #[serde(skip_serializing_if = "Fields::is_empty", default)]
    pub values: Fields,
}

/// One line of the log.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct JobLine {
    row: u64,
    /// The value of the field that identifies the row.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    key: Option<String>,
    /// The number of the row's item that it was submitted for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    item: Option<u64>,
    /// The index of the stage.
    #[serde(skip_serializing_if = "is_first", default)]
    stage: usize,
    /// Whether the job is gone: another one may be submitted.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    void: bool,
    #[serde(flatten)]
    job: SubmittedJob,
}

/// The stage, the row and the item that a job was submitted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct JobPlace {
    stage: usize,
    row: u64,
    item: Option<u64>,
}

/// The jobs of earlier runs that no later run submits again.
#[derive(Debug, Clone, Default)]
pub(super) struct SubmittedJobs(HashMap<JobPlace, JobLine>);

/// A log that workers write to; clones write to the same one.
#[derive(Debug, Clone)]
pub struct PollLog {
    key: Option<String>,
    format: Format,
    lines: LogLines,
    is_needed: Arc<AtomicBool>,
}

/// The thread that writes the log.
#[derive(Debug)]
pub struct PollLogWriter {
    thread: LogThread,
    /// Whether a row failed whose job can be polled again.
    is_needed: Arc<AtomicBool>,
}

fn is_first(stage: &usize) -> bool {
    *stage == 0
}

fn path(results: &Path) -> PathBuf {
    beside(results, ".polls")
}

/// Removes a log, if there is one.
pub(super) fn remove(results: &Path) -> io::Result<()> {
    durable_log::remove(&path(results))
}

impl SubmittedJobs {
    /// Reads the log of these results, without the jobs of rows that are done for good.
    pub fn read(
        results: &Path,
        done: &CompletedRows,
        failed: Option<&RoaringTreemap>,
    ) -> io::Result<SubmittedJobs> {
        let has_failed = |line: &JobLine| match failed {
            // Where rows are known by a key, their numbers may have changed since.
            Some(failed) if done.key().is_none() => failed.contains(line.row),
            Some(failed) => !failed.is_empty(),
            None => true,
        };
        let mut jobs = HashMap::new();
        for line in durable_log::read::<JobLine>(&path(results))? {
            let line = line?;
            let place = line.place(done);
            if line.void {
                jobs.remove(&place);
            } else if !done.has_id(place.row) || has_failed(&line) {
                jobs.insert(place, line);
            }
        }
        Ok(SubmittedJobs(jobs))
    }

    /// The job of a row, or of its item, in this stage.
    pub fn get(&self, stage: usize, row: &Row, done: &CompletedRows) -> Option<&SubmittedJob> {
        if self.0.is_empty() {
            return None;
        }
        let item = row.item.and_then(|item| item.number);
        self.0.get(&JobPlace { stage, row: done.id(row), item }).map(|line| &line.job)
    }

    /// Number of jobs of rows that have no record.
    pub fn waiting(&self, done: &CompletedRows) -> u64 {
        self.waiting_from(0, done)
    }

    /// Number of jobs, of this stage and of later ones, of rows that have no record.
    pub fn waiting_from(&self, stage: usize, done: &CompletedRows) -> u64 {
        let waits = |place: &&JobPlace| place.stage >= stage && !done.has_id(place.row);
        self.0.keys().filter(waits).count() as u64
    }

    /// Whether rows that failed have jobs that can be polled again.
    pub fn has_failed(&self, done: &CompletedRows) -> bool {
        self.0.keys().any(|place| done.has_id(place.row))
    }

    /// Number of rows that are in doubt, and whose job is known all the same.
    pub fn known_of(&self, in_doubt: &CompletedRows) -> u64 {
        self.0.keys().filter(|place| place.stage == 0 && in_doubt.has_id(place.row)).count() as u64
    }

    /// Leaves these rows out.
    pub fn forget(&mut self, rows: &RoaringTreemap) {
        self.0.retain(|_, line| !rows.contains(line.row));
    }

    /// Leaves out the jobs of this stage and of later ones. Gives the identities of their rows.
    pub fn forget_from(&mut self, stage: usize) -> Vec<u64> {
        let gone = self.0.keys().filter(|place| place.stage >= stage).map(|place| place.row);
        let gone = gone.collect();
        self.0.retain(|place, _| place.stage < stage);
        gone
    }
}

impl JobLine {
    fn place(&self, done: &CompletedRows) -> JobPlace {
        let seen = ReadRecord {
            row: self.row,
            item: None,
            last: true,
            failed: None,
            key: self.key.clone().map(String::into_bytes),
        };
        JobPlace { stage: self.stage, row: done.id_of(&seen), item: self.item }
    }
}

impl PollLogWriter {
    /// Starts the thread; the log goes on with these jobs.
    pub(super) fn start(
        results: &Path,
        jobs: &SubmittedJobs,
        done: &CompletedRows,
        failed: impl Fn(io::Error) + Send + 'static,
    ) -> io::Result<PollLogWriter> {
        let old: Vec<u8> = jobs.0.values().flat_map(durable_log::line).collect();
        let thread = LogThread::start(path(results), &old, failed)?;
        let is_needed = Arc::new(AtomicBool::new(jobs.has_failed(done)));
        Ok(PollLogWriter { thread, is_needed })
    }

    /// A handle for workers, who know rows by this field.
    #[must_use]
    pub fn handle(&self, key: Option<&str>, format: Format) -> PollLog {
        PollLog {
            key: key.map(str::to_owned),
            format,
            lines: self.thread.lines(),
            is_needed: self.is_needed.clone(),
        }
    }

    /// Writes what is left. A log is taken away if no job of it can be polled again.
    ///
    /// # Errors
    /// What the system says.
    pub fn end(self, all_done: bool) -> io::Result<()> {
        self.thread.end(!all_done || self.is_needed.load(Ordering::Relaxed))
    }
}

impl PollLog {
    /// Returns once the disk knows the job of a row in this stage.
    ///
    /// # Errors
    /// When it can't: no job may be submitted any more.
    pub async fn note(&self, stage: usize, row: &Row, job: SubmittedJob) -> Result<(), LogClosed> {
        self.lines.write(durable_log::line(&self.of(stage, row, false, job))).await
    }

    /// Another job may be submitted for a row: the one that it has failed, or is gone.
    pub fn forget(&self, stage: usize, row: &Row) {
        let line = self.of(stage, row, true, SubmittedJob::default());
        // A log that failed has stopped the run; the job stays in it.
        let _ = self.lines.add(durable_log::line(&line));
    }

    /// Keeps the log after the run: a row failed whose job can be polled again.
    pub fn keep(&self) {
        self.is_needed.store(true, Ordering::Relaxed);
    }

    fn of(&self, stage: usize, row: &Row, void: bool, job: SubmittedJob) -> JobLine {
        let key = self.key.as_ref().and_then(|key| row.fields.get(key));
        let text = |value| String::from_utf8_lossy(&self.format.value(value)).into_owned();
        let item = row.item.and_then(|item| item.number);
        JobLine { row: row.number, key: key.map(text), item, stage, void, job }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64) -> Row {
        Row { number, ..Row::default() }
    }

    fn job(url: &str) -> SubmittedJob {
        SubmittedJob { url: Some(url.to_owned()), ..SubmittedJob::default() }
    }

    #[tokio::test]
    async fn jobs_are_known_until_their_rows_are_done() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("out.jsonl");
        let format: Format = "jsonl".parse().unwrap();
        let none = CompletedRows::by(None, format);
        let read = |done: &CompletedRows, failed: &[u64]| {
            let failed: RoaringTreemap = failed.iter().copied().collect();
            SubmittedJobs::read(&results, done, Some(&failed)).unwrap()
        };
        let log =
            PollLogWriter::start(&results, &read(&none, &[]), &none, |error| panic!("{error}"));
        let (log, lines) = log.map(|log| (log.handle(None, format), log)).unwrap();
        for number in [1, 2, 3, 4] {
            log.note(0, &row(number), job(&format!("/{number}"))).await.unwrap();
        }
        log.note(1, &row(1), job("/later")).await.unwrap();
        log.forget(0, &row(2));
        drop(log);
        lines.end(false).unwrap();
        let done = CompletedRows::first(5);
        let jobs = read(&none, &[]);
        assert_eq!(
            (jobs.get(0, &row(1), &none), jobs.get(0, &row(2), &none)),
            (Some(&job("/1")), None)
        );
        assert_eq!(jobs.get(1, &row(1), &none), Some(&job("/later")));
        assert_eq!((jobs.waiting(&none), jobs.known_of(&done)), (4, 3));
        // Of rows that are done, those that failed may be polled again.
        let jobs = read(&done, &[3]);
        assert_eq!((jobs.0.len(), jobs.get(0, &row(3), &done)), (1, Some(&job("/3"))));
        let end = |done: &CompletedRows| {
            let log = PollLogWriter::start(&results, &jobs, done, |error| panic!("{error}"));
            log.unwrap().end(true).unwrap();
            path(&results).exists()
        };
        assert!(end(&done), "the row that failed can still be polled");
        assert!(!end(&none));
    }
}
