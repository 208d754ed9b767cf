//! A results file without the records that are to go: a new file takes the
//! place of the old one at once, so that a crash leaves one of them. [door: files]

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;

use super::Format;
use super::codec::{Decode, Found};
use super::cut::Records;
use super::disk::Placed;
use super::opened::Journal;
use super::resume::Past;
use super::sidecar::beside;
use crate::lock;
use crate::table::sync_directory;

/// Replaces the file; the records that can't be read are kept beside it.
pub(super) fn without_dropped(path: &Path, past: &Past, format: Format) -> io::Result<Journal> {
    let name = beside(path, ".new");
    // It is locked before it has its place, and keeps its lock.
    drop(File::create(&name)?);
    let mut new = BufWriter::new(lock::take_to_append(&name)?);
    let mut damaged = Vec::new();
    let (mut end, mut crc, mut records) = (0, crc32fast::Hasher::new(), 0);
    each(path, &mut *format.decoder(None), |place, row, record| {
        if !past.drops(place, row) {
            end += record.len() as u64;
            crc.update(record);
            records += u64::from(place.is_some());
            return new.write_all(record);
        }
        if row.is_none() {
            damaged.extend_from_slice(record);
        }
        Ok(())
    })?;
    keep(path, &damaged)?;
    let file = new.into_inner()?;
    file.sync_data()?;
    fs::rename(&name, path)?;
    sync_directory(path)?;
    Ok(Journal {
        disk: Box::new(Placed::new(file, path.to_owned(), end)),
        end,
        crc,
        records,
    })
}

/// Shows all whole records in their order: the place of each, its row if it can
/// be read, and its bytes. A header has no place.
pub(super) fn each(
    path: &Path,
    decode: &mut dyn Decode,
    mut show: impl FnMut(Option<u64>, Option<u64>, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let (mut record, mut place) = (Vec::new(), 0);
    let mut records = Records::new(&mut file, decode);
    while let Some(cut) = records.next(&mut record)? {
        match cut.found {
            Some(Found::Header) => {
                show(None, None, &record)?;
                continue;
            }
            Some(Found::Row(seen)) => show(Some(place), Some(seen.row), &record)?,
            None => show(Some(place), None, &record)?,
        }
        place += 1;
    }
    Ok(())
}

fn keep(path: &Path, damaged: &[u8]) -> io::Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    let mut torn = options
        .create(true)
        .append(true)
        .open(beside(path, ".torn"))?;
    torn.write_all(damaged)?;
    torn.sync_data()
}

#[cfg(test)]
mod tests {
    use super::super::done::Done;
    use super::super::resume::{self, Unwanted};
    use super::*;

    #[test]
    fn what_is_to_go_goes_and_all_else_stays_in_its_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        let text = "a,_row,_ok\nx,0,true\nx,1,false\n!\n\"y\ny\",2,true\nz,0,true\nw,3,true\n";
        fs::write(&path, text).unwrap();
        let format: Format = "csv".parse().unwrap();
        let unwanted = Unwanted {
            failed: true,
            unknown: false,
            damaged: true,
        };
        let (done, mut decode) = (Done::by(None, format), format.decoder(None));
        let mut past =
            resume::read(&mut text.as_bytes(), &mut *decode, done, None, unwanted).unwrap();
        past.forget(&[3].into_iter().collect());
        let journal = without_dropped(&path, &past, format).unwrap();
        let left = "a,_row,_ok\nx,0,true\n\"y\ny\",2,true\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), left);
        assert_eq!((journal.end, journal.records), (left.len() as u64, 2));
        assert_eq!(journal.crc.finalize(), crc32fast::hash(left.as_bytes()));
        let torn = fs::read_to_string(beside(&path, ".torn")).unwrap();
        assert_eq!(torn, "!\n");
        assert!(!beside(&path, ".new").exists());
    }
}
