//! (1) Bytes to rows.
//!
//! [`Settings`] say where the rows are, a [`Source`] is that place once it is
//! checked, and [`InputFormat`] is how its bytes are written. The files:
//!
//! - `origin`: what the settings come down to: a file, standard input or a list
//! - `file`: finds and opens files and standard input, the only door here
//! - `head`: the first bytes of a text, and what they tell about the rest
//! - `format`: the formats by name and by extension
//! - `csv`, `jsonl`, `json`, `lines`, `list`, `parquet`, `sqlite`: one format each
//! - `packed`: texts that are compressed
//! - `records`, `values`, `header`: what a table is cut into, and must fit
//! - `guard`: what stands before a text that looks like a formula
//! - `quotes`: what the quotes of a table mean, byte by byte
//! - `located`: where in a text a mistake is
//! - `names`: what a field may be called, and what else all formats agree on
//! - `rows`, `survey`: the two uses of a source, to send and to look ahead
//!
//! A new format is one file, one variant of [`InputFormat`] and one line in `FORMATS`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;

mod csv;
mod file;
mod format;
pub(crate) mod guard;
mod head;
mod header;
mod json;
mod jsonl;
mod lines;
mod list;
mod located;
mod names;
mod origin;
mod packed;
pub(crate) mod parquet;
pub(crate) mod quotes;
mod records;
mod requests;
mod rows;
pub(crate) mod sqlite;
mod survey;
#[cfg(test)]
mod tests;
mod values;

use format::{InputFormatEntry, Open};
use origin::SourceOrigin;
pub use packed::Packing;
pub use rows::Rows;
pub use survey::Survey;

/// The named fields of a row, in the order of the input.
pub type Fields = Map<String, Value>;

/// One unit of input: it becomes one request and one record, or one record for
/// each item of its answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// Its place in the input, from 0.
    pub number: u64,
    /// Its values by name.
    pub fields: Fields,
    /// Which of its row's items it is, in a job that has items.
    pub item: Option<Item>,
}

/// One of the items that a row's answers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Its place among the row's items, from 0; none if the row came to no item.
    pub number: Option<u64>,
    /// Whether the row has no item after it.
    pub last: bool,
}

/// The `input` of a job: where its rows come from. Exactly one of `file` and
/// `list` is to be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The path of a file or of a directory of Parquet files, or `-` for standard input.
    pub file: Option<String>,
    /// How the file is written; if absent, its extension tells.
    pub format: Option<InputFormat>,
    /// The table to read of a SQLite database; if absent, `results` or the only one.
    pub table: Option<String>,
    /// How many rows to take from the start; if absent, all.
    pub take: Option<u64>,
    /// The rows themselves: objects, or texts that become the field `line`.
    pub list: Option<Vec<Value>>,
}

/// By what the beginning of an input is known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFingerprint {
    /// How many bytes.
    pub bytes: u64,
    /// Their hash.
    pub blake3: String,
}

/// How the bytes of a source are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputFormat {
    /// A table with commas; all values are texts.
    Csv,
    /// A table with tabs; all values are texts.
    Tsv,
    /// One JSON object per line.
    Jsonl,
    /// One JSON array of objects.
    Json,
    /// Plain lines, each of them the field `line`.
    Lines,
    /// One JSON object per line, each of them a request: `method`, `url`, `headers`, `body`.
    Requests,
    /// A Parquet file.
    Parquet,
    /// A table of a SQLite database.
    Sqlite,
}

/// One line for each format, in the order of [`InputFormat`].
#[rustfmt::skip]
static FORMATS: [InputFormatEntry; 8] = [
    InputFormatEntry { format: InputFormat::Csv, name: "csv", extensions: &["csv"],
        about: "a table with commas", open: Open::Text(|text, name| csv::open(text, name, b',')) },
    InputFormatEntry { format: InputFormat::Tsv, name: "tsv", extensions: &["tsv"],
        about: "a table with tabs", open: Open::Text(|text, name| csv::open(text, name, b'\t')) },
    InputFormatEntry { format: InputFormat::Jsonl, name: "jsonl", extensions: &["jsonl", "ndjson"],
        about: "one JSON object per line", open: Open::Text(jsonl::open) },
    InputFormatEntry { format: InputFormat::Json, name: "json", extensions: &["json"],
        about: "one JSON array of objects", open: Open::Text(json::open) },
    InputFormatEntry { format: InputFormat::Lines, name: "lines", extensions: &["txt"],
        about: "plain lines, each the field `line`", open: Open::Text(lines::open) },
    InputFormatEntry { format: InputFormat::Requests, name: "requests", extensions: &[],
        about: "ready-made requests, one JSON object per line", open: Open::Text(requests::open) },
    InputFormatEntry { format: InputFormat::Parquet, name: "parquet", extensions: &["parquet"],
        about: "a Parquet file", open: Open::File(parquet::open) },
    InputFormatEntry { format: InputFormat::Sqlite, name: "sqlite", extensions: &["db", "sqlite", "sqlite3"],
        about: "a table of a SQLite database", open: Open::File(|path| sqlite::open(path, None)) },
];

/// Where rows come from, checked: they can be asked for.
#[derive(Debug, Clone)]
pub struct Source {
    origin: SourceOrigin,
    most: u64,
}

impl Source {
    /// Checks what can be checked before reading: that there is one source,
    /// that a file can be read, and that its format is known.
    ///
    /// # Errors
    ///
    /// A plan error for whichever of these is not so.
    pub fn new(settings: &Settings) -> Result<Source, Error> {
        Ok(Source {
            origin: SourceOrigin::new(settings).map_err(Error::plan)?,
            most: settings.take.unwrap_or(u64::MAX),
        })
    }

    /// What messages call it: its path, `standard input` or `the job's list`.
    #[must_use]
    pub fn name(&self) -> String {
        self.origin.name()
    }

    /// The path of its file or directory, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<String> {
        match &self.origin {
            SourceOrigin::File(path, _) | SourceOrigin::Table(path, _) => {
                Some(path.display().to_string())
            }
            SourceOrigin::Stdin(_) | SourceOrigin::List(_) => None,
        }
    }

    /// Opens the source and gives its rows one by one, in bounded memory.
    /// They end after the first error. Standard input gives its rows only once.
    ///
    /// # Errors
    ///
    /// A plan error if the source cannot be opened or its beginning is wrong.
    /// A later mistake is an item: a plan error before the first row, then a stop.
    pub fn rows(&self) -> Result<Rows, Error> {
        let items = self.origin.open().map_err(Error::plan)?;
        Ok(rows::numbered(items, self.most))
    }

    /// The hash of the first `most` bytes, by which they are known again; none
    /// if they can't be read twice.
    ///
    /// # Errors
    ///
    /// A plan error if they can't be read.
    pub fn print(&self, most: u64) -> Result<Option<InputFingerprint>, Error> {
        let print = self.origin.print(most).map_err(Error::plan)?;
        Ok(print.map(|(bytes, blake3)| InputFingerprint { bytes, blake3 }))
    }

    /// Whether it can be read more than once; a pipe can't.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.origin.lasts()
    }

    /// Reads all rows once, where they can be read again afterwards, so that
    /// mistakes are found before anything is sent.
    ///
    /// # Errors
    ///
    /// A plan error for the first mistake in the data, with its place.
    pub fn survey(&self) -> Result<Survey, Error> {
        if !self.origin.lasts() {
            return Ok(Survey::default());
        }
        let mut items = self.origin.open().map_err(Error::plan)?;
        items.survey(self.most).map_err(Error::plan)
    }
}
