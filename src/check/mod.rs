//! The check of an answer's values before they count: a JSON Schema, or a jq condition.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::extract::Extractor;

#[cfg_attr(not(feature = "json-schema"), path = "disabled.rs")]
mod schema;

use schema::Schema;

/// The check of a job.
pub struct Check {
    /// The name of the file, or the condition.
    text: String,
    rule: Rule,
}

enum Rule {
    Schema(Box<Schema>),
    Condition(Extractor),
}

impl Check {
    /// The check that this text means: the schema in a file of that name if it ends in `.json`,
    /// else a jq condition, which must give neither null nor false.
    ///
    /// # Errors
    /// The file can't be read, or the schema or the condition is wrong.
    pub fn new(text: &str) -> Result<Check, Error> {
        let wrong = |why: String| Error::plan(format!("check (--check): {why}"));
        let text = text.trim();
        let rule = if Check::is_file(text) {
            let read = std::fs::read(text)
                .map_err(|error| wrong(format!("{text} can't be read: {error}")))?;
            let schema = serde_json::from_slice(&read)
                .map_err(|error| wrong(format!("{text} is not JSON: {error}")))?;
            let schema = Schema::new(&schema).map_err(|why| wrong(format!("{text} {why}")))?;
            Rule::Schema(Box::new(schema))
        } else {
            let program = Extractor::of_one("check", text).map_err(|error| {
                Error::plan(format!("{error}; a schema is a file whose name ends in .json"))
            })?;
            Rule::Condition(program)
        };
        Ok(Check { text: text.to_owned(), rule })
    }

    /// Whether the check with this text is a schema in a file.
    pub fn is_file(text: &str) -> bool {
        text.trim().ends_with(".json")
    }

    /// Checks values.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self, values: &Value) -> Result<(), String> {
        match &self.rule {
            Rule::Schema(schema) => schema.check(values),
            Rule::Condition(program) => {
                let json = serde_json::to_vec(values).map_err(|error| error.to_string())?;
                let given = program.extract(&json).map_err(|failure| failure.detail)?;
                let given = given.into_iter().next().unwrap_or_default();
                match given {
                    Value::Null | Value::Bool(false) => Err(format!("{} gives {given}", self.text)),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Values as an object by their names, as a record has them.
pub fn by_name(names: &[String], values: &[Value]) -> Value {
    let pairs = names.iter().cloned().zip(values.iter().cloned());
    Value::Object(pairs.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_condition_gives_neither_null_nor_false() {
        let check = Check::new(".price > 0 and (.name | length) > 1").unwrap();
        assert!(check.check(&json!({"price": 1, "name": "ab"})).is_ok());
        let error = check.check(&json!({"price": 0, "name": "ab"})).unwrap_err();
        assert!(error.contains(".price > 0") && error.ends_with("gives false"), "{error}");
        assert!(check.check(&json!({"price": 1, "name": 2.5})).is_ok());
        assert!(Check::new(".price >").is_err());
    }

    #[cfg(feature = "json-schema")]
    #[test]
    fn a_schema_says_what_is_wrong_and_where() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("schema.json");
        let schema = json!({
            "type": "object",
            "properties": {"data": {"required": ["age"], "properties": {"age": {"type": "integer"}}}},
        });
        std::fs::write(&path, schema.to_string()).unwrap();
        let check = Check::new(path.to_str().unwrap()).unwrap();
        assert!(check.check(&json!({"data": {"age": 3}})).is_ok());
        let error = check.check(&json!({"data": {"age": "old"}})).unwrap_err();
        assert!(error.contains("/data/age") && error.contains("integer"), "{error}");
        std::fs::write(&path, "{\"type\": \"nothing\"}").unwrap();
        let error = Check::new(path.to_str().unwrap()).err().unwrap().to_string();
        assert!(error.contains("schema.json"), "{error}");
    }
}
