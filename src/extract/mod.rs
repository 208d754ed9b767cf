//! (7) The body of an answer: a text, one JSON document, and the named values of it. Pure.

use std::collections::BTreeMap;

use http::HeaderMap;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::record::{Failure, FailureKind, excerpt};
use charset::utf8;
use document::{Parsed, parse, plain, to_jq};

mod charset;
mod context;
mod css;
mod document;
mod events;
#[cfg(feature = "html")]
mod html;
mod integers;
mod items;
mod jq;
mod json;
mod keys;
mod kind;
mod lists;
mod outline;
mod paths;
mod scanner;
#[cfg(test)]
mod spellings;
mod table;
mod xml;

pub use charset::{AnswerEncoding, text};
pub use context::AnswerContext;
pub use document::{Document, kept_text};
pub use events::stream_error;
pub use integers::{is_long_number, may_have_long_number};
pub use items::{ItemSettings, Items, missing_items};
pub(crate) use jq::json as jq_text;
pub use jq::{JqInput, Program};
pub use keys::keys_of;
pub use kind::AnswerKind;
pub use lists::list_names;
pub use outline::{OutlineEntry, outline};
use paths::{Path, PathScanner, PathValues};

/// Why a value that is null is none.
const NOT_THERE: &str = "the value is null or not there";

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
    /// Whether the value may be missing: it is null then.
    is_optional: bool,
}

/// How a program is compiled.
type Compile = fn(&str) -> Result<Program, String>;

/// The method by which all values are extracted. Plain paths alone don't need jq, and
/// give the same values.
enum ExtractionMethod {
    Paths(PathScanner),
    Jq(Vec<Program>),
}

/// What the program of one value found.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtractedValue {
    /// The name of the value.
    pub name: String,
    /// Whether the value may be missing.
    pub is_optional: bool,
    /// The value, or why there is none.
    pub found: Result<Value, String>,
}

/// Extracts the true costs of requests from their answers.
pub struct CostExtractor {
    /// The index of the unit of each value of the extractor.
    units: Vec<usize>,
    extractor: Extractor,
}

impl Extractor {
    /// Compiles the programs.
    ///
    /// # Errors
    /// Which program is wrong, and where.
    pub fn new(settings: &Settings) -> Result<Extractor, Error> {
        Extractor::compiled(settings, Program::of_answer)
    }

    /// Compiles programs that read a body alone, without the variables of an answer.
    ///
    /// # Errors
    /// Which program is wrong, and where.
    pub fn of_body(settings: &Settings) -> Result<Extractor, Error> {
        Extractor::compiled(settings, Program::new)
    }

    /// Compiles programs that read the answers that records keep.
    ///
    /// # Errors
    /// Which program is wrong, and where.
    pub fn of_record(settings: &Settings) -> Result<Extractor, Error> {
        Extractor::compiled(settings, Program::of_record)
    }

    fn compiled(settings: &Settings, compile: Compile) -> Result<Extractor, Error> {
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
            method: ExtractionMethod::new(&programs, compile)?,
        })
    }

    /// Compiles the program of one value of this name, which may be missing.
    ///
    /// # Errors
    /// Where the program is wrong.
    pub fn of_one(name: &str, program: &str) -> Result<Extractor, Error> {
        Extractor::new(&Settings::from_iter([(format!("{name}?"), program.into())]))
    }

    /// The names of the values, without their `?`.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.wanted.iter().map(|wanted| wanted.name.clone()).collect()
    }

    /// The values of one answer of which nothing but the body is known.
    ///
    /// # Errors
    /// Those of [`Extractor::extract_in`].
    pub fn extract(&self, body: &[u8]) -> Result<Vec<Value>, Failure> {
        self.extract_in(body, &AnswerContext::default())
    }

    /// The values of one answer, in the order of their names. The body is parsed once.
    ///
    /// # Errors
    /// A failure that says why the body can't be read, such as `not text` or `not json`;
    /// `missing NAME` for the first missing value; or `jq too long`.
    pub fn extract_in(
        &self,
        body: &[u8],
        context: &AnswerContext<'_>,
    ) -> Result<Vec<Value>, Failure> {
        if self.wanted.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(values) = self.scan(body, context) {
            let mut pairs = self.wanted.iter().zip(&values);
            return match pairs.find(|(wanted, value)| value.is_null() && !wanted.is_optional) {
                Some((wanted, _)) => Err(wanted.missing(NOT_THERE.to_owned())),
                None => Ok(values),
            };
        }
        let pairs = self.wanted.iter().zip(self.find_parsed(body, context)?);
        pairs.map(|(wanted, found)| wanted.accept(found)).collect()
    }

    /// What each program finds in an answer, also where a value is missing.
    ///
    /// # Errors
    /// Those of [`Extractor::extract_in`], but for missing values.
    pub fn each_value(
        &self,
        body: &[u8],
        context: &AnswerContext<'_>,
    ) -> Result<Vec<ExtractedValue>, Failure> {
        let pairs = self.wanted.iter().zip(self.find(body, context)?);
        let value = |(wanted, found): (&WantedValue, Result<Value, String>)| ExtractedValue {
            name: wanted.name.clone(),
            is_optional: wanted.is_optional,
            found: found.and_then(|value| match value {
                Value::Null => Err(NOT_THERE.to_owned()),
                value => Ok(value),
            }),
        };
        Ok(pairs.map(value).collect())
    }

    /// The values of an answer that need not have them, with null for missing ones; none of an
    /// answer that can't be read.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn extract_any(
        &self,
        body: &[u8],
        context: &AnswerContext<'_>,
    ) -> Result<Vec<Value>, Failure> {
        match self.find(body, context) {
            Ok(found) => Ok(found.into_iter().map(Result::unwrap_or_default).collect()),
            Err(failure) if failure.kind == FailureKind::JqTooLong => Err(failure),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// The first value of an answer that need not have it, or null.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn extract_one(&self, body: &[u8], context: &AnswerContext<'_>) -> Result<Value, Failure> {
        Ok(self.extract_any(body, context)?.into_iter().next().unwrap_or_default())
    }

    /// Whether it takes a single pass over the body.
    #[must_use]
    pub fn is_single_pass(&self) -> bool {
        self.wanted.is_empty() || matches!(self.method, ExtractionMethod::Paths(_))
    }

    /// The first value of an answer that need not have it, or null. A body that can't be read
    /// as its kind is a text for a program.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn extract_one_in(
        &self,
        body: &[u8],
        context: &AnswerContext<'_>,
    ) -> Result<Value, Failure> {
        let found = match (self.find(body, context), text(body, context)) {
            (Err(failure), Ok(text)) if failure.kind != FailureKind::JqTooLong => {
                self.find_in(text.into_owned().into(), context)
            }
            // A program over the text of XML finds none in its elements.
            (Ok(found), Ok(text)) if is_markup(&text) && found.iter().all(Result::is_err) => {
                self.find_in(text.into_owned().into(), context)
            }
            (found, _) => found,
        };
        match found {
            Ok(found) => Ok(found.into_iter().next().and_then(Result::ok).unwrap_or_default()),
            Err(failure) if failure.kind == FailureKind::JqTooLong => Err(failure),
            Err(_) => Ok(Value::Null),
        }
    }

    /// Whether a value may depend on the body of the answer.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        match &self.method {
            ExtractionMethod::Paths(_) => !self.wanted.is_empty(),
            ExtractionMethod::Jq(programs) => programs.iter().any(Program::reads_input),
        }
    }

    /// The names of the variables of an answer that the programs use.
    pub fn uses(&self, variable: &str) -> bool {
        match &self.method {
            ExtractionMethod::Paths(_) => false,
            ExtractionMethod::Jq(programs) => programs.iter().any(|it| it.uses(variable)),
        }
    }

    /// Whether its programs are made for HTML.
    fn selects(&self) -> bool {
        match &self.method {
            ExtractionMethod::Paths(_) => false,
            ExtractionMethod::Jq(programs) => programs.iter().any(Program::selects),
        }
    }

    /// The value of each path in one JSON document, as most bodies are, null for those that are
    /// missing. None where programs are no paths, and of a body that the full parser decides on.
    fn scan(&self, body: &[u8], context: &AnswerContext<'_>) -> Option<Vec<Value>> {
        match &self.method {
            ExtractionMethod::Paths(scanner) if context.takes_documents() => {
                scanner.scan(utf8(body).ok()?).ok()
            }
            _ => None,
        }
    }

    /// The value of each program.
    fn find(&self, body: &[u8], context: &AnswerContext<'_>) -> Result<PathValues, Failure> {
        match self.scan(body, context) {
            Some(values) => Ok(values.into_iter().map(Ok).collect()),
            None => self.find_parsed(body, context),
        }
    }

    /// The value of each program, by the full parser. Most bodies are one JSON document, which
    /// jq reads as it is.
    fn find_parsed(&self, body: &[u8], context: &AnswerContext<'_>) -> Result<PathValues, Failure> {
        if let ExtractionMethod::Jq(programs) = &self.method
            && let Some(input) = plain(body, context)
        {
            return self.run_all(programs, &input, context);
        }
        let Parsed { value, not_json, about } = parse(body, context)?;
        let mut found = self.find_in(value, context)?;
        if let Some(failure) = not_json.filter(|_| !self.selects() && found.iter().all(is_nothing))
        {
            return Err(failure);
        }
        if let Some(about) = about {
            found.iter_mut().for_each(|found| tell(found, &about));
        }
        Ok(found)
    }

    fn find_in(&self, value: Value, context: &AnswerContext<'_>) -> Result<PathValues, Failure> {
        match &self.method {
            ExtractionMethod::Paths(scanner) => Ok(scanner.follow(&value)),
            ExtractionMethod::Jq(programs) => self.run_all(programs, &to_jq(value), context),
        }
    }

    fn run_all(
        &self,
        programs: &[Program],
        input: &JqInput,
        context: &AnswerContext<'_>,
    ) -> Result<PathValues, Failure> {
        let pairs = self.wanted.iter().zip(programs);
        pairs.map(|(wanted, program)| wanted.run(program, input, context)).collect()
    }
}

impl ExtractionMethod {
    fn new(programs: &[(&String, &str)], compile: Compile) -> Result<ExtractionMethod, Error> {
        let paths: Option<Vec<Path>> = programs.iter().map(|(_, code)| Path::parse(code)).collect();
        if let Some(paths) = paths {
            return Ok(ExtractionMethod::Paths(PathScanner::new(paths)));
        }
        let compiled =
            |(key, code): &(&String, &str)| compile(code).map_err(|why| wrong(key, &why));
        programs.iter().map(compiled).collect::<Result<_, _>>().map(ExtractionMethod::Jq)
    }
}

impl WantedValue {
    fn new(key: &str) -> WantedValue {
        let name = key.strip_suffix('?');
        WantedValue { is_optional: name.is_some(), name: name.unwrap_or(key).to_owned() }
    }

    /// The value of the program, or why it has none.
    fn run(
        &self,
        program: &Program,
        input: &JqInput,
        context: &AnswerContext<'_>,
    ) -> Result<Result<Value, String>, Failure> {
        match program.run_in(input, context) {
            Ok(value) => Ok(Ok(value)),
            Err(error) => error.or_failure(&format!("extract.{}", self.name)).map(Err),
        }
    }

    fn accept(&self, found: Result<Value, String>) -> Result<Value, Failure> {
        let why = match found {
            found if self.is_optional => return Ok(found.unwrap_or_default()),
            Ok(Value::Null) => NOT_THERE.to_owned(),
            Ok(value) => return Ok(value),
            Err(why) => why,
        };
        Err(self.missing(why))
    }

    fn missing(&self, why: String) -> Failure {
        Failure::new(FailureKind::MissingValue(self.name.clone()), why)
    }
}

fn is_nothing(found: &Result<Value, String>) -> bool {
    found.as_ref().map_or(true, Value::is_null)
}

fn is_markup(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

/// Adds what is to be told of an answer to the reason why it has no value.
fn tell(found: &mut Result<Value, String>, about: &str) {
    match found {
        Ok(Value::Null) => *found = Err(format!("{NOT_THERE}: {about}")),
        Ok(_) => {}
        Err(why) => *why += &format!(": {about}"),
    }
}

fn wrong(key: &str, why: &str) -> Error {
    Error::plan(format!("extract.{key} (--extract): {why}"))
}

impl CostExtractor {
    /// Compiles the jq programs by unit, where `units` are those of the limits in order; none
    /// if there are no programs.
    ///
    /// # Errors
    /// Which program is wrong, and where.
    pub fn new(
        programs: &BTreeMap<String, String>,
        units: &[String],
    ) -> Result<Option<CostExtractor>, Error> {
        let optional =
            |(unit, code): (&String, &String)| (format!("{unit}?"), Value::from(code.as_str()));
        let settings: Settings = programs.iter().map(optional).collect();
        let extractor = Extractor::of_body(&settings)
            .map_err(|error| Error::plan(format!("limit.settle (--settle): {error}")))?;
        let index = |name: &String| units.iter().position(|unit| unit == name);
        let units: Vec<usize> = programs.keys().filter_map(index).collect();
        Ok((!units.is_empty()).then_some(CostExtractor { units, extractor }))
    }

    /// The index of each unit and its cost, where the answer states a valid one.
    ///
    /// # Errors
    /// A failure `jq too long`.
    pub fn costs(
        &self,
        body: &[u8],
        context: &AnswerContext<'_>,
    ) -> Result<Vec<(usize, u64)>, Failure> {
        let values = self.extractor.extract_any(body, context)?;
        let pairs = self.units.iter().copied().zip(values);
        Ok(pairs.filter_map(|(unit, value)| Some((unit, amount(&value)?))).collect())
    }
}

fn amount(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    (0.0..=9e15).contains(&number).then_some(number.ceil() as u64)
}

/// The beginning of a body for messages, or its number of bytes if it is no text.
pub fn body_excerpt(body: &[u8], headers: &HeaderMap, max: usize) -> String {
    let context = AnswerContext { headers: Some(headers), ..AnswerContext::default() };
    text(body, &context).map_or_else(|failure| failure.detail, |text| excerpt(&text, max))
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;

    fn extract(programs: Value, body: &str) -> Result<Vec<Value>, Failure> {
        let settings: Settings = serde_json::from_value(programs).unwrap();
        Extractor::new(&settings).unwrap().extract(body.as_bytes())
    }

    const QUOTE: &str = r#"{"result": [{"price": 17.5, "name": "Ünïted", "id": 12345678901234567890, "none": null}]}"#;

    #[test]
    fn values_are_in_the_order_of_their_names() {
        let programs = value!({
            "price": ".result[0].price",
            "double": ".result[0].price * 2",
            "name": ".result[0].name",
            "upper": ".result[0].name | ascii_upcase",
            "id": ".result[0] | .id",
            "maybe?": ".result[0].none",
            "never?": ".result[0].price.x",
        });
        let expected =
            value!([17.5, 35.0, "Ünïted", "ÜNïTED", 12345678901234567890u64, null, null]);
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
            let failure = extract(value!({ "x": program }), QUOTE).unwrap_err();
            assert_eq!(failure.kind, FailureKind::MissingValue("x".into()), "{program}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_is_quoted() {
        let failure = extract(value!({"x": ".x"}), "<html>\u{1b}[31m").unwrap_err();
        assert_eq!(failure.kind, FailureKind::NotJson);
        assert!(failure.detail.contains(r#""<html>\u{1b}[31m""#), "{}", failure.detail);
    }

    #[test]
    fn a_wrong_program_is_named() {
        let settings = serde_json::from_value(value!({"price": ".a | nope(.b)"})).unwrap();
        let error = Extractor::new(&settings).err().unwrap().to_string();
        assert!(error.starts_with("extract.price (--extract): "), "{error}");
        assert!(error.contains("nope"), "{error}");
    }

    fn failure(program: &str, body: &[u8]) -> FailureKind {
        Extractor::of_one("x", program).unwrap().extract(body).unwrap_err().kind
    }

    #[test]
    fn a_body_that_is_not_json_is_an_error_wherever_it_is_wrong() {
        for body in [
            "{\"a\": 1",
            "{\"x\": nul}",
            "{\"a\": {}} more",
            "<html>",
            "{\"x\": \"\n\"}",
            "{\"a\": {\"b\": nul}}",
            "{\"a\": {\"b\": 1",
            "{\"a\": {\"b\": 1}, \"c\": [1, 2, 3",
        ] {
            assert_eq!(failure(".a.b", body.as_bytes()), FailureKind::NotJson, "{body}");
        }
        assert_eq!(failure(".a.b", b"{\"a\": {\"b\": \"\xff\"}}"), FailureKind::NotText);
    }

    #[test]
    fn all_of_a_body_is_read() {
        let programs = value!({"a": ".a.b", "b": ".list[1]"});
        let extract = |body: &str| extract(programs.clone(), body);
        let body = r#"{"list": [0, 1, 2], "a": {"b": "x", "c": this is not JSON}}"#;
        assert_eq!(extract(body).unwrap_err().kind, FailureKind::NotJson);
        let two = r#"{"list": [0, 1], "a": {"b": "x"}} {"list": [0, 2]}"#;
        let failure = extract(two).unwrap_err();
        assert_eq!(failure.kind, FailureKind::MissingValue("a".to_owned()));
        assert!(failure.detail.ends_with("the answer is a list of 2 documents"), "{failure:?}");
        let twice = r#"{"list": [0, 1], "a": {"b": "x"}, "\u0061": {"b": "y"}}"#;
        assert_eq!(extract(twice).unwrap(), [value!("y"), value!(1)]);
    }

    #[test]
    fn an_integer_beyond_64_bits_keeps_its_digits_however_a_program_is_spelt() {
        let long = "12345678901234567890123";
        let body = format!(r#"{{"a": -{long}, "b": [{long}], "c": 0.5, "d": "{long}"}}"#);
        for (program, expected) in [
            ("{}.a", value!(format!("-{long}"))),
            ("{}.a | .", value!(format!("-{long}"))),
            ("{}.b", value!([long])),
            ("{} | .b", value!([long])),
            ("{}.b[0] | type", value!("string")),
            ("{}.b[0] | tonumber + 1", value!("12345678901234567890124")),
            ("{} | (.a | tonumber) < 0", value!(true)),
            ("{}.c", value!(0.5)),
            ("{}.c | . * 12345678901234567890123", value!(6.172_839_450_617_284e21)),
            ("{} | .b == [.d]", value!(true)),
        ] {
            for (body, at) in [(&body, "."), (&format!("{body}\n{body}"), ".[1]")] {
                let program = program.replace("{}", at).replace("..", ".");
                let found = Extractor::of_one("x", &program).unwrap().extract(body.as_bytes());
                assert_eq!(found.unwrap().remove(0), expected, "{program}");
            }
        }
    }

    fn kind(body: &[u8]) -> String {
        let context = AnswerContext { kind: Some(AnswerKind::Json), ..AnswerContext::default() };
        parse(body, &context).err().unwrap().kind.text().into_owned()
    }

    #[test]
    fn one_document_is_json_with_or_without_a_byte_order_mark() {
        for body in ["{\"a\": 1}", "\u{feff}{\"a\": 1}", " \n{\"a\": 1}\r\n\t "] {
            let parsed = parse(body.as_bytes(), &AnswerContext::default()).unwrap();
            assert_eq!(parsed.value, value!({"a": 1}));
        }
        assert_eq!(text("\u{feff}a".as_bytes(), &AnswerContext::default()).unwrap(), "a");
    }

    #[test]
    fn a_body_that_is_not_one_document_fails_by_its_kind() {
        let utf16: Vec<u8> =
            "{\"a\": 1}\u{d7ff}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cut = &utf16[..utf16.len() - 1];
        for (body, name) in [
            (&b"{\"a\": \"Caf\xe9\"}"[..], "not text"),
            (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "not text"),
            (cut, "not text"),
            (b"\0\x01\0\x02", "not text"),
            (b"\xed\xa0\x80", "not text"),
            (b"{\"a\": 1} oops {\"b\": 2}", "not json"),
            (b"{\"a\": 1}}", "not json"),
            (b"{\"a\": nope}", "not json"),
            (b"\xef\xbb\xbf\xef\xbb\xbf{}", "not json"),
            (b"{\"a\": 1}\n{\"a\": 2}\n", "several documents"),
            (b"{}{", "not json"),
            (b"1 2", "several documents"),
        ] {
            assert_eq!(kind(body), name, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn the_excerpt_of_bytes_is_their_number() {
        assert_eq!(body_excerpt("größer".as_bytes(), &HeaderMap::new(), 3), "grö…");
        let shown = body_excerpt(b"\x89PNG....", &HeaderMap::new(), 3);
        assert!(shown.contains("9 bytes") || shown.contains("8 bytes"), "{shown}");
    }

    #[test]
    fn true_costs_are_numbers_where_the_answer_has_them() {
        let programs = BTreeMap::from([("tokens".to_owned(), ".usage.total_tokens".to_owned())]);
        let units = ["requests".to_owned(), "tokens".to_owned()];
        let extractor = CostExtractor::new(&programs, &units).unwrap().unwrap();
        for (body, costs) in [
            (&b"{\"usage\": {\"total_tokens\": 31.2}}"[..], vec![(1, 32)]),
            (b"{\"usage\": {\"total_tokens\": -1}}", vec![]),
            (b"{\"usage\": {\"total_tokens\": \"many\"}}", vec![]),
            (b"{}", vec![]),
            (b"not json", vec![]),
        ] {
            assert_eq!(extractor.costs(body, &AnswerContext::default()), Ok(costs));
        }
    }
}
