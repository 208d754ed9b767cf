//! The body of all requests, which has one of several kinds.

use bytes::Bytes;
use serde_json::Value;

use super::escape_context::EscapeContext;
use super::file::RowFile;
use super::json::JsonBody;
use super::multi_value::Pairs;
use super::multipart::{Multipart, boundary};
use super::scope::TemplateScope;
use super::settings::{Settings, texts};
use super::template::{Template, Templates};
use crate::error::Error;
use crate::extract::Program;
use crate::row::Fields;

/// The body of all requests.
pub(super) enum Body {
    None,
    Data(Template),
    Json(JsonBody),
    Jq(Program),
    Form(Pairs),
    Multipart(Multipart),
    File(RowFile),
}

impl Body {
    /// Compiles the body that the settings give.
    pub fn new(settings: &Settings, templates: &mut Templates) -> Result<Body, Error> {
        let keys = settings.bodies();
        if let [one, other, ..] = keys[..] {
            return Err(Error::plan(format!(
                "{one} and {other} are both given: a request has one body"
            )));
        }
        let wrong = |why: String| {
            let key = keys.first().copied().unwrap_or_default();
            Error::plan(format!("{key}: {why}"))
        };
        if let Some(data) = &settings.data {
            let body = templates.add(data_context(settings), data);
            return body.map(Body::Data).map_err(wrong);
        }
        if let Some(json) = &settings.json {
            let body = json_tree(json).and_then(|tree| JsonBody::new(templates, &tree));
            return body.map(Body::Json).map_err(wrong);
        }
        if let Some(program) = &settings.jq {
            return Program::new(program).map(Body::Jq).map_err(wrong);
        }
        if let Some(path) = &settings.body_file {
            let file = RowFile::new(templates, path);
            return file.map(Body::File).map_err(wrong);
        }
        if !settings.multipart.is_empty() {
            return Multipart::new(templates, &settings.multipart).map(Body::Multipart);
        }
        if !settings.form.is_empty() {
            let fields = texts("request.form (--form)", &settings.form)?;
            let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
            return Pairs::new(templates, fields).map(Body::Form).map_err(wrong);
        }
        Ok(Body::None)
    }

    /// Whether requests have a body.
    pub fn is_some(&self) -> bool {
        !matches!(self, Body::None)
    }

    /// The `content-type` of the body, if it is always the same.
    pub fn content_type(&self) -> Option<&'static str> {
        match self {
            Body::None | Body::Multipart(_) => None,
            Body::Data(_) | Body::Form(_) => Some("application/x-www-form-urlencoded"),
            Body::Json(_) | Body::Jq(_) => Some("application/json"),
            Body::File(_) => Some("application/octet-stream"),
        }
    }

    /// The body of one row, and its `content-type` if each row has its own.
    pub fn render(
        &self,
        templates: &Templates,
        scope: &TemplateScope<'_>,
        fields: &Fields,
    ) -> Result<(Bytes, Option<String>), String> {
        let bytes = match self {
            Body::None => Bytes::new(),
            Body::Data(template) => templates.render(*template, scope)?.into(),
            Body::Json(json) => json.render(templates, scope)?.into(),
            Body::Jq(program) => render_jq(program, fields)?.into(),
            Body::File(file) => file.read(templates, scope)?.into(),
            Body::Form(pairs) => {
                let mut text = String::new();
                pairs.render(templates, scope, "", &mut text)?;
                text.into()
            }
            Body::Multipart(parts) => {
                let boundary = boundary();
                let body = parts.render(templates, scope, &boundary)?;
                let kind = format!("multipart/form-data; boundary={boundary}");
                return Ok((body.into(), Some(kind)));
            }
        };
        Ok((bytes, None))
    }
}

/// The value of a jq program for a row, as JSON.
fn render_jq(program: &Program, fields: &Fields) -> Result<String, String> {
    let row = serde_json::to_string(fields).map_err(|error| error.to_string())?;
    let row = serde_json::from_str(&row).map_err(|error| error.to_string())?;
    let body = program.run(&row);
    body.map(|body| body.to_string()).map_err(|why| format!("request.jq (--jq): {why}"))
}

/// The tree of `json`, which a flag gives as text.
fn json_tree(json: &Value) -> Result<Value, String> {
    let Value::String(text) = json else {
        return Ok(json.clone());
    };
    serde_json::from_str(text).map_err(|error| {
        format!(
            "it is not JSON: {error}; put templates in quotes (\"{{{{ id }}}}\" alone keeps the value's type)"
        )
    })
}

fn data_context(settings: &Settings) -> EscapeContext {
    match settings.content_type() {
        None => EscapeContext::Url,
        Some(kind) if kind.contains("x-www-form-urlencoded") => EscapeContext::Url,
        Some(kind) if kind.contains("json") || kind.contains("graphql") => EscapeContext::JsonBody,
        Some(kind) if kind.contains("xml") || kind.contains("html") => EscapeContext::Xml,
        Some(_) => EscapeContext::Text,
    }
}
