//! What a job says of its store. Pure.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::text_or_table::TextOrTable;

/// The size of a store whose job gives none.
const DEFAULT_SIZE: ByteSize = ByteSize::gib(10);
/// The smallest size of a store.
const MIN_SIZE: ByteSize = ByteSize::mib(1);

/// The `[store]` part of a job. As a text it is the directory alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// The directory that keeps the answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// The size above which the oldest answers are removed; 10 GiB by default.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::exact_size::serialize"
    )]
    #[cfg_attr(feature = "cli", schemars(with = "Option<String>"))]
    pub size: Option<ByteSize>,
    /// The age above which an answer is asked for again; none by default.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    pub age: Option<Duration>,
    /// Whether nothing is sent: a row without a kept answer fails.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub offline: bool,
}

impl StoreSettings {
    /// Whether the job says nothing of a store.
    pub fn is_none(&self) -> bool {
        *self == StoreSettings::default()
    }

    /// The size above which the oldest answers are removed, in bytes.
    pub(crate) fn max_size(&self) -> u64 {
        self.size.unwrap_or(DEFAULT_SIZE).as_u64()
    }

    /// Checks what needs no file.
    ///
    /// # Errors
    /// What can't be so.
    pub(crate) fn check(&self) -> Result<(), String> {
        let lacks = |what: &str| {
            Err(format!(
                "{what} says how answers are kept, and nothing says where: give store.dir (--store DIR)"
            ))
        };
        match &self.dir {
            None if self.offline => lacks("store.offline (--offline)"),
            None if self.size.is_some() => lacks("store.size (--store-size)"),
            None if self.age.is_some() => lacks("store.age (--store-age)"),
            Some(dir) if dir.trim().is_empty() => {
                Err("store.dir (--store) is empty: give a directory".into())
            }
            _ if self.max_size() < MIN_SIZE.as_u64() => Err(format!(
                "store.size (--store-size) is {}: give at least 1MiB",
                self.size.unwrap_or_default()
            )),
            _ => Ok(()),
        }
    }
}

impl TextOrTable for StoreSettings {
    const EXPECTED: &'static str = "a directory, or a table with one";

    fn of_text(dir: String) -> StoreSettings {
        StoreSettings { dir: Some(dir), ..StoreSettings::default() }
    }
}
