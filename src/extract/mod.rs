//! (7) The body of an answer to named values. Pure.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::record::{Failure, FailureKind};

mod body;
mod cost_extractor;
mod items;
mod jq;
mod path;
mod path_scanner;
mod scanner;
#[cfg(test)]
mod spellings;

pub use body::{body_excerpt, json, json_text, text};
pub use cost_extractor::CostExtractor;
pub use items::{ItemSettings, Items, missing_items};
pub use jq::{JqInput, Program};
use path::Path;
use path_scanner::{PathScanner, PathValues};

/// The `[extract]` part of a job: names and jq programs. A value whose name ends in `?`
/// may be missing.
pub type Settings = Map<String, Value>;

/// Extracts the job's values from an answer.
pub struct Extractor {
    wanted: Vec<WantedValue>,
    method: ExtractionMethod,
}

struct WantedValue {
    name: String,
    missing: Missing,
}

/// The consequence of a missing value.
#[derive(PartialEq)]
enum Missing {
    Fails,
    IsNull,
}

/// The method by which all values are extracted. Plain paths alone don't need jq, and
/// give the same values.
enum ExtractionMethod {
    Paths(PathScanner),
    Jq(Vec<Program>),
}

/// Why no values could be extracted.
enum ExtractionError {
    /// The body is not one JSON document.
    InBody(Failure),
    /// A program was stopped.
    Stopped(Failure),
}

impl Default for Extractor {
    /// An extractor of no values.
    fn default() -> Extractor {
        Extractor { wanted: Vec::new(), method: ExtractionMethod::Jq(Vec::new()) }
    }
}

impl Extractor {
    /// Compiles the programs.
    ///
    /// # Errors
    /// Which program is wrong, and where.
    pub fn new(settings: &Settings) -> Result<Extractor, Error> {
        let programs: Vec<(&String, &str)> = settings
            .iter()
            .map(|(key, program)| match program {
                Value::String(program) => Ok((key, program.as_str())),
                Value::Array(_) => {
                    Err(wrong(key, "it is there more than once, or a list: give it one jq program"))
                }
                other => {
                    Err(wrong(key, &format!("{other} is not a jq program: write it as a text")))
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Extractor {
            wanted: programs.iter().map(|(key, _)| WantedValue::new(key)).collect(),
            method: ExtractionMethod::new(&programs)?,
        })
    }

    /// The names of the values, without their `?`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.wanted.iter().map(|wanted| wanted.name.clone()).collect()
    }

    /// The values of one answer, in the order of their names. The body is parsed once.
    ///
    /// # Errors
    /// A failure `not text`, `not json` or `several documents`; `missing NAME` for the
    /// first missing value; or `jq too long`.
    pub fn extract(&self, body: &[u8]) -> Result<Vec<Value>, Failure> {
        if self.wanted.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.find(body).map_err(|why| match why {
            ExtractionError::InBody(failure) | ExtractionError::Stopped(failure) => failure,
        })?;
        let pairs = self.wanted.iter().zip(found);
        pairs.map(|(wanted, found)| wanted.accept(found)).collect()
    }

    /// The values of a body that need not have them, with null for missing ones; none of a
    /// body that is not JSON.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn extract_any(&self, body: &[u8]) -> Result<Vec<Value>, Failure> {
        match self.find(body) {
            Ok(found) => Ok(found.into_iter().map(Result::unwrap_or_default).collect()),
            Err(ExtractionError::InBody(_)) => Ok(Vec::new()),
            Err(ExtractionError::Stopped(failure)) => Err(failure),
        }
    }

    /// Whether it takes a single pass over the body.
    #[must_use]
    pub fn is_single_pass(&self) -> bool {
        self.wanted.is_empty() || matches!(self.method, ExtractionMethod::Paths(_))
    }

    fn find(&self, body: &[u8]) -> Result<PathValues, ExtractionError> {
        match &self.method {
            ExtractionMethod::Paths(picker) => picker.scan(body).map_err(ExtractionError::InBody),
            ExtractionMethod::Jq(programs) => {
                let input = json(body).map_err(ExtractionError::InBody)?;
                let pairs = self.wanted.iter().zip(programs);
                pairs
                    .map(|(wanted, program)| wanted.run(program, &input))
                    .collect::<Result<_, _>>()
                    .map_err(ExtractionError::Stopped)
            }
        }
    }
}

impl ExtractionMethod {
    fn new(programs: &[(&String, &str)]) -> Result<ExtractionMethod, Error> {
        let paths: Option<Vec<Path>> = programs.iter().map(|(_, code)| Path::parse(code)).collect();
        if let Some(paths) = paths {
            return Ok(ExtractionMethod::Paths(PathScanner::new(paths.iter())));
        }
        let compile =
            |(key, code): &(&String, &str)| Program::new(code).map_err(|why| wrong(key, &why));
        programs.iter().map(compile).collect::<Result<_, _>>().map(ExtractionMethod::Jq)
    }
}

impl WantedValue {
    fn new(key: &str) -> WantedValue {
        let (name, missing) = match key.strip_suffix('?') {
            Some(name) => (name, Missing::IsNull),
            None => (key, Missing::Fails),
        };
        WantedValue { name: name.to_owned(), missing }
    }

    /// The value of the program, or why it has none.
    fn run(&self, program: &Program, input: &JqInput) -> Result<Result<Value, String>, Failure> {
        match program.run(input) {
            Ok(value) => Ok(Ok(value)),
            Err(trouble) => trouble.or_failure(&format!("extract.{}", self.name)).map(Err),
        }
    }

    fn accept(&self, found: Result<Value, String>) -> Result<Value, Failure> {
        match found {
            Ok(Value::Null) if self.missing == Missing::Fails => {
                self.fail("the value is null or not there")
            }
            Err(why) if self.missing == Missing::Fails => self.fail(&why),
            found => Ok(found.unwrap_or_default()),
        }
    }

    fn fail(&self, why: &str) -> Result<Value, Failure> {
        Err(Failure::new(FailureKind::MissingValue(self.name.clone()), why))
    }
}

fn wrong(key: &str, why: &str) -> Error {
    Error::plan(format!("extract.{key} (--extract): {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn extract(programs: Value, body: &str) -> Result<Vec<Value>, Failure> {
        let settings: Settings = serde_json::from_value(programs).unwrap();
        Extractor::new(&settings).unwrap().extract(body.as_bytes())
    }

    const QUOTE: &str = r#"{"result": [{"price": 17.5, "name": "Ünïted", "id": 12345678901234567890, "none": null}]}"#;

    #[test]
    fn values_are_in_the_order_of_their_names() {
        let programs = json!({
            "price": ".result[0].price",
            "double": ".result[0].price * 2",
            "name": ".result[0].name",
            "upper": ".result[0].name | ascii_upcase",
            "id": ".result[0] | .id",
            "maybe?": ".result[0].none",
            "never?": ".result[0].price.x",
        });
        let expected = json!([17.5, 35.0, "Ünïted", "ÜNïTED", 12345678901234567890u64, null, null]);
        assert_eq!(Value::Array(extract(programs, QUOTE).unwrap()), expected);
    }

    #[test]
    fn a_missing_value_fails_by_its_name() {
        for program in [
            ".result[0].none",
            ".result[0].absent",
            ".result[9].price",
            ".result.price",
            ".result | empty",
            ".result[0].name | tonumber",
            ".result[0] | .price, .name",
        ] {
            let failure = extract(json!({ "x": program }), QUOTE).unwrap_err();
            assert_eq!(failure.kind, FailureKind::MissingValue("x".into()), "{program}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_quoted() {
        let failure = extract(json!({"x": ".x"}), "<html>\u{1b}[31m").unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotJson);
        assert!(failure.detail.contains(r#""<html>\u{1b}[31m""#), "{}", failure.detail);
    }

    #[test]
    fn a_wrong_program_is_named() {
        let settings = serde_json::from_value(json!({"price": ".a | nope(.b)"})).unwrap();
        let error = Extractor::new(&settings).err().unwrap().to_string();
        assert!(error.starts_with("extract.price (--extract): "), "{error}");
        assert!(error.contains("nope"), "{error}");
    }
}
