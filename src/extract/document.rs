//! The document of an answer: its body as one value, by its kind. Pure.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::charset::{text, utf8};
use super::context::AnswerContext;
use super::events::{self, events};
use super::integers::has_long_integer;
use super::jq::JqInput;
use super::json::{MAX_CHARS, documents};
use super::kind::AnswerKind;
use super::table::{is_one_cell, table};
use super::xml::{self, is_page, xml};
use crate::record::{Failure, FailureKind, excerpt};
use crate::wording::worded;

/// The body of an answer as one value.
pub struct Parsed {
    pub value: Value,
    /// Why the body is no JSON, where it is a text for want of anything better: a program that
    /// finds nothing in it was made for another answer.
    pub not_json: Option<Failure>,
    /// What a program that finds nothing is told of the answer.
    pub about: Option<String>,
}

/// The body of an answer as programs over all of it take it.
pub struct Document {
    /// The value.
    pub input: JqInput,
    /// Why the body is no JSON, where it is a text for want of anything better.
    pub not_json: Option<Failure>,
    /// Whether the answer says that it has no body.
    pub is_absent: bool,
}

impl Document {
    /// The document of a body.
    ///
    /// # Errors
    /// Those of [`parse`].
    pub fn new(body: &[u8], context: &AnswerContext<'_>) -> Result<Document, Failure> {
        if let Some(input) = plain(body, context) {
            return Ok(Document { input, not_json: None, is_absent: false });
        }
        let Parsed { value, not_json, .. } = parse(body, context)?;
        let is_absent = body.is_empty() && context.has_no_content();
        Ok(Document { input: to_jq(value), not_json, is_absent })
    }
}

impl From<JqInput> for Document {
    fn from(input: JqInput) -> Document {
        Document { input, not_json: None, is_absent: false }
    }
}

/// The value of a body that is one JSON document, in UTF-8, without integers beyond 64 bits.
pub fn plain(body: &[u8], context: &AnswerContext<'_>) -> Option<JqInput> {
    let text = utf8(body).ok().filter(|_| context.takes_documents())?;
    if has_long_integer(text) { None } else { serde_json::from_str(text).ok() }
}

/// The text of a body from which values or a record are to be made.
fn decoded<'a>(body: &'a [u8], context: &AnswerContext<'_>) -> Result<Cow<'a, str>, Failure> {
    text(body, context).map_err(|failure| {
        let kind = context.content_type().map_or_else(String::new, |kind| {
            format!("; its content-type is {:?}", excerpt(kind, MAX_CHARS))
        });
        let how = worded("answer = \"bytes\" (--answer-format bytes) keeps it as base64, and --answer-encoding cp1252, or another name, decodes a text");
        Failure { detail: format!("{}{kind}; {how}", failure.detail), ..failure }
    })
}

/// A value of JSON as one of jq.
pub fn to_jq(value: Value) -> JqInput {
    JqInput::deserialize(value).unwrap_or(JqInput::Null)
}

/// The body of an answer as one value, of the kind that the job says, or else by its type and
/// its first bytes.
///
/// # Errors
/// A failure `not text`, `not json`, `several documents`, `not sse`, `not csv`, `not xml` or `not html`.
pub fn parse(body: &[u8], context: &AnswerContext<'_>) -> Result<Parsed, Failure> {
    match context.kind {
        Some(AnswerKind::Bytes) => Ok(whole(BASE64_STANDARD.encode(body).into())),
        Some(kind) => of_kind(kind, &decoded(body, context)?, context),
        None => guess(&decoded(body, context)?, context),
    }
}

fn of_kind(kind: AnswerKind, text: &str, context: &AnswerContext<'_>) -> Result<Parsed, Failure> {
    let is_empty = text.trim().is_empty();
    match kind {
        AnswerKind::Text | AnswerKind::Bytes => Ok(whole(text.into())),
        AnswerKind::Html if text.trim_start().starts_with('<') => Ok(whole(text.into())),
        AnswerKind::Html => Err(Failure::new(
            FailureKind::NotHtml,
            format!("the answer begins {:?}", excerpt(text, MAX_CHARS)),
        )),
        AnswerKind::Json | AnswerKind::Ndjson | AnswerKind::Xml if is_empty => Ok(empty(kind)),
        AnswerKind::Json => one(text, documents(text)?),
        AnswerKind::Ndjson => Ok(list("document", documents(text)?)),
        AnswerKind::Sse => Ok(list("event", events(text)?)),
        AnswerKind::Csv if is_page(text) => Err(page(text)),
        AnswerKind::Csv => Ok(list("line", table(text, context.has_names())?)),
        AnswerKind::Xml => {
            let about = Some("the answer is XML, an object with the name of its root".to_owned());
            Ok(Parsed { about, ..whole(xml(text, context.lists)?) })
        }
    }
}

/// The value of a text whose kind the job does not say.
fn guess(text: &str, context: &AnswerContext<'_>) -> Result<Parsed, Failure> {
    let declared = context.content_type().and_then(AnswerKind::of_type);
    if text.trim().is_empty() {
        return Ok(empty(declared.unwrap_or(AnswerKind::Json)));
    }
    let is_json = text.trim_start().starts_with(['{', '[']);
    match declared {
        Some(AnswerKind::Ndjson) => return of_kind(AnswerKind::Ndjson, text, context),
        Some(AnswerKind::Csv) if is_one_cell(text) => return Err(one_cell(text)),
        Some(AnswerKind::Csv) if is_page(text) => return Err(page(text)),
        Some(kind @ (AnswerKind::Sse | AnswerKind::Csv)) if !is_json => {
            return of_kind(kind, text, context);
        }
        Some(AnswerKind::Xml) if !is_json && !is_page(text) => {
            return of_kind(AnswerKind::Xml, text, context);
        }
        Some(AnswerKind::Json) => {}
        _ if xml::begins(text) && !is_page(text) => {
            return of_kind(AnswerKind::Xml, text, context);
        }
        _ => {}
    }
    let failure = match documents(text) {
        Ok(found) if found.len() == 1 => return one(text, found),
        Ok(found) if declared == Some(AnswerKind::Json) || found.iter().all(is_container) => {
            return Ok(list("document", found));
        }
        Ok(found) => several(text, found.len()),
        Err(failure) => failure,
    };
    match declared {
        Some(kind @ (AnswerKind::Sse | AnswerKind::Csv)) => of_kind(kind, text, context),
        _ if events::begin(text) => of_kind(AnswerKind::Sse, text, context),
        Some(AnswerKind::Json) => Err(other_kind(text, failure)),
        _ if is_page(text) => {
            let detail = format!("{}; css:SELECTOR takes values out of HTML", failure.detail);
            let failure = Failure { detail, ..failure };
            Ok(Parsed { value: text.into(), not_json: Some(failure), about: None })
        }
        _ => Ok(Parsed { value: text.into(), not_json: Some(failure), about: None }),
    }
}

/// The failure of a body that its type calls JSON, with the kind that it seems to be.
fn other_kind(text: &str, failure: Failure) -> Failure {
    let is_xml = xml::begins(text) && !is_page(text);
    let how = if is_xml { "; answer = \"xml\" (--answer-format xml) reads it as XML" } else { "" };
    Failure { detail: format!("{}{how}", failure.detail), ..failure }
}

/// The failure of a table that is a page for people.
fn page(text: &str) -> Failure {
    let start = excerpt(text, MAX_CHARS);
    let why = format!("the answer is a page in HTML, which begins {start:?}");
    Failure::new(FailureKind::NotCsv, why)
}

/// The failure of a table that is one line without columns: servers write errors so.
fn one_cell(text: &str) -> Failure {
    let start = excerpt(text.trim(), MAX_CHARS);
    let why = format!(
        "the answer is one line without columns, {start:?}; answer = \"csv\" (--answer-format csv) reads it as the name of a column"
    );
    Failure::new(FailureKind::NotCsv, why)
}

fn is_container(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

fn one(text: &str, found: Vec<Value>) -> Result<Parsed, Failure> {
    match <[Value; 1]>::try_from(found) {
        Ok([value]) => Ok(whole(value)),
        Err(found) => Err(several(text, found.len())),
    }
}

fn several(text: &str, count: usize) -> Failure {
    let start = excerpt(text, MAX_CHARS);
    let why = format!(
        "the answer has {count} JSON documents, one after the other, and not one: it begins {start:?}; answer = \"ndjson\" (--answer-format ndjson) takes them as a list"
    );
    Failure::new(FailureKind::SeveralDocuments, why)
}

fn whole(value: Value) -> Parsed {
    Parsed { value, not_json: None, about: None }
}

fn list(what: &str, found: Vec<Value>) -> Parsed {
    let plural = if found.len() == 1 { "" } else { "s" };
    let about = format!("the answer is a list of {} {what}{plural}", found.len());
    Parsed { value: found.into(), not_json: None, about: Some(about) }
}

/// The value of an empty body of this kind.
fn empty(kind: AnswerKind) -> Parsed {
    let value = if kind.is_document() { Value::Null } else { Value::Array(Vec::new()) };
    Parsed { value, not_json: None, about: Some("the answer is empty".to_owned()) }
}

/// The value of a body, if it is more than a text for want of anything better.
pub fn value_of(body: &[u8], context: &AnswerContext<'_>) -> Option<Value> {
    let parsed = parse(body, context).ok().filter(|parsed| parsed.not_json.is_none())?;
    Some(parsed.value)
}

/// The body as a record keeps it: a text, or the base64 of bytes.
///
/// # Errors
/// A failure `not text`.
pub fn kept_text(body: &[u8], context: &AnswerContext<'_>) -> Result<String, Failure> {
    if context.kind == Some(AnswerKind::Bytes) {
        return Ok(BASE64_STANDARD.encode(body));
    }
    decoded(body, context).map(Into::into)
}
