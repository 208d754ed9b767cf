//! The log of requests that are about to be sent: a line is on the disk before the first
//! byte of a request that must not be sent twice.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::resume::completed::CompletedRows;
use super::writer::milliseconds_now;
use crate::format::Format;
use crate::format::entry::ReadRecord;
use crate::fs::beside;
use crate::fs::sync_directory;
use crate::record::FailureKind;
use crate::row::Row;
use crate::threads;

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
#[derive(Clone)]
pub struct IntentLog {
    key: Option<String>,
    format: Format,
    to_log: Sender<IntentEntry>,
    /// When requests that are in doubt were sent, by their row.
    sent: Arc<HashMap<String, u64>>,
}

/// The announcement that a row is about to be sent.
pub struct Intent {
    intent: IntentLine,
    to_log: Sender<IntentEntry>,
    is_made: bool,
}

/// The thread that writes the log.
pub struct IntentWriter {
    path: PathBuf,
    to_log: Sender<IntentEntry>,
    sent: Arc<HashMap<String, u64>>,
    thread: JoinHandle<io::Result<()>>,
}

/// A line, and the sender that waits for it to be on the disk.
struct IntentEntry {
    line: Vec<u8>,
    waits: Option<oneshot::Sender<()>>,
}

/// The log can no longer be written: nothing may be sent any more.
#[derive(Debug)]
pub struct LogClosed;

/// The rows that an earlier run may have done, and that are in none of `recorded`.
pub(super) fn in_doubt(
    results: &Path,
    recorded: [&CompletedRows; 2],
    none: CompletedRows,
) -> io::Result<CompletedRows> {
    let mut in_doubt = none;
    for intent in read(results)? {
        let seen = intent.seen();
        if intent.void {
            in_doubt.remove(&seen);
        } else if !recorded.iter().any(|rows| rows.has_seen(&seen)) {
            in_doubt.add(&seen);
        }
    }
    Ok(in_doubt)
}

/// All whole lines.
fn read(results: &Path) -> io::Result<Vec<IntentLine>> {
    let file = match File::open(path(results)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let lines = BufReader::new(file).split(b'\n').collect::<io::Result<Vec<_>>>()?;
    // A torn line was never waited for: its request was not sent.
    let whole = lines.iter().filter_map(|line| serde_json::from_slice(line).ok());
    Ok(whole.collect())
}

/// Removes a log, if there is one.
pub(super) fn remove(results: &Path) -> io::Result<()> {
    match fs::remove_file(path(results)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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

    fn line(&self) -> Vec<u8> {
        // A number and a text can always be written.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
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
        for intent in read(results)? {
            if !intent.void && in_doubt.has_seen(&intent.seen()) {
                old.extend(intent.line());
                sent.entry(intent.id()).or_insert(intent.at);
            }
        }
        let new = beside(&path, ".new");
        fs::write(&new, old)?;
        File::open(&new)?.sync_data()?;
        fs::rename(&new, &path)?;
        sync_directory(&path)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        let (to_log, entries) = async_channel::unbounded();
        let thread = threads::spawn(move || {
            let written = write(file, &entries);
            if let Err(error) = &written {
                // Senders that wait get an error.
                entries.close();
                while entries.try_recv().is_ok() {}
                failed(io::Error::new(error.kind(), error.to_string()));
            }
            written
        })?;
        Ok(IntentWriter { path, to_log, sent: Arc::new(sent), thread })
    }

    /// A handle for workers, who know rows by this field.
    #[must_use]
    pub fn handle(&self, key: Option<&str>, format: Format) -> IntentLog {
        IntentLog {
            key: key.map(str::to_owned),
            format,
            to_log: self.to_log.clone(),
            sent: self.sent.clone(),
        }
    }

    /// Writes what is left. A log in which nothing is in doubt is taken away.
    ///
    /// # Errors
    /// What the system says.
    pub fn end(self, all_done: bool) -> io::Result<()> {
        drop(self.to_log);
        let died = |_| Err(io::Error::other("its thread panicked"));
        let written = self.thread.join().unwrap_or_else(died);
        if all_done { written.and(fs::remove_file(self.path)) } else { written }
    }
}

impl IntentLog {
    /// The announcement of this row.
    #[must_use]
    pub fn of(&self, row: &Row) -> Intent {
        let key = self.key.as_ref().and_then(|key| row.fields.get(key));
        let text = |value| String::from_utf8_lossy(&self.format.value(value)).into_owned();
        let mut intent = IntentLine { row: row.number, key: key.map(text), at: 0, void: false };
        let sent = (!self.sent.is_empty()).then(|| self.sent.get(&intent.id()));
        let sent = sent.flatten().copied();
        intent.at = sent.unwrap_or(0);
        Intent { intent, to_log: self.to_log.clone(), is_made: sent.is_some() }
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
        let (done, is_done) = oneshot::channel();
        self.send(Some(done))?;
        is_done.await.map_err(|_| LogClosed)?;
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
            let _ = self.send(None);
            self.intent.void = false;
        }
    }

    fn send(&self, waits: Option<oneshot::Sender<()>>) -> Result<(), LogClosed> {
        let entry = IntentEntry { line: self.intent.line(), waits };
        self.to_log.try_send(entry).map_err(|_| LogClosed)
    }
}

/// Writes what has come in together, syncs it if anyone waits, and tells them.
fn write(mut file: File, entries: &Receiver<IntentEntry>) -> io::Result<()> {
    while let Ok(first) = entries.recv_blocking() {
        let mut lines = first.line;
        let mut waiting = Vec::from_iter(first.waits);
        while let Ok(more) = entries.try_recv() {
            lines.extend(more.line);
            waiting.extend(more.waits);
        }
        file.write_all(&lines)?;
        if !waiting.is_empty() {
            file.sync_data()?;
        }
        for waits in waiting {
            // One that does not wait any more was let go with its run.
            let _ = waits.send(());
        }
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

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

    #[tokio::test]
    async fn a_log_that_cannot_be_written_lets_nothing_be_sent() {
        let (to_log, entries) = async_channel::unbounded();
        let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
        let (told, heard) = mpsc::channel();
        std::thread::spawn(move || {
            let error = write(full, &entries).unwrap_err();
            entries.close();
            told.send(error.kind()).unwrap();
        });
        let intents =
            IntentLog { key: None, format: "jsonl".parse().unwrap(), to_log, sent: Arc::default() };
        assert!(intents.of(&row(1)).make().await.is_err());
        assert_eq!(heard.recv().unwrap(), io::ErrorKind::StorageFull);
        assert!(intents.of(&row(2)).make().await.is_err());
    }
}
