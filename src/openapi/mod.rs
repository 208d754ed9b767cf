//! An OpenAPI description (3.0 or 3.1, JSON or YAML) and one of its operations, to
//! the parts of a job. Pure.
//!
//! - `yaml`: YAML as JSON
//! - `find`: the operation, and what `$ref` stands for
//! - `request`: where it goes, and its parameters as templates
//! - `body`: what a body wants, with a template for each value
//! - `around`: server, authentication, pagination

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
/// That the text is no description, or has no such operation.
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
    Ok(Translated {
        job: Value::Object(job),
        notes,
    })
}
