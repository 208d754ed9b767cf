//! A results file in the order of its input, made in bounded memory: pieces are
//! sorted, put aside, and merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::record_cutter::RecordCutter;
use crate::format::Format;
use crate::format::entry::FoundRecord;
use crate::fs::beside;
use crate::fs::sync_directory;

/// The size of what is sorted at a time, in bytes.
const PIECE: usize = 32 << 20;

/// After all items: a row that was cut off ends with a record that is none.
const NO_ITEM: u64 = u64::MAX;

/// A record with its place in the input, by which records are compared first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct NumberedRecord {
    row: u64,
    item: u64,
    bytes: Vec<u8>,
}

/// The number of pieces that become one, so that few files are open however long the
/// results are.
const MOST: usize = 32;

/// Sorts the records of a file; a new one takes its place at once.
pub(crate) fn sort(path: &Path, format: Format) -> io::Result<()> {
    sort_in(SortedPieces::beside(path), path, format)
}

fn sort_in(mut pieces: SortedPieces, path: &Path, format: Format) -> io::Result<()> {
    let header = pieces.take_in(path, format)?;
    let name = beside(path, ".new");
    let mut new = BufWriter::new(File::create(&name)?);
    new.write_all(&header)?;
    let mut all: Vec<_> = pieces.levels.into_iter().flatten().collect();
    merge(&mut all, |record| new.write_all(&record.bytes))?;
    new.into_inner()?.sync_data()?;
    fs::rename(&name, path)?;
    sync_directory(path)
}

/// Records in sorted pieces, each in a file without a name.
struct SortedPieces {
    directory: PathBuf,
    /// The size of a piece, in bytes.
    size: usize,
    /// The pieces of each level were made of those of the level before.
    levels: Vec<Vec<BufReader<File>>>,
}

impl SortedPieces {
    fn beside(path: &Path) -> SortedPieces {
        let directory = path.parent().filter(|parent| *parent != Path::new(""));
        SortedPieces {
            directory: directory.unwrap_or(Path::new(".")).to_owned(),
            size: PIECE,
            levels: Vec::new(),
        }
    }

    /// Takes in all records of a file; gives its header.
    fn take_in(&mut self, path: &Path, format: Format) -> io::Result<Vec<u8>> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut decode = format.decoder(None);
        let (mut header, mut record) = (Vec::new(), Vec::new());
        let (mut piece, mut size) = (Vec::<NumberedRecord>::new(), 0);
        let mut records = RecordCutter::new(&mut file, &mut *decode);
        while let Some(cut) = records.next(&mut record)? {
            match cut.found {
                Some(FoundRecord::Row(seen)) => {
                    size += record.len() + size_of::<NumberedRecord>();
                    let item = seen.item.unwrap_or(NO_ITEM);
                    piece.push(NumberedRecord { row: seen.row, item, bytes: record.clone() });
                }
                _ => header.extend_from_slice(&record),
            }
            if size >= self.size {
                self.add(&mut piece)?;
                size = 0;
            }
        }
        self.add(&mut piece)?;
        Ok(header)
    }

    fn add(&mut self, piece: &mut Vec<NumberedRecord>) -> io::Result<()> {
        piece.sort_unstable();
        let mut aside = self.aside()?;
        piece.drain(..).try_for_each(|record| put(&mut aside, &record))?;
        self.put_in(0, from_its_start(aside)?)
    }

    /// Adds a piece to a level, which goes up as one when it is full.
    fn put_in(&mut self, level: usize, piece: BufReader<File>) -> io::Result<()> {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(piece);
        if self.levels[level].len() < MOST {
            return Ok(());
        }
        let mut aside = self.aside()?;
        merge(&mut self.levels[level], |record| put(&mut aside, &record))?;
        self.levels[level].clear();
        self.put_in(level + 1, from_its_start(aside)?)
    }

    fn aside(&self) -> io::Result<BufWriter<File>> {
        Ok(BufWriter::new(tempfile::tempfile_in(&self.directory)?))
    }
}

fn put(aside: &mut impl Write, record: &NumberedRecord) -> io::Result<()> {
    for number in [record.row, record.item, record.bytes.len() as u64] {
        aside.write_all(&number.to_le_bytes())?;
    }
    aside.write_all(&record.bytes)
}

fn from_its_start(aside: BufWriter<File>) -> io::Result<BufReader<File>> {
    let mut file = aside.into_inner()?;
    file.rewind()?;
    Ok(BufReader::new(file))
}

/// Gives out the records of all pieces in their order.
fn merge(
    pieces: &mut [BufReader<File>],
    mut give: impl FnMut(NumberedRecord) -> io::Result<()>,
) -> io::Result<()> {
    let mut heads = BinaryHeap::new();
    for (number, piece) in pieces.iter_mut().enumerate() {
        heads.extend(take(piece)?.map(|record| Reverse((record, number))));
    }
    while let Some(Reverse((record, number))) = heads.pop() {
        give(record)?;
        heads.extend(take(&mut pieces[number])?.map(|record| Reverse((record, number))));
    }
    Ok(())
}

fn take(piece: &mut impl Read) -> io::Result<Option<NumberedRecord>> {
    let Some(row) = number(piece)? else {
        return Ok(None);
    };
    let item = number(piece)?.unwrap_or(0);
    let size = number(piece)?.unwrap_or(0);
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    piece.read_exact(&mut bytes)?;
    Ok(Some(NumberedRecord { row, item, bytes }))
}

fn number(piece: &mut impl Read) -> io::Result<Option<u64>> {
    let mut bytes = [0; 8];
    match piece.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(u64::from_le_bytes(bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
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
            let text: String = numbers.map(|row| format!("{{\"_row\":{row}}}\n")).collect();
            fs::write(&path, &text).unwrap();
            // Each record is a piece.
            let pieces = SortedPieces { size: 1, ..SortedPieces::beside(&path) };
            sort_in(pieces, &path, "jsonl".parse().unwrap()).unwrap();
            let sorted: String = (0..rows).map(|row| format!("{{\"_row\":{row}}}\n")).collect();
            assert_eq!(fs::read_to_string(&path).unwrap(), sorted);
        }
    }

    #[test]
    fn few_files_are_open_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let mut pieces = SortedPieces::beside(&directory.path().join("out.jsonl"));
        for row in 0..5_000 {
            let record = NumberedRecord { row, item: 0, bytes: Vec::new() };
            pieces.add(&mut vec![record]).unwrap();
            let open: usize = pieces.levels.iter().map(Vec::len).sum();
            assert!(open < 3 * MOST, "{open}");
        }
    }
}
