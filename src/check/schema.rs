//! A JSON Schema. It reads nothing but itself: a `$ref` leads to no file and no address. Pure.

use jsonschema::Validator;
use serde_json::Value;

/// Maximum number of mistakes that are told of one answer.
const MISTAKES: usize = 3;

/// A schema that was compiled.
pub struct Schema(Validator);

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// Why it is none.
    pub fn new(schema: &Value) -> Result<Schema, String> {
        let compiled = jsonschema::validator_for(schema);
        compiled.map(Schema).map_err(|error| format!("is no JSON Schema: {error}"))
    }

    /// Checks values.
    ///
    /// # Errors
    /// The first mistakes, each with its place.
    pub fn check(&self, values: &Value) -> Result<(), String> {
        let mistakes: Vec<String> = self
            .0
            .iter_errors(values)
            .take(MISTAKES)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        if mistakes.is_empty() { Ok(()) } else { Err(mistakes.join("; ")) }
    }
}
