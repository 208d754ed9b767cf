//! The log of requests that are about to be sent: a line is on the disk before the first
//! byte of a request that must not be sent twice.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_channel::Sender;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::durable_log::{self, LogClosed, LogLines, LogThread};
use super::resume::completed::CompletedRows;
use super::writer::milliseconds_now;
use crate::format::Format;
use crate::format::entry::ReadRecord;
use crate::fs::beside;
use crate::record::FailureKind;
use crate::row::Row;

/// One line of the log.
#[derive(Debug, Serialize, Deserialize)]
struct IntentLine {
    row: u64,
    /// The value of the field that identifies the row.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    key: Option<String>,
    /// When it was sent first, in milliseconds since 1970.
    #[serde(default)]
    at: u64,
    /// Whether the request turned out not to have been sent, or to be refused.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    void: bool,
}

/// A log that workers write to; clones write to the same one.
#[derive(Debug, Clone)]
pub struct IntentLog {
    key: Option<String>,
    format: Format,
    lines: IntentLines,
    /// When requests that are in doubt were sent, by their row.
    sent: Arc<HashMap<String, u64>>,
}

/// The way of announcements.
#[derive(Debug, Clone)]
enum IntentLines {
    /// To a file.
    File(LogLines),
    /// To a queue.
    Queue(Sender<QueueIntent>),
}

/// The announcement of a row to a queue, or that it was not sent after all.
#[derive(Debug)]
pub(crate) struct QueueIntent {
    pub row: u64,
    pub is_sent: bool,
    /// Hears that the queue knows of it; dropped, the row must not be sent.
    pub waits: Option<oneshot::Sender<()>>,
}

/// The announcement that a row is about to be sent.
pub struct Intent {
    intent: IntentLine,
    lines: IntentLines,
    is_made: bool,
}

/// The thread that writes the log.
pub struct IntentWriter {
    thread: LogThread,
    sent: Arc<HashMap<String, u64>>,
}

/// The rows that an earlier run may have done, and that are in none of `recorded`.
pub(super) fn in_doubt(
    results: &Path,
    recorded: [&CompletedRows; 2],
    none: CompletedRows,
) -> io::Result<CompletedRows> {
    let mut in_doubt = none;
    for intent in durable_log::read::<IntentLine>(&path(results))? {
        let intent = intent?;
        let seen = intent.seen();
        if intent.void {
            in_doubt.remove(&seen);
        } else if !recorded.iter().any(|rows| rows.has_seen(&seen)) {
            in_doubt.add(&seen);
        }
    }
    Ok(in_doubt)
}

/// Removes a log, if there is one.
pub(super) fn remove(results: &Path) -> io::Result<()> {
    durable_log::remove(&path(results))
}

fn path(results: &Path) -> PathBuf {
    beside(results, ".intents")
}

impl IntentLine {
    fn seen(&self) -> ReadRecord {
        ReadRecord {
            row: self.row,
            item: None,
            last: true,
            failed: Some(FailureKind::OutcomeUnknown),
            key: self.key.clone().map(String::into_bytes),
        }
    }

    /// The key or the number of its row.
    fn id(&self) -> String {
        self.key.clone().unwrap_or_else(|| self.row.to_string())
    }
}

impl IntentWriter {
    /// Starts the thread; the log goes on with what is still in doubt.
    pub(super) fn start(
        results: &Path,
        in_doubt: &CompletedRows,
        failed: impl Fn(io::Error) + Send + 'static,
    ) -> io::Result<IntentWriter> {
        let path = path(results);
        let (mut old, mut sent) = (Vec::new(), HashMap::new());
        for intent in durable_log::read::<IntentLine>(&path)? {
            let intent = intent?;
            if !intent.void && in_doubt.has_seen(&intent.seen()) {
                old.extend(durable_log::line(&intent));
                sent.entry(intent.id()).or_insert(intent.at);
            }
        }
        let thread = LogThread::start(path, &old, failed)?;
        Ok(IntentWriter { thread, sent: Arc::new(sent) })
    }

    /// A handle for workers, who know rows by this field.
    #[must_use]
    pub fn handle(&self, key: Option<&str>, format: Format) -> IntentLog {
        IntentLog {
            key: key.map(str::to_owned),
            format,
            lines: IntentLines::File(self.thread.lines()),
            sent: self.sent.clone(),
        }
    }

    /// Writes what is left. A log in which nothing is in doubt is taken away.
    ///
    /// # Errors
    /// What the system says.
    pub fn end(self, all_done: bool) -> io::Result<()> {
        self.thread.end(!all_done)
    }
}

impl IntentLines {
    /// Returns once the announcement is kept.
    async fn write(&self, intent: &IntentLine) -> Result<(), LogClosed> {
        match self {
            IntentLines::File(lines) => lines.write(durable_log::line(intent)).await,
            IntentLines::Queue(queue) => {
                let (done, is_done) = oneshot::channel();
                let row = QueueIntent { row: intent.row, is_sent: true, waits: Some(done) };
                queue.try_send(row).map_err(|_| LogClosed)?;
                is_done.await.map_err(|_| LogClosed)
            }
        }
    }

    /// Adds an announcement that nothing waits for.
    fn add(&self, intent: &IntentLine) -> Result<(), LogClosed> {
        match self {
            IntentLines::File(lines) => lines.add(durable_log::line(intent)),
            IntentLines::Queue(queue) => {
                let row = QueueIntent { row: intent.row, is_sent: !intent.void, waits: None };
                queue.try_send(row).map_err(|_| LogClosed)
            }
        }
    }
}

impl IntentLog {
    /// A log that a queue keeps.
    pub(crate) fn of_queue(queue: Sender<QueueIntent>) -> IntentLog {
        IntentLog {
            key: None,
            format: Format::JSONL,
            lines: IntentLines::Queue(queue),
            sent: Arc::default(),
        }
    }

    /// The announcement of this row.
    #[must_use]
    pub fn of(&self, row: &Row) -> Intent {
        let key = self.key.as_ref().and_then(|key| row.fields.get(key));
        let text = |value| String::from_utf8_lossy(&self.format.value(value)).into_owned();
        let mut intent = IntentLine { row: row.number, key: key.map(text), at: 0, void: false };
        let sent = (!self.sent.is_empty()).then(|| self.sent.get(&intent.id()));
        let sent = sent.flatten().copied();
        intent.at = sent.unwrap_or(0);
        Intent { intent, lines: self.lines.clone(), is_made: sent.is_some() }
    }
}

impl Intent {
    /// Returns once the disk knows that this row is about to be sent. It need
    /// not be told twice.
    ///
    /// # Errors
    /// When it can't: the row must not be sent.
    pub async fn make(&mut self) -> Result<(), LogClosed> {
        if self.is_made {
            return Ok(());
        }
        self.intent.at = milliseconds_now();
        self.lines.write(&self.intent).await?;
        self.is_made = true;
        Ok(())
    }

    /// How long ago it was made, if it was.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let age = milliseconds_now().saturating_sub(self.intent.at);
        self.is_made.then(|| Duration::from_millis(age))
    }

    /// The row was not sent after all, or refused. It may be sent, and announced, again.
    pub fn take_back(&mut self) {
        if std::mem::take(&mut self.is_made) {
            self.intent.void = true;
            // A log that failed has stopped the run; the row stays in doubt.
            let _ = self.lines.add(&self.intent);
            self.intent.void = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write;

    fn row(number: u64) -> Row {
        Row { number, ..Row::default() }
    }

    fn none() -> CompletedRows {
        CompletedRows::by(None, "jsonl".parse().unwrap())
    }

    fn start(results: &Path) -> IntentWriter {
        let left = in_doubt(results, [&none(); 2], none()).unwrap();
        IntentWriter::start(results, &left, |error| panic!("{error}")).unwrap()
    }

    #[tokio::test]
    async fn what_was_announced_is_in_doubt_until_it_has_a_record() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("out.jsonl");
        let log = start(&results);
        let intents = log.handle(None, "jsonl".parse().unwrap());
        for number in [3, 5, 7] {
            let mut announcement = intents.of(&row(number));
            announcement.make().await.unwrap();
            announcement.make().await.unwrap();
            if number == 5 {
                announcement.take_back();
            }
        }
        intents.of(&row(3)).take_back();
        drop(intents);
        log.end(false).unwrap();
        let mut torn = OpenOptions::new().append(true).open(path(&results)).unwrap();
        torn.write_all(b"{\"row\":9").unwrap();
        let mut done = none();
        done.add(&IntentLine { row: 3, key: None, at: 0, void: false }.seen());
        let left = in_doubt(&results, [&done, &none()], none()).unwrap();
        assert!(left.has(&row(7)) && left.len() == 1);
        // The next run keeps it, until all is done.
        start(&results).end(false).unwrap();
        let left = in_doubt(&results, [&none(); 2], none()).unwrap();
        assert_eq!(left.len(), 2, "without records both are in doubt");
        start(&results).end(true).unwrap();
        assert!(!path(&results).exists());
    }
}
