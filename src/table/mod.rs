//! Rows to a table of any format: what `throng convert` does, and what becomes of
//! a journal whose output is no text. [door: files]
//!
//! To add a format: one file here, and one line in [`TableFormat`]; its names are those of
//! [`source`].

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use crate::error::Error;
use crate::source::{self, Fields, InputFormat, Source};

pub(crate) mod cells;
mod csv;
mod jsonl;
mod pack;
mod parquet;
mod placed;
mod shape;
pub(crate) mod sqlite;

pub(crate) use pack::pack;
pub(crate) use placed::{placed, sync_directory};
use shape::ColumnSet;

/// How the rows of a table are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// JSON Lines.
    Jsonl,
    /// A table with commas.
    Csv,
    /// Parquet: typed columns, in groups of rows, compressed by zstd.
    Parquet,
    /// The table `results` of a SQLite database.
    Sqlite,
}

/// What is written in a form is read as this; names follow from that.
const FORMS: [(TableFormat, InputFormat); 4] = [
    (TableFormat::Jsonl, InputFormat::Jsonl),
    (TableFormat::Csv, InputFormat::Csv),
    (TableFormat::Parquet, InputFormat::Parquet),
    (TableFormat::Sqlite, InputFormat::Sqlite),
];

/// A table in the making.
trait TableWriter {
    /// Adds a row.
    fn row(&mut self, fields: &Fields) -> Result<(), String>;

    /// Writes what is left.
    fn end(self: Box<Self>) -> Result<(), String>;
}

impl TableFormat {
    /// What a name's extension says; whether it is compressed doesn't matter.
    #[must_use]
    pub fn of(path: &Path) -> Option<TableFormat> {
        let format = InputFormat::of_path(path)?;
        let found = FORMS.iter().find(|(_, read_as)| *read_as == format);
        found.map(|(form, _)| *form)
    }

    /// As the job and the flag have it.
    pub(crate) fn name(self) -> &'static str {
        FORMS[self as usize].1.name()
    }

    /// What the names of files end in, of all forms.
    pub(crate) fn extensions() -> String {
        let all = FORMS.iter().flat_map(|(_, format)| format.extensions());
        let all: Vec<String> = all.map(|end| format!(".{end}")).collect();
        all.join(", ")
    }

    fn table(self, path: &Path, shape: ColumnSet) -> Result<Box<dyn TableWriter>, String> {
        Ok(match self {
            TableFormat::Jsonl => Box::new(jsonl::JsonlTable::new(pack::writer(path)?)),
            TableFormat::Csv => Box::new(csv::CsvTable::new(pack::writer(path)?, &shape)?),
            TableFormat::Parquet => Box::new(parquet::RowGroups::new(path, shape)?),
            TableFormat::Sqlite => match sqlite::too_many(shape.columns.len()) {
                None => Box::new(sqlite::Filling::new(path)?),
                Some(flaw) => return Err(flaw),
            },
        })
    }
}

/// Writes all rows of a source to a new file of this form, and waits until they
/// are on the disk; gives how many there were. The source is read twice.
///
/// # Errors
/// What is wrong with the source, or why the file can't be written.
pub fn write(source: &Source, form: TableFormat, path: &Path) -> Result<u64, Error> {
    write_shaped(source, form, path, shape_of(source)?)
}

/// The same as Parquet, with the columns of an earlier file as far as they fit.
pub(crate) fn write_after(earlier: &Path, source: &Source, path: &Path) -> Result<u64, Error> {
    let before = parquet::shape(earlier)
        .map_err(|why| Error::stopped(format!("{} cannot be read: {why}", earlier.display())))?;
    let shape = shape_of(source)?.after(before);
    write_shaped(source, TableFormat::Parquet, path, shape)
}

/// Reads all rows once.
fn shape_of(source: &Source) -> Result<ColumnSet, Error> {
    let mut shape = ColumnSet::default();
    for row in source.rows()? {
        shape.add(&row?.fields);
    }
    Ok(shape)
}

fn write_shaped(
    source: &Source,
    form: TableFormat,
    path: &Path,
    shape: ColumnSet,
) -> Result<u64, Error> {
    let wrong =
        |why: String| Error::stopped(format!("{} cannot be written: {why}", path.display()));
    let mut table = form.table(path, shape).map_err(wrong)?;
    let mut rows = 0;
    for row in source.rows()? {
        table.row(&row?.fields).map_err(wrong)?;
        rows += 1;
    }
    table.end().map_err(wrong)?;
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| wrong(error.to_string()))?;
    Ok(rows)
}

/// Converts one file into another one, which must not be there yet unless it may
/// be replaced; gives how many rows there were.
///
/// # Errors
/// What is wrong with either.
pub fn convert(from: &source::Settings, to: &Path, replace: bool) -> Result<u64, Error> {
    let name = to.display();
    let form = TableFormat::of(to).ok_or_else(|| {
        Error::plan(format!(
            "the name {name} does not say its format: end it in {} (the text ones also in .gz or .zst)",
            TableFormat::extensions()
        ))
    })?;
    if to.metadata().is_ok_and(|data| !data.is_file()) {
        return Err(Error::plan(format!(
            "{name} is no file that could be replaced: choose another name"
        )));
    }
    if to.exists() && !replace {
        return Err(Error::plan(format!(
            "{name} exists: choose another name, or replace it with --overwrite"
        )));
    }
    let directory = to.parent().filter(|parent| *parent != Path::new(""));
    if let Some(none) = directory.filter(|directory| !directory.is_dir()) {
        return Err(Error::plan(format!(
            "{name} cannot be made: there is no directory {}",
            none.display()
        )));
    }
    let source = Source::new(from)?;
    placed(to, |new| write(&source, form, new))
}

/// A column's place by its name.
type ColumnPlaces = HashMap<String, usize>;

#[cfg(test)]
mod tests;
