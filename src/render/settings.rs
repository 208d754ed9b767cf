//! The `[request]` part of a job.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;

/// The `[request]` part of a job. Texts are templates: `{{ field }}`, `{{ env.NAME }}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The URL; values are percent-encoded.
    pub url: Option<String>,
    /// The method; by default GET, or POST if there is a body.
    pub method: Option<String>,
    /// The query that is appended to the URL, in this order; a list gives its name once for
    /// each item.
    pub query: Map<String, Value>,
    /// Headers; a list gives several, and `false` leaves out one that throng adds by
    /// itself.
    pub headers: Map<String, Value>,
    /// A body as text; a form unless a `content-type` header says otherwise.
    pub data: Option<String>,
    /// A JSON body, whose texts are templates: as a tree, or as JSON text.
    pub json: Option<Value>,
    /// A JSON body: the value of this jq program for the row.
    pub jq: Option<String>,
    /// A body of form fields, percent-encoded; a list gives its name once for each item.
    pub form: Map<String, Value>,
    /// A multipart body: each part is a text, or `{ file, type, name }`.
    pub multipart: Map<String, Value>,
    /// The path of a file that is the body.
    pub body_file: Option<String>,
    /// Hosts that the URL of a row may name: `host`, `host:port`, `*.domain`.
    pub allow_host: Vec<String>,
    /// The path of the file that the answer is saved to: the job's `save`.
    #[serde(skip)]
    pub save: Option<String>,
    /// Whether a row may be asked again, so that templates know its last answer.
    #[serde(skip)]
    pub has_last: bool,
}

impl Settings {
    /// The keys of the bodies that are given, of which there may be one.
    pub(super) fn bodies(&self) -> Vec<&'static str> {
        [
            (self.data.is_some(), "request.data (--data)"),
            (self.json.is_some(), "request.json (--json)"),
            (self.jq.is_some(), "request.jq (--jq)"),
            (!self.form.is_empty(), "request.form (--form)"),
            (!self.multipart.is_empty(), "request.multipart (--multipart)"),
            (self.body_file.is_some(), "request.body-file (--body-file)"),
        ]
        .into_iter()
        .filter_map(|(is_given, key)| is_given.then_some(key))
        .collect()
    }

    /// The method, or its default.
    pub(super) fn method(&self) -> Result<Method, Error> {
        let default = if self.bodies().is_empty() { "GET" } else { "POST" };
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

/// Names and texts; numbers and booleans become texts, and a list gives its name once for
/// each item. `key` names the map in messages.
pub(super) fn texts<'a>(
    key: &str,
    map: &'a Map<String, Value>,
) -> Result<Vec<(&'a str, String)>, Error> {
    let mut all = Vec::new();
    for (name, value) in map {
        for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            all.push((name.as_str(), text(key, name, value)?));
        }
    }
    Ok(all)
}

pub(super) fn text(key: &str, name: &str, value: &Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(Error::plan(format!("{key}: {name} is {other}, not a text"))),
    }
}
