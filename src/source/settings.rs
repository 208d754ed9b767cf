//! The `input` of a job.

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::encoding;
use crate::format::Format;
use crate::format::document::RowProgram;
use crate::format::rows::TextOptions;

/// The `input` of a job: where its rows come from. Exactly one of `file` and
/// `list` is to be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The path of a file or of a directory of Parquet files, a URL of a file (`https://`,
    /// `s3://`, `gs://`, `az://`), or `-` for standard input.
    pub file: Option<String>,
    /// How the file is written; if absent, its extension tells.
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::format::InputName>"))]
    pub format: Option<Format>,
    /// The table to read of a SQLite database; if absent, `results` or the only one.
    pub table: Option<String>,
    /// The encoding of a text, such as `cp1252`; if absent, its byte order mark tells, or it
    /// is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// How many lines of a text, or rows of a sheet, to leave out at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skip_lines: Option<u64>,
    /// The letter that begins a line that is no row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The letter between the values of a table, or `tab`; if absent, its first lines show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// The quote around values of a table, or `none`; if absent, `"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// The letter before a quote that is a part of a value; if absent, a quote is doubled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escape: Option<String>,
    /// A jq program that gives the rows of a JSON document, such as `.data[]`; if absent, the
    /// document is an array of them, or has a shape that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
    /// How many rows to take from the start; if absent, all.
    pub take: Option<u64>,
    /// The rows themselves: objects, or texts that become the field `line`.
    pub list: Option<Vec<Value>>,
}

/// How a text is read: its encoding, and what is no row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Reading {
    pub encoding: Option<&'static Encoding>,
    pub options: TextOptions,
}

impl Reading {
    /// Whether the job says anything that concerns texts alone.
    pub fn is_told(&self) -> bool {
        *self != Reading::default()
    }

    /// Whether the job says no more than what to leave out at the start.
    pub fn only_skips(&self) -> bool {
        let rest = TextOptions { skipped: 0, ..self.options.clone() };
        self.encoding.is_none() && rest == TextOptions::default()
    }

    /// Whether the job says anything that concerns tables alone.
    pub fn is_of_table(&self) -> bool {
        let TextOptions { delimiter, quote, escape, .. } = self.options;
        delimiter.is_some() || quote.is_some() || escape.is_some()
    }
}

impl Settings {
    /// How the text is read.
    ///
    /// # Errors
    /// Which setting is no letter, or no encoding.
    pub(super) fn reading(&self) -> Result<Reading, String> {
        let letter = |name: &str, text: &Option<String>| {
            text.as_deref().map(|text| letter(name, text)).transpose()
        };
        let quote = match self.quote.as_deref() {
            Some("none" | "") => Some(None),
            _ => letter("quote", &self.quote)?.map(Some),
        };
        Ok(Reading {
            encoding: self.encoding.as_deref().map(encoding::by_name).transpose()?,
            options: TextOptions {
                skipped: self.skip_lines.unwrap_or(0),
                comment: letter("comment", &self.comment)?,
                delimiter: letter("delimiter", &self.delimiter)?,
                quote,
                escape: letter("escape", &self.escape)?,
                rows: self.rows.as_deref().map(row_program).transpose()?,
            },
        })
    }
}

fn row_program(code: &str) -> Result<RowProgram, String> {
    RowProgram::new(code).map_err(|why| format!("input.rows (--rows): {why}"))
}

/// The byte that a setting stands for.
fn letter(name: &str, text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err(format!(
            "input.{name} (--{name}) is {text:?}: it must be one letter of ASCII, such as ';', or tab"
        )),
    }
}
