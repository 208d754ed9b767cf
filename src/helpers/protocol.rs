//! The lines that helpers are fed and that they give back. Pure.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::format::rows::shown;
use crate::hooks::{Answer, Processed, RowError, RowRequest};
use crate::row::{Fields, Row};
use crate::secret::Secrets;

/// A row as helpers of `render` see it.
#[derive(Serialize)]
struct RowLine<'a> {
    row: &'a Fields,
    number: u64,
}

/// An answer as helpers of `process` see it.
#[derive(Serialize)]
struct AnswerLine<'a> {
    row: &'a Fields,
    number: u64,
    status: u16,
    headers: Headers<'a>,
    url: Cow<'a, str>,
    /// The body, where it is a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    /// The body, where it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// The line of a row.
pub fn row_line(row: &Row) -> Vec<u8> {
    line(&RowLine { row: &row.fields, number: row.number })
}

/// The line of an answer, with its secrets hidden if there are any. Cookies are left out.
pub fn answer_line(row: &Row, answer: &Answer, secrets: Option<&Secrets>) -> Vec<u8> {
    let text = std::str::from_utf8(&answer.body).ok();
    line(&AnswerLine {
        row: &row.fields,
        number: row.number,
        status: answer.status.as_u16(),
        headers: Headers { all: &answer.headers, secrets },
        url: hidden(answer.url.to_string().into(), secrets),
        body: text.map(|text| hidden(text.into(), secrets)),
        body_base64: text.is_none().then(|| BASE64_STANDARD.encode(&answer.body)),
    })
}

fn hidden<'a>(text: Cow<'a, str>, secrets: Option<&Secrets>) -> Cow<'a, str> {
    match secrets {
        Some(secrets) => secrets.hide(text.into_owned()).into(),
        None => text,
    }
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Maps with texts as keys, texts and numbers are always JSON.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// Headers by their names in lower case; a header that comes several times has its values
/// joined by commas.
struct Headers<'a> {
    all: &'a HeaderMap,
    secrets: Option<&'a Secrets>,
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = self.all.keys().filter(|name| **name != http::header::SET_COOKIE);
        serializer.collect_map(shown.map(|name| {
            let mut values = self.all.get_all(name).iter().map(http::HeaderValue::as_bytes);
            let first = String::from_utf8_lossy(values.next().unwrap_or_default());
            let text = values.fold(first, |text, next| {
                Cow::Owned(text.into_owned() + ", " + &String::from_utf8_lossy(next))
            });
            (name.as_str(), hidden(text, self.secrets))
        }))
    }
}

/// A line that helpers don't give, and what they give instead.
#[derive(Debug, PartialEq)]
pub struct WrongLine(pub String);

/// What a helper gives for an answer: exactly one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessedLine {
    /// The number of the row, as a check.
    number: Option<u64>,
    values: Option<Fields>,
    records: Option<Vec<Fields>>,
    error: Option<String>,
    retry: Option<String>,
    /// Seconds before the next attempt.
    after: Option<f64>,
}

/// The values, the records, or the error of a line that a helper of `process` gave for the row of
/// this number.
pub fn processed(line: &[u8], number: u64) -> Result<Result<Processed, RowError>, WrongLine> {
    const FORMS: &str =
        r#"it gives {"values": {…}}, {"records": [{…}]}, {"error": "…"} or {"retry": "…"}"#;
    let read = read::<ProcessedLine>(line, FORMS)?;
    check(read.number, number)?;
    let pause = read.after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match (read.values, read.records, read.error, read.retry) {
        (Some(values), None, None, None) => Ok(Ok(Processed::Values(values))),
        (None, Some(records), None, None) => Ok(Ok(Processed::Records(records))),
        (None, None, Some(why), None) => Ok(Err(RowError::failed(why))),
        (None, None, None, Some(why)) => {
            let error = RowError::retry(why);
            Ok(Err(match pause {
                Some(pause) => error.after(pause),
                None => error,
            }))
        }
        _ => Err(wrong(line, FORMS)),
    }
}

/// That a line is that of its row, as far as it says so.
fn check(given: Option<u64>, asked: u64) -> Result<(), WrongLine> {
    match given {
        Some(given) if given != asked => Err(WrongLine(format!(
            "the helper gave the line of number {given} where number {asked} was next: it gives a \
             line for each that it reads, in their order"
        ))),
        _ => Ok(()),
    }
}

/// What a helper gives for a row: a request, or why there is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestLine {
    /// The number of the row, as a check.
    number: Option<u64>,
    url: Option<String>,
    method: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<String>,
    json: Option<Value>,
    #[serde(default)]
    cost: Map<String, Value>,
    error: Option<String>,
}

/// The request of a line that a helper of `render` gave for the row of this number.
pub fn request(line: &[u8], number: u64) -> Result<Result<RowRequest, RowError>, WrongLine> {
    const FORMS: &str = r#"it gives {"url": "…"}, with method, headers, body or json, and cost if need be, or {"error": "…"}"#;
    let read = read::<RequestLine>(line, FORMS)?;
    check(read.number, number)?;
    if let Some(why) = read.error {
        return Ok(Err(RowError::failed(why)));
    }
    let has_both = read.body.is_some() && read.json.is_some();
    let costs = read.cost.iter().map(|(unit, units)| Some((unit.as_str(), units.as_u64()?)));
    let (Some(url), false, Some(cost)) = (&read.url, has_both, costs.collect::<Option<Vec<_>>>())
    else {
        return Err(wrong(line, FORMS));
    };
    Ok(made(&read, url, &cost))
}

/// The request of a line whose fields may be together.
fn made(read: &RequestLine, url: &str, cost: &[(&str, u64)]) -> Result<RowRequest, RowError> {
    let has_body = read.body.is_some() || read.json.is_some();
    let default = if has_body { Method::POST } else { Method::GET };
    let method = read.method.as_ref().map_or(Ok(default), |method| method.parse())?;
    let mut request = http::Request::builder().method(method).uri(url);
    if read.json.is_some() && !read.headers.keys().any(|it| it.eq_ignore_ascii_case("content-type"))
    {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in &read.headers {
        request = request.header(name, text(value));
    }
    let body = match (&read.body, &read.json) {
        (Some(body), _) => Bytes::from(body.clone()),
        (None, Some(json)) => Bytes::from(json.to_string()),
        (None, None) => Bytes::new(),
    };
    let made = RowRequest::from(request.body(body)?);
    Ok(cost.iter().fold(made, |made, (unit, units)| made.with_cost(*unit, *units)))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8], forms: &str) -> Result<T, WrongLine> {
    serde_json::from_slice(line).map_err(|_| wrong(line, forms))
}

/// That a helper gave this line, and what it should be.
fn wrong(line: &[u8], forms: &str) -> WrongLine {
    WrongLine(format!("the helper gave {}: {forms}", shown(&String::from_utf8_lossy(line))))
}

#[cfg(test)]
mod tests {
    use http::{StatusCode, Uri};
    use serde_json::json;

    use super::*;

    fn row() -> Row {
        let fields = Fields::from_iter([("id".into(), json!(7))]);
        Row { number: 3, fields, ..Row::default() }
    }

    #[test]
    fn an_answer_is_one_line_without_cookies_and_secrets() {
        let url = Uri::from_static("http://h/7?key=S3CRET");
        let mut answer = Answer::new(StatusCode::OK, url, "a\nb");
        for (name, value) in [("x-a", "1"), ("x-a", "2"), ("set-cookie", "s=1")] {
            answer.headers.append(name, value.parse().unwrap());
        }
        let secrets = Secrets::default();
        secrets.add("S3CRET");
        let line = answer_line(&row(), &answer, Some(&secrets));
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let expected = json!({"row": {"id": 7}, "number": 3, "status": 200,
            "headers": {"x-a": "1, 2"}, "url": "http://h/7?key=***", "body": "a\nb"});
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        answer.body = Bytes::from_static(b"\xff\x00");
        let line: Value = serde_json::from_slice(&answer_line(&row(), &answer, None)).unwrap();
        assert_eq!((&line["body"], &line["body_base64"]), (&Value::Null, &json!("/wA=")));
    }

    #[test]
    fn a_helper_gives_values_records_or_why_not() {
        let values = Fields::from_iter([("n".into(), json!(1))]);
        let of = |text: &str| processed(text.as_bytes(), 3);
        let ok = |processed| Ok(Ok(processed));
        assert_eq!(of(r#"{"values":{"n":1}}"#), ok(Processed::Values(values.clone())));
        assert_eq!(of(r#"{"number":3,"records":[{"n":1}]}"#), ok(Processed::Records(vec![values])));
        assert_eq!(of(r#"{"error":"no"}"#), Ok(Err(RowError::failed("no"))));
        let retry = RowError::retry("wait").after(Duration::from_millis(1500));
        assert_eq!(of(r#"{"retry":"wait","after":1.5}"#), Ok(Err(retry)));
        let WrongLine(other) = of(r#"{"number":4,"values":{}}"#).unwrap_err();
        assert!(other.contains("the line of number 4 where number 3 was next"), "{other}");
        for text in
            ["", "{}", "7", r#"{"n":1}"#, r#"{"values":{},"error":"x"}"#, r#"{"values":[]}"#]
        {
            let WrongLine(error) = of(text).unwrap_err();
            assert!(error.contains(r#"it gives {"values": {…}}"#), "{text}");
        }
    }

    #[test]
    fn a_helper_makes_requests() {
        let of = |text: &str| request(text.as_bytes(), 3);
        let made = of(r#"{"url":"/a","json":{"q":1},"headers":{"x-n":2},"cost":{"tokens":9}}"#);
        let made = made.unwrap().unwrap();
        assert_eq!((made.request.method(), made.request.uri().path()), (&Method::POST, "/a"));
        assert_eq!(made.request.body(), &Bytes::from_static(br#"{"q":1}"#));
        assert_eq!(made.request.headers()["x-n"], "2");
        assert_eq!(made.request.headers()["content-type"], "application/json");
        assert_eq!(of(r#"{"url":"/a"}"#).unwrap().unwrap().request.method(), Method::GET);
        assert_eq!(of(r#"{"error":"no id"}"#).unwrap().unwrap_err().reason(), "no id");
        for text in ["{}", r#"{"url":"/a","body":"x","json":1}"#, r#"{"url":"/","cost":{"t":-1}}"#]
        {
            let WrongLine(error) = of(text).unwrap_err();
            assert!(error.contains(r#"it gives {"url": "…"}"#), "{text}");
        }
    }
}
