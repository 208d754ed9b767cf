//! What the settings of a request come to, or which of them is wrong. Pure.

use std::collections::BTreeMap;

use http::header::{CONTENT_TYPE, HeaderName};
use serde_json::Value;

use super::json::JsonBody;
use super::settings::{Settings, texts};
use super::template::{Place, Template, Templates};
use super::url::Url;
use crate::error::Error;

/// The body of all requests.
pub(super) enum Body {
    None,
    Data(Template),
    Json(JsonBody),
}

pub(super) fn url(settings: &Settings, templates: &mut Templates) -> Result<Url, Error> {
    let text = settings.url.as_deref().ok_or_else(|| {
        Error::plan("no URL: give request.url in the job file, or --url 'https://…'")
    })?;
    let query = texts("request.query (--query)", &settings.query)?;
    let query = query.iter().map(|(name, value)| (*name, value.as_str()));
    Url::new(templates, text, query)
        .map_err(|why| Error::plan(format!("request.url (--url): {why}")))
}

pub(super) fn headers(
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
    if let Some(default) = default.filter(|_| settings.content_type().is_none()) {
        let template = templates.add(Place::Header, default).map_err(Error::plan)?;
        headers.push((CONTENT_TYPE, template));
    }
    Ok(headers)
}

pub(super) fn body(settings: &Settings, templates: &mut Templates) -> Result<Body, Error> {
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
    match settings.content_type() {
        None => Place::Url,
        Some(kind) if kind.contains("x-www-form-urlencoded") => Place::Url,
        Some(kind) if kind.contains("json") => Place::JsonText,
        Some(_) => Place::Text,
    }
}

/// The templates of the pool's keys; from then on `{{ key }}` is known.
pub(super) fn keys(keys: &[String], templates: &mut Templates) -> Result<Vec<Template>, Error> {
    let used = templates.uses_key();
    match (keys.is_empty(), used) {
        (true, true) => Err(Error::plan(
            "the request uses {{ key }}, but there is no pool of keys: limit.keys = [\"{{ env.KEY_A }}\", …] makes one",
        )),
        (false, false) => Err(Error::plan(
            "limit.keys is given, but the request uses no {{ key }}: put it where the API key goes",
        )),
        _ => {
            templates.set_key(super::KEY);
            let place = |why| Error::plan(format!("limit.keys: {why}"));
            let add = |key: &String| templates.add(Place::Text, key).map_err(place);
            keys.iter().map(add).collect()
        }
    }
}

/// The keys themselves.
pub(super) fn key_values(templates: &Templates, pool: &[Template]) -> Result<Vec<String>, Error> {
    let nothing = templates.scope(&serde_json::Map::new());
    let value = |template: &Template| templates.render(*template, &nothing);
    let values: Result<Vec<String>, String> = pool.iter().map(value).collect();
    values.map_err(|why| Error::plan(format!("limit.keys: {why}")))
}

pub(super) fn variables(
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
