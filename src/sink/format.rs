//! The table of output formats; their names and extensions are those of their forms.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::codec::{Decode, Encode, Marks};
use super::{Columns, csv, jsonl};
use crate::error::Error;
use crate::source::Fields;
use crate::table::TableFormat;

/// All formats; the first one is for stdout.
static FORMATS: &[OutputFormatEntry] = &[
    OutputFormatEntry {
        form: TableFormat::Jsonl,
        encoder: jsonl::encoder,
        decoder: jsonl::decoder,
        marks: jsonl::MARKS,
        columns: any_columns,
    },
    OutputFormatEntry {
        form: TableFormat::Csv,
        encoder: csv::encoder,
        decoder: csv::decoder,
        marks: csv::MARKS,
        columns: csv::columns,
    },
    OutputFormatEntry {
        form: TableFormat::Parquet,
        encoder: jsonl::encoder,
        decoder: jsonl::decoder,
        marks: jsonl::MARKS,
        columns: any_columns,
    },
    OutputFormatEntry {
        form: TableFormat::Sqlite,
        encoder: jsonl::encoder,
        decoder: jsonl::decoder,
        marks: jsonl::MARKS,
        columns: any_columns,
    },
];

/// Each line has its own names.
fn any_columns(columns: &Columns, _: &[u8]) -> Result<Columns, Error> {
    Ok(columns.clone())
}

/// How records are written: `jsonl`, `csv`, `parquet` or `sqlite`.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OutputFormat(&'static OutputFormatEntry);

/// One line of the table.
struct OutputFormatEntry {
    form: TableFormat,
    /// The writer's half; with the first line of the file that it continues.
    encoder: MakeEncoder,
    /// The reader's half; with the field that identifies rows.
    decoder: fn(Option<&str>) -> Box<dyn Decode>,
    marks: Marks,
    /// The columns of the file with this first line; those of a run must be the same.
    columns: fn(&Columns, &[u8]) -> Result<Columns, Error>,
}

type MakeEncoder = fn(&Columns, Option<&[u8]>) -> Result<Box<dyn Encode>, Error>;

impl OutputFormat {
    /// The names of all formats, as the job and the flag have them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FORMATS.iter().map(|kind| kind.form.name())
    }

    /// What stdout gets if nothing else is asked for.
    pub(super) fn of_stdout() -> OutputFormat {
        OutputFormat(&FORMATS[0])
    }

    /// The one of this form.
    pub(super) fn of_form(form: TableFormat) -> OutputFormat {
        let kind = FORMATS.iter().find(|kind| kind.form == form);
        kind.map_or_else(OutputFormat::of_stdout, OutputFormat)
    }

    /// What is made of its text in the end, if it is not the text.
    pub(super) fn table(self) -> Option<TableFormat> {
        match self.0.form {
            TableFormat::Jsonl | TableFormat::Csv => None,
            form => Some(form),
        }
    }

    /// What the extension says, whether it is compressed or not.
    pub(super) fn of_file(path: &Path) -> Result<OutputFormat, Error> {
        let form = TableFormat::of(path);
        form.map(OutputFormat::of_form)
            .ok_or_else(|| unknown_extension(path))
    }

    pub(super) fn encoder(
        self,
        columns: &Columns,
        first_line: Option<&[u8]>,
    ) -> Result<Box<dyn Encode>, Error> {
        (self.0.encoder)(columns, first_line)
    }

    pub(super) fn decoder(self, key: Option<&str>) -> Box<dyn Decode> {
        (self.0.decoder)(key)
    }

    /// The columns of the file with this first line.
    pub(super) fn columns(self, columns: &Columns, first_line: &[u8]) -> Result<Columns, Error> {
        (self.0.columns)(columns, first_line)
    }

    /// A value of the input as it stands in a record.
    pub(super) fn value(self, value: &Value) -> Vec<u8> {
        (self.0.marks.value)(value)
    }

    /// What the record of a row begins with.
    pub(super) fn start_of_record(self, columns: &Columns, fields: &Fields) -> Vec<u8> {
        (self.0.marks.start)(columns, fields)
    }
}

fn unknown_extension(path: &Path) -> Error {
    Error::plan(format!(
        "the name of the output file {} does not say its format: end it in {}, or give --output-format {}",
        path.display(),
        TableFormat::extensions(),
        OutputFormat::names().collect::<Vec<_>>().join("|"),
    ))
}

impl FromStr for OutputFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<OutputFormat, String> {
        let kind = FORMATS.iter().find(|kind| kind.form.name() == text);
        kind.map(OutputFormat).ok_or_else(|| {
            let names = OutputFormat::names().collect::<Vec<_>>().join(", ");
            format!("there is no output format {text:?}; there are {names}")
        })
    }
}

impl TryFrom<String> for OutputFormat {
    type Error = String;

    fn try_from(text: String) -> Result<OutputFormat, String> {
        text.parse()
    }
}

impl From<OutputFormat> for String {
    fn from(format: OutputFormat) -> String {
        format.0.form.name().to_owned()
    }
}

impl PartialEq for OutputFormat {
    fn eq(&self, other: &OutputFormat) -> bool {
        self.0.form == other.0.form
    }
}

impl Eq for OutputFormat {}

impl fmt::Debug for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.form.name())
    }
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.form.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_says_the_format() {
        for (file, name) in [
            ("a.jsonl", "jsonl"),
            ("a.ndjson", "jsonl"),
            ("dir.x/A.CSV", "csv"),
        ] {
            let format = OutputFormat::of_file(Path::new(file)).unwrap();
            assert_eq!(format.to_string(), name, "{file}");
        }
        for file in ["a.txt", "jsonl", "a."] {
            let error = OutputFormat::of_file(Path::new(file))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("--output-format jsonl|csv|parquet|sqlite"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_job_names_it() {
        assert_eq!(
            serde_json::from_str::<OutputFormat>(r#""csv""#)
                .unwrap()
                .0
                .form,
            TableFormat::Csv
        );
        let error = serde_json::from_str::<OutputFormat>(r#""xml""#).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("there are jsonl, csv, parquet, sqlite"),
            "{error}"
        );
    }
}
