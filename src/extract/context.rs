//! What jq programs can read of an answer beside its body. Pure.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::charset::AnswerEncoding;
use super::jq::JqInput;
use super::kind::AnswerKind;
use crate::row::Row;

/// The variables of a program, in the order of their values.
pub const VARIABLES: [&str; 4] = ["$status", "$headers", "$url", "$row"];

/// What jq programs can read of an answer beside its body; what is not known is null.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnswerContext<'a> {
    /// The kind of the body, where the job says it.
    pub kind: Option<AnswerKind>,
    /// The encoding of the body, where the job says it.
    pub encoding: Option<AnswerEncoding>,
    /// Names of elements of XML that are lists also where there is one of them.
    pub lists: &'a [String],
    /// `$status`: the answer's status, a number.
    pub status: Option<StatusCode>,
    /// `$headers`: the answer's headers, by their names in small letters.
    pub headers: Option<&'a HeaderMap>,
    /// `$url`: the URL of the request.
    pub url: Option<&'a Uri>,
    /// `$row`: the fields of the row.
    pub row: Option<&'a Row>,
}

impl<'a> AnswerContext<'a> {
    /// The context of an answer with this head.
    #[must_use]
    pub fn of(status: StatusCode, headers: &'a HeaderMap) -> AnswerContext<'a> {
        AnswerContext { status: Some(status), headers: Some(headers), ..AnswerContext::default() }
    }

    /// The context of an item of an answer, which is a JSON document.
    #[must_use]
    pub fn of_item(self) -> AnswerContext<'a> {
        AnswerContext { kind: Some(AnswerKind::Json), encoding: None, ..self }
    }

    /// The value of the answer's `content-type`.
    pub(super) fn content_type(&self) -> Option<&'a str> {
        self.headers?.get(CONTENT_TYPE)?.to_str().ok()
    }

    /// Whether a body that is one JSON document is taken as that.
    pub(super) fn takes_documents(&self) -> bool {
        match (self.kind, self.content_type()) {
            _ if self.encoding.is_some() => false,
            (Some(kind), _) => kind == AnswerKind::Json,
            (None, None | Some("application/json")) => true,
            (None, Some(value)) => AnswerKind::of_type(value).is_none_or(AnswerKind::is_document),
        }
    }

    /// Whether the first line of a table has the names of its columns (RFC 4180).
    pub(super) fn has_names(&self) -> bool {
        let value = self.content_type().unwrap_or_default().to_ascii_lowercase();
        !value.split(';').any(|parameter| parameter.trim() == "header=absent")
    }

    /// Whether the status says that there is no body.
    pub(super) fn has_no_content(&self) -> bool {
        self.status.is_some_and(|status| matches!(status.as_u16(), 204 | 205))
    }

    /// The values of the variables.
    pub(super) fn values(&self) -> [JqInput; VARIABLES.len()] {
        let status = self.status.map(|status| Value::from(status.as_u16()));
        let url = self.url.map(|url| Value::from(url.to_string()));
        let row = self.row.map(|row| Value::Object(row.fields.clone()));
        [status, self.headers.map(by_name), url, row].map(|value| {
            // A value of JSON is one of jq.
            JqInput::deserialize(value.unwrap_or_default()).unwrap_or(JqInput::Null)
        })
    }
}

/// The headers as an object; the values of a header that comes more than once are one text.
fn by_name(headers: &HeaderMap) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (name, value) in headers {
        let text = text(value.as_bytes());
        match all.get_mut(name.as_str()) {
            Some(Value::String(before)) => *before += &format!(", {text}"),
            _ => drop(all.insert(name.as_str().to_owned(), text.into())),
        }
    }
    Value::Object(all)
}

/// The text of a header's value: UTF-8, or else Latin-1, as HTTP had it once.
fn text(value: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => encoding_rs::mem::decode_latin1(value),
    }
}
