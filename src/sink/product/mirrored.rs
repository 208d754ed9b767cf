//! A file that grows with its journal, by a transaction for each write to the journal. It
//! is never ahead of the journal, and caught up when it is behind.

use std::fs;
use std::io::{BufRead, ErrorKind};
use std::path::{Path, PathBuf};

use super::interface::{Product, wrong};
use super::journal_mirror::{JournalMirror, unwritable};
use super::lines::{as_lines, source};
use crate::error::Error;
use crate::format::{Columns, Format, Mirror, MirrorFile};
use crate::fs::{file_lock, sync_directory};
use crate::sink::sidecar::place::beside;

#[derive(Debug)]
pub(super) struct MirroredProduct {
    pub path: PathBuf,
    pub format: Format,
    pub mirror: &'static Mirror,
}

impl Product for MirroredProduct {
    fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self) -> Result<Box<dyn BufRead>, Error> {
        Ok(as_lines(source(&self.path, self.format)?.rows()?))
    }

    /// It has grown with its journal.
    fn make(&self) -> Result<(), Error> {
        sync_directory(&self.path).map_err(|error| wrong(self, &error.to_string()))
    }

    fn flaw(&self, columns: &Columns) -> Option<String> {
        (self.mirror.flaw)(columns, &self.path.display().to_string())
    }

    fn mirror(&self, key: &[&str], begins_anew: bool) -> Result<Option<JournalMirror>, Error> {
        // By two names it would have two logs, which spoil it when both are written.
        if begins_anew || file_lock::has_hard_links(&self.path) {
            self.remove()?;
        }
        let mut file = self.open(key)?;
        let count = file.count();
        let mut have = count.map_err(|why| unwritable(&self.path, &why))?;
        if have > self.count_journal()? {
            drop(file);
            self.remove()?;
            (file, have) = (self.open(key)?, 0);
        }
        let mut mirror = JournalMirror { path: self.path.clone(), file };
        mirror.catch_up(&self.journal(), have)?;
        Ok(Some(mirror))
    }
}

impl MirroredProduct {
    fn open(&self, key: &[&str]) -> Result<Box<dyn MirrorFile>, Error> {
        (self.mirror.open)(&self.path, key).map_err(|why| unwritable(&self.path, &why))
    }

    /// Removes the file, and what its format keeps beside it.
    fn remove(&self) -> Result<(), Error> {
        for ending in [""].iter().chain(self.mirror.beside) {
            let path = beside(&self.path, ending);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let name = path.display();
                    return Err(Error::stopped(format!("{name} cannot be removed: {error}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn count_journal(&self) -> Result<u64, Error> {
        let mut rows = source(&self.journal(), Format::JSONL)?.rows()?;
        rows.try_fold(0, |count, row| row.map(|_| count + 1))
    }
}
