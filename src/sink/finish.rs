//! Outputs that are no growing text: a journal beside them is, and they are made
//! of it when the run is complete. [door: files]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::OutputFormat;
use super::parts;
use super::sidecar::beside;
use crate::error::Error;
use crate::source::{self, Packing, Row, Source};
use crate::table::{self, TableFormat, placed, sync_directory};

/// The file that the user wants.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub path: PathBuf,
    pub kind: ProductKind,
}

/// What is made of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProductKind {
    /// The same text, compressed.
    Packed(Packing),
    /// A table, of JSON Lines.
    Table(TableFormat),
    /// A directory of tables, each of about so many records.
    Parts(u64),
}

impl Product {
    /// None if the text itself is what the user wants.
    pub fn of(path: &Path, format: OutputFormat) -> Option<Product> {
        let kind = match (format.table(), Packing::of(path)) {
            (Some(form), _) => ProductKind::Table(form),
            (None, (Some(packing), _)) => ProductKind::Packed(packing),
            (None, (None, _)) => return None,
        };
        Some(Product {
            path: path.to_owned(),
            kind,
        })
    }

    /// The text that grows while the run goes on.
    pub fn journal(&self) -> PathBuf {
        beside(&self.path, ".journal")
    }

    /// The text that the finished file was made of.
    pub fn text(&self) -> Result<Box<dyn BufRead>, Error> {
        match self.kind {
            ProductKind::Parts(_) => Ok(Box::new(
                parts::text(&self.path)?.chain(parts::lines(&self.journal())?),
            )),
            ProductKind::Packed(packing) => {
                let file = File::open(&self.path).map(|file| Box::new(BufReader::new(file)));
                let text = file.and_then(|file| packing.unpack(file));
                text.map(|text| text as Box<dyn BufRead>).map_err(|error| {
                    Error::plan(format!("{} cannot be read: {error}", self.path.display()))
                })
            }
            ProductKind::Table(_) => Ok(as_lines(rows(&self.path, None)?.rows()?)),
        }
    }

    /// Puts the journal back that the finished file was made of.
    pub fn unpack(&self) -> io::Result<()> {
        let journal = self.journal();
        let new = beside(&journal, ".new");
        let mut text = self.text().map_err(io::Error::other)?;
        let mut file = File::create(&new)?;
        io::copy(&mut text, &mut file)?;
        file.sync_data()?;
        fs::rename(new, &journal)?;
        sync_directory(&journal)
    }

    /// Makes the file of its journal, which has no more use then.
    pub fn make(&self) -> Result<(), Error> {
        let journal = self.journal();
        let wrong = |why: String| {
            Error::stopped(format!(
                "{} cannot be made of {}: {why}",
                self.path.display(),
                journal.display()
            ))
        };
        match self.kind {
            // It has grown with the journal.
            ProductKind::Table(TableFormat::Sqlite) => {
                sync_directory(&self.path).map_err(|error| wrong(error.to_string()))?;
            }
            ProductKind::Table(form) => placed(&self.path, |new| {
                table::write(
                    &rows(&journal, Some(source::InputFormat::Jsonl))?,
                    form,
                    new,
                )
                .map(drop)
            })?,
            ProductKind::Packed(_) => {
                placed(&self.path, |new| table::pack(&journal, new).map_err(wrong))?
            }
            ProductKind::Parts(_) => parts::add(&self.path, &journal)?,
        }
        fs::remove_file(&journal).map_err(|error| wrong(error.to_string()))
    }
}

/// The rows of a file.
pub(super) fn rows(path: &Path, format: Option<source::InputFormat>) -> Result<Source, Error> {
    Source::new(&source::Settings {
        file: Some(path.display().to_string()),
        format,
        ..source::Settings::default()
    })
}

/// Rows as JSON Lines.
pub(super) fn as_lines(
    rows: impl Iterator<Item = Result<Row, Error>> + 'static,
) -> Box<dyn BufRead> {
    Box::new(BufReader::new(ProductLines {
        rows,
        line: io::Cursor::default(),
    }))
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
