//! (7) An answer's body to named values. Pure.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::record::Failure;

mod jq;
mod path;

use jq::Program;
use path::Path;

/// The `[extract]` part of a job: a name and a jq program each. A name that
/// ends in `?` may be missing.
pub type Settings = Map<String, Value>;

/// Takes the job's values out of an answer. The body is parsed once for all of them.
pub struct Extractor {
    wanted: Vec<Wanted>,
    /// Whether any of them needs the jq machine's own form of the body.
    uses_jq: bool,
}

struct Wanted {
    name: String,
    missing: Missing,
    way: Way,
}

/// What a value that isn't there means.
#[derive(PartialEq)]
enum Missing {
    Fails,
    IsNull,
}

/// A plain path is walked directly, with the result that jq would give.
enum Way {
    Path(Path),
    Jq(Box<Program>),
}

impl Extractor {
    /// Compiles the programs.
    ///
    /// # Errors
    /// Which program is wrong, and where jq stumbled.
    pub fn new(settings: &Settings) -> Result<Extractor, Error> {
        let wanted: Vec<Wanted> = settings
            .iter()
            .map(|(key, program)| {
                Wanted::new(key, program)
                    .map_err(|why| Error::plan(format!("extract.{key} (--extract): {why}")))
            })
            .collect::<Result<_, Error>>()?;
        let uses_jq = wanted.iter().any(|wanted| matches!(wanted.way, Way::Jq(_)));
        Ok(Extractor { wanted, uses_jq })
    }

    /// The names of the values, without their `?`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.wanted
            .iter()
            .map(|wanted| wanted.name.clone())
            .collect()
    }

    /// The values of one answer, in the order of the names.
    ///
    /// # Errors
    /// A failure `not json`, or `missing NAME` for the first that isn't there.
    pub fn extract(&self, body: &[u8]) -> Result<Vec<Value>, Failure> {
        if self.wanted.is_empty() {
            return Ok(Vec::new());
        }
        let body: Value = serde_json::from_slice(body).map_err(|error| not_json(body, &error))?;
        let for_jq = match self.uses_jq {
            true => jq::Input::deserialize(&body).map_err(|error| {
                Failure::new("not json", format!("jq can't read the answer: {error}"))
            })?,
            false => jq::Input::default(),
        };
        self.wanted
            .iter()
            .map(|wanted| wanted.value(&body, &for_jq))
            .collect()
    }
}

impl Wanted {
    fn new(key: &str, program: &Value) -> Result<Wanted, String> {
        let Value::String(program) = program else {
            return Err(format!("{program} is not a jq program: write it as a text"));
        };
        let (name, missing) = match key.strip_suffix('?') {
            Some(name) => (name, Missing::IsNull),
            None => (key, Missing::Fails),
        };
        let way = match Path::parse(program) {
            Some(path) => Way::Path(path),
            None => Way::Jq(Box::new(Program::new(program)?)),
        };
        Ok(Wanted {
            name: name.to_owned(),
            missing,
            way,
        })
    }

    fn value(&self, body: &Value, for_jq: &jq::Input) -> Result<Value, Failure> {
        let found = match &self.way {
            Way::Path(path) => path.walk(body).cloned(),
            Way::Jq(program) => program.run(for_jq),
        };
        match found {
            Ok(Value::Null) if self.missing == Missing::Fails => {
                self.fail("the value is null or not there")
            }
            Err(why) if self.missing == Missing::Fails => self.fail(&why),
            found => Ok(found.unwrap_or_default()),
        }
    }

    fn fail(&self, why: &str) -> Result<Value, Failure> {
        Err(Failure::new(format!("missing {}", self.name), why))
    }
}

fn not_json(body: &[u8], error: &serde_json::Error) -> Failure {
    let start: String = String::from_utf8_lossy(body).chars().take(80).collect();
    Failure::new("not json", format!("{error}; the answer begins {start:?}"))
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
            assert_eq!(failure.kind, "missing x", "{program}");
        }
    }

    #[test]
    fn what_is_not_json_says_how_it_begins() {
        let failure = extract(json!({"x": ".x"}), "<html>\u{1b}[31m").unwrap_err();
        assert_eq!(failure.kind, "not json");
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
