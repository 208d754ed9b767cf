//! Flags of the input.

use clap::Args;
use serde_json::{Value, json};

/// Where rows come from.
#[derive(Args)]
#[command(next_help_heading = "Input")]
pub struct Input {
    /// Rows: .csv .tsv .jsonl .json .txt (also .gz .zst), .parquet .db, or - for stdin
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// How the input is written, whatever the file's name
    #[arg(long, value_parser = ["csv", "tsv", "jsonl", "json", "lines", "requests", "parquet", "sqlite"])]
    format: Option<String>,
    /// Only the first N rows
    #[arg(
        long,
        value_name = "N",
        visible_alias = "num-api-requests",
        alias = "num_api_requests"
    )]
    take: Option<u64>,
}

impl Input {
    pub fn tree(&self) -> Value {
        json!({ "file": self.input, "format": self.format, "take": self.take })
    }
}
