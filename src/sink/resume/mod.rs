//! The records that a results file has, and how far they can be trusted.

use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;

use roaring::RoaringTreemap;

use super::journal::record_cutter::RecordCutter;
use super::later_rows::RowParts;
use super::settings::{Existing, RetryFailed, Settings};
use super::sidecar::{Sidecar, Synced};
use crate::error::Error;
use crate::format::Format;
use crate::format::entry::{Decode, FoundRecord, ReadRecord};

pub(super) mod compare;
pub(super) mod completed;
mod rest;

use completed::{Added, CompletedRows, Keyed, Unfinished};

/// What an earlier run left in a file.
#[derive(Debug, Clone, Default)]
pub(super) struct ResumeState {
    /// The rows whose record stays.
    pub done: CompletedRows,
    /// The rows whose record is to go although it says what the server answered.
    pub answered: CompletedRows,
    /// The places, from 0, of the records that are to go.
    pub dropped: RoaringTreemap,
    /// The rows whose records are to go, wherever they stand: by what they are known.
    pub gone: RoaringTreemap,
    /// Where rows that are known by a key stand in the input now, if some stand
    /// elsewhere or are to go.
    pub moved: Option<Arc<Keyed>>,
    /// The rows of which only some items are there.
    pub unfinished: Unfinished,
    /// How many records stand there.
    pub records: u64,
    /// How many of them stand there a second time.
    pub twice: u64,
    /// How many are damaged.
    pub damaged: u64,
    /// How many are to go since the brake has ended the run that wrote them.
    pub braked: u64,
    /// How many failed.
    pub failed: u64,
    /// The items and rows that failed, and whose record is to go.
    pub retried: RowParts,
    /// The rows that failed, and whose record stays.
    pub left_failed: RoaringTreemap,
    /// The first whole line.
    pub first_line: Vec<u8>,
    /// Where the last whole record ends, in bytes; what follows is torn.
    pub end: u64,
    /// The checksum of all before that.
    pub crc: crc32fast::Hasher,
    /// Whether its beginning is not what throng last knew to be on the disk.
    pub edited: bool,
    /// How many of the records stand in parts, and not in the journal.
    pub in_parts: u64,
    /// Whether all that the journal has stands in parts as well.
    pub left_over: bool,
    /// If the file was not read: the number of its records that failed, and of those without
    /// values.
    pub assumed: Option<(u64, u64)>,
}

/// Which records of a file are not wanted any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Unwanted {
    /// Those that failed in one of these ways.
    pub failed: RetryFailed,
    /// Also those whose outcome is unknown.
    pub unknown: bool,
    /// What can't be read.
    pub damaged: bool,
    /// Those of these rows that failed: the brake has ended their run.
    pub braked: RoaringTreemap,
}

impl Unwanted {
    /// The records that a run with these settings does not want, of an output with this
    /// sidecar.
    pub fn new(settings: &Settings, resends: bool, before: Option<&Sidecar>) -> Unwanted {
        Unwanted {
            failed: settings.retry_failed.clone(),
            unknown: resends,
            damaged: settings.existing == Existing::ResumeDamaged,
            braked: before.into_iter().flat_map(|before| before.braked.iter().copied()).collect(),
        }
    }
}

/// Why a file cannot be gone on with.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The system says so.
    Io(io::Error),
    /// The record that begins at this line, counted from 1, is not throng's.
    Line(u64),
}

/// A way to the text, from its beginning.
pub(crate) type TextOpener<'a> = &'a dyn Fn() -> Result<Box<dyn BufRead>, Error>;

/// The records of a file that is continued.
pub(crate) fn continued(
    path: &Path,
    text: TextOpener,
    format: Format,
    key: Option<&str>,
    synced: Option<&Synced>,
    unwanted: &Unwanted,
) -> Result<ResumeState, Error> {
    let past = read(&mut *text()?, format, key, synced, unwanted);
    past.map_err(|error| match (flaw(text, format), error) {
        (Some(flaw), Unreadable::Line(1)) => {
            let why = format!("{} cannot be resumed: {flaw}", path.display());
            Error::plan(why).of_output(path.to_str())
        }
        (_, error) => unreadable(path, format, key, error),
    })
}

/// Why the text can't be read, as far as its first line tells.
fn flaw(text: TextOpener, format: Format) -> Option<String> {
    let mut line = String::new();
    text().ok()?.read_line(&mut line).ok()?;
    format.flaw_of(&line)
}

/// The records of parts, and of the journal of the next one.
pub(crate) fn continued_parts(
    directory: &Path,
    mut parts: Box<dyn BufRead>,
    mut journal: Box<dyn BufRead>,
    format: Format,
    key: Option<&str>,
    synced: Option<&Synced>,
    unwanted: &Unwanted,
) -> Result<ResumeState, Error> {
    let past = read_parts(&mut *parts, &mut *journal, format, key, synced, unwanted);
    past.map_err(|error| unreadable(directory, format, key, error))
}

fn unreadable(path: &Path, format: Format, key: Option<&str>, error: Unreadable) -> Error {
    let name = path.display();
    let line = match error {
        Unreadable::Io(error) => {
            let why = format!("the output {name} cannot be read: {error}");
            return Error::plan(why).caused_by(error).of_output(path.to_str());
        }
        Unreadable::Line(line) => line,
    };
    let needs = match key {
        Some(key) => format!("with _row, _ok and the key {key:?}"),
        None => "with _row and _ok".to_owned(),
    };
    let advice = match line {
        1 => {
            "is this the right file? One that was made with --no-meta begins anew with --overwrite"
        }
        _ => "mend or remove it, or run with --resume=damaged, which asks for its row again",
    };
    let why =
        format!("{name} cannot be resumed: line {line} is no {format} record {needs}: {advice}");
    Error::plan(why).of_output(path.to_str())
}

/// Why a file that has records is left alone, and what to do.
pub(crate) fn refuse(path: &Path, text: TextOpener, format: Format) -> Error {
    let name = path.display();
    let read = |mut text: Box<dyn BufRead>| {
        read(&mut *text, format, None, None, &Unwanted::default()).ok()
    };
    let Some(past) = text().ok().and_then(read) else {
        let why = format!(
            "{name} exists and is no {format} results file: choose another name, or replace it \
             with --overwrite"
        );
        return Error::plan(why).of_existing(path);
    };
    let rows = match past.done.len() {
        0 if past.records > 0 => counted(past.records, "record", "records"),
        rows => counted(rows, "row", "rows"),
    };
    let failed = match past.failed {
        0 => String::new(),
        failed => format!(", --retry-failed asks for the {failed} that failed as well"),
    };
    let why = format!(
        "{name} has {rows} already: --resume goes on with it{failed}, --overwrite starts again"
    );
    Error::plan(why).of_existing(path)
}

/// A number with what it counts.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Reads a results file to its end. A record counts only with its newline.
pub(super) fn read(
    input: &mut dyn BufRead,
    format: Format,
    key: Option<&str>,
    synced: Option<&Synced>,
    unwanted: &Unwanted,
) -> Result<ResumeState, Unreadable> {
    let mut past = ResumeState::none(CompletedRows::by(key, format));
    past.read(input, &mut *format.decoder(key), synced, unwanted)?;
    past.unfinished.without_ended();
    Ok(past)
}

/// Reads parts, and then the journal of those to come.
fn read_parts(
    parts: &mut dyn BufRead,
    journal: &mut dyn BufRead,
    format: Format,
    key: Option<&str>,
    synced: Option<&Synced>,
    unwanted: &Unwanted,
) -> Result<ResumeState, Unreadable> {
    let mut past = ResumeState::none(CompletedRows::by(key, format));
    let decode = &mut *format.decoder(key);
    past.read(parts, decode, None, unwanted)?;
    let twice = past.twice;
    past.in_parts = past.records;
    (past.end, past.crc) = (0, crc32fast::Hasher::new());
    past.read(journal, decode, synced, unwanted)?;
    let in_journal = past.records - past.in_parts;
    // It was made into a part, and the run ended before it was emptied.
    past.left_over = in_journal > 0 && past.twice - twice == in_journal;
    if past.left_over {
        past.dropped.remove_range(past.in_parts..);
        (past.records, past.twice) = (past.in_parts, twice);
        (past.end, past.crc) = (0, crc32fast::Hasher::new());
    }
    past.unfinished.without_ended();
    Ok(past)
}

impl ResumeState {
    /// A record for each of this number of rows, without reading them.
    pub fn assumed(rows: u64, failed: u64, missing: u64) -> ResumeState {
        ResumeState {
            done: CompletedRows::first(rows),
            records: rows,
            failed,
            assumed: Some((failed, missing)),
            ..ResumeState::default()
        }
    }

    /// Nothing yet; `none` says by what rows are known.
    fn none(none: CompletedRows) -> ResumeState {
        ResumeState { answered: none.clone(), done: none, ..ResumeState::default() }
    }

    fn read(
        &mut self,
        input: &mut dyn BufRead,
        decode: &mut dyn Decode,
        synced: Option<&Synced>,
        unwanted: &Unwanted,
    ) -> Result<(), Unreadable> {
        let mut records = RecordCutter::new(input, decode);
        let (mut record, mut line) = (Vec::new(), 1);
        while let Some(cut) = records.next(&mut record).map_err(Unreadable::Io)? {
            self.take(&record, cut.found, unwanted).ok_or(Unreadable::Line(line))?;
            let size = record.len() as u64;
            self.edited |= synced.is_some_and(|synced| self.differs_from(synced, size));
            line += cut.lines;
        }
        self.edited |= synced.is_some_and(|synced| self.end < synced.bytes);
        Ok(())
    }

    /// Whether this record is to go, as far as the file alone tells; a header never is.
    pub fn drops(&self, place: Option<u64>, seen: Option<&ReadRecord>) -> bool {
        place.is_some_and(|place| self.dropped.contains(place))
            || seen.is_some_and(|seen| self.gone.contains(self.done.id_of(seen)))
    }

    /// Whether there are records, and all of them are to go: the output begins anew, with the
    /// columns of the new run.
    pub fn keeps_none(&self) -> bool {
        self.records > 0 && self.records == self.dropped.len() && self.damaged == 0
    }

    /// The number that the row of this record has now; none if the record is to go.
    pub fn number(&self, seen: &ReadRecord) -> Option<u64> {
        match &self.moved {
            None => Some(seen.row),
            Some(moved) => moved.number(self.done.id_of(seen)),
        }
    }

    /// Whether any record is to go, or to be changed.
    pub fn is_to_be_rewritten(&self) -> bool {
        !self.dropped.is_empty() || !self.gone.is_empty() || self.moved.is_some()
    }

    /// The records of these rows are to go, which are known by their numbers.
    pub fn forget(&mut self, rows: &RoaringTreemap) {
        self.done.forget(rows);
        self.unfinished.forget(rows);
        self.left_failed -= rows;
        self.gone |= rows;
    }

    /// The records of rows of which some items are missing are to go.
    pub fn forget_unfinished(&mut self) {
        self.forget(&self.unfinished.rows());
    }

    /// The rows stand where this says; the records of all others are to go, which had
    /// these numbers.
    pub fn follow(&mut self, keyed: Arc<Keyed>, gone: &RoaringTreemap) {
        keyed.gone().for_each(|id| self.done.remove_id(id));
        self.left_failed -= gone;
        self.moved = Some(keyed);
    }

    /// None if the record can't be read, and that matters.
    fn take(
        &mut self,
        record: &[u8],
        found: Option<FoundRecord>,
        unwanted: &Unwanted,
    ) -> Option<()> {
        match found {
            Some(FoundRecord::Row(seen)) => self.row(&seen, unwanted),
            Some(FoundRecord::Header) => {}
            // Without its first line nothing says that the file is throng's.
            None if unwanted.damaged && self.end > 0 => {
                self.damaged += 1;
                self.drop_it();
            }
            None => return None,
        }
        if self.end == 0 {
            self.first_line = record.to_vec();
        }
        self.end += record.len() as u64;
        self.crc.update(record);
        Some(())
    }

    /// Asked after each record, one of which ended where the sync was.
    fn differs_from(&self, synced: &Synced, record: u64) -> bool {
        let is_there = (self.end - record..self.end).contains(&(synced.bytes.wrapping_sub(1)));
        let is_same = || self.end == synced.bytes && self.crc.clone().finalize() == synced.crc32;
        is_there && !is_same()
    }

    fn row(&mut self, seen: &ReadRecord, unwanted: &Unwanted) {
        self.failed += u64::from(!seen.is_ok());
        let is_chosen =
            !seen.is_ok() && seen.failed.as_ref().is_some_and(|kind| unwanted.failed.takes(kind));
        let has_values = seen.failed.is_none();
        let is_braked = !has_values && unwanted.braked.contains(seen.row);
        if (is_chosen || is_braked) && (unwanted.unknown || !seen.is_unknown()) {
            self.braked += u64::from(is_braked);
            self.unfinished.lacks(self.done.id_of(seen), seen);
            self.retried.insert(seen.row, seen.item);
            if !seen.is_unknown() {
                self.answered.add(seen);
            }
            return self.drop_it();
        }
        if self.count(seen) {
            self.records += 1;
            if !seen.is_ok() {
                self.left_failed.insert(seen.row);
            }
        } else {
            self.twice += 1;
            self.drop_it();
        }
    }

    /// A row with items is done with the last one that it lacked.
    fn count(&mut self, seen: &ReadRecord) -> bool {
        let id = self.done.id_of(seen);
        if seen.item.is_some() && self.done.has_id(id) && !self.unfinished.has_ended(id) {
            return false;
        }
        match self.unfinished.add(id, seen) {
            Added::Whole => self.done.add(seen),
            Added::Part => true,
            Added::Twice => false,
        }
    }

    fn drop_it(&mut self) {
        self.dropped.insert(self.records);
        self.records += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(format: &str, text: &str, unwanted: &Unwanted) -> Result<ResumeState, Unreadable> {
        let format: Format = format.parse().unwrap();
        read(&mut text.as_bytes(), format, None, None, unwanted)
    }

    fn whole(format: &str, text: &str) -> Result<ResumeState, Unreadable> {
        past(format, text, &Unwanted::default())
    }

    #[test]
    fn only_whole_records_count() {
        for (format, text, torn, rows) in [
            (
                "jsonl",
                "{\"_row\":3,\"_ok\":true}\n{\"a\":1,\"_row\":0,\"_ok\":true}\n",
                "{\"_row\":4,\"_ok\":true}",
                2,
            ),
            ("jsonl", "", "{\"_ro", 0),
            ("jsonl", "{\"_row\":3,\"_ok\":true}\n", "\0\0\0", 1),
            ("csv", "a,_row,_ok\n\"x\ny\",5,true\n", "z,6", 1),
            ("csv", "a,_row,_ok\nx,5,true\n", "z,6,\"a\n", 1),
            ("csv", "a,_row,_ok\n", "\"x\n", 0),
            ("csv", "", "a,_ro", 0),
        ] {
            let past = whole(format, &format!("{text}{torn}")).unwrap();
            assert_eq!(past.end, text.len() as u64, "{text}");
            assert_eq!(past.done.len(), rows, "{text}");
        }
    }

    #[test]
    fn of_two_records_of_a_row_the_first_one_stays() {
        let past = whole(
            "jsonl",
            "{\"_row\":3,\"_ok\":true}\n{\"_row\":3,\"_ok\":true}\n{\"_row\":4,\"_ok\":true}\n",
        )
        .unwrap();
        assert_eq!((past.done.len(), past.twice, past.done.end()), (2, 1, 5));
        assert_eq!(past.dropped.iter().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn failed_records_are_dropped_if_they_are_to_be_asked_for_again() {
        let text = "{\"_row\":0,\"_ok\":true}\n{\"_row\":1,\"_ok\":false,\"_error\":\"timeout\"}\n\
                    {\"_row\":2,\"_ok\":false,\"_error\":\"outcome unknown\"}\n";
        for (unknown, done) in [(false, 2), (true, 1)] {
            let unwanted = &Unwanted { failed: RetryFailed::All, unknown, ..Unwanted::default() };
            let past = past("jsonl", text, unwanted).unwrap();
            assert_eq!((past.done.len(), past.failed), (done, 2));
        }
    }

    #[test]
    fn what_is_not_ours_is_told_by_its_line() {
        for (format, text, line) in [
            ("jsonl", "{\"_row\":1,\"_ok\":true}\n{\"a\":1}\n", 2),
            ("jsonl", "hello\n", 1),
            ("csv", "a,_row,_ok\n\"x\ny\",5,true\nz\n", 4),
            ("csv", "a,b\n1,2\n", 1),
        ] {
            let error = whole(format, text).unwrap_err();
            assert!(matches!(error, Unreadable::Line(at) if at == line), "{text}");
        }
    }

    #[test]
    fn what_is_no_text_is_no_record() {
        for (format, text) in [
            ("jsonl", &b"{\"a\":\"\xff\",\"_row\":2,\"_ok\":true}\n"[..]),
            ("csv", b"a,_row,_ok\n\xff,5,true\n"),
        ] {
            let format: Format = format.parse().unwrap();
            let read = read(&mut &*text, format, None, None, &Unwanted::default());
            assert!(matches!(read, Err(Unreadable::Line(_))));
        }
    }

    #[test]
    fn damaged_records_can_be_dropped() {
        let unwanted = &Unwanted { damaged: true, ..Unwanted::default() };
        let past = past(
            "jsonl",
            "{\"_row\":1,\"_ok\":true}\n\0\0{\"_row\n{\"_row\":2,\"_ok\":true}\n",
            unwanted,
        )
        .unwrap();
        assert_eq!((past.done.len(), past.damaged, past.records), (2, 1, 3));
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_own_record() {
        let unwanted = &Unwanted { damaged: true, ..Unwanted::default() };
        let header = "a,_row,_ok\n";
        for (broken, after) in [
            ("\"x,0,true\n", "y,1,true\nz,2,true\n"),
            ("\"x,0,true\n", "y,1,true\n\"z,\"\"\",2,true\n"),
            ("\"x,0,true\n", "\"y\ny\",1,true\n\"z\nz\",2,true\n"),
            ("x\",0,true\n", "\"y\ny\",1,true\nz,2,true\n"),
            ("\"x\"x,0,true\n", "y,1,true\n\"z\nz\",2,true\n"),
            ("\"x\n\"x,0,true\n", "y,1,true\n\"z\nz\",2,true\n"),
        ] {
            let text = format!("{header}{broken}{after}");
            let error = whole("csv", &text).unwrap_err();
            assert!(matches!(error, Unreadable::Line(2)), "{text}");
            let past = past("csv", &format!("{text}\"w\n"), unwanted).unwrap();
            assert_eq!(past.end, text.len() as u64, "{text}");
            let rows = [1, 2].map(|row| past.done.has_id(row));
            assert_eq!((past.done.len(), rows), (2, [true; 2]), "{text}");
            assert_eq!(past.damaged, broken.lines().count() as u64, "{text}");
        }
    }

    #[test]
    fn a_text_that_holds_records_is_whole_if_it_ends() {
        let text = "a,_row,_ok\n\"x\ny,1,true\n\",0,true\n";
        let past = whole("csv", text).unwrap();
        assert_eq!((past.done.len(), past.done.end(), past.end), (1, 1, text.len() as u64));
    }

    #[test]
    fn a_file_that_a_spreadsheet_has_saved_is_read() {
        let text = "\u{feff}\"a\",_row,_ok\r\nx,3,TRUE\r\n\"y\ny\",\"4\",FALSE\r\n";
        let past = whole("csv", text).unwrap();
        assert_eq!((past.done.len(), past.failed, past.end), (2, 1, text.len() as u64));
    }

    #[test]
    fn what_was_edited_after_the_last_sync_is_noticed() {
        let text = "{\"_row\":1,\"_ok\":true}\n{\"_row\":2,\"_ok\":true}\n";
        let synced =
            |of: &str| Synced { bytes: of.len() as u64, crc32: crc32fast::hash(of.as_bytes()) };
        let edited = |synced: &Synced| {
            let past =
                read(&mut text.as_bytes(), Format::JSONL, None, Some(synced), &Unwanted::default());
            past.unwrap().edited
        };
        assert!(!edited(&synced(text)) && !edited(&synced("{\"_row\":1,\"_ok\":true}\n")));
        assert!(edited(&synced("{\"_row\":7,\"_ok\":true}\n")), "another value");
        assert!(
            edited(&synced("{\"_row\":10,\"_ok\":true}\n{\"_row\":2,\"_ok\":true}\n")),
            "something is missing"
        );
    }
}
