//! What a job says of its helpers.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text_or_table::TextOrTable;

/// The helpers of one command: `[process]` or `[render]` of a job. As a text it is the command
/// alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct HelperSettings {
    /// The command, as a shell takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Number of helpers that work side by side; by default one for each core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helpers: Option<NonZeroUsize>,
    /// The longest time that a helper may take for one line.
    #[serde(with = "humantime_serde")]
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::DurationText"))]
    pub timeout: Duration,
    /// Maximum number of lines that a helper has at a time.
    pub batch: NonZeroUsize,
    /// Variables of the environment that helpers get although they are secrets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The names of the values that helpers of `process` give; a name that ends in `?` may be
    /// missing. Without them each record has the values that its helper gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Whether a helper of `process` may give several records for a row.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub records: bool,
}

impl Default for HelperSettings {
    fn default() -> HelperSettings {
        HelperSettings {
            command: None,
            helpers: None,
            timeout: Duration::from_secs(60),
            batch: NonZeroUsize::new(100).unwrap_or(NonZeroUsize::MIN),
            env: Vec::new(),
            values: Vec::new(),
            records: false,
        }
    }
}

impl HelperSettings {
    /// Number of helpers that work side by side.
    pub fn helpers(&self) -> usize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.helpers.unwrap_or_else(cores).get()
    }

    /// Whether the job names no helpers.
    pub fn is_none(&self) -> bool {
        *self == HelperSettings::default()
    }

    /// Whether they say anything of the records of rows.
    pub fn gives_records(&self) -> bool {
        self.records || !self.values.is_empty()
    }

    /// Checks the settings under this key of a job.
    ///
    /// # Errors
    /// What can't be so.
    pub fn check(&self, key: &str) -> Result<(), String> {
        match self.command.as_deref().map(str::trim) {
            None if self.gives_records() => {
                Err(format!("{key} names values and no command (--{key} CMD)"))
            }
            Some("") => Err(format!("{key}.command (--{key}) is empty")),
            _ if self.timeout.is_zero() => {
                Err(format!("{key}.timeout (--helper-timeout) is 0: give at least 1ms"))
            }
            _ => Ok(()),
        }
    }
}

impl TextOrTable for HelperSettings {
    const EXPECTED: &'static str = "a command, or a table with one";

    fn of_text(command: String) -> HelperSettings {
        HelperSettings { command: Some(command), ..HelperSettings::default() }
    }
}
