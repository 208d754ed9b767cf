//! The formats by name and by extension, as the table in `mod.rs` has them.

use std::fmt;
use std::io::BufRead;
use std::path::Path;
use std::str::FromStr;

use super::names::shown;
use super::rows::OpenedRows;
use super::{FORMATS, InputFormat, Packing};
use crate::error::Error;

/// An opened text of any origin, past its byte order mark.
pub(super) type OpenedText = Box<dyn BufRead + Send>;

/// All there is to know about one format.
pub(super) struct InputFormatEntry {
    pub format: InputFormat,
    pub name: &'static str,
    /// Without the dot, in small letters.
    pub extensions: &'static [&'static str],
    /// A few words for the help text.
    pub about: &'static str,
    pub open: Open,
}

/// What a format reads.
#[derive(Clone, Copy)]
pub(super) enum Open {
    /// A text from its beginning; messages call it by the name given.
    Text(fn(OpenedText, &str) -> OpenedRows),
    /// A file, from one place to another.
    File(fn(&Path) -> OpenedRows),
}

impl InputFormat {
    /// The names of all formats, with `separator` between them.
    #[must_use]
    pub fn names(separator: &str) -> String {
        FORMATS.each_ref().map(|kind| kind.name).join(separator)
    }

    /// One line of help for each format: its name, what it is, its extensions.
    #[must_use]
    pub fn help() -> String {
        FORMATS.iter().map(InputFormatEntry::help).collect()
    }

    /// As the job and the flag have it.
    pub(crate) fn name(self) -> &'static str {
        self.kind().name
    }

    /// What the names of its files end in, without the dot.
    pub(crate) fn extensions(self) -> &'static [&'static str] {
        self.kind().extensions
    }

    /// The format that a path's extension stands for, in capitals or not, whether
    /// it is compressed or not.
    pub(crate) fn of_path(path: &Path) -> Option<InputFormat> {
        let (_, path) = Packing::of(path);
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        let kind = FORMATS
            .iter()
            .find(|kind| kind.extensions.contains(&extension.as_str()))?;
        Some(kind.format)
    }

    /// Starts to read `text`, which messages call `name`.
    pub(super) fn open(self, text: OpenedText, name: &str) -> OpenedRows {
        match self.kind().open {
            Open::Text(open) => open(text, name),
            Open::File(_) => Err(format!(
                "{name} can't be read as {self}, which needs a file: write it to one first"
            )),
        }
    }

    /// The way to open a file that is no text.
    pub(super) fn opens_file(self) -> Option<fn(&Path) -> OpenedRows> {
        match self.kind().open {
            Open::Text(_) => None,
            Open::File(open) => Some(open),
        }
    }

    fn kind(self) -> &'static InputFormatEntry {
        &FORMATS[self as usize]
    }
}

impl InputFormatEntry {
    fn help(&self) -> String {
        let extensions = match self.extensions {
            [] => String::new(),
            some => format!(" (.{})", some.join(", .")),
        };
        format!("{:<8} {}{extensions}\n", self.name, self.about)
    }
}

impl fmt::Display for InputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.kind().name)
    }
}

impl FromStr for InputFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<InputFormat, Error> {
        let kind = FORMATS.iter().find(|kind| kind.name == name);
        kind.map(|kind| kind.format).ok_or_else(|| {
            let names = InputFormat::names(", ");
            Error::plan(format!(
                "there is no format {}: choose one of {names}",
                shown(name)
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_table_is_at_the_place_of_its_format() {
        for (place, kind) in FORMATS.iter().enumerate() {
            assert_eq!(kind.format as usize, place);
        }
    }

    #[test]
    fn names_are_the_same_in_jobs_and_on_the_command_line() {
        for kind in &FORMATS {
            let written = serde_json::to_value(kind.format).unwrap();
            assert_eq!(written, kind.format.to_string());
            assert_eq!(kind.name.parse(), Ok(kind.format));
        }
    }

    #[test]
    fn extensions_tell_the_format() {
        let of = |path: &str| InputFormat::of_path(Path::new(path));
        assert_eq!(of("a/b.ndjson"), Some(InputFormat::Jsonl));
        assert_eq!(of("B.CSV"), Some(InputFormat::Csv));
        assert_eq!(of("b.csv.gz"), Some(InputFormat::Csv));
        assert_eq!(of("b.jsonl.zst"), Some(InputFormat::Jsonl));
        assert_eq!(of("b.db"), Some(InputFormat::Sqlite));
        assert_eq!(of("b.xlsx"), None);
        assert_eq!(of("csv"), None);
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let error = "xml".parse::<InputFormat>().unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no format \"xml\": choose one of csv, tsv, jsonl, json, lines, requests, parquet, sqlite"
        );
        assert!(
            InputFormat::help().contains("jsonl    one JSON object per line (.jsonl, .ndjson)\n")
        );
    }
}
