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
    /// These settings with others laid over them: what those name replaces, names of a query, of
    /// headers and of a JSON body one by one. At another server, the headers and the query are
    /// those of the others alone, as these may hold keys.
    pub(crate) fn laid_over(&self, over: &Settings) -> Settings {
        let mut all = self.clone();
        if !self.is_at_server_of(over) {
            all.headers.clear();
            all.query.clear();
        }
        all.url = over.url.clone().or(all.url);
        all.method = over.method.clone().or(all.method);
        for (name, value) in &over.headers {
            all.headers.retain(|known, _| !known.eq_ignore_ascii_case(name));
            all.headers.insert(name.clone(), value.clone());
        }
        all.query.extend(over.query.clone());
        if !over.allow_host.is_empty() {
            all.allow_host.clone_from(&over.allow_host);
        }
        if over.bodies().is_empty() {
            return all;
        }
        let json = match (&self.json, &over.json) {
            (Some(under), Some(over)) => Some(merged(under, over)),
            (_, over) => over.clone(),
        };
        Settings {
            data: over.data.clone(),
            json,
            jq: over.jq.clone(),
            form: over.form.clone(),
            multipart: over.multipart.clone(),
            body_file: over.body_file.clone(),
            ..all
        }
    }

    /// Whether others that are laid over these ask the same server, as far as the job writes it.
    pub(crate) fn is_at_server_of(&self, over: &Settings) -> bool {
        let server = |url: &str| {
            let host = url.find("://").map_or(0, |at| at + 3);
            let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
            url[..end].to_ascii_lowercase()
        };
        let (own, over) = (self.url.as_deref().map(server), over.url.as_deref().map(server));
        over.is_none() || own == over
    }

    /// The place of a secret in the body that stays there if others are laid over it.
    pub(crate) fn secret_in_body(&self, over: &Settings) -> Option<&'static str> {
        let bodies = over.bodies();
        if bodies.is_empty() {
            let is_secret = |text: &String| names_secret(text);
            if self.data.as_ref().is_some_and(is_secret) {
                return Some("data");
            }
            let maps = [(&self.form, "form"), (&self.multipart, "multipart")];
            let found = maps
                .into_iter()
                .find(|(map, _)| map.values().any(|value| keeps_secret(value, None)));
            if let Some((_, place)) = found {
                return Some(place);
            }
        }
        let is_kept = bodies.is_empty() || over.json.is_some();
        let json = self.json.as_ref().filter(|_| is_kept);
        json.filter(|json| keeps_secret(json, over.json.as_ref())).map(|_| "json")
    }

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

/// A JSON body with another one laid over it: objects are merged, and all else is replaced. A body
/// may be a tree, or a text of JSON.
fn merged(under: &Value, over: &Value) -> Value {
    match (tree(under), tree(over)) {
        (Value::Object(mut all), Value::Object(over)) => {
            for (name, value) in over {
                let value = match all.get(&name) {
                    Some(under @ Value::Object(_)) if value.is_object() => merged(under, &value),
                    _ => value,
                };
                all.insert(name, value);
            }
            Value::Object(all)
        }
        (_, over) => over,
    }
}

/// The tree of a text of JSON, if it is one; else the value itself.
fn tree(value: &Value) -> Value {
    let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    parsed.filter(Value::is_object).unwrap_or_else(|| value.clone())
}

/// Whether a body names a secret where `over` has nothing else.
fn keeps_secret(under: &Value, over: Option<&Value>) -> bool {
    match (tree(under), over.map(tree)) {
        (Value::Object(under), None | Some(Value::Object(_))) => {
            let over = over.map(tree);
            under.iter().any(|(name, value)| {
                keeps_secret(value, over.as_ref().and_then(|over| over.get(name)))
            })
        }
        (Value::Array(items), None) => items.iter().any(|item| keeps_secret(item, None)),
        (Value::String(text), None) => names_secret(&text),
        _ => false,
    }
}

/// Whether a template names a secret: a variable of the environment, one of the job's secrets, or
/// the key of a pool.
fn names_secret(text: &str) -> bool {
    let mut expressions = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    expressions.any(|expression| {
        let first = expression
            .split(|it: char| !it.is_alphanumeric() && it != '_')
            .find(|it| !it.is_empty());
        expression.contains("env.") || expression.contains("secret.") || first == Some("key")
    })
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
