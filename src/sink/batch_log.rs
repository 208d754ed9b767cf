//! The log of batches at a provider, `FILE.batches`: a line is on the disk before a batch is
//! submitted, so that no later run submits its rows again.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::durable_log::{self, LogClosed, LogLines, LogThread};
use crate::fs::beside;

/// One line of the log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct BatchLine {
    /// The name of the batch that it tells of.
    #[serde(skip_serializing_if = "String::is_empty")]
    batch: String,
    /// The time of the submission that follows, in seconds since 1970.
    #[serde(skip_serializing_if = "is_zero")]
    at: i64,
    /// The ids of the requests that are submitted, or whose answer is a failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<String>,
    /// The provider's id of the batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "BatchEnd::is_none")]
    end: BatchEnd,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum BatchEnd {
    #[default]
    None,
    /// All of its rows have had their results.
    Collected,
    /// The provider has not taken it.
    Gone,
}

/// A batch that was submitted, or was about to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubmittedBatch {
    /// Its name, which no other batch has.
    pub name: String,
    /// When it was submitted, in seconds since 1970.
    pub at: i64,
    /// Number of its rows.
    pub rows: usize,
    /// The provider's id; none if the submission's answer is not known.
    pub id: Option<String>,
    is_collected: bool,
}

/// The batches of earlier runs, and the rows that wait for them.
#[derive(Debug, Clone, Default)]
pub(super) struct SubmittedBatches {
    batches: Vec<SubmittedBatch>,
    /// The last batch of each row, by the id of its request.
    rows: HashMap<u128, RowBatch>,
}

/// The batch of a row.
#[derive(Debug, Clone, Copy)]
struct RowBatch {
    /// The index of the batch that has the row; none if it is to be submitted again.
    batch: Option<u32>,
    /// Number of batches that had the row.
    tries: u32,
}

/// The thread that writes the log.
#[derive(Debug)]
pub struct BatchLogWriter(LogThread);

/// A log that a worker writes to; clones write to the same one.
#[derive(Debug, Clone)]
pub struct BatchLog(LogLines);

impl BatchEnd {
    fn is_none(&self) -> bool {
        *self == BatchEnd::None
    }
}

fn is_zero(at: &i64) -> bool {
    *at == 0
}

fn path(results: &Path) -> PathBuf {
    beside(results, ".batches")
}

/// Removes a log, if there is one.
pub(super) fn remove(results: &Path) -> io::Result<()> {
    durable_log::remove(&path(results))
}

/// The id of a request as a number.
fn key(id: &str) -> Option<u128> {
    u128::from_str_radix(id, 16).ok()
}

impl SubmittedBatches {
    /// Reads the log of these results.
    pub fn read(results: &Path) -> io::Result<SubmittedBatches> {
        let mut all = SubmittedBatches::default();
        let mut by_name = HashMap::new();
        for line in durable_log::read::<BatchLine>(&path(results))? {
            let line = line?;
            if line.batch.is_empty() {
                for id in line.rows.iter().filter_map(|id| key(id)) {
                    all.rows.remove(&id);
                }
                continue;
            }
            let place = *by_name.entry(line.batch.clone()).or_insert_with(|| {
                all.batches.push(SubmittedBatch { name: line.batch.clone(), ..Default::default() });
                all.batches.len() - 1
            });
            all.add(place, line);
        }
        Ok(all)
    }

    fn add(&mut self, place: usize, line: BatchLine) {
        let batch = &mut self.batches[place];
        if line.at != 0 {
            batch.at = line.at;
        }
        batch.id = line.id.or(batch.id.take());
        let index = u32::try_from(place).ok();
        if !line.rows.is_empty() {
            batch.rows = line.rows.len();
            for id in line.rows.iter().filter_map(|id| key(id)) {
                let row = self.rows.entry(id).or_insert(RowBatch { batch: None, tries: 0 });
                *row = RowBatch { batch: index, tries: row.tries + 1 };
            }
        }
        match line.end {
            BatchEnd::None => {}
            BatchEnd::Collected => batch.is_collected = true,
            BatchEnd::Gone => {
                batch.is_collected = true;
                for row in self.rows.values_mut().filter(|row| row.batch == index) {
                    *row = RowBatch { batch: None, tries: row.tries.saturating_sub(1) };
                }
            }
        }
    }

    /// The batch that has this request, if one does, and the number of batches that had it before.
    pub fn of(&self, id: &str) -> (Option<&SubmittedBatch>, u32) {
        let Some(row) = key(id).and_then(|id| self.rows.get(&id)) else {
            return (None, 0);
        };
        match row.batch {
            Some(batch) => (self.batches.get(batch as usize), row.tries.saturating_sub(1)),
            None => (None, row.tries),
        }
    }

    /// Whether a batch with this id is known.
    pub fn knows(&self, id: &str) -> bool {
        self.batches.iter().any(|batch| batch.id.as_deref() == Some(id))
    }

    /// Number of batches whose results have not come, and of their rows.
    pub fn waiting(&self) -> (u64, u64) {
        let waiting = self.batches.iter().filter(|batch| !batch.is_collected);
        waiting.fold((0, 0), |(batches, rows), batch| (batches + 1, rows + batch.rows as u64))
    }

    /// The lines of the log.
    fn lines(&self) -> Vec<u8> {
        let mut rows: HashMap<u32, Vec<String>> = HashMap::new();
        for (id, row) in &self.rows {
            if let Some(batch) = row.batch {
                rows.entry(batch).or_default().push(format!("{id:032x}"));
            }
        }
        let mut lines = Vec::new();
        for (index, batch) in (0..).zip(&self.batches) {
            let Some(rows) = rows.remove(&index) else {
                continue;
            };
            let end = if batch.is_collected { BatchEnd::Collected } else { BatchEnd::None };
            lines.extend(durable_log::line(&BatchLine {
                batch: batch.name.clone(),
                at: batch.at,
                rows,
                id: batch.id.clone(),
                end,
            }));
        }
        lines
    }
}

impl BatchLogWriter {
    /// Starts the thread; the log goes on with the lines that it has.
    pub(super) fn start(
        results: &Path,
        batches: &SubmittedBatches,
        failed: impl Fn(io::Error) + Send + 'static,
    ) -> io::Result<BatchLogWriter> {
        let path = path(results);
        let old = match std::fs::read(&path) {
            // A torn line must not swallow the next one.
            Ok(old) if old.last().is_none_or(|last| *last == b'\n') => old,
            Ok(_) => batches.lines(),
            Err(_) => Vec::new(),
        };
        LogThread::start(path, &old, failed).map(BatchLogWriter)
    }

    /// A way to the log.
    #[must_use]
    pub fn handle(&self) -> BatchLog {
        BatchLog(self.0.lines())
    }

    /// Writes what is left. A log is taken away once all rows are done.
    ///
    /// # Errors
    /// What the system says.
    pub fn end(self, all_done: bool) -> io::Result<()> {
        self.0.end(!all_done)
    }
}

impl BatchLog {
    /// Returns once the disk knows that a batch of these rows is about to be submitted.
    ///
    /// # Errors
    /// When it can't: nothing may be submitted any more.
    pub async fn begin(&self, name: &str, at: i64, rows: Vec<String>) -> Result<(), LogClosed> {
        let line = BatchLine { batch: name.to_owned(), at, rows, ..BatchLine::default() };
        self.0.write(durable_log::line(&line)).await
    }

    /// Returns once the disk knows the provider's id of a batch.
    ///
    /// # Errors
    /// When it can't: nothing may be submitted any more.
    pub async fn submitted(&self, name: &str, id: &str) -> Result<(), LogClosed> {
        let id = Some(id.to_owned());
        let line = BatchLine { batch: name.to_owned(), id, ..BatchLine::default() };
        self.0.write(durable_log::line(&line)).await
    }

    /// Returns once the disk knows that the provider has not taken a batch.
    ///
    /// # Errors
    /// When it can't: nothing may be submitted any more.
    pub async fn gone(&self, name: &str) -> Result<(), LogClosed> {
        let end = BatchEnd::Gone;
        let line = BatchLine { batch: name.to_owned(), end, ..BatchLine::default() };
        self.0.write(durable_log::line(&line)).await
    }

    /// All rows of a batch have had their results.
    pub fn collected(&self, name: &str) {
        let end = BatchEnd::Collected;
        self.add(&BatchLine { batch: name.to_owned(), end, ..BatchLine::default() });
    }

    /// The answers to these requests are failures: another run may submit them again.
    pub fn forget(&self, rows: Vec<String>) {
        if !rows.is_empty() {
            self.add(&BatchLine { rows, ..BatchLine::default() });
        }
    }

    fn add(&self, line: &BatchLine) {
        // A log that failed has stopped the run.
        let _ = self.0.add(durable_log::line(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: std::ops::Range<u128>) -> Vec<String> {
        numbers.map(|number| format!("{number:032x}")).collect()
    }

    #[tokio::test]
    async fn rows_are_known_with_their_last_batch() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("out.jsonl");
        let start = || {
            let read = SubmittedBatches::read(&results).unwrap();
            BatchLogWriter::start(&results, &read, |error| panic!("{error}")).unwrap()
        };
        let writer = start();
        let log = writer.handle();
        log.begin("a", 7, ids(0..4)).await.unwrap();
        log.submitted("a", "batch_1").await.unwrap();
        log.collected("a");
        log.begin("b", 8, ids(2..4)).await.unwrap();
        log.begin("c", 9, ids(4..6)).await.unwrap();
        log.gone("c").await.unwrap();
        log.forget(ids(1..2));
        drop(log);
        writer.end(false).unwrap();
        // A line that was cut off by a kill was never waited for.
        let mut text = std::fs::read(path(&results)).unwrap();
        text.extend_from_slice(b"{\"batch\":\"d\",\"rows\":[\"7\"");
        std::fs::write(path(&results), text).unwrap();
        for _ in 0..2 {
            let read = SubmittedBatches::read(&results).unwrap();
            let of = |number: u128| {
                let (batch, tries) = read.of(&ids(number..number + 1)[0]);
                (batch.map(|batch| (&*batch.name, batch.id.as_deref(), batch.at)), tries)
            };
            assert_eq!(of(0), (Some(("a", Some("batch_1"), 7)), 0));
            assert_eq!(of(1), (None, 0));
            assert_eq!(of(2).0, Some(("b", None, 8)));
            assert_eq!(of(4), (None, 0));
            assert_eq!(read.waiting(), (1, 2));
            assert!(read.knows("batch_1") && !read.knows("b"));
            start().end(false).unwrap();
        }
        start().end(true).unwrap();
        assert!(!path(&results).exists());
    }
}
