//! (2) A row and the job's templates to an `http::Request`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request};
use minijinja::value::Value as Scope;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::record::Failure;
use crate::source::Row;

mod json;
mod template;
mod url;

use json::JsonBody;
use template::{Place, Template, Templates};
use url::Url;

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

/// Makes requests of rows. Everything that can be known without a row has been checked.
pub struct Renderer {
    templates: Templates,
    method: Method,
    url: Url,
    headers: Vec<(HeaderName, Template)>,
    secret_headers: Vec<(HeaderName, Template)>,
    body: Body,
    secrets: Vec<String>,
}

enum Body {
    None,
    Data(Template),
    Json(JsonBody),
}

impl Renderer {
    /// Compiles the job's templates, with the environment's variables that they name.
    ///
    /// # Errors
    /// Which key is wrong and why, or which variable is not set.
    pub fn new(
        settings: &Settings,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Renderer, Error> {
        let mut templates = Templates::new();
        let url = url(settings, &mut templates)?;
        let body = body(settings, &mut templates)?;
        let all = headers(settings, &body, &mut templates)?;
        let (secret_headers, headers) = all.into_iter().partition(|(_, template)| {
            let (fields, variables) = templates.names_used(*template);
            fields.is_empty() && !variables.is_empty()
        });
        let values = variables(&templates, environment)?;
        templates.set_environment(&values);
        Ok(Renderer {
            method: method(settings)?,
            url,
            headers,
            secret_headers,
            body,
            templates,
            secrets: values.into_values().collect(),
        })
    }

    /// The fields that a row must have.
    #[must_use]
    pub fn fields(&self) -> &BTreeSet<String> {
        self.templates.fields()
    }

    /// The method of every request.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The values of the environment that requests carry.
    #[must_use]
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The headers that carry a secret and no value of a row. They are left out
    /// of [`render`](Renderer::render): signing adds them.
    ///
    /// # Errors
    /// Which header can't be written.
    pub fn secret_headers(&self) -> Result<HeaderMap, Error> {
        let scope = self.templates.scope(&serde_json::Map::new());
        let mut map = self
            .render_headers(&self.secret_headers, &scope)
            .map_err(Error::plan)?;
        for value in map.values_mut() {
            value.set_sensitive(true);
        }
        Ok(map)
    }

    /// The request of one row, without its secret headers.
    ///
    /// # Errors
    /// A failure of kind `input`, which says which value doesn't fit where.
    pub fn render(&self, row: &Row) -> Result<Request<Bytes>, Failure> {
        self.try_render(row)
            .map_err(|why| Failure::new("input", why))
    }

    fn try_render(&self, row: &Row) -> Result<Request<Bytes>, String> {
        let scope = self.templates.scope(&row.fields);
        let mut request = Request::new(self.render_body(&scope)?);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.render(&self.templates, &scope)?;
        *request.headers_mut() = self.render_headers(&self.headers, &scope)?;
        Ok(request)
    }

    fn render_headers(
        &self,
        headers: &[(HeaderName, Template)],
        scope: &Scope,
    ) -> Result<HeaderMap, String> {
        let mut map = HeaderMap::with_capacity(headers.len() + 4);
        for (name, template) in headers {
            let text = self
                .templates
                .render(*template, scope)
                .map_err(|why| format!("header {name}: {why}"))?;
            let value = HeaderValue::from_str(&text)
                .or_else(|_| HeaderValue::from_bytes(text.as_bytes()))
                .map_err(|_| format!("header {name}: the value holds a control character"))?;
            map.append(name, value);
        }
        Ok(map)
    }

    fn render_body(&self, scope: &Scope) -> Result<Bytes, String> {
        match &self.body {
            Body::None => Ok(Bytes::new()),
            Body::Data(template) => Ok(self.templates.render(*template, scope)?.into()),
            Body::Json(json) => Ok(json.render(&self.templates, scope)?.into()),
        }
    }
}

fn method(settings: &Settings) -> Result<Method, Error> {
    let has_body = settings.data.is_some() || settings.json.is_some();
    let default = if has_body { "POST" } else { "GET" };
    let name = settings.method.as_deref().unwrap_or(default);
    name.to_uppercase().parse().map_err(|_| {
        Error::plan(format!(
            "request.method (--method): \"{name}\" is not a method such as GET or POST"
        ))
    })
}

fn url(settings: &Settings, templates: &mut Templates) -> Result<Url, Error> {
    let text = settings.url.as_deref().ok_or_else(|| {
        Error::plan("no URL: give request.url in the job file, or --url 'https://…'")
    })?;
    let query = texts("request.query (--query)", &settings.query)?;
    let query = query.iter().map(|(name, value)| (*name, value.as_str()));
    Url::new(templates, text, query)
        .map_err(|why| Error::plan(format!("request.url (--url): {why}")))
}

fn headers(
    settings: &Settings,
    body: &Body,
    templates: &mut Templates,
) -> Result<Vec<(HeaderName, Template)>, Error> {
    let mut headers = Vec::new();
    for (name, value) in texts("request.headers (--header)", &settings.headers)? {
        let place = |why: String| Error::plan(format!("request.headers (--header): {name}: {why}"));
        let header: HeaderName = name
            .parse()
            .map_err(|_| place("is not the name of a header".into()))?;
        let template = templates.add(Place::Header, &value).map_err(place)?;
        headers.push((header, template));
    }
    let default = match body {
        Body::None => None,
        Body::Data(_) => Some("application/x-www-form-urlencoded"),
        Body::Json(_) => Some("application/json"),
    };
    if let Some(default) = default.filter(|_| content_type(settings).is_none()) {
        let template = templates.add(Place::Header, default).map_err(Error::plan)?;
        headers.push((CONTENT_TYPE, template));
    }
    Ok(headers)
}

fn body(settings: &Settings, templates: &mut Templates) -> Result<Body, Error> {
    match (&settings.data, &settings.json) {
        (Some(_), Some(_)) => Err(Error::plan(
            "request.data (--data) and request.json (--json) are both given: a request has one body",
        )),
        (None, None) => Ok(Body::None),
        (Some(data), None) => templates
            .add(data_place(settings), data)
            .map(Body::Data)
            .map_err(|why| Error::plan(format!("request.data (--data): {why}"))),
        (None, Some(json)) => JsonBody::new(templates, &json_tree(json)?)
            .map(Body::Json)
            .map_err(|why| Error::plan(format!("request.json (--json): {why}"))),
    }
}

/// `json` may be a tree, or the text of one, as the flag gives it.
fn json_tree(json: &Value) -> Result<Value, Error> {
    let Value::String(text) = json else {
        return Ok(json.clone());
    };
    serde_json::from_str(text).map_err(|error| {
        Error::plan(format!(
            "request.json (--json): it is not JSON: {error}; put templates in quotes (\"{{{{ id }}}}\" alone keeps the value's type)"
        ))
    })
}

fn data_place(settings: &Settings) -> Place {
    match content_type(settings) {
        None => Place::Url,
        Some(kind) if kind.contains("x-www-form-urlencoded") => Place::Url,
        Some(kind) if kind.contains("json") => Place::JsonText,
        Some(_) => Place::Text,
    }
}

fn content_type(settings: &Settings) -> Option<String> {
    settings
        .headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        .map(|(_, value)| value.to_string().to_lowercase())
}

/// Texts, and numbers or booleans as texts.
fn texts<'a>(
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

fn variables(
    templates: &Templates,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, Error> {
    let value = |name: &String| match environment(name) {
        Some(value) => Ok((name.clone(), value)),
        None => Err(Error::plan(format!(
            "the environment variable {name} is not set, and the job uses {{{{ env.{name} }}}}: export {name}=… and run again"
        ))),
    };
    templates.variables().iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn renderer(settings: Value) -> Result<Renderer, Error> {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let environment = |name: &str| (name == "KEY").then(|| "s3cret".to_owned());
        Renderer::new(&settings, &environment)
    }

    fn row(fields: Value) -> Row {
        let fields = serde_json::from_value(fields).unwrap();
        Row { number: 0, fields }
    }

    #[test]
    fn a_row_becomes_a_request() {
        let renderer = renderer(json!({
            "url": "https://h/v/{{ id }}",
            "query": {"lang": "en", "n": 3, "q": "{{ id }}"},
            "headers": {"x-id": "{{ id }}", "x-key": "{{ env.KEY }}"},
            "json": {"id": "{{ id }}"},
        }))
        .unwrap();
        let request = renderer.render(&row(json!({"id": "a b"}))).unwrap();
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://h/v/a%20b?lang=en&n=3&q=a%20b");
        assert_eq!(request.headers()["x-id"], "a b");
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.body(), "{\"id\":\"a b\"}");
        assert!(!request.headers().contains_key("x-key"), "signing adds it");
        let secret = renderer.secret_headers().unwrap();
        assert_eq!(secret["x-key"], "s3cret");
        assert!(secret["x-key"].is_sensitive());
    }

    #[test]
    fn a_form_is_escaped_as_a_form() {
        let job = json!({"url": "http://h/", "data": "a={{ id }}&b=2"});
        let request = renderer(job).unwrap().render(&row(json!({"id": "x&y"})));
        assert_eq!(request.unwrap().body(), "a=x%26y&b=2");
    }

    #[test]
    fn a_row_that_does_not_fit_fails_as_input() {
        let renderer = renderer(json!({
            "url": "http://h/", "headers": {"x-id": "{{ id }}"},
        }))
        .unwrap();
        for (fields, detail) in [
            (json!({}), "header x-id: the row has no field \"id\""),
            (
                json!({"id": "a\nb"}),
                "header x-id: a header can't contain a line break",
            ),
            (
                json!({"id": "a\u{1}b"}),
                "header x-id: the value holds a control character",
            ),
        ] {
            assert_eq!(
                renderer.render(&row(fields)).unwrap_err(),
                Failure::new("input", detail)
            );
        }
    }

    #[test]
    fn what_is_wrong_without_any_row_is_said_at_once() {
        for (job, message) in [
            (json!({}), "no URL"),
            (
                json!({"url": "http://h/{{ x"}),
                "request.url (--url): the template",
            ),
            (
                json!({"url": "http://h/", "method": "G T"}),
                "\"G T\" is not a method",
            ),
            (
                json!({"url": "http://h/", "headers": {"a b": "c"}}),
                "a b: is not the name of a header",
            ),
            (
                json!({"url": "http://h/", "headers": {"a": ["c"]}}),
                "a is [\"c\"], not a text",
            ),
            (
                json!({"url": "http://h/", "data": "x", "json": {}}),
                "a request has one body",
            ),
            (
                json!({"url": "http://h/", "json": "{\"a\": {{ id }}}"}),
                "put templates in quotes",
            ),
            (
                json!({"url": "http://h/{{ env.NOPE }}"}),
                "the environment variable NOPE is not set",
            ),
        ] {
            let error = renderer(job).err().expect("the job is wrong").to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
