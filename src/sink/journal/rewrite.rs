//! A results file without the records that are to go: a new file takes the
//! place of the old one at once, so that a crash leaves one of them.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use super::disk::FileAtPath;
use super::open_output::Journal;
use super::record_cutter::RecordCutter;
use crate::format::Format;
use crate::format::entry::{Decode, FoundRecord, ReadRecord};
use crate::fs::{file_lock, sync_directory};
use crate::sink::resume::ResumeState;
use crate::sink::sidecar::place::beside;

/// Replaces the file; the records that can't be read are kept beside it.
pub(crate) fn without_dropped(
    path: &Path,
    past: &ResumeState,
    format: Format,
) -> io::Result<Journal> {
    let name = beside(path, ".new");
    // It is locked before it has its place, and keeps its lock.
    drop(File::create(&name)?);
    let mut new = BufWriter::new(file_lock::take_to_append(&name)?);
    let mut damaged = Vec::new();
    let (mut end, mut crc, mut records) = (0, crc32fast::Hasher::new(), 0);
    let mut decode = format.decoder(past.done.key());
    each(path, &mut *decode, |of| {
        let number = if past.drops(of.place, of.seen) {
            None
        } else {
            of.seen.map_or(Some(0), |seen| past.number(seen))
        };
        let Some(number) = number else {
            if of.seen.is_none() {
                damaged.extend_from_slice(of.bytes);
            }
            return Ok(());
        };
        let moves = of.seen.is_some_and(|seen| seen.row != number);
        let record =
            if moves { renumbered(of.bytes, of.row_at, number)? } else { Cow::Borrowed(of.bytes) };
        end += record.len() as u64;
        crc.update(&record);
        records += u64::from(of.place.is_some());
        new.write_all(&record)
    })?;
    keep(path, &damaged)?;
    let file = new.into_inner()?;
    file.sync_data()?;
    fs::rename(&name, path)?;
    sync_directory(path)?;
    Ok(Journal { disk: Box::new(FileAtPath::new(file, path.to_owned(), end)), end, crc, records })
}

/// A record whose row has another number now.
fn renumbered(
    record: &[u8],
    at: Option<Range<usize>>,
    number: u64,
) -> io::Result<Cow<'static, [u8]>> {
    let at = at.ok_or_else(|| io::Error::other("a record does not tell where its _row is"))?;
    let number = number.to_string();
    let parts = [&record[..at.start], number.as_bytes(), &record[at.end..]];
    Ok(Cow::Owned(parts.concat()))
}

/// A whole record of a file.
pub(crate) struct ShownRecord<'a> {
    /// Its place among the records, from 0; a header has none.
    pub place: Option<u64>,
    /// The parsed record, if it can be read.
    pub seen: Option<&'a ReadRecord>,
    /// Where its row's number stands.
    pub row_at: Option<Range<usize>>,
    pub bytes: &'a [u8],
}

/// Shows all whole records in their order.
pub(crate) fn each(
    path: &Path,
    decode: &mut dyn Decode,
    mut show: impl FnMut(ShownRecord) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let (mut record, mut place) = (Vec::new(), 0);
    let mut records = RecordCutter::new(&mut file, decode);
    while let Some(cut) = records.next(&mut record)? {
        let is_header = matches!(cut.found, Some(FoundRecord::Header));
        let seen = match &cut.found {
            Some(FoundRecord::Row(seen)) => Some(seen),
            _ => None,
        };
        show(ShownRecord {
            place: (!is_header).then_some(place),
            seen,
            row_at: seen.and_then(|_| records.row_at(&record)),
            bytes: &record,
        })?;
        place += u64::from(!is_header);
    }
    Ok(())
}

fn keep(path: &Path, damaged: &[u8]) -> io::Result<()> {
    if damaged.is_empty() {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    let mut torn = options.create(true).append(true).open(beside(path, ".torn"))?;
    torn.write_all(damaged)?;
    torn.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::resume::completed::CompletedRows;
    use crate::sink::resume::{self, Unwanted};

    #[test]
    fn what_is_to_go_goes_and_all_else_stays_in_its_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        let text = "a,_row,_ok\nx,0,true\nx,1,false\n!\n\"y\ny\",2,true\nz,0,true\nw,3,true\n";
        fs::write(&path, text).unwrap();
        let format: Format = "csv".parse().unwrap();
        let unwanted = Unwanted { failed: true, unknown: false, damaged: true };
        let (done, mut decode) = (CompletedRows::by(None, format), format.decoder(None));
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
