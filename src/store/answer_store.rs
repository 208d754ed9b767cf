//! The store of one run: it is read by the workers, and written by a thread of its own, which
//! puts the answers that wait together into one transaction.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_channel::{Receiver, Sender};
use bytes::Bytes;
use http::Request;
use tokio::sync::oneshot;

use super::database::{Database, NewEntry};
use super::entry::{AskedBy, KeptAnswer, without_secrets};
use super::request_key::RequestKey;
use super::settings::StoreSettings;
use crate::error::Error;
use crate::secret::Secrets;
use crate::threads;

/// The name of the file in a store's directory.
const FILE: &str = "answers.db";
/// Maximum number of answers of one transaction.
const MAX_BATCH: usize = 512;
/// The part of a store's size after which its size is looked at again.
const LOOKS: u64 = 200;

/// The answers that a run finds and keeps.
pub(crate) struct AnswerStore {
    /// The directory, as the job writes it.
    name: String,
    reader: Mutex<Database>,
    to_writer: Sender<WaitingEntry>,
    writer: Mutex<Option<JoinHandle<u64>>>,
    age: Option<Duration>,
    is_offline: bool,
    secrets: Secrets,
    /// A number for all runs that continue one output.
    run: u64,
    /// A number for this process.
    process: u64,
    /// Number of requests that were answered from here.
    used: AtomicU64,
}

/// An entry, and the sender that waits for it to be written.
struct WaitingEntry {
    entry: NewEntry,
    waits: oneshot::Sender<Result<(), String>>,
}

impl AnswerStore {
    /// Opens the store of these settings at this time, in milliseconds since 1970, for a run of this
    /// number; none if the job has none.
    ///
    /// # Errors
    /// The directory or the file can't be used.
    pub fn open(
        settings: &StoreSettings,
        run: u64,
        secrets: &Secrets,
        now: u64,
    ) -> Result<Option<AnswerStore>, Error> {
        let Some(name) = &settings.dir else {
            return Ok(None);
        };
        let wrong = |why: String| Error::plan(format!("store.dir (--store) {name}: {why}"));
        let path = file(Path::new(name)).map_err(|error| wrong(error.to_string()))?;
        let (reader, writer) = (Database::open(&path), Database::open(&path));
        let (reader, writer) = (reader.map_err(wrong)?, writer.map_err(wrong)?);
        if let Some(age) = settings.age {
            let oldest = now.saturating_sub(millis(age));
            writer.remove_before(oldest).map_err(wrong)?;
        }
        let max_size = settings.max_size();
        let removed = writer.shrink_to(max_size).map_err(wrong)?;
        let (to_writer, entries) = async_channel::unbounded();
        let process = rand::random();
        let thread = threads::spawn(move || write(writer, &entries, max_size, process) + removed);
        let thread = thread.map_err(|error| wrong(error.to_string()))?;
        Ok(Some(AnswerStore {
            name: name.clone(),
            reader: Mutex::new(reader),
            to_writer,
            writer: Mutex::new(Some(thread)),
            age: settings.age,
            is_offline: settings.offline,
            secrets: secrets.clone(),
            run,
            process,
            used: AtomicU64::new(0),
        }))
    }

    /// The directory, as the job writes it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether nothing is to be sent.
    pub fn is_offline(&self) -> bool {
        self.is_offline
    }

    /// The hash of what a request asks for.
    pub fn key(&self, request: &Request<Bytes>) -> RequestKey {
        RequestKey::of(request, &self.secrets)
    }

    /// The answer to this request, however old; none if there is none.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn find(&self, key: RequestKey) -> Result<Option<KeptAnswer>, String> {
        self.reader().find(key, self.process)
    }

    /// Whether an answer may be used at this time, in milliseconds since 1970, without asking again.
    pub fn is_fresh(&self, kept: &KeptAnswer, now: u64) -> bool {
        self.age.is_none_or(|age| now.saturating_sub(kept.asked) <= millis(age))
    }

    /// Notes that a request was answered from here.
    pub fn note_use(&self) {
        self.used.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of requests that were answered from here.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Keeps the answer to a request of this row, which came at this time, without its secrets.
    /// Returns once it is written. An answer whose body has secrets is not kept where `is_whole`.
    ///
    /// # Errors
    /// It can't be written.
    pub async fn put(
        &self,
        key: RequestKey,
        row: u64,
        mut kept: KeptAnswer,
        is_whole: bool,
    ) -> Result<(), String> {
        if let Ok(answer) = &mut kept.outcome {
            let (clean, had_any) = without_secrets(answer, &self.secrets);
            if had_any && is_whole {
                return Err("its body repeats a secret, which its next page needs".to_owned());
            }
            *answer = clean;
        }
        kept.by = AskedBy { run: self.run, row };
        let entry = NewEntry {
            key,
            asked: kept.asked,
            by: kept.by,
            has_validator: kept.has_validator(),
            failed_in: kept.outcome.is_err().then_some(self.process),
            bytes: kept.encode(key).map_err(|error| error.to_string())?,
        };
        let (waits, is_done) = oneshot::channel();
        let died = || "its thread has ended".to_owned();
        self.to_writer.try_send(WaitingEntry { entry, waits }).map_err(|_| died())?;
        is_done.await.map_err(|_| died())?
    }

    /// Ends the thread that writes. Gives the number of answers that were removed since the
    /// store was full.
    pub fn end(&self) -> u64 {
        self.to_writer.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        writer.and_then(|thread| thread.join().ok()).unwrap_or(0)
    }

    fn reader(&self) -> MutexGuard<'_, Database> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// The file of the store in this directory, which is made for its owner alone.
fn file(directory: &Path) -> io::Result<PathBuf> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    Ok(directory.join(FILE))
}

/// Writes entries until no more can come; gives the number of those that were removed since the
/// store was full.
fn write(
    mut database: Database,
    entries: &Receiver<WaitingEntry>,
    max_size: u64,
    process: u64,
) -> u64 {
    let (mut removed, mut since) = (0, 0);
    while let Ok(first) = entries.recv_blocking() {
        let mut batch = vec![first.entry];
        let mut waiting = vec![first.waits];
        while batch.len() < MAX_BATCH
            && let Ok(next) = entries.try_recv()
        {
            batch.push(next.entry);
            waiting.push(next.waits);
        }
        let written = database.put(&batch);
        since += batch.iter().map(|entry| entry.bytes.len() as u64).sum::<u64>();
        for waits in waiting {
            // A row that was cut off does not wait any more.
            let _ = waits.send(written.clone());
        }
        if since > max_size / LOOKS {
            since = 0;
            removed += database.shrink_to(max_size).unwrap_or(0);
        }
    }
    // What can't be removed counts for no other process.
    let _ = database.remove_failures(process);
    removed
}
