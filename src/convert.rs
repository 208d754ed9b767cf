//! Rows to a file of any format that is written: `throng convert`, and the files that are
//! made of a journal.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::error::Error;
use crate::format::column_set::ColumnSet;
use crate::format::{Format, parquet};
use crate::fs::placed;
use crate::record;
use crate::row::Row;
use crate::source::{Rows, Settings, Source};

mod selection;

pub use selection::Selection;

/// Writes all rows of a source to a new file of this format, and waits until they are on
/// the disk; gives the number of rows. The source is read twice.
pub(crate) fn write(source: &Source, format: Format, path: &Path) -> Result<u64, Error> {
    write_rows(&|| source.rows(), format, path)
}

/// Writes rows to a new file of this format, as [`write`] does; they are made twice.
pub(crate) fn write_rows(
    rows: &dyn Fn() -> Result<Rows, Error>,
    format: Format,
    path: &Path,
) -> Result<u64, Error> {
    let columns = columns_of(rows()?)?;
    write_columns(rows()?, format, path, columns)
}

/// Writes what is selected of all rows of a source, as [`write`] does. The source is read
/// three times.
pub(crate) fn write_selected(
    source: &Source,
    selection: &Selection,
    format: Format,
    path: &Path,
) -> Result<u64, Error> {
    let fields = |row: Result<Row, Error>| row.map(|row| row.fields);
    let selected = Arc::new(selection.of(source.rows()?.map(fields))?);
    let rows = || -> Result<Rows, Error> {
        let selected = selected.clone();
        Ok(Box::new(
            source
                .rows()?
                .map(move |row| row.map(|row| Row { fields: selected.fields(row.fields), ..row })),
        ))
    };
    let columns = selected.of_table(columns_of(rows()?)?);
    write_columns(rows()?, format, path, columns)
}

/// Writes all rows of a source to a new Parquet file that has the columns of an earlier
/// one as far as they fit.
pub(crate) fn write_after(earlier: &Path, source: &Source, path: &Path) -> Result<u64, Error> {
    let before = parquet::shape(earlier)
        .map_err(|why| Error::stopped(format!("{} cannot be read: {why}", earlier.display())))?;
    let columns = columns_of(source.rows()?)?.after(before);
    write_columns(source.rows()?, Format::PARQUET, path, columns)
}

/// Reads all rows once.
fn columns_of(rows: Rows) -> Result<ColumnSet, Error> {
    let mut columns = ColumnSet::default();
    for row in rows {
        columns.add(&row?.fields);
    }
    Ok(columns)
}

fn write_columns(
    rows: Rows,
    format: Format,
    path: &Path,
    columns: ColumnSet,
) -> Result<u64, Error> {
    let wrong =
        |why: String| Error::stopped(format!("{} cannot be written: {why}", path.display()));
    let mut table = format.table(path, columns).map_err(wrong)?;
    let mut count = 0;
    for row in rows {
        table.row(&row?.fields).map_err(wrong)?;
        count += 1;
    }
    table.end().map_err(wrong)?;
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(|error| wrong(error.to_string()))?;
    Ok(count)
}

/// Converts what is selected of one file into another one, which must not be there yet unless it may
/// be replaced; gives the number of rows.
///
/// # Errors
/// What is wrong with either.
pub fn convert(
    from: &Settings,
    to: &Path,
    selection: &Selection,
    replace: bool,
) -> Result<u64, Error> {
    convert_as(format_of_name(to)?, from, to, selection, replace)
}

/// Converts what is selected of one file into another one of this format, whatever its name, as
/// [`convert`] does.
///
/// # Errors
/// What is wrong with either.
pub fn convert_as(
    format: Format,
    from: &Settings,
    to: &Path,
    selection: &Selection,
    replace: bool,
) -> Result<u64, Error> {
    check_new_file(to, format, replace)?;
    let source = Source::new(from)?;
    placed(to, |new| write_selected(&source, selection, format, new))
}

/// Converts the records of rows that failed of one file into another one, as [`convert`] does.
///
/// # Errors
/// What is wrong with either.
pub fn convert_failed(from: &Settings, to: &Path) -> Result<u64, Error> {
    let format = new_file(to, false)?;
    let source = Source::new(from)?;
    placed(to, |new| write_rows(&|| Ok(failed(source.rows()?)), format, new))
}

/// The records of rows that failed.
pub fn failed(rows: Rows) -> Rows {
    let is_ok = |row: &Row| record::is_ok(&row.fields) == Some(true);
    Box::new(rows.filter(move |row| !row.as_ref().is_ok_and(is_ok)))
}

/// Checks that a file can be made, or replaced if that is meant; gives the format of its name.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn new_file(to: &Path, replace: bool) -> Result<Format, Error> {
    let format = format_of_name(to)?;
    check_new_file(to, format, replace)?;
    Ok(format)
}

fn format_of_name(to: &Path) -> Result<Format, Error> {
    Format::of_output(to).ok_or_else(|| {
        Error::plan(format!(
            "the name {} does not say its format: end it in {} (the text ones also in .gz or .zst)",
            to.display(),
            Format::output_extensions()
        ))
    })
}

fn check_new_file(to: &Path, format: Format, replace: bool) -> Result<(), Error> {
    let name = to.display();
    format.check_written(to)?;
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
    Ok(())
}

#[cfg(test)]
mod tests;
