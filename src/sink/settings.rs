//! The `output` of a job.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::format::{self, Format};

/// The `[output]` part of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Where records go; absent or `-` is stdout.
    pub file: Option<String>,
    /// The format of the file; by default the one of its extension.
    #[serde(deserialize_with = "format::output")]
    pub format: Option<Format>,
    /// Whether records have the answer's body beside the extracted values.
    pub keep_body: bool,
    /// What to do with a file that has records already.
    pub existing: Existing,
    /// Whether rows that failed in an earlier run are asked for again.
    pub retry_failed: bool,
    /// The field that identifies a row when a run is resumed; its number if absent.
    pub key: Option<String>,
    /// How much a power cut may cost.
    pub sync: Sync,
    /// The order of its records.
    pub order: Order,
    /// The file is a directory of Parquet files, each of about this number of records.
    pub parts: Option<NonZeroU64>,
}

/// The order of the records in a finished output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As their rows were finished.
    #[default]
    Finished,
    /// As their rows stand in the input; they are sorted when the run is complete.
    Input,
}

/// What to do with an output file that has records already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// Leave it alone: the plan is wrong.
    #[default]
    Refuse,
    /// Keep its records and add those of the rows that it has not.
    Resume,
    /// Resume, although the input or the request have changed since: records of
    /// rows that are the same stay.
    ResumeChanged,
    /// Resume, although records are damaged: their rows are asked for again.
    ResumeDamaged,
    /// Empty it and start again.
    Overwrite,
}

/// When records are to be on the disk, safe from a power cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sync {
    /// Before a row counts as done.
    #[serde(rename = "always")]
    Always,
    /// Within a second.
    #[default]
    #[serde(rename = "1s")]
    EverySecond,
    /// When the run ends.
    #[serde(rename = "end")]
    End,
}

impl Settings {
    /// What to do with records that are there: to ask for those that failed is to resume.
    pub(super) fn existing(&self) -> Existing {
        match self.existing {
            Existing::Refuse if self.retry_failed => Existing::Resume,
            existing => existing,
        }
    }
}

impl Existing {
    /// Whether records that are there stay.
    #[must_use]
    pub fn resumes(self) -> bool {
        !matches!(self, Existing::Refuse | Existing::Overwrite)
    }
}

impl Sync {
    /// Maximum age of records that are not synced; none: until the end.
    pub(super) fn max_age(self) -> Option<Duration> {
        match self {
            Sync::Always => Some(Duration::ZERO),
            Sync::EverySecond => Some(Duration::from_secs(1)),
            Sync::End => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_says_where_records_go() {
        let text = r#"{"file": "a.txt", "format": "csv", "keep-body": true, "existing": "resume-changed", "sync": "1s"}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.file.as_deref(), Some("a.txt"));
        assert_eq!(settings.format.unwrap().to_string(), "csv");
        assert_eq!(settings.existing, Existing::ResumeChanged);
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
    }
}
