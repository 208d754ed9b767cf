//! The lines that helpers are fed and that they give back. Pure.

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
    url: String,
    /// The body, where it is a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body, where it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// The line of a row.
pub fn row_line(row: &Row) -> Vec<u8> {
    line(&RowLine { row: &row.fields, number: row.number })
}

/// The line of an answer, with its secrets hidden. Cookies are left out.
pub fn answer_line(row: &Row, answer: &Answer, hide: &dyn Fn(String) -> String) -> Vec<u8> {
    let text = std::str::from_utf8(&answer.body).ok();
    line(&AnswerLine {
        row: &row.fields,
        number: row.number,
        status: answer.status.as_u16(),
        headers: Headers { all: &answer.headers, hide },
        url: hide(answer.url.to_string()),
        body: text.map(|text| hide(text.to_owned())),
        body_base64: text.is_none().then(|| BASE64_STANDARD.encode(&answer.body)),
    })
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
    hide: &'a dyn Fn(String) -> String,
}

impl Serialize for Headers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let shown = self.all.keys().filter(|name| **name != http::header::SET_COOKIE);
        serializer.collect_map(shown.map(|name| {
            let mut text = String::new();
            for value in self.all.get_all(name) {
                if !text.is_empty() {
                    text.push_str(", ");
                }
                text.push_str(&String::from_utf8_lossy(value.as_bytes()));
            }
            (name.as_str(), (self.hide)(text))
        }))
    }
}

/// What a helper gives for an answer: exactly one of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessedLine {
    values: Option<Fields>,
    records: Option<Vec<Fields>>,
    error: Option<String>,
    retry: Option<String>,
    /// Seconds before the next attempt.
    after: Option<f64>,
}

/// The values, the records, or the error of a line that a helper of `process` gave.
pub fn processed(line: &[u8]) -> Result<Processed, RowError> {
    const FORMS: &str =
        r#"it gives {"values": {…}}, {"records": [{…}]}, {"error": "…"} or {"retry": "…"}"#;
    let read = read::<ProcessedLine>(line, FORMS)?;
    let pause = read.after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match read {
        ProcessedLine { values: Some(values), records: None, error: None, retry: None, .. } => {
            Ok(Processed::Values(values))
        }
        ProcessedLine {
            values: None, records: Some(records), error: None, retry: None, ..
        } => Ok(Processed::Records(records)),
        ProcessedLine { values: None, records: None, error: Some(why), retry: None, .. } => {
            Err(RowError::failed(why))
        }
        ProcessedLine { values: None, records: None, error: None, retry: Some(why), .. } => {
            let error = RowError::retry(why);
            Err(match pause {
                Some(pause) => error.after(pause),
                None => error,
            })
        }
        _ => Err(wrong(line, FORMS)),
    }
}

/// What a helper gives for a row: a request, or why there is none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestLine {
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

/// The request of a line that a helper of `render` gave.
pub fn request(line: &[u8]) -> Result<RowRequest, RowError> {
    const FORMS: &str = r#"it gives {"url": "…"}, with method, headers, body or json, and cost if need be, or {"error": "…"}"#;
    let read = read::<RequestLine>(line, FORMS)?;
    if let Some(why) = read.error {
        return Err(RowError::failed(why));
    }
    let (Some(url), None) = (read.url, read.body.as_ref().and(read.json.as_ref())) else {
        return Err(wrong(line, FORMS));
    };
    let has_body = read.body.is_some() || read.json.is_some();
    let default = if has_body { Method::POST } else { Method::GET };
    let method = read.method.map_or(Ok(default), |method| method.parse())?;
    let mut request = http::Request::builder().method(method).uri(url);
    if read.json.is_some() && !read.headers.keys().any(|it| it.eq_ignore_ascii_case("content-type"))
    {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in read.headers {
        request = request.header(name, text(&value));
    }
    let body = match (read.body, read.json) {
        (Some(body), _) => Bytes::from(body),
        (None, Some(json)) => Bytes::from(json.to_string()),
        (None, None) => Bytes::new(),
    };
    let mut made = RowRequest::from(request.body(body)?);
    for (unit, units) in read.cost {
        let units = units.as_u64().ok_or_else(|| wrong(line, FORMS))?;
        made = made.with_cost(&unit, units);
    }
    Ok(made)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn read<'a, T: Deserialize<'a>>(line: &'a [u8], forms: &str) -> Result<T, RowError> {
    serde_json::from_slice(line).map_err(|_| wrong(line, forms))
}

/// That a helper gave this line, and what it should be.
fn wrong(line: &[u8], forms: &str) -> RowError {
    RowError::failed(format!("the helper gave {}: {forms}", shown(&String::from_utf8_lossy(line))))
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
        let hide = |text: String| text.replace("S3CRET", "***");
        let line = answer_line(&row(), &answer, &hide);
        let text = String::from_utf8(line).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let expected = json!({"row": {"id": 7}, "number": 3, "status": 200,
            "headers": {"x-a": "1, 2"}, "url": "http://h/7?key=***", "body": "a\nb"});
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
        answer.body = Bytes::from_static(b"\xff\x00");
        let line: Value = serde_json::from_slice(&answer_line(&row(), &answer, &hide)).unwrap();
        assert_eq!((&line["body"], &line["body_base64"]), (&Value::Null, &json!("/wA=")));
    }

    #[test]
    fn a_helper_gives_values_records_or_why_not() {
        let values = Fields::from_iter([("n".into(), json!(1))]);
        let of = |text: &str| processed(text.as_bytes());
        assert_eq!(of(r#"{"values":{"n":1}}"#), Ok(Processed::Values(values.clone())));
        assert_eq!(of(r#"{"records":[{"n":1}]}"#), Ok(Processed::Records(vec![values])));
        assert_eq!(of(r#"{"error":"no"}"#), Err(RowError::failed("no")));
        let retry = RowError::retry("wait").after(Duration::from_millis(1500));
        assert_eq!(of(r#"{"retry":"wait","after":1.5}"#), Err(retry));
        for text in
            ["", "{}", "7", r#"{"n":1}"#, r#"{"values":{},"error":"x"}"#, r#"{"values":[]}"#]
        {
            let error = of(text).unwrap_err();
            assert!(error.reason().contains(r#"it gives {"values": {…}}"#), "{text}");
            assert!(!error.is_retry());
        }
    }

    #[test]
    fn a_helper_makes_requests() {
        let made =
            request(br#"{"url":"/a","json":{"q":1},"headers":{"x-n":2},"cost":{"tokens":9}}"#);
        let made = made.unwrap();
        assert_eq!((made.request.method(), made.request.uri().path()), (&Method::POST, "/a"));
        assert_eq!(made.request.body(), &Bytes::from_static(br#"{"q":1}"#));
        assert_eq!(made.request.headers()["x-n"], "2");
        assert_eq!(made.request.headers()["content-type"], "application/json");
        assert_eq!(request(br#"{"url":"/a"}"#).unwrap().request.method(), Method::GET);
        assert_eq!(request(br#"{"error":"no id"}"#).unwrap_err().reason(), "no id");
        for text in ["{}", r#"{"url":"/a","body":"x","json":1}"#, r#"{"url":"/","cost":{"t":-1}}"#]
        {
            let error = request(text.as_bytes()).unwrap_err();
            assert!(error.reason().contains(r#"it gives {"url": "…"}"#), "{text}");
        }
    }
}
