//! A database that grows with its journal, a transaction for what is written at
//! once. It is never ahead of the journal, and caught up when it is behind.
//! [door: files]

use std::path::{Path, PathBuf};

use serde_json::Map;

use super::finish::rows;
use crate::error::Error;
use crate::source;
use crate::table::sqlite::Database;

/// So many rows are caught up at a time.
const BATCH: usize = 1000;

/// The open database.
pub(super) struct SqliteSync {
    path: PathBuf,
    database: Database,
}

impl SqliteSync {
    /// Opens it with what the journal has; with the columns that identify a row.
    pub fn open(path: &Path, journal: &Path, key: &'static str) -> Result<SqliteSync, Error> {
        let wrong = |error: rusqlite::Error| wrong(path, &error);
        let mut database = Database::open(path, key).map_err(wrong)?;
        let mut have = database.count().map_err(wrong)?;
        if have > count(journal)? {
            drop(database);
            remove(path)?;
            (database, have) = (Database::open(path, key).map_err(wrong)?, 0);
        }
        let mut mirror = SqliteSync {
            path: path.to_owned(),
            database,
        };
        mirror.catch_up(journal, have)?;
        Ok(mirror)
    }

    fn catch_up(&mut self, journal: &Path, have: u64) -> Result<(), Error> {
        let mut batch = Vec::with_capacity(BATCH);
        let have = usize::try_from(have).unwrap_or(usize::MAX);
        for row in source(journal)?.rows()?.skip(have) {
            batch.push(row?.fields);
            if batch.len() == BATCH {
                self.add(&batch)?;
                batch.clear();
            }
        }
        self.add(&batch)
    }

    /// Takes in what was just written to the journal: whole lines.
    pub fn take(&mut self, lines: &[u8]) -> Result<(), Error> {
        let lines = serde_json::Deserializer::from_slice(lines).into_iter();
        let rows: Result<Vec<_>, _> = lines.collect();
        let rows = rows.map_err(|error| {
            Error::stopped(format!(
                "{} cannot be written: {error}",
                self.path.display()
            ))
        })?;
        self.add(&rows)
    }

    /// Moves all of it into the one file.
    pub fn close(self) -> Result<(), Error> {
        let closed = self.database.close();
        closed.map_err(|error| wrong(&self.path, &error))
    }

    fn add(&mut self, rows: &[Map<String, serde_json::Value>]) -> Result<(), Error> {
        let added = self.database.add(rows.iter());
        added.map_err(|error| wrong(&self.path, &error))
    }
}

/// Takes a database away, and what SQLite keeps beside it.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    for end in ["", "-wal", "-shm"] {
        let path = super::sidecar::beside(path, end);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let name = path.display();
                return Err(Error::stopped(format!("{name} cannot be removed: {error}")));
            }
            _ => {}
        }
    }
    Ok(())
}

fn source(journal: &Path) -> Result<source::Source, Error> {
    rows(journal, Some(source::InputFormat::Jsonl))
}

fn count(journal: &Path) -> Result<u64, Error> {
    let mut rows = source(journal)?.rows()?;
    rows.try_fold(0, |count, row| row.map(|_| count + 1))
}

fn wrong(path: &Path, error: &rusqlite::Error) -> Error {
    let name = path.display();
    // Only where the plan could not know them.
    let advice = if error.to_string().starts_with("too many columns") {
        format!(
            ": a table of a SQLite database has 2000 at most; no record is lost: make another file of them with throng convert --format jsonl {name}.journal OTHER.jsonl, and go on with that one"
        )
    } else {
        String::new()
    };
    Error::stopped(format!("{name} cannot be written: {error}{advice}"))
}
