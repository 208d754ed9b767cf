//! An authentication scheme, and the settings that it is built of.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Request};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::tokens::Tokens;
use crate::error::Error;
use crate::render::{RenderContext, StaticValue};

/// The `[auth]` part of a job: a `kind`, and the keys of that kind.
pub type Settings = Map<String, Value>;

/// An authentication scheme.
pub trait Scheme: Send + Sync {
    /// The names of the headers and parameters that it adds, for a plan.
    fn added_names(&self) -> Vec<String>;

    /// Signs one attempt at this time.
    ///
    /// # Errors
    /// Why this request can't be signed.
    fn sign(&self, request: &mut Request<Bytes>, at: SystemTime) -> Result<(), String>;

    /// The tokens that must be fetched before it can sign, if it needs any.
    fn tokens(&self) -> Option<&Tokens> {
        None
    }
}

/// The settings of one scheme.
pub struct SchemeSettings<'a> {
    settings: &'a Settings,
    /// The environment and the secrets of the job.
    pub context: RenderContext<'a>,
}

impl<'a> SchemeSettings<'a> {
    pub fn new(settings: &'a Settings, context: RenderContext<'a>) -> SchemeSettings<'a> {
        SchemeSettings { settings, context }
    }

    /// The keys of the scheme: all but `kind` itself.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut keys = self.settings.clone();
        let kind = keys.remove("kind").unwrap_or_default();
        serde_json::from_value(keys.into()).map_err(|error| {
            let kind = kind.as_str().unwrap_or_default();
            Error::plan(format!("auth (--auth): kind {kind}: {error}"))
        })
    }

    /// A text that is no secret.
    pub fn plain(&self, key: &str, text: &str) -> Result<StaticValue, Error> {
        StaticValue::new(&full_key(key), text, &self.context)
    }

    /// A text that is a secret.
    pub fn hidden(&self, key: &str, text: &str) -> Result<StaticValue, Error> {
        StaticValue::hidden(&full_key(key), text, &self.context)
    }

    /// A text of any characters, with line breaks too, that is a secret.
    pub fn hidden_text(&self, key: &str, text: &str) -> Result<StaticValue, Error> {
        StaticValue::hidden_text(&full_key(key), text, &self.context)
    }

    /// An optional text that is a secret.
    pub fn hidden_if(
        &self,
        key: &str,
        text: Option<&String>,
    ) -> Result<Option<StaticValue>, Error> {
        text.map(|text| self.hidden(key, text)).transpose()
    }
}

fn full_key(key: &str) -> String {
    format!("auth.{key} (--auth)")
}

/// The error of a key.
pub fn wrong(key: &str, why: impl std::fmt::Display) -> Error {
    Error::plan(format!("{}: {why}", full_key(key)))
}

/// Appends a header that is printed nowhere, not even with its request.
pub fn append_secret(headers: &mut HeaderMap, name: &HeaderName, text: &str) -> Result<(), String> {
    let mut value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| format!("the secret for the header {name} holds a control character"))?;
    value.set_sensitive(true);
    headers.append(name, value);
    Ok(())
}

/// Sets a header that is printed nowhere, in place of others of its name.
pub fn set_secret(headers: &mut HeaderMap, name: &HeaderName, text: &str) -> Result<(), String> {
    headers.remove(name);
    append_secret(headers, name, text)
}
