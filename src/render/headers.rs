//! The headers of all requests, or which of them is wrong. Pure.

use std::sync::{Arc, OnceLock};

use http::Extensions;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::Value;

use super::body::Body;
use super::escape_context::EscapeContext;
use super::keys::looks_like_key;
use super::settings::{Settings, texts};
use super::static_value::StaticValue;
use super::template::{RenderContext, Template, TemplateScope, Templates};
use crate::error::Error;

/// The headers of all requests.
pub(super) struct Headers {
    /// Headers with values of the row, and fixed ones that hold no secret.
    pub of_rows: Vec<(HeaderName, Template)>,
    /// Headers with secrets and no values of the row: signing adds them.
    pub secret: Vec<(HeaderName, StaticValue)>,
    /// Headers that throng would add by itself and must leave out.
    pub suppressed: Arc<[HeaderName]>,
}

/// An extension of a request: the names of its headers that are not all in lower case, as the
/// job writes them.
#[derive(Debug, Clone, Default)]
pub struct WrittenNames(Arc<NamesInUse>);

#[derive(Debug, Default)]
struct NamesInUse {
    names: Vec<String>,
    extensions: OnceLock<Extensions>,
}

impl WrittenNames {
    /// Those of these names that are not all in lower case; none if all are.
    pub fn of(names: impl Iterator<Item = String>) -> Option<WrittenNames> {
        let names: Vec<String> =
            names.filter(|name| name.contains(|c: char| c.is_ascii_uppercase())).collect();
        let in_use = NamesInUse { names, extensions: OnceLock::new() };
        (!in_use.names.is_empty()).then(|| WrittenNames(Arc::new(in_use)))
    }

    /// The extensions that make a connection write the names so. They are made once.
    pub fn extensions(&self, make: impl FnOnce(&[String]) -> Extensions) -> &Extensions {
        self.0.extensions.get_or_init(|| make(&self.0.names))
    }
}

/// Names of headers of the connection, and of a message's beginning and end; `proxy-*`
/// belong to them.
const FRAMING: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header decides where the request goes or where it ends: a row can't set it.
pub fn is_framing(name: &HeaderName) -> bool {
    FRAMING.contains(&name.as_str()) || name.as_str().starts_with("proxy-")
}

/// The value of a header: it is made once if it is the same for all rows.
pub(super) enum HeaderText {
    Fixed(HeaderValue),
    OfRow(Template),
}

impl HeaderText {
    pub fn new(template: Template, templates: &Templates) -> HeaderText {
        let fixed = templates.fixed(template).and_then(header_value);
        fixed.map_or(HeaderText::OfRow(template), HeaderText::Fixed)
    }

    /// The value for one row.
    pub fn render(&self, scope: &TemplateScope<'_>) -> Result<HeaderValue, String> {
        match self {
            HeaderText::Fixed(value) => Ok(value.clone()),
            HeaderText::OfRow(template) => header_value(&scope.render(*template)?)
                .ok_or_else(|| "the value holds a control character".to_owned()),
        }
    }
}

fn header_value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).or_else(|_| HeaderValue::from_bytes(text.as_bytes())).ok()
}

impl Headers {
    /// Compiles the headers that the settings name, and the `content-type` of the body.
    pub fn new(
        settings: &Settings,
        body: Option<&Body>,
        templates: &mut Templates,
        context: &RenderContext<'_>,
    ) -> Result<Headers, Error> {
        let mut given = settings.headers.clone();
        given.retain(|_, value| *value != Value::Bool(false));
        let (mut of_rows, mut secret) = (Vec::new(), Vec::new());
        for (name, value) in texts("request.headers (--header)", &given)? {
            let key = format!("request.headers (--header): {name}");
            let wrong = |why: String| Error::plan(format!("{key}: {why}"));
            let header = header_name(name)?;
            let template =
                templates.add(EscapeContext::of_header(name, &value), &value).map_err(wrong)?;
            let names = templates.names_used(template);
            let has_fields = !names.fields.is_empty();
            check_framing(&header, &value, has_fields, body.is_some()).map_err(wrong)?;
            let is_literal_key = !value.contains('{') && looks_like_key(name);
            let is_secret = names.has_secrets(context.vault) || is_literal_key;
            // The pool's key is filled in later, wherever it stands.
            if has_fields || templates.uses_key_in(template) || !is_secret {
                of_rows.push((header, template));
                continue;
            }
            // In a header of another name a variable may be no secret.
            let text = if looks_like_key(name) {
                StaticValue::hidden(&key, &value, context)?
            } else {
                StaticValue::new(&key, &value, context)?
            };
            secret.push((header, text));
        }
        let default = body.and_then(Body::content_type);
        if let Some(default) = default.filter(|_| settings.content_type().is_none()) {
            let template = templates.add(EscapeContext::Header, default);
            of_rows.push((CONTENT_TYPE, template.map_err(Error::plan)?));
        }
        let suppressed = settings.headers.iter();
        let suppressed = suppressed.filter(|(_, value)| **value == Value::Bool(false));
        Ok(Headers {
            of_rows,
            secret,
            suppressed: suppressed.map(|(name, _)| header_name(name)).collect::<Result<_, _>>()?,
        })
    }
}

fn header_name(name: &str) -> Result<HeaderName, Error> {
    name.parse().map_err(|_| {
        Error::plan(format!("request.headers (--header): {name:?} is not the name of a header"))
    })
}

/// Refuses a header of the job that would break its own requests.
fn check_framing(
    name: &HeaderName,
    value: &str,
    has_fields: bool,
    has_body: bool,
) -> Result<(), String> {
    if has_fields && is_framing(name) {
        return Err(
            "it says where a request goes or where it ends, and can't hold a value of a row".into(),
        );
    }
    let is_true = value == "0" && !has_body;
    if *name == CONTENT_LENGTH && !is_true {
        return Err("throng counts each body itself: leave it out".into());
    }
    Ok(())
}
