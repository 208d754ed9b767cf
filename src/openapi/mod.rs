//! Translates an operation of an OpenAPI description (3.0 or 3.1, JSON or YAML) to
//! parts of a job. Pure.
//!
//! - `yaml`: YAML as JSON
//! - `find`: the operation, and the targets of `$ref`
//! - `request`: URL, method, and parameters as templates
//! - `body`: the body with a template for each value
//! - `around`: authentication, pagination

use serde_json::{Map, Value, json};

use crate::curl::Translated;
use crate::error::Error;

mod around;
mod body;
mod find;
mod request;
mod yaml;

use find::Description;

/// Translates the operation with this `operationId`, or this `METHOD /path`.
///
/// # Errors
/// If the text is not a description, or has no such operation.
pub fn translate(text: &str, operation: &str) -> Result<Translated, Error> {
    let place = |why: String| Error::plan(format!("the OpenAPI description (--openapi): {why}"));
    let description = Description::parse(text).map_err(place)?;
    let found = description.operation(operation).map_err(place)?;
    let mut job = Map::new();
    let mut notes = Vec::new();
    let mut request = request::request(&description, &found, &mut notes);
    around::authenticate(&description, &found, &mut request, &mut job, &mut notes);
    if let Some((pages, each)) = around::pages(&description, &found, &mut request) {
        job.insert("pages".into(), pages);
        job.insert("items".into(), json!({ "each": each }));
    }
    job.insert("request".into(), Value::Object(request));
    Ok(Translated { job: Value::Object(job), notes })
}
