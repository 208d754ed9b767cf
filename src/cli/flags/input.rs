//! Flags of the input.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use crate::format::{Format, endings};

/// The source of rows.
#[derive(Args)]
#[command(next_help_heading = "Input")]
pub struct InputFlags {
    #[arg(short, long, value_name = "FILE", help = input_help())]
    input: Option<String>,
    /// The format of the input [default: by the file's name]
    #[arg(long, value_parser = PossibleValuesParser::new(Format::all().map(Format::name)))]
    format: Option<String>,
    /// The table to read of a SQLite database [default: results, or the only one]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Only the first N rows
    #[arg(long, value_name = "N", visible_alias = "num-api-requests", alias = "num_api_requests")]
    take: Option<u64>,
}

fn input_help() -> String {
    let endings = endings(Format::all());
    format!("Rows: {endings}, a directory of Parquet files, or - for stdin")
}

impl InputFlags {
    pub fn tree(&self) -> Value {
        json!({ "file": self.input, "format": self.format, "table": self.table, "take": self.take })
    }
}
