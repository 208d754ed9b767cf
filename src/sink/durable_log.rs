//! A log of lines that are on the disk before work goes on, written by a thread of its own.
//! Lines that wait together are synced together.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use async_channel::{Receiver, Sender};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::fs::{beside, sync_directory};
use crate::threads;

/// The log can no longer be written: nothing may be sent any more.
#[derive(Debug)]
pub struct LogClosed;

/// The thread that writes a log.
#[derive(Debug)]
pub(super) struct LogThread {
    path: PathBuf,
    lines: LogLines,
    thread: JoinHandle<io::Result<()>>,
}

/// A way to a log; clones write to the same one.
#[derive(Debug, Clone)]
pub(super) struct LogLines(Sender<LogEntry>);

/// A line, and the sender that waits for it to be on the disk.
#[derive(Debug)]
struct LogEntry {
    line: Vec<u8>,
    waits: Option<oneshot::Sender<()>>,
}

/// The whole lines of a log, one at a time; none if there is no log.
pub(super) fn read<T: DeserializeOwned>(
    path: &Path,
) -> io::Result<impl Iterator<Item = io::Result<T>> + use<T>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        file => Some(file?),
    };
    let lines = file.into_iter().flat_map(|file| BufReader::new(file).split(b'\n'));
    // A torn line was never waited for.
    Ok(lines.filter_map(|line| match line {
        Ok(line) => serde_json::from_slice(&line).ok().map(Ok),
        Err(error) => Some(Err(error)),
    }))
}

/// Removes a log, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// An entry as the log has it.
pub(super) fn line(entry: &impl Serialize) -> Vec<u8> {
    // Numbers and texts can always be written.
    let mut line = serde_json::to_vec(entry).unwrap_or_default();
    line.push(b'\n');
    line
}

impl LogThread {
    /// Starts the thread of a log that begins with these lines. `failed` hears why it can't
    /// be written any more.
    pub fn start(
        path: PathBuf,
        begin: &[u8],
        failed: impl Fn(io::Error) + Send + 'static,
    ) -> io::Result<LogThread> {
        let new = beside(&path, ".new");
        fs::write(&new, begin)?;
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
        Ok(LogThread { path, lines: LogLines(to_log), thread })
    }

    /// A way to the log.
    pub fn lines(&self) -> LogLines {
        self.lines.clone()
    }

    /// Writes what is left. A log that is not needed any more is taken away.
    pub fn end(self, is_needed: bool) -> io::Result<()> {
        drop(self.lines);
        let died = |_| Err(io::Error::other("its thread panicked"));
        let written = self.thread.join().unwrap_or_else(died);
        if is_needed { written } else { written.and(fs::remove_file(self.path)) }
    }
}

impl LogLines {
    /// Returns once the line is on the disk.
    pub async fn write(&self, line: Vec<u8>) -> Result<(), LogClosed> {
        let (done, is_done) = oneshot::channel();
        self.send(line, Some(done))?;
        is_done.await.map_err(|_| LogClosed)
    }

    /// Adds a line that nothing waits for.
    pub fn add(&self, line: Vec<u8>) -> Result<(), LogClosed> {
        self.send(line, None)
    }

    fn send(&self, line: Vec<u8>, waits: Option<oneshot::Sender<()>>) -> Result<(), LogClosed> {
        self.0.try_send(LogEntry { line, waits }).map_err(|_| LogClosed)
    }
}

/// Writes what has come in together, syncs it if anyone waits, and tells them.
fn write(mut file: File, entries: &Receiver<LogEntry>) -> io::Result<()> {
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
        let lines = LogLines(to_log);
        assert!(lines.write(line(&1)).await.is_err());
        assert_eq!(heard.recv().unwrap(), ErrorKind::StorageFull);
        assert!(lines.write(line(&2)).await.is_err());
    }
}
