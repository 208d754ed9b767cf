//! What a job says of its requests.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;

/// The `[request]` part of a job. Texts are templates: `{{ field }}`, `{{ env.NAME }}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The URL; values are percent-encoded.
    pub url: Option<String>,
    /// GET, or POST if there is a body, unless told otherwise.
    pub method: Option<String>,
    /// Appended to the URL as its query, in this order.
    pub query: serde_json::Map<String, Value>,
    /// One header each.
    pub headers: serde_json::Map<String, Value>,
    /// A body; a form unless a `content-type` header says otherwise.
    pub data: Option<String>,
    /// A JSON body, whose texts are templates: as a tree, or as JSON text.
    pub json: Option<Value>,
}

impl Settings {
    /// The method, or the one that goes with the body.
    pub(super) fn method(&self) -> Result<Method, Error> {
        let has_body = self.data.is_some() || self.json.is_some();
        let default = if has_body { "POST" } else { "GET" };
        let name = self.method.as_deref().unwrap_or(default);
        name.to_uppercase().parse().map_err(|_| {
            Error::plan(format!(
                "request.method (--method): \"{name}\" is not a method such as GET or POST"
            ))
        })
    }

    /// The `content-type` that the job's headers name, in small letters.
    pub(super) fn content_type(&self) -> Option<String> {
        self.headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            .map(|(_, value)| value.to_string().to_lowercase())
    }
}

/// Texts, and numbers or booleans as texts.
pub(super) fn texts<'a>(
    place: &str,
    map: &'a serde_json::Map<String, Value>,
) -> Result<Vec<(&'a str, String)>, Error> {
    map.iter()
        .map(|(name, value)| match value {
            Value::String(text) => Ok((name.as_str(), text.clone())),
            Value::Number(_) | Value::Bool(_) => Ok((name.as_str(), value.to_string())),
            other => Err(Error::plan(format!(
                "{place}: {name} is {other}, not a text"
            ))),
        })
        .collect()
}
