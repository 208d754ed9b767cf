//! Translates an operation of an OpenAPI description (3.0 or 3.1, JSON or YAML) to
//! parts of a job: URL, method, and parameters as templates. Pure.
//!
//! - `yaml`: YAML as JSON
//! - `find`: the operation, and the targets of `$ref`
//! - `body`: the body with a template for each value
//! - `around`: authentication, pagination

use serde_json::{Map, Value, json};

use crate::curl::Translated;
use crate::error::Error;

mod around;
mod body;
mod find;
mod yaml;

use body::template;
use find::{Description, Operation};

/// Translates the operation with this `operationId`, or this `METHOD /path`.
///
/// # Errors
/// If the text is not a description, or has no such operation.
pub fn translate(text: &str, operation: &str) -> Result<Translated, Error> {
    let place = |why: String| Error::plan(format!("the OpenAPI description (--openapi): {why}"));
    let description = Description::parse(text).map_err(place)?;
    let operation = description.operation(operation).map_err(place)?;
    let mut job = Map::new();
    let mut notes = Vec::new();
    let mut request = request(&description, &operation, &mut notes);
    around::authenticate(&description, &operation, &mut request, &mut job, &mut notes);
    if let Some((pages, each)) = around::pages(&description, &operation, &mut request) {
        job.insert("pages".into(), pages);
        job.insert("items".into(), json!({ "each": each }));
    }
    job.insert("request".into(), Value::Object(request));
    Ok(Translated { job: Value::Object(job), notes })
}

/// The `request` part of the job.
fn request(
    description: &Description,
    operation: &Operation,
    notes: &mut Vec<String>,
) -> Map<String, Value> {
    let mut path = operation.path.clone();
    let (mut query, mut headers, mut optional) = (Map::new(), Map::new(), Vec::new());
    for parameter in &operation.parameters {
        let name = parameter["name"].as_str().unwrap_or_default();
        let text = Value::from(template(name));
        let required = parameter["required"] == true;
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), &template(name)),
            Some("query") if required => drop(query.insert(name.into(), text)),
            Some("header") if required => drop(headers.insert(name.into(), text)),
            _ => optional.push(name.to_owned()),
        }
    }
    if !optional.is_empty() {
        notes.push(format!("optional parameters are left out: {}", optional.join(", ")));
    }
    let mut request = Map::new();
    request.insert("url".into(), format!("{}{path}", server(description, operation, notes)).into());
    request.insert("method".into(), operation.method.clone().into());
    request.insert("query".into(), query.into());
    request.insert("headers".into(), headers.into());
    body::add(description, operation, &mut request, notes);
    request
}

/// The first server's URL, with its variables' defaults.
fn server(description: &Description, operation: &Operation, notes: &mut Vec<String>) -> String {
    let own = operation.body.pointer("/servers/0");
    let server = own.or_else(|| description.0.pointer("/servers/0"));
    let mut url = server.and_then(|server| server["url"].as_str()).unwrap_or("/").to_owned();
    let variables = server.and_then(|server| server["variables"].as_object());
    for (name, variable) in variables.into_iter().flatten() {
        let default = variable["default"].as_str().unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
    }
    if !url.contains("://") {
        notes.push("the description names no host: replace api.example by that of the API".into());
        url = format!("https://api.example{url}");
    }
    url.trim_end_matches('/').to_owned()
}
