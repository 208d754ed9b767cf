//! An open file that grows with a journal.

use std::path::{Path, PathBuf};

use super::lines::source;
use crate::error::Error;
use crate::format::{Format, MirrorFile};
use crate::row::Fields;

/// The number of rows that are caught up at a time.
const BATCH: usize = 1000;

/// An open file that takes each write to its journal.
pub(crate) struct JournalMirror {
    pub path: PathBuf,
    pub file: Box<dyn MirrorFile>,
}

impl JournalMirror {
    /// Adds the rows of a journal after the first `have`.
    pub fn catch_up(&mut self, journal: &Path, have: u64) -> Result<(), Error> {
        let mut batch = Vec::with_capacity(BATCH);
        let have = usize::try_from(have).unwrap_or(usize::MAX);
        for row in source(journal, Format::JSONL)?.rows()?.skip(have) {
            batch.push(row?.fields);
            if batch.len() == BATCH {
                self.add(&batch)?;
                batch.clear();
            }
        }
        self.add(&batch)
    }

    /// Adds whole lines that were just written to the journal.
    pub fn take(&mut self, lines: &[u8]) -> Result<(), Error> {
        let lines = serde_json::Deserializer::from_slice(lines).into_iter();
        let rows: Result<Vec<Fields>, _> = lines.collect();
        let rows = rows.map_err(|error| unwritable(&self.path, &error.to_string()))?;
        self.add(&rows)
    }

    /// Completes the file.
    pub fn close(self) -> Result<(), Error> {
        let closed = self.file.close();
        closed.map_err(|why| unwritable(&self.path, &why))
    }

    fn add(&mut self, rows: &[Fields]) -> Result<(), Error> {
        let added = self.file.add(rows);
        added.map_err(|why| unwritable(&self.path, &why))
    }
}

/// Why the file can't be written.
pub(super) fn unwritable(path: &Path, why: &str) -> Error {
    Error::stopped(format!("{} cannot be written: {why}", path.display()))
}
