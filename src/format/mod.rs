//! The formats of files: which there are, and what each can do.
//!
//! To add one: a file here with its [`FormatEntry`], and a line in [`FORMATS`].
//!
//! - `entry`: the parts of a format; `rows`: rows as all formats give them
//! - `columns`: the names of a run's records; `column_set`: the columns of a table
//! - `document`: the rows of JSON documents that are no arrays
//! - `compress`: texts that are compressed

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::row::Fields;

#[cfg_attr(not(feature = "arrow"), path = "arrow/disabled.rs")]
pub(crate) mod arrow;
pub(crate) mod column_set;
mod columns;
pub(crate) mod compress;
mod csv;
pub(crate) mod document;
pub(crate) mod entry;
pub(crate) mod json;
mod jsonl;
pub(crate) mod lines;
mod openai_batch;
#[cfg_attr(not(feature = "parquet"), path = "parquet/disabled.rs")]
pub(crate) mod parquet;
pub(crate) mod parquet_files;
mod requests;
pub(crate) mod rows;
#[cfg_attr(not(feature = "sqlite"), path = "sqlite/disabled.rs")]
mod sqlite;
mod times;
#[cfg_attr(not(feature = "xlsx"), path = "xlsx/disabled.rs")]
mod xlsx;

use column_set::ColumnSet;
pub use columns::{Columns, KeepBody, RESERVED};
use compress::Packing;
pub(crate) use entry::{Codec, Mirror, MirrorFile, Read, Records};
use entry::{Decode, FormatEntry, NewEncoder, NewTable};
pub use rows::Survey;
use rows::shown;

/// All formats, in the order in which messages name them.
static FORMATS: &[&FormatEntry] = &[
    &csv::CSV,
    &csv::TSV,
    &jsonl::FORMAT,
    &json::FORMAT,
    &lines::FORMAT,
    &requests::FORMAT,
    &openai_batch::FORMAT,
    &parquet::FORMAT,
    &sqlite::FORMAT,
    &arrow::FORMAT,
    &xlsx::FORMAT,
];

/// Whether a line of unknown format is the header of a table with `;` or `|`.
pub(crate) fn is_table_header(line: &[u8]) -> bool {
    csv::is_header(line)
}

/// One of the formats, by its name.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct Format(&'static FormatEntry);

impl Format {
    /// A table with commas.
    pub const CSV: Format = Format(&csv::CSV);
    /// A table with tabs.
    pub const TSV: Format = Format(&csv::TSV);
    /// One JSON object per line; also the format of every journal that is no output.
    pub const JSONL: Format = Format(&jsonl::FORMAT);
    /// One JSON array of objects.
    pub const JSON: Format = Format(&json::FORMAT);
    /// Plain lines.
    pub const LINES: Format = Format(&lines::FORMAT);
    /// Ready-made requests.
    pub const REQUESTS: Format = Format(&requests::FORMAT);
    /// A Parquet file.
    pub const PARQUET: Format = Format(&parquet::FORMAT);

    /// All formats: each can be read.
    pub fn all() -> impl Iterator<Item = Format> {
        FORMATS.iter().map(|entry| Format(entry))
    }

    /// The formats that can be written.
    pub fn outputs() -> impl Iterator<Item = Format> {
        Format::all().filter(|format| format.is_output())
    }

    /// Its name, as the job and the flags have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The endings of its files' names, without the dot.
    #[must_use]
    pub fn extensions(self) -> &'static [&'static str] {
        self.0.extensions
    }

    /// Whether it is known as an output, which this build may lack.
    fn is_output(self) -> bool {
        self.0.write.is_some() || matches!(self.0.read, Read::Missing { is_written: true, .. })
    }

    /// Why this build lacks it, if it does.
    pub(crate) fn missing(self) -> Option<&'static str> {
        if let Read::Missing { why, .. } = self.0.read { Some(why) } else { None }
    }

    /// Makes sure that this build can write it to this path, compressed as the name says.
    pub(crate) fn check_written(self, path: &Path) -> Result<(), Error> {
        let packing = Packing::of(path).0.and_then(Packing::missing);
        match self.missing().or(packing) {
            Some(why) => Err(Error::plan(format!("{} cannot be written: {why}", path.display()))),
            None => Ok(()),
        }
    }

    /// Whether it is a text, which may be compressed and may come from a pipe.
    pub(crate) fn is_text(self) -> bool {
        matches!(self.0.read, Read::Text(_))
    }

    /// Whether it has sheets, whose first rows may be no part of a table.
    pub(crate) fn has_sheets(self) -> bool {
        self.0.name == xlsx::FORMAT.name
    }

    /// Whether it has a form that columns can't be chosen for.
    pub(crate) fn has_own_form(self) -> bool {
        self.0.name == openai_batch::FORMAT.name
    }

    /// The format that a path's extension stands for, in capitals or not, compressed or
    /// not.
    pub(crate) fn of_path(path: &Path) -> Option<Format> {
        let (_, path) = Packing::of(path);
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Format::all().find(|format| format.extensions().contains(&extension.as_str()))
    }

    /// The format that a path's extension stands for, if it can be written.
    pub(crate) fn of_output(path: &Path) -> Option<Format> {
        Format::of_path(path).filter(|format| format.is_output())
    }

    /// The endings of the names of files that can be written, for messages.
    pub(crate) fn output_extensions() -> String {
        let all = Format::outputs().flat_map(Format::extensions);
        let all: Vec<String> = all.map(|end| format!(".{end}")).collect();
        all.join(", ")
    }

    /// How its rows are read.
    pub(crate) fn reader(self) -> &'static Read {
        &self.0.read
    }

    /// Begins a new file for rows with these columns.
    pub(crate) fn table(self, path: &Path, columns: ColumnSet) -> NewTable {
        match &self.0.write {
            Some(write) => (write.table)(path, columns),
            None => Err(format!("{self} is not written, only read")),
        }
    }

    /// How the records of a run get into its file.
    pub(crate) fn records(self) -> &'static Records {
        let write = self.0.write.as_ref();
        write.map_or(&Records::AtTheEnd, |write| &write.records)
    }

    /// Whether records are appended to its file one by one.
    pub(crate) fn is_appended(self) -> bool {
        matches!(self.records(), Records::Appended(_))
    }

    /// How its records are written to their journal, which the file itself may be.
    fn codec(self) -> &'static Codec {
        match self.records() {
            Records::Appended(codec) => codec,
            Records::AtTheEnd | Records::WithJournal(_) => &jsonl::CODEC,
        }
    }

    /// Writes records; with the first line of the journal that is continued.
    pub(crate) fn encoder(self, columns: &Columns, first_line: Option<&[u8]>) -> NewEncoder {
        (self.codec().encoder)(columns, first_line)
    }

    /// Reads records; with the field that identifies rows.
    pub(crate) fn decoder(self, key: Option<&str>) -> Box<dyn Decode> {
        (self.codec().decoder)(key)
    }

    /// Why a journal with this first line can't be read, as far as the line tells.
    pub(crate) fn flaw_of(self, first_line: &str) -> Option<String> {
        (self.codec().flaw)(first_line)
    }

    /// The columns of the journal with this first line.
    pub(crate) fn columns(self, columns: &Columns, first_line: &[u8]) -> Result<Columns, Error> {
        (self.codec().columns)(columns, first_line)
    }

    /// A value of the input as it stands in a record.
    pub(crate) fn value(self, value: &Value) -> Vec<u8> {
        (self.codec().value)(value)
    }

    /// The beginning of the record of a row with these fields.
    pub(crate) fn start_of_record(self, columns: &Columns, fields: &Fields) -> Vec<u8> {
        (self.codec().start)(columns, fields)
    }
}

/// The format of a job's output: one that can be written.
///
/// # Errors
/// That there is no such format, with those that there are.
pub(crate) fn output<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Format>, D::Error> {
    let Some(name) = Option::<String>::deserialize(text)? else {
        return Ok(None);
    };
    let found = Format::outputs().find(|format| format.name() == name);
    match found {
        Some(format) => Ok(Some(format)),
        None => Err(D::Error::custom(format!(
            "there is no output format {name:?}; there are {}",
            names(Format::outputs(), ", ")
        ))),
    }
}

/// The name of an input's format, for the JSON Schema of a job.
#[cfg(feature = "cli")]
pub(crate) struct InputName;

/// The name of an output's format, for the JSON Schema of a job.
#[cfg(feature = "cli")]
pub(crate) struct OutputName;

#[cfg(feature = "cli")]
impl schemars::JsonSchema for InputName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "InputFormat".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = Format::all().map(Format::name).collect();
        schemars::json_schema!({ "type": "string", "enum": names })
    }
}

#[cfg(feature = "cli")]
impl schemars::JsonSchema for OutputName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OutputFormat".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = Format::outputs().map(Format::name).collect();
        schemars::json_schema!({ "type": "string", "enum": names })
    }
}

/// The usual endings of the files of these formats, for help texts: texts, which may be
/// compressed, come first.
pub(crate) fn endings(formats: impl Iterator<Item = Format>) -> String {
    let (mut texts, mut others) = (String::new(), String::new());
    for format in formats.filter(|format| format.missing().is_none()) {
        let endings = if format.is_text() { &mut texts } else { &mut others };
        if let Some(ending) = format.extensions().first() {
            endings.extend([" .", ending]);
        }
    }
    format!("{} (also .gz .zst),{others}", texts.trim_start())
}

/// The names of these formats, with `separator` between them.
pub(crate) fn names(formats: impl Iterator<Item = Format>, separator: &str) -> String {
    let names: Vec<&str> = formats.map(Format::name).collect();
    names.join(separator)
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Format, Error> {
        let found = Format::all().find(|format| format.name() == name);
        found.ok_or_else(|| {
            let (name, names) = (shown(name), names(Format::all(), ", "));
            Error::plan(format!("there is no format {name}: choose one of {names}"))
        })
    }
}

impl TryFrom<String> for Format {
    type Error = Error;

    fn try_from(name: String) -> Result<Format, Error> {
        name.parse()
    }
}

impl From<Format> for &'static str {
    fn from(format: Format) -> &'static str {
        format.name()
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Format) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Format {}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_an_extension_stand_for_one_format() {
        let mut extensions: Vec<&str> = Vec::new();
        for format in Format::all() {
            assert_eq!(format.name().parse(), Ok(format));
            assert_eq!(serde_json::to_value(format).unwrap(), format.name());
            extensions.extend(format.extensions());
        }
        let count = extensions.len();
        extensions.sort_unstable();
        extensions.dedup();
        assert_eq!(extensions.len(), count);
    }

    #[test]
    fn the_extension_tells_the_format() {
        for (path, format) in [
            ("a/b.ndjson", Some(Format::JSONL)),
            ("dir.x/B.CSV", Some(Format::CSV)),
            ("b.csv.gz", Some(Format::CSV)),
            ("b.jsonl.zst", Some(Format::JSONL)),
            ("b.parquet", Some(Format::PARQUET)),
            ("b.xls", None),
            ("csv", None),
            ("b.", None),
        ] {
            assert_eq!(Format::of_path(Path::new(path)), format, "{path}");
        }
        assert_eq!(Format::of_output(Path::new("a.json")), None);
        assert_eq!(Format::of_output(Path::new("a.csv.gz")), Some(Format::CSV));
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let error = "xml".parse::<Format>().unwrap_err().to_string();
        let known = "there is no format \"xml\": choose one of csv, tsv, jsonl, json, lines, requests, openai-batch, parquet, sqlite";
        assert!(error.starts_with(known), "{error}");
        for name in ["xml", "json"] {
            let error = output(Value::from(name)).unwrap_err().to_string();
            let known = format!("there is no output format \"{name}\"; there are csv, ");
            assert!(error.starts_with(&known), "{error}");
        }
        assert_eq!(output(Value::from("csv")).unwrap(), Some(Format::CSV));
    }
}
