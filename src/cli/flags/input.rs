//! Flags of the input.

use clap::Args;
use serde_json::{Value, json};

/// Where rows come from.
#[derive(Args)]
#[command(next_help_heading = "Input")]
pub struct InputFlags {
    /// Rows: .csv .tsv .jsonl .json .txt (also .gz .zst), .parquet .db, a directory
    /// of Parquet files, or - for stdin
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// How the input is written, whatever the file's name
    #[arg(long, value_parser = ["csv", "tsv", "jsonl", "json", "lines", "requests", "parquet", "sqlite"])]
    format: Option<String>,
    /// The table to read of a SQLite database [default: results, or the only one]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// Only the first N rows
    #[arg(
        long,
        value_name = "N",
        visible_alias = "num-api-requests",
        alias = "num_api_requests"
    )]
    take: Option<u64>,
}

impl InputFlags {
    pub fn tree(&self) -> Value {
        json!({ "file": self.input, "format": self.format, "table": self.table, "take": self.take })
    }
}
