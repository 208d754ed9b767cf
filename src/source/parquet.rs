//! Parquet files, or directories of them: one row per record, with the types of their
//! columns. [door: files]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use serde_json::Value;

use super::names::accepted;
use super::rows::{Found, Items, Opened};

/// The Parquet files of a directory, by their names; hidden ones are still being written.
pub(crate) fn parts(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".parquet") && !name.starts_with(['.', '_']) && path.is_file() {
            parts.push(path);
        }
    }
    parts.sort_unstable();
    Ok(parts)
}

/// The rows of a file, or of all files of a directory.
pub(super) fn open(path: &Path) -> Opened {
    if !path.is_dir() {
        return Ok(Box::new(file(path)?));
    }
    let parts = parts(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(Box::new(Parts {
        left: parts.into_iter(),
        rows: None,
    }))
}

/// One file after the other.
struct Parts {
    left: std::vec::IntoIter<PathBuf>,
    rows: Option<Rows>,
}

impl Iterator for Parts {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            if let Some(row) = self.rows.as_mut().and_then(Iterator::next) {
                return Some(row);
            }
            match file(&self.left.next()?) {
                Ok(rows) => self.rows = Some(rows),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Items for Parts {}

/// The rows of a file; a few pages of it are in memory.
fn file(path: &Path) -> Result<Rows, String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
    let reader = SerializedFileReader::new(file)
        .map_err(|error| format!("{name} is no whole Parquet file: {error}"))?;
    Ok(Rows {
        name: name.to_string(),
        rows: RowIter::from_file_into(Box::new(reader)),
        read: 0,
    })
}

struct Rows {
    name: String,
    rows: RowIter<'static>,
    read: u64,
}

impl Iterator for Rows {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let row = self.rows.next()?;
        self.read += 1;
        let fields = row.map_err(|error| error.to_string());
        let fields = fields.and_then(|row| match row.to_json_value() {
            Value::Object(fields) => accepted(fields),
            other => Err(format!("{other} is no record")),
        });
        Some(fields.map_err(|flaw| format!("{}, record {}: {flaw}", self.name, self.read)))
    }
}

impl Items for Rows {}
