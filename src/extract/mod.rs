//! (7) An answer's body to named values. Pure.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::record::{Failure, FailureKind};

mod body;
mod each;
mod jq;
mod path;
mod picker;
mod scanner;
mod settle;
#[cfg(test)]
mod spellings;

pub use body::{json, json_text, shown, text};
pub use each::{ItemSettings, Items, missing};
pub use jq::{JqInput, Program};
use path::Path;
use picker::{PathScanner, PathValues};
pub use settle::Settler;

/// The `[extract]` part of a job: a name and a jq program each. A name that
/// ends in `?` may be missing.
pub type Settings = Map<String, Value>;

/// Takes the job's values out of an answer.
pub struct Extractor {
    wanted: Vec<Wanted>,
    way: Strategy,
}

struct Wanted {
    name: String,
    missing: Missing,
}

/// What a value that isn't there means.
#[derive(PartialEq)]
enum Missing {
    Fails,
    IsNull,
}

/// How all values are found. Plain paths alone don't need the jq machine, and
/// come to what it would give.
enum Strategy {
    Paths(PathScanner),
    Jq(Vec<Program>),
}

/// Why nothing was found.
enum Unfound {
    /// In the body, which is not what it should be.
    InBody(Failure),
    /// By a program, which was ended.
    Ended(Failure),
}

impl Default for Extractor {
    /// Nothing is wanted.
    fn default() -> Extractor {
        Extractor {
            wanted: Vec::new(),
            way: Strategy::Jq(Vec::new()),
        }
    }
}

impl Extractor {
    /// Compiles the programs.
    ///
    /// # Errors
    /// Which program is wrong, and where jq stumbled.
    pub fn new(settings: &Settings) -> Result<Extractor, Error> {
        let programs: Vec<(&String, &str)> = settings
            .iter()
            .map(|(key, program)| match program {
                Value::String(program) => Ok((key, program.as_str())),
                Value::Array(_) => Err(wrong(
                    key,
                    "it is there more than once, or a list: give it one jq program",
                )),
                other => Err(wrong(
                    key,
                    &format!("{other} is not a jq program: write it as a text"),
                )),
            })
            .collect::<Result<_, _>>()?;
        Ok(Extractor {
            wanted: programs.iter().map(|(key, _)| Wanted::new(key)).collect(),
            way: Strategy::new(&programs)?,
        })
    }

    /// The names of the values, without their `?`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.wanted
            .iter()
            .map(|wanted| wanted.name.clone())
            .collect()
    }

    /// The values of one answer, in the order of the names. The body is parsed
    /// once for all of them.
    ///
    /// # Errors
    /// A failure `not text`, `not json` or `several documents`; `missing NAME` for the
    /// first value that isn't there; or `jq too long`.
    pub fn extract(&self, body: &[u8]) -> Result<Vec<Value>, Failure> {
        if self.wanted.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.find(body).map_err(|why| match why {
            Unfound::InBody(failure) | Unfound::Ended(failure) => failure,
        })?;
        let pairs = self.wanted.iter().zip(found);
        pairs.map(|(wanted, found)| wanted.accept(found)).collect()
    }

    /// The values of a body that needn't have any, where it has them; nothing of what
    /// isn't JSON.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn extract_any(&self, body: &[u8]) -> Result<Vec<Value>, Failure> {
        match self.find(body) {
            Ok(found) => Ok(found.into_iter().map(Result::unwrap_or_default).collect()),
            Err(Unfound::InBody(_)) => Ok(Vec::new()),
            Err(Unfound::Ended(failure)) => Err(failure),
        }
    }

    /// Whether it takes no longer than to read the body once.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.wanted.is_empty() || matches!(self.way, Strategy::Paths(_))
    }

    fn find(&self, body: &[u8]) -> Result<PathValues, Unfound> {
        match &self.way {
            Strategy::Paths(picker) => picker.pick(body).map_err(Unfound::InBody),
            Strategy::Jq(programs) => {
                let input = json(body).map_err(Unfound::InBody)?;
                let pairs = self.wanted.iter().zip(programs);
                pairs
                    .map(|(wanted, program)| wanted.run(program, &input))
                    .collect::<Result<_, _>>()
                    .map_err(Unfound::Ended)
            }
        }
    }
}

impl Strategy {
    fn new(programs: &[(&String, &str)]) -> Result<Strategy, Error> {
        let paths: Option<Vec<Path>> = programs.iter().map(|(_, code)| Path::parse(code)).collect();
        if let Some(paths) = paths {
            return Ok(Strategy::Paths(PathScanner::new(paths.iter())));
        }
        let compile =
            |(key, code): &(&String, &str)| Program::new(code).map_err(|why| wrong(key, &why));
        programs
            .iter()
            .map(compile)
            .collect::<Result<_, _>>()
            .map(Strategy::Jq)
    }
}

impl Wanted {
    fn new(key: &str) -> Wanted {
        let (name, missing) = match key.strip_suffix('?') {
            Some(name) => (name, Missing::IsNull),
            None => (key, Missing::Fails),
        };
        Wanted {
            name: name.to_owned(),
            missing,
        }
    }

    /// What the program gives, or why it gives nothing.
    fn run(&self, program: &Program, input: &JqInput) -> Result<Result<Value, String>, Failure> {
        match program.run(input) {
            Ok(value) => Ok(Ok(value)),
            Err(trouble) => trouble
                .or_failure(&format!("extract.{}", self.name))
                .map(Err),
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
        Err(Failure::new(
            FailureKind::MissingValue(self.name.clone()),
            why,
        ))
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
    fn values_come_out_in_order() {
        let programs = json!({
            "price": ".result[0].price",
            "double": ".result[0].price * 2",
            "name": ".result[0].name",
            "upper": ".result[0].name | ascii_upcase",
            "id": ".result[0] | .id",
            "maybe?": ".result[0].none",
            "never?": ".result[0].price.x",
        });
        let expected = json!([
            17.5,
            35.0,
            "Ünïted",
            "ÜNïTED",
            12345678901234567890u64,
            null,
            null
        ]);
        assert_eq!(Value::Array(extract(programs, QUOTE).unwrap()), expected);
    }

    #[test]
    fn what_is_not_there_fails_by_its_name() {
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
            assert_eq!(
                failure.kind,
                FailureKind::MissingValue("x".into()),
                "{program}"
            );
        }
    }

    #[test]
    fn what_is_not_json_says_how_it_begins() {
        let failure = extract(json!({"x": ".x"}), "<html>\u{1b}[31m").unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotJson);
        assert!(
            failure.detail.contains(r#""<html>\u{1b}[31m""#),
            "{}",
            failure.detail
        );
    }

    #[test]
    fn a_wrong_program_is_shown() {
        let settings = serde_json::from_value(json!({"price": ".a | nope(.b)"})).unwrap();
        let error = Extractor::new(&settings).err().unwrap().to_string();
        assert!(error.starts_with("extract.price (--extract): "), "{error}");
        assert!(error.contains("nope"), "{error}");
    }
}
