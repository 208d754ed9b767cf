//! Flags of where records go.

use clap::Args;
use serde_json::{Value, json};

/// Where records go.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Records: .jsonl or .csv [default: JSON Lines on stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    /// How records are written, whatever the file's name
    #[arg(long, value_name = "FORMAT", value_parser = ["jsonl", "csv"])]
    output_format: Option<String>,
    /// Keep each answer's body in its record, as _body
    #[arg(long)]
    keep_body: bool,
    /// What to do with records that are there already
    #[command(flatten)]
    existing: Existing,
}

/// Records of an earlier run.
#[derive(Args)]
#[group(multiple = false)]
struct Existing {
    /// Go on after the records that the output has
    #[arg(long)]
    resume: bool,
    /// Start again, and lose the records that the output has
    #[arg(long)]
    overwrite: bool,
}

impl Output {
    pub fn tree(&self) -> Value {
        let existing = match (self.existing.resume, self.existing.overwrite) {
            (true, _) => Some("resume"),
            (_, true) => Some("overwrite"),
            _ => None,
        };
        json!({
            "file": self.output,
            "format": self.output_format,
            "keep-body": self.keep_body.then_some(true),
            "existing": existing,
        })
    }
}
