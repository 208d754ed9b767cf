//! The body of all requests, which has one of several kinds.

use bytes::Bytes;
use serde_json::Value;

use super::escape_context::EscapeContext;
use super::file::RowFile;
use super::json::JsonBody;
use super::multipart::{Multipart, boundary};
use super::settings::{Settings, texts};
use super::template::{Template, TemplateScope, Templates};
use super::url::Pairs;
use crate::error::Error;
use crate::extract::Program;
use crate::row::Fields;

/// The body of all requests.
pub(super) enum Body {
    Data(Template),
    Json(JsonBody),
    Jq(Program),
    Form(Pairs),
    Multipart(Multipart),
    File(RowFile),
}

impl Body {
    /// Compiles the body that the settings give; none if they give none.
    pub fn new(settings: &Settings, templates: &mut Templates) -> Result<Option<Body>, Error> {
        let keys = settings.bodies();
        if let [one, other, ..] = keys[..] {
            return Err(Error::plan(format!(
                "{one} and {other} are both given: a request has one body"
            )));
        }
        let Some(key) = keys.first() else {
            return Ok(None);
        };
        let wrong = |why: String| Error::plan(format!("{key}: {why}"));
        let body = if let Some(data) = &settings.data {
            templates.add(data_context(settings), data).map(Body::Data)
        } else if let Some(json) = &settings.json {
            json_tree(json).and_then(|tree| JsonBody::new(templates, &tree)).map(Body::Json)
        } else if let Some(program) = &settings.jq {
            Program::new(program).map(Body::Jq)
        } else if let Some(path) = &settings.body_file {
            RowFile::new(templates, EscapeContext::Text, path).map(Body::File)
        } else if settings.multipart.is_empty() {
            let fields = texts("request.form (--form)", &settings.form)?;
            Pairs::new(templates, &fields).map(Body::Form)
        } else {
            Ok(Body::Multipart(Multipart::new(templates, &settings.multipart)?))
        };
        body.map(Some).map_err(wrong)
    }

    /// The `content-type` of the body, if it is always the same.
    pub fn content_type(&self) -> Option<&'static str> {
        match self {
            Body::Multipart(_) => None,
            Body::Data(_) | Body::Form(_) => Some("application/x-www-form-urlencoded"),
            Body::Json(_) | Body::Jq(_) => Some("application/json"),
            Body::File(_) => Some("application/octet-stream"),
        }
    }

    /// The body of one row, and its `content-type` if each row has its own.
    pub fn render(&self, scope: &TemplateScope<'_>) -> Result<(Bytes, Option<String>), String> {
        let bytes = match self {
            Body::Data(template) => scope.render(*template)?.into(),
            Body::Json(json) => json.render(scope)?.into(),
            Body::Jq(program) => render_jq(program, scope.fields())?.into(),
            Body::File(file) => file.read(scope)?.into(),
            Body::Form(pairs) => {
                let mut text = String::new();
                pairs.render(scope, "", &mut text)?;
                text.into()
            }
            Body::Multipart(parts) => {
                let boundary = boundary();
                let body = parts.render(scope, &boundary)?;
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
