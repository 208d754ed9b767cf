//! The files that are made of a journal, where the output is no text that grows.
//!
//! A [`Product`] is what the user named; its journal lies beside it until the run is
//! complete. To add one: its type here, and a line in [`of`].

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::convert::{self, Selection};
use crate::error::Error;
use crate::format::compress::{Packing, pack};
use crate::format::{Columns, Format, Mirror, MirrorFile, RESERVED, Records};
use crate::fs::{beside, file_lock, placed, real, sync_directory};
use crate::row::{Fields, Row};
use crate::source::{Settings, Source};

/// The product of an output at this path; none if the text itself is the output.
pub(super) fn of(
    path: &Path,
    format: Format,
    selection: Option<Selection>,
) -> Option<Arc<dyn Product>> {
    let path = path.to_owned();
    if let Some(selection) = selection {
        return Some(Arc::new(SelectedProduct { path, format, selection }));
    }
    match format.records() {
        Records::AtTheEnd => Some(Arc::new(TableProduct { path, format })),
        Records::WithJournal(mirror) => Some(Arc::new(MirroredProduct { path, format, mirror })),
        Records::Appended(_) => {
            let (packing, _) = Packing::of(&path);
            packing.map(|packing| Arc::new(PackedProduct { path, packing }) as _)
        }
    }
}

/// What people should know of results whose run is not complete.
#[must_use]
pub fn unfinished(results: &Path) -> Option<String> {
    let journal = beside(&real(results), ".journal");
    let name = results.display();
    journal.exists().then(|| {
        format!(
            "{name} is not complete: --resume goes on with it, and adds what is in {}",
            journal.display()
        )
    })
}

/// A file or directory that is made of a journal.
pub(crate) trait Product: Debug + Send + Sync {
    /// The path that the user named.
    fn path(&self) -> &Path;

    /// The records that it has, as the lines of its journal.
    fn text(&self) -> Result<Box<dyn BufRead>, Error>;

    /// Makes it of its journal, or adds the journal to it.
    fn make(&self) -> Result<(), Error>;

    /// The text that grows while the run goes on.
    fn journal(&self) -> PathBuf {
        beside(self.path(), ".journal")
    }

    /// Whether the journal stays beside a finished file of which this number of rows failed.
    fn keeps_journal(&self, _failed: u64) -> bool {
        false
    }

    /// The number of records with which the journal is added to it and begins anew; none
    /// if it is made when the run is complete.
    fn part_size(&self) -> Option<u64> {
        None
    }

    /// Why it can't have these columns, if it can't.
    fn flaw(&self, _columns: &Columns) -> Option<String> {
        None
    }

    /// Opens it to grow with its journal, if it does; with the columns that identify a
    /// record, and whether it begins anew.
    fn mirror(&self, _key: &[&str], _begins_anew: bool) -> Result<Option<JournalMirror>, Error> {
        Ok(None)
    }
}

/// Puts the journal back that the product was made of.
pub(crate) fn unpack(product: &dyn Product) -> io::Result<()> {
    let journal = product.journal();
    let new = beside(&journal, ".new");
    let mut text = product.text().map_err(io::Error::other)?;
    let mut file = File::create(&new)?;
    io::copy(&mut text, &mut file)?;
    file.sync_data()?;
    fs::rename(new, &journal)?;
    sync_directory(&journal)
}

/// Makes the product of its journal, which has no more use then, unless a run goes on from it
/// for the rows that failed.
pub(crate) fn complete(product: &dyn Product, failed: u64) -> Result<(), Error> {
    product.make()?;
    if product.keeps_journal(failed) {
        return Ok(());
    }
    fs::remove_file(product.journal()).map_err(|error| wrong(product, &error.to_string()))
}

/// Why a product can't be made.
fn wrong(product: &dyn Product, why: &str) -> Error {
    Error::stopped(format!(
        "{} cannot be made of {}: {why}",
        product.path().display(),
        product.journal().display()
    ))
}

/// A text that is compressed when the run is complete.
#[derive(Debug)]
struct PackedProduct {
    path: PathBuf,
    packing: Packing,
}

impl Product for PackedProduct {
    fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self) -> Result<Box<dyn BufRead>, Error> {
        let file = File::open(&self.path).map(|file| Box::new(BufReader::new(file)));
        let text = file.and_then(|file| self.packing.unpack(file));
        text.map(|text| text as Box<dyn BufRead>).map_err(|error| {
            Error::plan(format!("{} cannot be read: {error}", self.path.display()))
        })
    }

    fn make(&self) -> Result<(), Error> {
        let packed = |new: &Path| pack(&self.journal(), new).map_err(|why| wrong(self, &why));
        placed(&self.path, packed)
    }
}

/// A table that is made when the run is complete.
#[derive(Debug)]
struct TableProduct {
    path: PathBuf,
    format: Format,
}

impl Product for TableProduct {
    fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self) -> Result<Box<dyn BufRead>, Error> {
        lines_of(&self.path, self.format)
    }

    fn make(&self) -> Result<(), Error> {
        placed(&self.path, |new| {
            let journal = source(&self.journal(), Format::JSONL)?;
            convert::write(&journal, self.format, new).map(drop)
        })
    }
}

/// A file of chosen columns, made when the run is complete. No run can go on from it where it
/// lacks throng's own: its journal stays as long as rows have failed.
#[derive(Debug)]
struct SelectedProduct {
    path: PathBuf,
    format: Format,
    selection: Selection,
}

impl Product for SelectedProduct {
    fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self) -> Result<Box<dyn BufRead>, Error> {
        lines_of(&self.path, self.format)
    }

    fn make(&self) -> Result<(), Error> {
        let is_text = self.format.is_appended();
        let journal_format = if is_text { self.format } else { Format::JSONL };
        placed(&self.path, |new| {
            let journal = source(&self.journal(), journal_format)?;
            convert::write_selected(&journal, &self.selection, self.format, new).map(drop)
        })
    }

    fn keeps_journal(&self, failed: u64) -> bool {
        failed > 0
    }

    fn flaw(&self, columns: &Columns) -> Option<String> {
        let fields = columns.fields.as_deref()?;
        let names = || fields.iter().chain(&columns.values).map(String::as_str);
        let is_there = |wanted: &str| names().chain(RESERVED).any(|name| name == wanted);
        let unknown = self.selection.columns.iter().flatten().find(|name| !is_there(name))?;
        Some(format!(
            "output.columns (--columns) has {unknown:?}, and the records have no such column: they have {} and throng's own",
            names().collect::<Vec<_>>().join(", ")
        ))
    }
}

/// A file that grows with its journal, by a transaction for each write to the journal. It
/// is never ahead of the journal, and caught up when it is behind.
#[derive(Debug)]
struct MirroredProduct {
    path: PathBuf,
    format: Format,
    mirror: &'static Mirror,
}

impl Product for MirroredProduct {
    fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self) -> Result<Box<dyn BufRead>, Error> {
        lines_of(&self.path, self.format)
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

/// The number of rows that are caught up at a time.
const BATCH: usize = 1000;

/// An open file that takes each write to its journal.
pub(crate) struct JournalMirror {
    path: PathBuf,
    file: Box<dyn MirrorFile>,
}

impl JournalMirror {
    /// Adds the rows of a journal after the first `have`.
    fn catch_up(&mut self, journal: &Path, have: u64) -> Result<(), Error> {
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
fn unwritable(path: &Path, why: &str) -> Error {
    Error::stopped(format!("{} cannot be written: {why}", path.display()))
}

/// A file of this format.
pub(super) fn source(path: &Path, format: Format) -> Result<Source, Error> {
    Source::new(&Settings {
        file: Some(path.display().to_string()),
        format: Some(format),
        ..Settings::default()
    })
}

/// The rows of a file as JSON Lines.
fn lines_of(path: &Path, format: Format) -> Result<Box<dyn BufRead>, Error> {
    Ok(as_lines(source(path, format)?.rows()?))
}

/// Rows as JSON Lines.
pub(super) fn as_lines(
    rows: impl Iterator<Item = Result<Row, Error>> + 'static,
) -> Box<dyn BufRead> {
    Box::new(BufReader::new(ProductLines { rows, line: io::Cursor::default() }))
}

struct ProductLines<R> {
    rows: R,
    line: io::Cursor<Vec<u8>>,
}

impl<R: Iterator<Item = Result<Row, Error>>> Read for ProductLines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.line.read(out)?;
        if read > 0 || out.is_empty() {
            return Ok(read);
        }
        match self.rows.next() {
            None => Ok(0),
            Some(row) => {
                let row = row.map_err(io::Error::other)?;
                let mut line = serde_json::to_vec(&row.fields)?;
                line.push(b'\n');
                self.line = io::Cursor::new(line);
                self.line.read(out)
            }
        }
    }
}
