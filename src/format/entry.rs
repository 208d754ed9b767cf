//! What a format can do: one [`FormatEntry`] for each, in the file of that format.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use super::column_set::ColumnSet;
use super::columns::Columns;
use super::rows::{OpenedRows, OpenedText, TextOptions};
use crate::error::Error;
use crate::record::{FailureKind, Record};
use crate::row::Fields;

/// One format.
pub(crate) struct FormatEntry {
    /// As the job and the flags have it.
    pub name: &'static str,
    /// The endings of file names, without the dot, in small letters; the usual one first.
    pub extensions: &'static [&'static str],
    /// How its rows are read.
    pub read: Read,
    /// How it is written; none if it is only read.
    pub write: Option<Write>,
}

impl FormatEntry {
    /// A format that this build lacks, and knows only to say why.
    #[allow(dead_code, reason = "a build with all features lacks none")]
    pub const fn missing(
        name: &'static str,
        extensions: &'static [&'static str],
        why: &'static str,
    ) -> FormatEntry {
        let read = Read::Missing { why, is_written: true };
        FormatEntry { name, extensions, read, write: None }
    }

    /// A format that this build lacks, and that others only read.
    #[allow(dead_code, reason = "a build with all features lacks none")]
    pub const fn missing_input(
        name: &'static str,
        extensions: &'static [&'static str],
        why: &'static str,
    ) -> FormatEntry {
        let read = Read::Missing { why, is_written: false };
        FormatEntry { name, extensions, read, write: None }
    }
}

/// How the rows of a format are read.
pub(crate) enum Read {
    /// From a text's beginning; messages call the text by the name given. The first line
    /// that is not blank is in the text's buffer.
    Text(fn(OpenedText, &str, &TextOptions) -> OpenedRows),
    /// From a file, in any order of its bytes.
    File(fn(&Path) -> OpenedRows),
    /// From one table of a file, after so many rows; without a name, from the format's default.
    Tables(fn(&Path, Option<&str>, u64) -> OpenedRows),
    /// Not in this build.
    Missing {
        /// Names the feature that the build lacks.
        why: &'static str,
        /// Whether a build with the feature writes it too.
        is_written: bool,
    },
}

/// How a format is written.
pub(crate) struct Write {
    /// Begins a new file for rows with these columns.
    pub table: fn(&Path, ColumnSet) -> NewTable,
    /// How the records of a run get into its file.
    pub records: Records,
}

/// How the records of a run get into a file of a format.
pub(crate) enum Records {
    /// One by one: the file is its own journal.
    Appended(Codec),
    /// All at once, of a journal of JSON Lines, when the run is complete.
    AtTheEnd,
    /// With each write to a journal of JSON Lines.
    WithJournal(Mirror),
}

/// A new table, or why it can't be made.
pub(crate) type NewTable = Result<Box<dyn TableWriter>, String>;

/// A table in the making.
pub(crate) trait TableWriter {
    /// Adds a row.
    fn row(&mut self, fields: &Fields) -> Result<(), String>;

    /// Writes what is left, and closes the file.
    fn end(self: Box<Self>) -> Result<(), String>;
}

/// An encoder, or why a file can't be continued with it.
pub(crate) type NewEncoder = Result<Box<dyn Encode>, Error>;

/// Records as a text that grows, and that can be read back.
pub(crate) struct Codec {
    /// Writes records; with the first line of the file that is continued.
    pub encoder: fn(&Columns, Option<&[u8]>) -> NewEncoder,
    /// Reads records; with the field that identifies rows.
    pub decoder: fn(Option<&str>) -> Box<dyn Decode>,
    /// The columns of the file with this first line; an error if a run with the given
    /// columns can't continue it.
    pub columns: fn(&Columns, &[u8]) -> Result<Columns, Error>,
    /// Why a text with this first line can't be read, as far as the line tells.
    pub flaw: fn(&str) -> Option<String>,
    /// A value of the input as it stands in a record.
    pub value: fn(&Value) -> Vec<u8>,
    /// The beginning of the record of a row with these fields.
    pub start: fn(&Columns, &Fields) -> Vec<u8>,
}

/// A file that follows a journal.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Opens or makes the file; with the columns that identify a record.
    pub open: fn(&Path, &[&str]) -> OpenedMirror,
    /// The endings of the files that the format keeps beside the file.
    pub beside: &'static [&'static str],
    /// Why a file can't have these columns, if it can't; with the file's name.
    pub flaw: fn(&Columns, &str) -> Option<String>,
}

/// A mirror, or why it can't be opened.
pub(crate) type OpenedMirror = Result<Box<dyn MirrorFile>, String>;

/// An open file that follows a journal.
pub(crate) trait MirrorFile: Send {
    /// The number of rows that it has.
    fn count(&self) -> Result<u64, String>;

    /// Adds rows, all of them or none.
    fn add(&mut self, rows: &[Fields]) -> Result<(), String>;

    /// Completes the file.
    fn close(self: Box<Self>) -> Result<(), String>;
}

/// How one format writes a record.
pub(crate) trait Encode: Send {
    /// Appends what stands before the first record of a new file.
    fn start(&mut self, _out: &mut Vec<u8>) {}

    /// Appends the whole of one record; on an error, nothing.
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Error>;
}

/// How one format is read back, record by record.
pub(crate) trait Decode {
    /// The next line is the first one of a record.
    fn begin(&mut self) {}

    /// Whether a record ends with this line, which ends with a newline. So does one that
    /// can't be a record any more.
    fn ends(&mut self, line: &[u8]) -> bool;

    /// What this whole record is; none if throng did not write it.
    fn read(&mut self, record: &[u8]) -> Option<FoundRecord>;

    /// Where in a record that was read its row's number stands.
    fn row_at(&self, record: &[u8]) -> Option<Range<usize>>;
}

/// What a whole record of a finished file is.
#[derive(Debug, PartialEq)]
pub(crate) enum FoundRecord {
    /// The names of the columns.
    Header,
    /// A row's.
    Row(ReadRecord),
}

/// What is read back of a record.
#[derive(Debug, PartialEq)]
pub(crate) struct ReadRecord {
    pub row: u64,
    /// Which of the row's items it is, if it is one.
    pub item: Option<u64>,
    /// Whether no item of the row comes after it.
    pub last: bool,
    /// The kind of its failure, if it failed; `missing` if it is done without values.
    pub failed: Option<FailureKind>,
    /// The field that identifies the row, as the format writes it.
    pub key: Option<Vec<u8>>,
}

impl ReadRecord {
    /// Whether the row is done.
    pub fn is_ok(&self) -> bool {
        self.failed.is_none() || self.is_missing()
    }

    /// Whether the row is done without values.
    pub fn is_missing(&self) -> bool {
        self.failed == Some(FailureKind::Missing)
    }

    /// The kind of a failure by what a record says: of one that is not `ok`, or of a row that is
    /// `missing`.
    pub fn failure(ok: bool, error: Option<&str>) -> Option<FailureKind> {
        match error {
            Some("missing") if ok => Some(FailureKind::Missing),
            error => (!ok).then(|| FailureKind::parse(error.unwrap_or_default())),
        }
    }

    /// Whether the server may have done what it was asked.
    pub fn is_unknown(&self) -> bool {
        self.failed == Some(FailureKind::OutcomeUnknown)
    }
}
