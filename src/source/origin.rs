//! The place of a source's rows, once its settings make sense: a file, standard input, or a
//! list that stands in the job itself, or rows that the program makes.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::places::TakenBytes;
use super::program::ProgramRows;
use super::remote::{self, RemoteFile};
use super::settings::{Reading, Settings};
use super::{file, head, program};
use crate::format::rows::TEXT_FIELD;
use crate::format::rows::{FormatRow, OpenedRows, OpenedText, RowReader, accepted, shown};
use crate::format::{Format, Read};
use crate::row::Fields;

/// The place that settings name.
#[derive(Debug, Clone)]
pub(super) enum SourceOrigin {
    /// A file or directory.
    File {
        path: PathBuf,
        format: Format,
        /// The table to read, of a format that has tables.
        table: Option<String>,
        reading: Reading,
    },
    Stdin {
        /// If absent, its first bytes tell it.
        format: Option<Format>,
        reading: Reading,
    },
    /// A file at a URL.
    Remote {
        file: Arc<RemoteFile>,
        /// If absent, its first bytes tell it.
        format: Option<Format>,
        table: Option<String>,
        reading: Reading,
    },
    List(Arc<[Value]>),
    Program(ProgramRows),
}

impl SourceOrigin {
    /// Refuses settings that name no source, or two, or a file that is not there.
    pub fn new(settings: &Settings) -> Result<SourceOrigin, String> {
        let (mut format, reading) = (settings.format, settings.reading()?);
        match (&settings.file, &settings.list) {
            (Some(file), None) if file == "-" => {
                if reading.is_of_table() {
                    format = format.or(Some(Format::CSV));
                }
                if reading.options.rows.is_some() {
                    format = format.or(Some(Format::JSON));
                }
                check_reading("standard input", format, &reading)?;
                Ok(SourceOrigin::Stdin { format, reading })
            }
            (Some(file), None) => {
                let table = settings.table.clone();
                if let Some(url) = remote::url_of(file) {
                    let file = RemoteFile::new(url)?;
                    let known = format.map_or_else(|| file.format(), |it| Ok(Some(it)))?;
                    let format = known_format(&file.name, known, format, &table, &reading)?;
                    return Ok(SourceOrigin::Remote { file: file.into(), format, table, reading });
                }
                let known = file::check(file, format)?;
                let known_format = known_format(file, Some(known), format, &table, &reading)?;
                let format = known_format.unwrap_or(known);
                Ok(SourceOrigin::File { path: file.into(), format, table, reading })
            }
            (None, Some(_)) if reading.is_told() => Err(READING_OF_LIST.into()),
            (None, Some(list)) if format.is_none() => {
                Ok(SourceOrigin::List(list.as_slice().into()))
            }
            (None, Some(_)) => Err(FORMAT_OF_LIST.into()),
            (None, None) => Err(NO_INPUT.into()),
            (Some(_), Some(_)) => Err(TWO_INPUTS.into()),
        }
    }

    /// Its name in messages.
    pub fn name(&self) -> String {
        match self {
            SourceOrigin::File { path, .. } => path.display().to_string(),
            SourceOrigin::Stdin { .. } => "standard input".into(),
            SourceOrigin::Remote { file, .. } => file.name.clone(),
            SourceOrigin::List(_) => "the job's list".into(),
            SourceOrigin::Program(_) => program::NAME.into(),
        }
    }

    /// Whether it is still there after it was read; a pipe is not.
    pub fn lasts(&self) -> bool {
        match self {
            SourceOrigin::File { path, .. } => path.is_file() || path.is_dir(),
            SourceOrigin::Stdin { .. } | SourceOrigin::Program(_) => false,
            SourceOrigin::Remote { .. } | SourceOrigin::List(_) => true,
        }
    }

    /// The hash of its first `most` bytes, and how many there were; none for a pipe. That of a
    /// file at a URL is of all of it, by what the server says of its version.
    pub fn fingerprint(&self, most: u64) -> Result<Option<(u64, String)>, String> {
        match self {
            SourceOrigin::File { path, .. } if self.lasts() => {
                file::fingerprint(path, most).map(Some)
            }
            SourceOrigin::List(list) => {
                let text = Value::from(&list[..]).to_string();
                Ok(Some(file::fingerprint_of(text.as_bytes(), most)))
            }
            SourceOrigin::Remote { file, .. } => match file.fingerprint() {
                None => file::fingerprint(file.copied()?, most).map(Some),
                found => Ok(found),
            },
            SourceOrigin::File { .. } | SourceOrigin::Stdin { .. } | SourceOrigin::Program(_) => {
                Ok(None)
            }
        }
    }

    /// Starts to read it from its beginning.
    pub fn open(&self) -> OpenedRows {
        let (bytes, format, reading) = match self {
            SourceOrigin::List(list) => return Ok(Box::new(list_rows(list.clone(), &self.name()))),
            SourceOrigin::Program(rows) => return rows.open(),
            SourceOrigin::Stdin { format, reading } => (file::stdin(), *format, reading),
            SourceOrigin::Remote { file, format, table, reading } => {
                match format.map(Format::reader) {
                    Some(Read::File(open)) => return open(file.copied()?),
                    Some(Read::Tables(open)) => {
                        return open(file.copied()?, table.as_deref(), reading.options.skipped);
                    }
                    Some(Read::Missing { why, .. }) => return Err((*why).to_owned()),
                    None | Some(Read::Text(_)) => (file.text()?, *format, reading),
                }
            }
            SourceOrigin::File { path, format, table, reading } => match format.reader() {
                Read::File(open) => return open(path),
                Read::Tables(open) => {
                    return open(path, table.as_deref(), reading.options.skipped);
                }
                Read::Text(_) => (file::open(path)?, Some(*format), reading),
                Read::Missing { why, .. } => return Err((*why).to_owned()),
            },
        };
        let (head, text) = self.head(bytes, reading)?;
        self.open_text(text, format.unwrap_or_else(|| head::guess(&head)), reading)
    }

    /// The first lines of its text, and the whole of it with them.
    fn head(&self, bytes: OpenedText, reading: &Reading) -> Result<(Vec<u8>, OpenedText), String> {
        // More lines than the first would have to be waited for, of a pipe.
        let more = if self.lasts() { SHOWN_LINES } else { 0 };
        head::read(bytes, &self.name(), reading, more)
    }

    fn open_text(&self, text: OpenedText, format: Format, reading: &Reading) -> OpenedRows {
        let name = self.name();
        match format.reader() {
            Read::Text(open) => open(text, &name, &reading.options),
            Read::File(_) | Read::Tables(_) | Read::Missing { .. } => Err(format!(
                "{name} can't be read as {format}, which needs a file: write it to one first"
            )),
        }
    }

    /// What tells this version of it from others; none if nothing does.
    pub fn version(&self) -> Result<Option<String>, String> {
        match self {
            SourceOrigin::File { path, .. } => file::version(path),
            SourceOrigin::Remote { file, .. } => Ok(file.version()),
            _ => Ok(None),
        }
    }

    /// Its format and how it is read, if it is a text whose rows can be read from their place on.
    fn lines(&self) -> Option<(Format, &Reading)> {
        let (format, reading, is_plain) = match self {
            SourceOrigin::File { path, format, reading, .. } => {
                (*format, reading, file::is_plain(path))
            }
            SourceOrigin::Remote { file, format: Some(format), reading, .. } => {
                (*format, reading, file.is_plain())
            }
            _ => return None,
        };
        let has_lines = [Format::CSV, Format::TSV, Format::JSONL, Format::LINES].contains(&format);
        let is_utf_8 = reading.encoding.is_none_or(|it| it == encoding_rs::UTF_8);
        let can = is_plain && has_lines && is_utf_8 && reading.options.rows.is_none();
        can.then_some((format, reading))
    }

    /// Whether its rows can be read from their place on.
    pub fn has_places(&self) -> bool {
        self.lines().is_some()
    }

    /// Its bytes from this one on.
    fn bytes_from(&self, byte: u64) -> Result<OpenedText, String> {
        match self {
            SourceOrigin::File { path, .. } => file::open_from(path, byte),
            SourceOrigin::Remote { file, .. } => file.text_from(byte),
            _ => Err(NO_PLACES.into()),
        }
    }

    /// Starts to read it from its beginning. Gives also what tells the place of the next row.
    pub fn open_counted(
        &self,
    ) -> Result<(Box<dyn RowReader>, impl Fn() -> u64 + Send + 'static), String> {
        let bytes = self.bytes_from(0)?;
        let (format, reading) = self.lines().ok_or(NO_PLACES)?;
        let (below, above) = (TakenBytes::default(), TakenBytes::default());
        let (head, text) = self.head(below.of(bytes), reading)?;
        let start = below.count() - head.len() as u64;
        let rows = self.open_text(above.of(text), format, reading)?;
        Ok((rows, move || start + above.count()))
    }

    /// Starts to read its first `lead` bytes, and then the bytes after `from`.
    pub fn open_from(&self, lead: u64, from: u64) -> OpenedRows {
        let bytes = self.bytes_from(0)?.take(lead).chain(self.bytes_from(from)?);
        let (format, reading) = self.lines().ok_or(NO_PLACES)?;
        let (_, text) = self.head(Box::new(bytes), reading)?;
        self.open_text(text, format, reading)
    }
}

const NO_PLACES: &str = "its rows have no places";

/// The number of lines after the first that show the delimiter of a table.
const SHOWN_LINES: usize = 9;

/// The format of an input, with `told` the one that the job says. Makes sure that this build
/// reads it, and that what the job says of the input concerns it.
fn known_format(
    name: &str,
    mut known: Option<Format>,
    told: Option<Format>,
    table: &Option<String>,
    reading: &Reading,
) -> Result<Option<Format>, String> {
    if told.is_none() && reading.is_of_table() && known.is_none_or(|it| it == Format::LINES) {
        known = Some(Format::CSV);
    }
    check_reading(name, known, reading)?;
    if let Some(why) = known.and_then(Format::missing) {
        return Err(format!("{name} cannot be read: {why}"));
    }
    let has_tables = known.is_some_and(|it| matches!(it.reader(), Read::Tables(_)));
    if table.is_some() && !has_tables {
        return Err(format!(
            "input.table (--table) names a table of a SQLite database or a sheet of a workbook, and {name} is none: leave it out"
        ));
    }
    Ok(known)
}

/// Makes sure that what the job says of the text concerns one of this format.
fn check_reading(name: &str, format: Option<Format>, reading: &Reading) -> Result<(), String> {
    let Some(format) = format else {
        return Ok(());
    };
    if reading.is_of_table() && format != Format::CSV && format != Format::TSV {
        return Err(format!(
            "input.delimiter, input.quote and input.escape (--delimiter, --quote, --escape) are of tables, and {name} is read as {format}: leave them out, or give --format csv"
        ));
    }
    if reading.options.rows.is_some() && format != Format::JSON && format != Format::JSONL {
        return Err(format!(
            "input.rows (--rows) gives the rows of JSON, and {name} is read as {format}: leave it out, or give --format json"
        ));
    }
    if reading.is_told() && !format.is_text() && !(format.has_sheets() && reading.only_skips()) {
        return Err(format!(
            "input.encoding, input.skip-lines and input.comment (--encoding, --skip-lines, --comment) are of texts, and {name} is none ({format}): leave them out"
        ));
    }
    Ok(())
}

const READING_OF_LIST: &str = "input.encoding, input.skip-lines, input.comment, input.delimiter, \
    input.quote, input.escape and input.rows say how a file is read, and input.list is no file: remove them";
const NO_INPUT: &str = "there is no input: \
    name a file with input.file (--input), or give the rows in input.list";
const TWO_INPUTS: &str = "there are two inputs, input.file and input.list: remove one of them";
const FORMAT_OF_LIST: &str = "input.format says how a file is written, \
    and input.list is no file: remove input.format";

/// The rows of a list that messages call `name`.
fn list_rows(list: Arc<[Value]>, name: &str) -> impl RowReader + use<> {
    List { list, name: name.into(), taken: 0 }
}

struct List {
    list: Arc<[Value]>,
    name: String,
    taken: usize,
}

impl Iterator for List {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        let found = fields(self.list.get(self.taken)?);
        self.taken += 1;
        Some(found.map_err(|flaw| format!("{}, item {}: {flaw}", self.name, self.taken)))
    }
}

impl RowReader for List {}

fn fields(item: &Value) -> FormatRow {
    match item {
        Value::Object(fields) => accepted(fields.clone()),
        Value::String(_) => Ok(Fields::from_iter([(TEXT_FIELD.into(), item.clone())])),
        other => {
            let shown = shown(&other.to_string());
            Err(format!("{shown} is neither an object nor a text: make it one of them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn exactly_one_input_is_needed() {
        let list = Some(vec![]);
        let both = Settings { file: Some("-".into()), list: list.clone(), ..Settings::default() };
        let formatted =
            Settings { format: Some(Format::CSV), list: list.clone(), ..Settings::default() };
        assert_eq!(SourceOrigin::new(&Settings::default()).unwrap_err(), NO_INPUT);
        assert_eq!(SourceOrigin::new(&both).unwrap_err(), TWO_INPUTS);
        assert_eq!(SourceOrigin::new(&formatted).unwrap_err(), FORMAT_OF_LIST);
    }

    #[test]
    fn a_pipe_is_never_read_ahead() {
        let stdin = Settings { file: Some("-".into()), ..Settings::default() };
        let list = Settings { list: Some(vec![]), ..Settings::default() };
        assert!(!SourceOrigin::new(&stdin).unwrap().lasts());
        assert!(SourceOrigin::new(&list).unwrap().lasts());
    }

    fn read(list: Vec<Value>) -> Result<Vec<Value>, String> {
        list_rows(list.into(), "the job's list").map(|found| found.map(Value::Object)).collect()
    }

    #[test]
    fn an_item_is_a_row() {
        let list = vec![json!("AAPL"), json!({"id": 7, "tags": ["x"]})];
        let rows = vec![json!({"line": "AAPL"}), json!({"id": 7, "tags": ["x"]})];
        assert_eq!(read(list), Ok(rows));
        assert_eq!(read(vec![]), Ok(vec![]));
    }

    #[test]
    fn what_is_no_row_is_told_with_its_place() {
        let number = read(vec![json!("a"), json!(7)]).unwrap_err();
        let name = read(vec![json!({"": 1})]).unwrap_err();
        let remedy = "is neither an object nor a text: make it one of them";
        assert_eq!(number, format!("the job's list, item 2: \"7\" {remedy}"));
        assert!(name.starts_with("the job's list, item 1: a field has no name"));
    }
}
