//! Parquet files, or directories of them: one row per record, with the types of their
//! columns.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::record::reader::RowIter;

use super::bare::Bare;
use super::kinds::ColumnKind;
use crate::format::parquet_files::parquet_files;
use crate::format::rows::{FormatRow, OpenedRows, RowReader, accepted};

#[cfg(test)]
mod tests;

/// The rows of a file, or of all files of a directory.
pub(super) fn open(path: &Path) -> OpenedRows {
    if !path.is_dir() {
        return Ok(Box::new(file(path)?));
    }
    let parts =
        parquet_files(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(Box::new(ParquetParts { left: parts.into_iter(), rows: None }))
}

/// One file after the other.
struct ParquetParts {
    left: std::vec::IntoIter<PathBuf>,
    rows: Option<ParquetRows>,
}

impl Iterator for ParquetParts {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
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

impl RowReader for ParquetParts {}

/// The rows of a file; a few pages of it are in memory.
fn file(path: &Path) -> Result<ParquetRows, String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
    let reader =
        Bare::new(file).map_err(|error| format!("{name} is no whole Parquet file: {error}"))?;
    let schema = reader.schema();
    let mut names = HashSet::new();
    if let Some(twice) = schema.get_fields().iter().find(|it| !names.insert(it.name())) {
        let column = twice.name();
        return Err(format!(
            "{name} has two columns that are called {column:?}: rename one of them"
        ));
    }
    Ok(ParquetRows {
        name: name.to_string(),
        kind: ColumnKind::of(&schema),
        rows: RowIter::from_file_into(Box::new(reader)),
        read: 0,
    })
}

struct ParquetRows {
    name: String,
    /// What a row is.
    kind: ColumnKind,
    rows: RowIter<'static>,
    read: u64,
}

impl Iterator for ParquetRows {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        let row = self.rows.next()?;
        self.read += 1;
        let fields = row.map_err(|error| error.to_string());
        let fields = fields.and_then(|row| accepted(self.kind.fields(&row)?));
        Some(fields.map_err(|flaw| format!("{}, record {}: {flaw}", self.name, self.read)))
    }
}

impl RowReader for ParquetRows {}
