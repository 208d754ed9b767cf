//! Flags of the input.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use crate::format::{Format, endings};
use crate::{Error, source};

/// The source of rows.
#[derive(Args)]
#[command(next_help_heading = "Input")]
pub struct InputFlags {
    #[arg(short, long, value_name = "FILE", help = input_help())]
    input: Option<String>,
    /// The format of the input [default: by the file's name]
    #[arg(long, value_parser = PossibleValuesParser::new(Format::all().map(Format::name)))]
    format: Option<String>,
    /// The table to read of a SQLite database [default: results, or the only one], or the sheet
    /// of a workbook [default: the only one]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    #[command(flatten)]
    text: TextFlags,
    /// Only the first N rows
    #[arg(long, value_name = "N", visible_alias = "num-api-requests", alias = "num_api_requests")]
    take: Option<u64>,
    /// This run is shard I of N, on machines of their own: it takes its part of the rows (by --key, or else a range) and of the limits; auto, or auto/N: as the scheduler says (Kubernetes, Slurm, …)
    #[arg(long, value_name = "I/N")]
    shard: Option<String>,
}

fn input_help() -> String {
    let endings = endings(Format::all());
    format!(
        "Rows: {endings}, a directory of Parquet files, a URL (https://, s3://, gs://, az://), or - for stdin"
    )
}

impl InputFlags {
    /// Which of several runs this is.
    pub fn shard(&self) -> Option<&str> {
        self.shard.as_deref()
    }

    pub fn tree(&self) -> Value {
        let mut tree = self.text.tree();
        tree["file"] = json!(self.input);
        tree["format"] = json!(self.format);
        tree["table"] = json!(self.table);
        tree["take"] = json!(self.take);
        tree
    }
}

/// How a text is read.
#[derive(Args)]
pub struct TextFlags {
    /// The letter between a table's columns, or tab [default: as its first lines show]
    #[arg(long, value_name = "LETTER", allow_hyphen_values = true)]
    delimiter: Option<String>,
    /// The encoding of a text, such as cp1252 or utf-16 [default: by its first bytes, or utf-8]
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// Leave out the first N lines of a text, or rows of a sheet
    #[arg(long, value_name = "N")]
    skip_lines: Option<u64>,
    /// A jq program for the rows of a JSON document, such as '.data[]'
    #[arg(long, value_name = "JQ")]
    rows: Option<String>,
    /// Leave out lines that begin with LETTER
    #[arg(long, value_name = "LETTER", allow_hyphen_values = true)]
    comment: Option<String>,
    /// The quote around a table's values, or none [default: "]
    #[arg(long, value_name = "LETTER")]
    quote: Option<String>,
    /// The letter before a quote within a value [default: the quote itself]
    #[arg(long, value_name = "LETTER")]
    escape: Option<String>,
}

impl TextFlags {
    /// The settings of an input that has no others.
    pub fn settings(&self) -> Result<source::Settings, Error> {
        serde_json::from_value(self.tree()).map_err(|error| Error::plan(error.to_string()))
    }

    /// The settings of the input.
    fn tree(&self) -> Value {
        json!({
            "delimiter": self.delimiter,
            "encoding": self.encoding,
            "skip-lines": self.skip_lines,
            "comment": self.comment,
            "quote": self.quote,
            "escape": self.escape,
            "rows": self.rows,
        })
    }
}
