//! A results file in the order of its input, made in bounded memory: pieces are
//! sorted, put aside, and merged. [door: files]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use super::Format;
use super::codec::Found;
use super::resume::next;
use super::sidecar::beside;
use crate::table::sync_directory;

/// So much is sorted at a time, in bytes.
const PIECE: usize = 32 << 20;

/// After all items: a row that was cut off ends with a record that is none.
const NO_ITEM: u64 = u64::MAX;

/// A record with its place in the input.
type Placed = (u64, u64, Vec<u8>);

/// Sorts the records of a file; a new one takes its place at once.
pub(super) fn sort(path: &Path, format: Format) -> io::Result<()> {
    let (header, mut pieces) = pieces(path, format)?;
    let name = beside(path, ".new");
    let mut new = BufWriter::new(File::create(&name)?);
    new.write_all(&header)?;
    merge(&mut pieces, &mut new)?;
    new.into_inner()?.sync_data()?;
    fs::rename(&name, path)?;
    sync_directory(path)
}

/// The header, and the records in sorted pieces, each in a file without a name.
fn pieces(path: &Path, format: Format) -> io::Result<(Vec<u8>, Vec<BufReader<File>>)> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut decode = format.decoder(None);
    let (mut header, mut pieces) = (Vec::new(), Vec::new());
    let (mut piece, mut size, mut record) = (Vec::<Placed>::new(), 0, Vec::new());
    while next(&mut file, &mut *decode, &mut record)? > 0 {
        match decode.read(&record) {
            Some(Found::Row(seen)) => {
                size += record.len() + size_of::<Placed>();
                piece.push((seen.row, seen.item.unwrap_or(NO_ITEM), record.clone()));
            }
            _ => header.extend_from_slice(&record),
        }
        if size >= PIECE {
            pieces.push(put_aside(&mut piece, path)?);
            size = 0;
        }
    }
    pieces.push(put_aside(&mut piece, path)?);
    Ok((header, pieces))
}

fn put_aside(piece: &mut Vec<Placed>, path: &Path) -> io::Result<BufReader<File>> {
    piece.sort_unstable();
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let file = tempfile::tempfile_in(directory.unwrap_or(Path::new(".")))?;
    let mut out = BufWriter::new(file);
    for (row, item, record) in piece.drain(..) {
        for number in [row, item, record.len() as u64] {
            out.write_all(&number.to_le_bytes())?;
        }
        out.write_all(&record)?;
    }
    let mut file = out.into_inner()?;
    file.rewind()?;
    Ok(BufReader::new(file))
}

fn merge(pieces: &mut [BufReader<File>], out: &mut impl Write) -> io::Result<()> {
    let mut heads = BinaryHeap::new();
    for (number, piece) in pieces.iter_mut().enumerate() {
        heads.extend(take(piece)?.map(|record| Reverse((record, number))));
    }
    while let Some(Reverse(((_, _, record), number))) = heads.pop() {
        out.write_all(&record)?;
        heads.extend(take(&mut pieces[number])?.map(|record| Reverse((record, number))));
    }
    Ok(())
}

fn take(piece: &mut impl Read) -> io::Result<Option<Placed>> {
    let Some(row) = number(piece)? else {
        return Ok(None);
    };
    let item = number(piece)?.unwrap_or(0);
    let size = number(piece)?.unwrap_or(0);
    let mut record = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    piece.read_exact(&mut record)?;
    Ok(Some((row, item, record)))
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
    fn pieces_are_merged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        let body = "x".repeat(1 << 20);
        let rows = (0..70).map(|n| (n * 37) % 70);
        let text: String = rows
            .map(|row| format!("{{\"_row\":{row},\"_body\":\"{body}\"}}\n"))
            .collect();
        fs::write(&path, &text).unwrap();
        sort(&path, "jsonl".parse().unwrap()).unwrap();
        let sorted = fs::read_to_string(&path).unwrap();
        assert_eq!(sorted.len(), text.len());
        for (row, line) in sorted.lines().enumerate() {
            assert!(line.starts_with(&format!("{{\"_row\":{row},")), "{row}");
        }
    }
}
