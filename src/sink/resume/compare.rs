//! Whether the rows that have a record are still those of the input.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use roaring::RoaringTreemap;

use super::ResumeState;
use super::completed::Keyed;
use crate::error::Error;
use crate::format::{Columns, Format};
use crate::row::Fields;
use crate::sink::journal::record_cutter::each;
use crate::source::Rows;

/// How the rows with a record compare with those of an input.
#[derive(Debug, Default, PartialEq)]
pub struct Differences {
    /// Rows that are the same.
    pub same: u64,
    /// How many of these have another number now.
    pub moved: u64,
    /// Rows that have other values now, by the numbers of their records.
    pub changed: RoaringTreemap,
    /// Rows that are no longer there, by the numbers of their records.
    pub gone: RoaringTreemap,
    /// Where rows stand now, if they are known by a key.
    pub(crate) keyed: Option<Keyed>,
}

impl Differences {
    /// Whether all rows are the same.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }
}

/// A results file, to look into its records.
struct ResultsIndex {
    file: File,
    name: String,
}

/// Compares a results file with an input, row by row. It takes 8 bytes a row, or 32
/// where rows are known by a key.
pub(crate) fn compare(
    path: &Path,
    format: Format,
    columns: &Columns,
    past: &ResumeState,
    rows: Rows,
) -> Result<Differences, Error> {
    let records = ResultsIndex::open(path)?;
    let expected = |fields: &Fields| format.start_of_record(columns, fields);
    match past.done.key() {
        None => by_number(&records, RecordOffsets::read(path, format), expected, rows),
        Some(_) => by_key(&records, KeyedRow::read(path, format, past), past, expected, rows),
    }
}

fn by_number(
    records: &ResultsIndex,
    places: io::Result<RecordOffsets>,
    expected: impl Fn(&Fields) -> Vec<u8>,
    rows: Rows,
) -> Result<Differences, Error> {
    let places = places.map_err(|error| unreadable(&records.name, &error))?;
    let mut differences = Differences::default();
    let mut end = 0;
    for row in rows {
        let row = row?;
        end = row.number + 1;
        let Some(start) = places.of(row.number) else {
            continue;
        };
        if records.has(start, &expected(&row.fields))? {
            differences.same += 1;
        } else {
            differences.changed.insert(row.number);
        }
    }
    let all = end..places.starts.len() as u64;
    differences.gone = all.filter(|row| places.of(*row).is_some()).collect();
    Ok(differences)
}

fn by_key(
    records: &ResultsIndex,
    found: io::Result<Vec<KeyedRow>>,
    past: &ResumeState,
    expected: impl Fn(&Fields) -> Vec<u8>,
    rows: Rows,
) -> Result<Differences, Error> {
    let found = found.map_err(|error| unreadable(&records.name, &error))?;
    let mut keyed = Keyed::new(found.iter().map(|it| it.id).collect());
    let mut differences = Differences::default();
    for row in rows {
        let row = row?;
        let Some(place) = keyed.place(past.done.id(&row)) else {
            continue;
        };
        let KeyedRow { start, number, .. } = found[place];
        if records.has(start, &expected(&row.fields))? {
            keyed.stands(place, row.number);
            differences.same += 1;
            differences.moved += u64::from(row.number != number);
        } else {
            differences.changed.insert(number);
        }
    }
    let gone = found.iter().filter(|it| keyed.number(it.id).is_none());
    differences.gone = gone.map(|it| it.number).collect();
    differences.gone -= &differences.changed;
    differences.keyed = Some(keyed);
    Ok(differences)
}

/// A row with a record, where rows are known by a key.
struct KeyedRow {
    id: u64,
    /// Where its first record begins.
    start: u64,
    number: u64,
}

impl KeyedRow {
    /// One for each row whose records stay, by their ids.
    fn read(path: &Path, format: Format, past: &ResumeState) -> io::Result<Vec<KeyedRow>> {
        let (mut found, mut end) = (Vec::new(), 0);
        each(path, &mut *format.decoder(past.done.key()), |of| {
            if let Some(seen) = of.seen
                && !past.drops(of.place, of.seen)
            {
                found.push(KeyedRow { id: past.done.id_of(seen), start: end, number: seen.row });
            }
            end += of.bytes.len() as u64;
            Ok(())
        })?;
        found.sort_unstable_by_key(|it| (it.id, it.start));
        found.dedup_by_key(|it| it.id);
        Ok(found)
    }
}

/// Where the record of each row begins, by the row's number.
struct RecordOffsets {
    /// One more than the place; 0 where there is no record.
    starts: Vec<u64>,
}

impl RecordOffsets {
    fn read(path: &Path, format: Format) -> io::Result<RecordOffsets> {
        let (mut starts, mut end) = (Vec::new(), 0);
        each(path, &mut *format.decoder(None), |of| {
            let row = of.seen.and_then(|seen| usize::try_from(seen.row).ok());
            if let Some(row) = row {
                starts.resize(starts.len().max(row + 1), 0);
                starts[row] = end + 1;
            }
            end += of.bytes.len() as u64;
            Ok(())
        })?;
        Ok(RecordOffsets { starts })
    }

    fn of(&self, row: u64) -> Option<u64> {
        let start = self.starts.get(usize::try_from(row).ok()?)?;
        start.checked_sub(1)
    }
}

impl ResultsIndex {
    fn open(path: &Path) -> Result<ResultsIndex, Error> {
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => Ok(ResultsIndex { file, name }),
            Err(error) => Err(unreadable(&name, &error)),
        }
    }

    /// Whether the record that begins there begins so.
    fn has(&self, start: u64, expected: &[u8]) -> Result<bool, Error> {
        let mut found = vec![0; expected.len()];
        match self.file.read_exact_at(&mut found, start) {
            Ok(()) => Ok(found == expected),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(unreadable(&self.name, &error)),
        }
    }
}

fn unreadable(name: &str, error: &io::Error) -> Error {
    Error::plan(format!("the output {name} cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;
    use crate::sink::samples::columns;

    fn rows(values: &[&str]) -> Rows {
        let rows: Vec<_> = (0..)
            .zip(values)
            .map(|(number, value)| {
                let fields = [("symbol".to_owned(), (*value).into())];
                Ok(Row { number, fields: fields.into_iter().collect(), ..Row::default() })
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
                "{\"symbol\":\"A\",\"_row\":0,\"_ok\":true}\n{\"symbol\":\"=C\",\"_row\":2,\"_ok\":true}\n\
                 {\"symbol\":\"BB\",\"_row\":1,\"_ok\":true}\n{\"symbol\":\"E\",\"_row\":4,\"_ok\":true}\n",
            ),
            ("csv", "symbol,_row,_ok\nA,0,true\n'=C,2,true\nBB,1,true\nE,4,true\n"),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            let rows = rows(&["A", "B", "=C", "D"]);
            let format = name.parse().unwrap();
            let columns = columns(&[], false);
            let differences =
                compare(&path, format, &columns, &ResumeState::default(), rows).unwrap();
            assert_eq!(differences.same, 2, "{name}");
            assert_eq!(differences.changed.iter().collect::<Vec<_>>(), [1]);
            assert_eq!(differences.gone.iter().collect::<Vec<_>>(), [4]);
        }
    }
}
