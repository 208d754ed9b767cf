//! What the settings of a request come to, or which of them is wrong. Pure.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderName};
use serde_json::Value;

use super::Hosts;
use super::body::Body;
use super::framing;
use super::key::looks_like_key;
use super::place::EscapeContext;
use super::settings::{Settings, texts};
use super::standing::{Known, StaticValue};
use super::template::{Template, Templates};
use super::url::Url;
use crate::error::Error;

/// The headers of all requests.
pub(super) struct Headers {
    /// With values of the row in them, or nothing at all.
    pub of_rows: Vec<(HeaderName, Template)>,
    /// With secrets and no values of the row: signing adds them.
    pub secret: Vec<(HeaderName, StaticValue)>,
    /// Those that throng would add by itself, and shall not.
    pub without: Arc<[HeaderName]>,
}

pub(super) fn url(
    settings: &Settings,
    hosts: Hosts,
    templates: &mut Templates,
) -> Result<Url, Error> {
    let text = settings.url.as_deref().ok_or_else(|| {
        Error::plan("no URL: give request.url in the job file, or --url 'https://…'")
    })?;
    let query = texts("request.query (--query)", &settings.query)?;
    let query = query.iter().map(|(name, value)| (*name, value.as_str()));
    Url::new(templates, text, query, hosts)
        .map_err(|why| Error::plan(format!("request.url (--url): {why}")))
}

pub(super) fn headers(
    settings: &Settings,
    body: &Body,
    templates: &mut Templates,
    known: &Known<'_>,
) -> Result<Headers, Error> {
    let mut given = settings.headers.clone();
    given.retain(|_, value| *value != Value::Bool(false));
    let (mut of_rows, mut secret) = (Vec::new(), Vec::new());
    for (name, value) in texts("request.headers (--header)", &given)? {
        let key = format!("request.headers (--header): {name}");
        let header = header_name(name)?;
        let template = templates
            .add(EscapeContext::of_header(name, &value), &value)
            .map_err(|why| Error::plan(format!("{key}: {why}")))?;
        let names = templates.names_used(template);
        framing::check(&header, &value, !names.fields.is_empty(), body.is_some())
            .map_err(|why| Error::plan(format!("{key}: {why}")))?;
        let literal = !value.contains('{') && looks_like_key(name);
        // The key of a pool is put in later, wherever it stands.
        let pooled = templates
            .paths_used(template)
            .iter()
            .any(|path| path == "key");
        let standing = names.fields.is_empty() && !pooled;
        if !standing || !(names.has_secrets(known.vault) || literal) {
            of_rows.push((header, template));
            continue;
        }
        // What else holds a variable may hold one that is no secret.
        let text = if looks_like_key(name) {
            StaticValue::hidden(&key, &value, known)?
        } else {
            StaticValue::new(&key, &value, known)?
        };
        secret.push((header, text));
    }
    if let Some(default) = body
        .content_type()
        .filter(|_| settings.content_type().is_none())
    {
        let template = templates
            .add(EscapeContext::Header, default)
            .map_err(Error::plan)?;
        of_rows.push((CONTENT_TYPE, template));
    }
    let without = settings.headers.iter();
    let without = without.filter(|(_, value)| **value == Value::Bool(false));
    Ok(Headers {
        of_rows,
        secret,
        without: without
            .map(|(name, _)| header_name(name))
            .collect::<Result<_, _>>()?,
    })
}

fn header_name(name: &str) -> Result<HeaderName, Error> {
    name.parse().map_err(|_| {
        Error::plan(format!(
            "request.headers (--header): {name:?} is not the name of a header"
        ))
    })
}

/// The templates of the pool's keys; from then on `{{ key }}` is known.
pub(super) fn keys(keys: &[String], templates: &mut Templates) -> Result<Vec<Template>, Error> {
    let used = templates.uses_key();
    match (keys.is_empty(), used) {
        (true, true) => Err(Error::plan(
            "the request uses {{ key }}, but there is no pool of keys: limit.keys = [\"{{ env.KEY_A }}\", …] makes one; a field of the rows that is called key needs another name",
        )),
        (false, false) => Err(Error::plan(
            "limit.keys is given, but the request uses no {{ key }}: put it where the API key goes",
        )),
        _ => {
            templates.set_key(super::KEY);
            let place = |why| Error::plan(format!("limit.keys: {why}"));
            let add = |key: &String| templates.add(EscapeContext::Text, key).map_err(place);
            keys.iter().map(add).collect()
        }
    }
}

/// The keys themselves.
pub(super) fn key_values(templates: &Templates, pool: &[Template]) -> Result<Vec<String>, Error> {
    let nothing = serde_json::Map::new();
    let nothing = templates.scope(&nothing);
    let value = |template: &Template| templates.render(*template, &nothing);
    let values: Result<Vec<String>, String> = pool.iter().map(value).collect();
    values.map_err(|why| Error::plan(format!("limit.keys: {why}")))
}
