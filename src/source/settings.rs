//! The `input` of a job.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::Format;

/// The `input` of a job: where its rows come from. Exactly one of `file` and
/// `list` is to be there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The path of a file or of a directory of Parquet files, or `-` for standard input.
    pub file: Option<String>,
    /// How the file is written; if absent, its extension tells.
    pub format: Option<Format>,
    /// The table to read of a SQLite database; if absent, `results` or the only one.
    pub table: Option<String>,
    /// How many rows to take from the start; if absent, all.
    pub take: Option<u64>,
    /// The rows themselves: objects, or texts that become the field `line`.
    pub list: Option<Vec<Value>>,
}
