//! Whether the rows that have a record are still those of the input. [door: files]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use roaring::RoaringTreemap;

use super::rewrite::each;
use super::{Columns, Format};
use crate::error::Error;
use crate::source::Rows;

/// How the rows with a record compare with those of an input.
#[derive(Debug, Default, PartialEq)]
pub struct Differences {
    /// Rows that are the same.
    pub same: u64,
    /// Rows that have other values now.
    pub changed: RoaringTreemap,
    /// Rows that are no longer there.
    pub gone: RoaringTreemap,
}

impl Differences {
    /// Whether all rows are the same.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }
}

/// Where the record of each row begins, by the row's number.
struct Places {
    file: File,
    /// One more than the place; 0 where there is no record.
    starts: Vec<u64>,
}

/// Compares a results file with an input, row by row. It takes 8 bytes a row.
pub(super) fn compare(
    path: &Path,
    format: Format,
    columns: &Columns,
    rows: Rows,
) -> Result<Differences, Error> {
    let unreadable = |error: io::Error| {
        Error::plan(format!(
            "the output {} cannot be read: {error}",
            path.display()
        ))
    };
    let places = Places::read(path, format).map_err(unreadable)?;
    let mut differences = Differences::default();
    let mut end = 0;
    for row in rows {
        let row = row?;
        end = row.number + 1;
        let Some(start) = places.of(row.number) else {
            continue;
        };
        let expected = format.start_of_record(columns, &row.fields);
        match places.has(start, &expected).map_err(unreadable)? {
            true => differences.same += 1,
            false => drop(differences.changed.insert(row.number)),
        }
    }
    let all = end..places.starts.len() as u64;
    differences.gone = all.filter(|row| places.of(*row).is_some()).collect();
    Ok(differences)
}

impl Places {
    fn read(path: &Path, format: Format) -> io::Result<Places> {
        let (mut starts, mut end) = (Vec::new(), 0);
        each(path, &mut *format.decoder(None), |_, row, record| {
            if let Some(row) = row.and_then(|row| usize::try_from(row).ok()) {
                starts.resize(starts.len().max(row + 1), 0);
                starts[row] = end + 1;
            }
            end += record.len() as u64;
            Ok(())
        })?;
        let file = File::open(path)?;
        Ok(Places { file, starts })
    }

    fn of(&self, row: u64) -> Option<u64> {
        let start = self.starts.get(usize::try_from(row).ok()?)?;
        start.checked_sub(1)
    }

    fn has(&self, start: u64, expected: &[u8]) -> io::Result<bool> {
        let mut found = vec![0; expected.len()];
        match self.file.read_exact_at(&mut found, start) {
            Ok(()) => Ok(found == expected),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::columns;
    use super::*;
    use crate::source::Row;

    fn rows(values: &[&str]) -> Rows {
        let rows: Vec<_> = (0..)
            .zip(values)
            .map(|(number, value)| {
                let fields = [("symbol".to_owned(), (*value).into())];
                Ok(Row {
                    number,
                    fields: fields.into_iter().collect(),
                    item: None,
                })
            })
            .collect();
        Box::new(rows.into_iter())
    }

    #[test]
    fn rows_are_the_same_changed_or_gone() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            (
                "jsonl",
                "{\"symbol\":\"A\",\"_row\":0}\n{\"symbol\":\"=C\",\"_row\":2}\n\
                 {\"symbol\":\"BB\",\"_row\":1}\n{\"symbol\":\"E\",\"_row\":4}\n",
            ),
            (
                "csv",
                "symbol,_row,_ok\nA,0,true\n'=C,2,true\nBB,1,true\nE,4,true\n",
            ),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            let rows = rows(&["A", "B", "=C", "D"]);
            let format = name.parse().unwrap();
            let columns = columns(&[], false);
            let differences = compare(&path, format, &columns, rows).unwrap();
            assert_eq!(differences.same, 2, "{name}");
            assert_eq!(differences.changed.iter().collect::<Vec<_>>(), [1]);
            assert_eq!(differences.gone.iter().collect::<Vec<_>>(), [4]);
        }
    }
}
