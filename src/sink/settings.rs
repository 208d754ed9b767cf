//! What a job says of its output.

use serde::{Deserialize, Serialize};

use super::Format;

/// The `[output]` part of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Where records go; absent or `-` is stdout.
    pub file: Option<String>,
    /// How they are written; by default what the file's extension says.
    pub format: Option<Format>,
    /// Whether records have the answer's body beside the extracted values.
    pub keep_body: bool,
    /// What to do with a file that has records already.
    pub existing: Existing,
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
    /// Empty it and start again.
    Overwrite,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_says_where_records_go() {
        let text = r#"{"file": "a.txt", "format": "csv", "keep-body": true, "existing": "resume"}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.file.as_deref(), Some("a.txt"));
        assert_eq!(settings.format.unwrap().to_string(), "csv");
        assert_eq!(settings.existing, Existing::Resume);
        assert_eq!(
            serde_json::from_str::<Settings>("{}").unwrap(),
            Settings::default()
        );
    }
}
