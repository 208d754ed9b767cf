//! A results file in the order of its input, made in bounded memory.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::record_cutter::RecordCutter;
use crate::format::Format;
use crate::format::entry::FoundRecord;
use crate::fs::beside;
use crate::fs::external_sort::{ExternalSort, Stored, read_number};
use crate::fs::sync_directory;

/// The size of the records that are sorted at a time, in bytes.
const PIECE: usize = 32 << 20;

/// After all items: a row that was cut off ends with a record that is none.
const NO_ITEM: u64 = u64::MAX;

/// A record with its place in the input, by which records are compared first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct NumberedRecord {
    row: u64,
    item: u64,
    bytes: Vec<u8>,
}

impl Stored for NumberedRecord {
    fn size(&self) -> usize {
        self.bytes.len() + size_of::<NumberedRecord>()
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        for number in [self.row, self.item, self.bytes.len() as u64] {
            to.write_all(&number.to_le_bytes())?;
        }
        to.write_all(&self.bytes)
    }

    fn read(from: &mut impl Read) -> io::Result<Option<NumberedRecord>> {
        let Some(row) = read_number(from)? else {
            return Ok(None);
        };
        let item = read_number(from)?.unwrap_or(0);
        let size = read_number(from)?.unwrap_or(0);
        let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
        from.read_exact(&mut bytes)?;
        Ok(Some(NumberedRecord { row, item, bytes }))
    }
}

/// Sorts the records of a file; a new one takes its place at once.
pub(crate) fn sort(path: &Path, format: Format) -> io::Result<()> {
    sort_in_pieces(path, format, PIECE)
}

fn sort_in_pieces(path: &Path, format: Format, piece: usize) -> io::Result<()> {
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let mut records = ExternalSort::new(directory.unwrap_or(Path::new(".")).to_owned(), piece);
    let header = take_in(&mut records, path, format)?;
    let name = beside(path, ".new");
    let mut new = BufWriter::new(File::create(&name)?);
    new.write_all(&header)?;
    for record in records.sorted()? {
        new.write_all(&record?.bytes)?;
    }
    new.into_inner()?.sync_data()?;
    fs::rename(&name, path)?;
    sync_directory(path)
}

/// Takes in all records of a file; gives its header.
fn take_in(
    records: &mut ExternalSort<NumberedRecord>,
    path: &Path,
    format: Format,
) -> io::Result<Vec<u8>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut decode = format.decoder(None);
    let (mut header, mut record) = (Vec::new(), Vec::new());
    let mut cutter = RecordCutter::new(&mut file, &mut *decode);
    while let Some(cut) = cutter.next(&mut record)? {
        match cut.found {
            Some(FoundRecord::Row(seen)) => {
                let item = seen.item.unwrap_or(NO_ITEM);
                records.push(NumberedRecord { row: seen.row, item, bytes: record.clone() })?;
            }
            _ => header.extend_from_slice(&record),
        }
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_in_the_order_of_their_rows() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        fs::write(&path, "a,_row,_ok\nx,2,true\n\"y\ny\",0,true\nz,1,false\n").unwrap();
        sort(&path, "csv".parse().unwrap()).unwrap();
        let sorted = "a,_row,_ok\n\"y\ny\",0,true\nz,1,false\nx,2,true\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), sorted);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn pieces_are_merged_however_many() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        for rows in [1, 31, 32, 33, 1_024, 2_111] {
            let numbers = (0..rows).map(|n| (n * 37) % rows);
            let text: String =
                numbers.map(|row| format!("{{\"_row\":{row},\"_ok\":true}}\n")).collect();
            fs::write(&path, &text).unwrap();
            // Each record is a piece.
            sort_in_pieces(&path, "jsonl".parse().unwrap(), 1).unwrap();
            let sorted: String =
                (0..rows).map(|row| format!("{{\"_row\":{row},\"_ok\":true}}\n")).collect();
            assert_eq!(fs::read_to_string(&path).unwrap(), sorted);
        }
    }
}
