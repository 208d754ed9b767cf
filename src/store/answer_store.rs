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
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::claims::Claims;
use super::database::{self, Database, NewEntry};
use super::entry::{AskedBy, KeptAnswer, without_secrets};
use super::request_key::RequestKey;
use super::settings::StoreSettings;
use crate::error::Error;
use crate::fs::beside;
use crate::record::AnswerOrigin;
use crate::secret::Secrets;
use crate::threads;

/// The name of the file in a store's directory.
const FILE: &str = "answers.db";
/// Maximum number of answers of one transaction.
const MAX_BATCH: usize = 512;
/// The part of a store's size after which its size is looked at again.
const LOOKS: u64 = 200;

/// The ending of the file that keeps the answers of one run beside its results.
const PRIVATE: &str = ".asked";

/// The answers that a run finds and keeps.
pub(crate) struct AnswerStore {
    /// The directory, as the job writes it, or the file of the run's own store.
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
    /// Number of requests whose answers were found here.
    found: AtomicU64,
    /// Those of them whose answer another row of the run has asked for.
    shared: AtomicU64,
    /// The requests for which rows are asking, if equal requests are asked for once.
    claims: Option<Claims>,
    /// The file, if the answers are kept for this run alone.
    private: Option<PrivateFile>,
}

/// Numbers of requests that were not sent.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FoundAnswers {
    /// Those whose answers were found.
    pub all: u64,
    /// Those of them for whose answer another row of the run has asked.
    pub shared: u64,
}

/// The file of a store that one run has for itself.
struct PrivateFile {
    path: PathBuf,
    /// The directory that goes with the run, if no results file is beside it.
    _directory: Option<TempDir>,
}

/// What a run keeps answers for.
pub(crate) struct StoreTerms<'a> {
    pub settings: &'a StoreSettings,
    /// Whether equal requests are asked for once.
    pub dedupes: bool,
    /// The file of the run's records, if a file has them.
    pub results: Option<PathBuf>,
    /// A number for all runs that continue one output.
    pub run: u64,
    pub secrets: &'a Secrets,
    /// The time now, in milliseconds since 1970.
    pub now: u64,
}

/// An entry, and the sender that waits for it to be written.
struct WaitingEntry {
    entry: NewEntry,
    waits: oneshot::Sender<Result<(), String>>,
}

impl AnswerStore {
    /// Opens the store on these terms; none if the run keeps no answers.
    ///
    /// # Errors
    /// The directory or the file can't be used.
    pub fn open(terms: &StoreTerms<'_>) -> Result<Option<AnswerStore>, Error> {
        if let Some(name) = &terms.settings.dir {
            let wrong = |why: String| Error::plan(format!("store.dir (--store) {name}: {why}"));
            let path = file(Path::new(name)).map_err(|error| wrong(error.to_string()))?;
            AnswerStore::at(&path, name.clone(), terms, None).map(Some).map_err(wrong)
        } else if terms.dedupes {
            let wrong = |why: String| {
                Error::plan(format!(
                    "the answers of equal requests (--dedupe) can't be kept: {why}"
                ))
            };
            let private = private_file(terms).map_err(|error| wrong(error.to_string()))?;
            let (path, name) = (private.path.clone(), private.path.display().to_string());
            AnswerStore::at(&path, name, terms, Some(private)).map(Some).map_err(wrong)
        } else {
            Ok(None)
        }
    }

    fn at(
        path: &Path,
        name: String,
        terms: &StoreTerms<'_>,
        private: Option<PrivateFile>,
    ) -> Result<AnswerStore, String> {
        let StoreTerms { settings, run, now, .. } = *terms;
        let (reader, writer) = (Database::open(path)?, Database::open(path)?);
        let max_size = if private.is_some() {
            writer.remove_others(run)?;
            u64::MAX
        } else {
            settings.max_size()
        };
        if let Some(age) = settings.age {
            writer.remove_before(now.saturating_sub(millis(age)))?;
        }
        let removed = writer.shrink_to(max_size)?;
        let (to_writer, entries) = async_channel::unbounded();
        let process = rand::random();
        let thread = threads::spawn(move || write(writer, &entries, max_size, process) + removed);
        Ok(AnswerStore {
            name,
            reader: Mutex::new(reader),
            to_writer,
            writer: Mutex::new(Some(thread.map_err(|error| error.to_string())?)),
            age: settings.age,
            is_offline: settings.offline,
            secrets: terms.secrets.clone(),
            run,
            process,
            found: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            claims: terms.dedupes.then(Claims::default),
            private,
        })
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

    /// The requests for which rows are asking, if equal requests are asked for once.
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_ref()
    }

    /// Where an answer was found, for the record of this row; none if the row itself has asked,
    /// and no store of the job has the answer.
    pub fn origin(&self, by: AskedBy, row: u64) -> Option<AnswerOrigin> {
        if self.claims.is_some() && by.run == self.run && by.row != row {
            Some(AnswerOrigin::Row(by.row))
        } else {
            self.private.is_none().then_some(AnswerOrigin::Store)
        }
    }

    /// Whether an answer may be used at this time, in milliseconds since 1970, without asking
    /// again. Equal requests of one run are asked for once, however long it takes.
    pub fn is_fresh(&self, kept: &KeptAnswer, now: u64) -> bool {
        (self.claims.is_some() && kept.by.run == self.run)
            || self.age.is_none_or(|age| now.saturating_sub(kept.asked) <= millis(age))
    }

    /// Notes that the answer to a request was found here, for which another row of the run has
    /// asked if it `is_shared`.
    pub fn note_use(&self, is_shared: bool) {
        self.found.fetch_add(1, Ordering::Relaxed);
        self.shared.fetch_add(u64::from(is_shared), Ordering::Relaxed);
    }

    /// Number of requests whose answers were found here, and of those for whose answer another
    /// row of the run has asked.
    pub fn found(&self) -> FoundAnswers {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FoundAnswers { all: get(&self.found), shared: get(&self.shared) }
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

    /// Ends the thread that writes, and removes a file of the run's own if `all_done`. Gives the
    /// number of answers that were removed since the store was full.
    ///
    /// # Errors
    /// The file can't be removed.
    pub fn end(&self, all_done: bool) -> io::Result<u64> {
        self.to_writer.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let removed = writer.and_then(|thread| thread.join().ok()).unwrap_or(0);
        match &self.private {
            Some(private) if all_done => database::remove(&private.path)?,
            // The file has all of it now, whatever holds its connections until the process ends.
            // Where it can't be written, the file beside it keeps the rest.
            _ => drop(self.reader().settle()),
        }
        Ok(removed)
    }

    fn reader(&self) -> MutexGuard<'_, Database> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// The file of a run's own store: beside its results, or else in a directory of its own.
fn private_file(terms: &StoreTerms<'_>) -> io::Result<PrivateFile> {
    match &terms.results {
        Some(results) => Ok(PrivateFile { path: beside(results, PRIVATE), _directory: None }),
        None => {
            let directory = tempfile::tempdir()?;
            Ok(PrivateFile { path: directory.path().join(FILE), _directory: Some(directory) })
        }
    }
}

/// The answers of a store, of which a plan asks when they came.
pub(crate) struct KnownAnswers {
    /// None if nothing was kept yet.
    database: Option<Database>,
    secrets: Secrets,
}

impl KnownAnswers {
    /// Opens the store in this directory if there is one.
    ///
    /// # Errors
    /// What is wrong with its file.
    pub fn in_directory(directory: &Path, secrets: &Secrets) -> Result<KnownAnswers, String> {
        KnownAnswers::at(&directory.join(FILE), secrets)
    }

    /// Opens the store that earlier runs of these results keep beside them, if there is one.
    ///
    /// # Errors
    /// What is wrong with its file.
    pub fn beside(results: &Path, secrets: &Secrets) -> Result<KnownAnswers, String> {
        KnownAnswers::at(&beside(results, PRIVATE), secrets)
    }

    /// No answers.
    pub fn none(secrets: &Secrets) -> KnownAnswers {
        KnownAnswers { database: None, secrets: secrets.clone() }
    }

    fn at(path: &Path, secrets: &Secrets) -> Result<KnownAnswers, String> {
        let database = path.exists().then(|| Database::open(path)).transpose()?;
        Ok(KnownAnswers { database, secrets: secrets.clone() })
    }

    /// The hash of what a request asks for.
    pub fn key(&self, request: &Request<Bytes>) -> RequestKey {
        RequestKey::of(request, &self.secrets)
    }

    /// When the answer to this request came, in milliseconds since 1970, and who asked for it;
    /// none if there is none.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn find(&self, key: RequestKey) -> Result<Option<(u64, AskedBy)>, String> {
        match &self.database {
            Some(database) => database.asked(key),
            None => Ok(None),
        }
    }
}

/// Removes the store that an earlier run has left beside its results.
///
/// # Errors
/// What the system says.
pub(crate) fn remove_private(results: &Path) -> io::Result<()> {
    database::remove(&beside(results, PRIVATE))
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
    removed + database.shrink_to(max_size).unwrap_or(0)
}
