//! The `output` of a job.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::convert::Selection;
use crate::format::{self, Format, KeepBody};
use crate::judge::StatusSet;
use crate::record::FailureKind;

/// The `[output]` part of a job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Where records go; absent or `-` is stdout.
    pub file: Option<String>,
    /// The format of the file; by default the one of its extension.
    #[cfg_attr(feature = "cli", schemars(with = "Option<format::OutputName>"))]
    #[serde(deserialize_with = "format::output")]
    pub format: Option<Format>,
    /// The answers whose body records have beside the extracted values.
    #[cfg_attr(feature = "cli", schemars(with = "crate::limit::schema::Either<KeepBody, bool>"))]
    pub keep_body: KeepBody,
    /// Whether an extracted value may have the name of a field, and replaces it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replace_fields: bool,
    /// What to do with a file that has records already.
    pub existing: Existing,
    /// The rows that failed in an earlier run and are asked for again.
    #[cfg_attr(
        feature = "cli",
        schemars(
            with = "crate::limit::schema::Either<bool, crate::limit::schema::OneOrMany<crate::limit::schema::Either<u16, String>>>"
        )
    )]
    pub retry_failed: RetryFailed,
    /// The field that identifies a row when a run is resumed; its number if absent.
    pub key: Option<String>,
    /// How much a power cut may cost.
    pub sync: Sync,
    /// The order of its records.
    pub order: Order,
    /// The file is a directory of Parquet files, each of about this number of records.
    pub parts: Option<NonZeroU64>,
    /// The columns of the finished file, in this order; absent: all.
    pub columns: Option<Vec<String>>,
    /// Whether throng's own columns are left out of the finished file.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_meta: bool,
    /// Whether answers are saved to files, which may be there already as well.
    #[serde(skip)]
    pub saves: bool,
}

/// The failed rows of an earlier run that are asked for again.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum RetryFailed {
    /// None of them.
    #[default]
    None,
    /// All of them.
    All,
    /// Those that failed in one of these ways.
    Of(Vec<RetriedKind>),
}

/// A way to fail, as a user names it.
#[derive(Debug, Clone, PartialEq)]
pub enum RetriedKind {
    /// With one of these statuses.
    Statuses(StatusSet),
    /// With a failure of this kind.
    Kind(FailureKind),
    /// Since something is missing, whatever it is.
    AnyMissing,
}

impl RetryFailed {
    /// Whether any row may be asked for again.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != RetryFailed::None
    }

    /// Whether a row that failed in this way is asked for again.
    #[must_use]
    pub fn takes(&self, kind: &FailureKind) -> bool {
        match self {
            RetryFailed::None => false,
            RetryFailed::All => true,
            RetryFailed::Of(kinds) => kinds.iter().any(|it| it.has(kind)),
        }
    }
}

impl RetriedKind {
    fn has(&self, kind: &FailureKind) -> bool {
        match (self, kind) {
            (RetriedKind::Statuses(statuses), FailureKind::Status(status)) => {
                StatusCode::from_u16(*status).is_ok_and(|status| statuses.has(status))
            }
            (RetriedKind::Kind(named), kind) => named == kind,
            (RetriedKind::AnyMissing, kind) => kind.text().starts_with("missing "),
            _ => false,
        }
    }
}

impl FromStr for RetriedKind {
    type Err = String;

    fn from_str(text: &str) -> Result<RetriedKind, String> {
        let text = text.trim();
        if text == FailureKind::Missing.text() {
            return Ok(RetriedKind::AnyMissing);
        }
        match FailureKind::parse(text) {
            FailureKind::Other(text) => {
                let statuses = text.trim_start_matches("status").trim();
                statuses.parse().map(RetriedKind::Statuses).map_err(|_| {
                    format!(
                        "{text:?} is no kind of failure: write statuses (500, 5xx) or what _error says, such as timeout, connect or missing price"
                    )
                })
            }
            kind => Ok(RetriedKind::Kind(kind)),
        }
    }
}

impl fmt::Display for RetriedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RetriedKind::Statuses(statuses) => write!(f, "{statuses}"),
            RetriedKind::Kind(kind) => write!(f, "{kind}"),
            RetriedKind::AnyMissing => f.write_str("missing"),
        }
    }
}

/// Kinds with a comma between them; none given is all.
impl FromStr for RetryFailed {
    type Err = String;

    fn from_str(text: &str) -> Result<RetryFailed, String> {
        match text.trim() {
            "" | "all" => Ok(RetryFailed::All),
            kinds => {
                kinds.split(',').map(str::parse).collect::<Result<_, _>>().map(RetryFailed::Of)
            }
        }
    }
}

/// `true`, `false`, or a list of kinds.
impl Serialize for RetryFailed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            RetryFailed::Of(kinds) => {
                serializer.collect_seq(kinds.iter().map(RetriedKind::to_string))
            }
            all => serializer.serialize_bool(all.is_any()),
        }
    }
}

impl<'de> Deserialize<'de> for RetryFailed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RetryFailed, D::Error> {
        let text = |part: &Value| part.as_str().map_or_else(|| part.to_string(), str::to_owned);
        match Value::deserialize(deserializer)? {
            Value::Bool(true) => Ok(RetryFailed::All),
            Value::Bool(false) => Ok(RetryFailed::None),
            Value::Array(kinds) if kinds.is_empty() => Ok(RetryFailed::None),
            Value::Array(kinds) => {
                let kinds: Vec<String> = kinds.iter().map(text).collect();
                kinds.join(",").parse().map_err(D::Error::custom)
            }
            kind => text(&kind).parse().map_err(D::Error::custom),
        }
    }
}

/// The order of the records in a finished output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Existing {
    /// Leave it alone: the plan is wrong.
    #[default]
    Refuse,
    /// Keep its records and add those of the rows that it has not.
    Resume,
    /// Resume if there is a file, and start one otherwise.
    ResumeOrNew,
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
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
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
    /// The columns of the finished file, unless it has all.
    pub(super) fn selection(&self) -> Option<Selection> {
        let is_any = self.columns.is_some() || self.no_meta;
        is_any.then(|| Selection {
            columns: self.columns.clone(),
            no_meta: self.no_meta,
            types: false,
        })
    }

    /// What to do with records that are there: to ask for those that failed is to resume.
    pub fn existing(&self) -> Existing {
        match self.existing {
            Existing::Refuse if self.retry_failed.is_any() => Existing::Resume,
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
    fn a_choice_of_failures_takes_those_and_no_others() {
        let takes = |choice: &str, kind: &str| {
            let choice: RetryFailed = choice.parse().unwrap();
            let json = serde_json::to_string(&choice).unwrap();
            assert_eq!(serde_json::from_str::<RetryFailed>(&json).unwrap(), choice, "{json}");
            choice.takes(&FailureKind::parse(kind))
        };
        for (choice, taken, left) in [
            ("500,timeout", "timeout", "status 503"),
            ("500, timeout", "status 500", "connect"),
            ("5xx", "status 503", "status 404"),
            ("status 500", "status 500", "status 501"),
            ("missing", "missing price", "timeout"),
            ("missing price", "missing price", "missing name"),
            ("connection lost", "connection lost", "timeout"),
        ] {
            assert!(takes(choice, taken) && !takes(choice, left), "{choice}");
        }
        assert!(takes("all", "anything") && takes("", "anything"));
        let error = "500,timeuot".parse::<RetryFailed>().unwrap_err();
        assert!(error.contains("\"timeuot\" is no kind of failure"), "{error}");
        let of_job: RetryFailed = serde_json::from_str("[500, \"timeout\"]").unwrap();
        assert_eq!(of_job, "500,timeout".parse().unwrap());
    }

    #[test]
    fn a_job_says_where_records_go() {
        let text = r#"{"file": "a.txt", "format": "csv", "keep-body": true, "existing": "resume-changed", "sync": "1s"}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.file.as_deref(), Some("a.txt"));
        assert_eq!(settings.format.unwrap().to_string(), "csv");
        assert_eq!(settings.existing, Existing::ResumeChanged);
        assert_eq!(settings.keep_body, KeepBody::All);
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
    }
}
