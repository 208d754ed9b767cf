//! A results file, cut into its records.
//!
//! A damaged record must cost only itself. One whose quote is never closed seems to go
//! on for ever, or up to a quote of a later record: then only its first line is
//! damaged, and what follows that is read again.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use crate::format::entry::{Decode, FoundRecord, ReadRecord};

/// A record that is longer may be damaged: it is looked at before it has ended. In bytes.
const LONG: usize = 64 << 20;

/// The records of a text, one after the other.
pub(crate) struct RecordCutter<'a> {
    input: &'a mut dyn BufRead,
    decode: &'a mut dyn Decode,
    /// Bytes that were read for a damaged record and stand after it.
    ahead: Vec<u8>,
    /// The number of these that were taken again.
    taken: usize,
    /// Whether all of this record was.
    is_ahead: bool,
    /// Whether a record could be read, so that the next ones can be known for records.
    begun: bool,
}

/// One record of a file.
pub(crate) struct Cut {
    /// Its number of lines.
    pub lines: u64,
    /// The parsed record; none if it is damaged.
    pub found: Option<FoundRecord>,
}

impl<'a> RecordCutter<'a> {
    /// From the beginning of a text.
    pub fn new(input: &'a mut dyn BufRead, decode: &'a mut dyn Decode) -> RecordCutter<'a> {
        RecordCutter { input, decode, ahead: Vec::new(), taken: 0, is_ahead: true, begun: false }
    }

    /// Fills `record` with the next one; none if what is left has no newline, or if
    /// it is a record that was never written to its end.
    pub fn next(&mut self, record: &mut Vec<u8>) -> io::Result<Option<Cut>> {
        record.clear();
        self.decode.begin();
        self.is_ahead = true;
        let (mut first, mut long) = (0, LONG);
        for lines in 1.. {
            let start = record.len();
            self.line(record)?;
            if !record[start..].ends_with(b"\n") {
                let is_torn = !self.is_one_in(record, first);
                return Ok((!is_torn).then(|| self.damaged(record, first)));
            }
            if self.decode.ends(&record[start..]) {
                let found = found(self.decode, record);
                if found.is_none() && lines > 1 {
                    return Ok(Some(self.damaged(record, first)));
                }
                self.begun |= found.is_some();
                return Ok(Some(Cut { lines, found }));
            }
            if lines == 1 {
                first = record.len();
            }
            if record.len() > long {
                if self.is_one_in(record, first) {
                    return Ok(Some(self.damaged(record, first)));
                }
                long *= 2;
                // It goes on where it was.
                self.whole(record);
            }
        }
        Ok(None)
    }

    /// Where the number of the row stands in a record.
    pub fn row_at(&self, record: &[u8]) -> Option<Range<usize>> {
        self.decode.row_at(record)
    }

    fn line(&mut self, record: &mut Vec<u8>) -> io::Result<()> {
        let ahead = &self.ahead[self.taken..];
        if let Some(line) = line(ahead) {
            record.extend_from_slice(line);
            self.taken += line.len();
            return Ok(());
        }
        record.extend_from_slice(ahead);
        self.ahead.clear();
        (self.taken, self.is_ahead) = (0, false);
        self.input.read_until(b'\n', record)?;
        Ok(())
    }

    /// Only the first line is; what follows it is still to be read.
    fn damaged(&mut self, record: &mut Vec<u8>, first: usize) -> Cut {
        if self.is_ahead {
            self.taken -= record.len() - first;
        } else {
            self.ahead = record[first..].to_vec();
        }
        record.truncate(first);
        Cut { lines: 1, found: None }
    }

    /// Whether a whole record of a row begins with one of the lines after the first.
    fn is_one_in(&mut self, record: &[u8], first: usize) -> bool {
        let mut lines = &record[first..];
        while self.begun && first > 0 && !lines.is_empty() {
            let whole = self.whole(lines);
            if let Some(FoundRecord::Row(_)) = whole.and_then(|whole| found(self.decode, whole)) {
                return true;
            }
            lines = line(lines).map_or(&[], |line| &lines[line.len()..]);
        }
        false
    }

    /// The whole record that these lines begin with.
    fn whole<'b>(&mut self, lines: &'b [u8]) -> Option<&'b [u8]> {
        self.decode.begin();
        let mut end = 0;
        loop {
            let line = line(&lines[end..])?;
            end += line.len();
            if self.decode.ends(line) {
                return Some(&lines[..end]);
            }
        }
    }
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

/// The first line of these, with its newline.
fn line(lines: &[u8]) -> Option<&[u8]> {
    let end = lines.iter().position(|&byte| byte == b'\n')?;
    Some(&lines[..=end])
}

/// The parsed record; none if it is no text, whatever it looks like.
fn found(decode: &mut dyn Decode, record: &[u8]) -> Option<FoundRecord> {
    str::from_utf8(record).ok()?;
    decode.read(record)
}
