//! What a job says of its requests.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;

/// The `[request]` part of a job. Texts are templates: `{{ field }}`, `{{ env.NAME }}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The URL; values are percent-encoded.
    pub url: Option<String>,
    /// GET, or POST if there is a body, unless told otherwise.
    pub method: Option<String>,
    /// Appended to the URL as its query, in this order; a list gives one each.
    pub query: Map<String, Value>,
    /// One header each, or several for a list; `false` leaves out one that
    /// throng adds by itself.
    pub headers: Map<String, Value>,
    /// A body; a form unless a `content-type` header says otherwise.
    pub data: Option<String>,
    /// A JSON body, whose texts are templates: as a tree, or as JSON text.
    pub json: Option<Value>,
    /// A JSON body: what this jq program makes of the row.
    pub jq: Option<String>,
    /// A body of form fields, percent-encoded; a list gives one each.
    pub form: Map<String, Value>,
    /// A multipart body: for each part a text, or `{ file, type, name }`.
    pub multipart: Map<String, Value>,
    /// The path of a file that is the body.
    pub body_file: Option<String>,
    /// The hosts that a URL made by a row may name: `host`, `host:port`, `*.domain`.
    pub allow_host: Vec<String>,
}

impl Settings {
    /// The keys that give a body, of those that a request may have one of.
    pub(super) fn bodies(&self) -> Vec<&'static str> {
        [
            (self.data.is_some(), "request.data (--data)"),
            (self.json.is_some(), "request.json (--json)"),
            (self.jq.is_some(), "request.jq (--jq)"),
            (!self.form.is_empty(), "request.form (--form)"),
            (
                !self.multipart.is_empty(),
                "request.multipart (--multipart)",
            ),
            (self.body_file.is_some(), "request.body-file (--body-file)"),
        ]
        .into_iter()
        .filter_map(|(is_there, key)| is_there.then_some(key))
        .collect()
    }

    /// The method, or the one that goes with the body.
    pub(super) fn method(&self) -> Result<Method, Error> {
        let default = if self.bodies().is_empty() {
            "GET"
        } else {
            "POST"
        };
        let name = self.method.as_deref().unwrap_or(default);
        match name.to_uppercase().parse() {
            Ok(Method::CONNECT) => Err(Error::plan(
                "request.method (--method): CONNECT opens a tunnel and asks for nothing",
            )),
            Ok(method) => Ok(method),
            Err(_) => Err(Error::plan(format!(
                "request.method (--method): \"{name}\" is not a method such as GET or POST"
            ))),
        }
    }

    /// The `content-type` that the job's headers name, in small letters.
    pub(super) fn content_type(&self) -> Option<String> {
        self.headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
            .map(|(_, value)| value.to_string().to_lowercase())
    }
}

/// Texts, and numbers or booleans as texts; a list gives one each.
pub(super) fn texts<'a>(
    place: &str,
    map: &'a Map<String, Value>,
) -> Result<Vec<(&'a str, String)>, Error> {
    let mut all = Vec::new();
    for (name, value) in map {
        match value {
            Value::Array(items) => {
                for item in items {
                    all.push((name.as_str(), text(place, name, item)?));
                }
            }
            one => all.push((name.as_str(), text(place, name, one)?)),
        }
    }
    Ok(all)
}

pub(super) fn text(place: &str, name: &str, value: &Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(Error::plan(format!(
            "{place}: {name} is {other}, not a text"
        ))),
    }
}
