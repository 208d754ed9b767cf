//! Flags of the output.

use std::ffi::OsString;
use std::num::NonZeroU64;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use crate::format::{Format, endings};
use crate::sink::RetryFailed;

/// The values of `--keep-body`.
const KEEP_BODY: [&str; 3] = ["none", "failed", "all"];

/// The arguments, with `--keep-body failed` as `--keep-body=failed`: the flag may stand without
/// a value, so what follows it is one only if it is one of its values.
pub fn joined(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for argument in arguments {
        let is_value = KEEP_BODY.iter().any(|value| argument == *value);
        match joined.last_mut().filter(|last| is_value && *last == "--keep-body") {
            Some(flag) => {
                flag.push("=");
                flag.push(argument);
            }
            None => joined.push(argument),
        }
    }
    joined
}

/// The destination of records.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct OutputFlags {
    #[arg(short, long, value_name = "FILE", help = output_help())]
    output: Option<String>,
    /// The format of records [default: by the file's name]
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(Format::outputs().map(Format::name)))]
    output_format: Option<String>,
    /// FILE is a directory of complete Parquet files of about ROWS records each
    /// [default ROWS: 100000]
    #[arg(
        long,
        value_name = "ROWS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "100000",
    )]
    parts: Option<NonZeroU64>,
    /// Keep answers' bodies in their records, as _body: of failed rows, of all, or none;
    /// without WHICH, of all [default: failed]
    #[arg(
        long,
        value_name = "WHICH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        value_parser = KEEP_BODY,
    )]
    keep_body: Option<String>,
    /// Save each answer to a file of its own, such as 'out/{{ id }}.pdf'; its path, size, SHA-256 and type are in the record
    #[arg(long, value_name = "T")]
    save: Option<String>,
    /// Extracted values may have the names of fields, and replace them in the records
    #[arg(long)]
    replace_fields: bool,
    /// Columns of the finished FILE, in this order: a,b
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// Leave throng's own columns out of the finished FILE: _row, _ok, _status, …
    #[arg(long)]
    no_meta: bool,
    /// What to do with existing records
    #[command(flatten)]
    existing: ExistingFlags,
    /// Records that a power failure may lose: always (none), 1s, end [default: 1s]
    #[arg(long, value_name = "WHEN", value_parser = ["always", "1s", "end"])]
    sync: Option<String>,
    /// Records in the order in which rows finish, or, at the end, in that of the input
    /// [default: finished]
    #[arg(long, value_name = "ORDER", value_parser = ["finished", "input"])]
    order: Option<String>,
}

/// Records of an earlier run.
#[derive(Args)]
struct ExistingFlags {
    /// Continue after the existing records; with a value, although the job or the input
    /// has changed, or although records are damaged
    #[arg(
        long,
        value_name = "ALTHOUGH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        value_parser = ["", "changed", "damaged"],
        hide_possible_values = true,
        conflicts_with = "overwrite"
    )]
    resume: Option<String>,
    /// Continue, and request the failed rows again; with a value, only those that failed in one
    /// of these ways: statuses or what _error says, such as 500,timeout
    #[arg(
        long,
        value_name = "WHICH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "all",
        conflicts_with = "overwrite"
    )]
    retry_failed: Option<RetryFailed>,
    /// Start again, and lose the existing records
    #[arg(long)]
    overwrite: bool,
    /// The field that identifies a row, so that the input can be reordered
    #[arg(long, value_name = "FIELD")]
    key: Option<String>,
}

fn output_help() -> String {
    let endings = endings(Format::outputs());
    format!("Records: {endings} [default: JSON Lines on stdout]")
}

impl OutputFlags {
    /// The template of the files of answers.
    pub fn save(&self) -> Option<&str> {
        self.save.as_deref()
    }

    pub fn tree(&self) -> Value {
        json!({
            "file": self.output,
            "format": self.output_format,
            "keep-body": self.keep_body,
            "replace-fields": self.replace_fields.then_some(true),
            "existing": self.existing.how(),
            "retry-failed": self.existing.retry_failed,
            "key": self.existing.key,
            "sync": self.sync,
            "order": self.order,
            "parts": self.parts,
            "columns": self.columns,
            "no-meta": self.no_meta.then_some(true),
        })
    }
}

impl ExistingFlags {
    fn how(&self) -> Option<&'static str> {
        match self.resume.as_deref() {
            _ if self.overwrite => Some("overwrite"),
            Some("changed") => Some("resume-changed"),
            Some("damaged") => Some("resume-damaged"),
            Some(_) => Some("resume"),
            None => None,
        }
    }
}
