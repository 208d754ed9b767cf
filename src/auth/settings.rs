//! The `[auth]` part of a job, as its kinds read it.

use serde::de::DeserializeOwned;

use super::Settings;
use crate::error::Error;
use crate::render::{RenderContext, StaticValue};

/// What one kind is told.
pub struct SchemeSettings<'a> {
    settings: &'a Settings,
    /// What templates know.
    pub known: RenderContext<'a>,
}

impl<'a> SchemeSettings<'a> {
    pub fn new(settings: &'a Settings, known: RenderContext<'a>) -> SchemeSettings<'a> {
        SchemeSettings { settings, known }
    }

    /// The keys that the kind wants, all but `kind` itself.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut keys = self.settings.clone();
        let kind = keys.remove("kind").unwrap_or_default();
        serde_json::from_value(keys.into()).map_err(|error| {
            let kind = kind.as_str().unwrap_or_default();
            Error::plan(format!("auth (--auth): kind {kind}: {error}"))
        })
    }

    /// A text that may be seen.
    pub fn plain(&self, key: &str, text: &str) -> Result<StaticValue, Error> {
        StaticValue::new(&place(key), text, &self.known)
    }

    /// A text that nobody may see.
    pub fn hidden(&self, key: &str, text: &str) -> Result<StaticValue, Error> {
        StaticValue::hidden(&place(key), text, &self.known)
    }

    /// An optional text that nobody may see.
    pub fn hidden_if(
        &self,
        key: &str,
        text: Option<&String>,
    ) -> Result<Option<StaticValue>, Error> {
        text.map(|text| self.hidden(key, text)).transpose()
    }
}

fn place(key: &str) -> String {
    format!("auth.{key} (--auth)")
}

/// What is wrong with a key.
pub fn wrong(key: &str, why: impl std::fmt::Display) -> Error {
    Error::plan(format!("{}: {why}", place(key)))
}
