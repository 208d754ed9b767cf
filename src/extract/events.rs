//! Events that a server sends (`text/event-stream`), as a list of their data. Pure.

use serde_json::Value;

use super::json::{MAX_CHARS, documents};
use super::kind::AnswerKind;
use crate::record::{Failure, FailureKind, excerpt};

/// The data by which some servers say that no event follows.
const CLOSING: &str = "[DONE]";

/// The names of fields.
const FIELDS: [&str; 4] = ["data", "event", "id", "retry"];

/// The data of each event, as a value where it is JSON and as a text otherwise.
///
/// # Errors
/// A failure `not sse`: there is a text, and no line of it is one of an event, or the last event
/// is cut off within a JSON document.
pub fn events(text: &str) -> Result<Vec<Value>, Failure> {
    let mut events = Vec::new();
    let mut data: Option<String> = None;
    let mut is_known = text.trim().is_empty();
    for line in lines(text) {
        if line.is_empty() {
            events.extend(data.take().map(values).unwrap_or_default());
            continue;
        }
        let (name, rest) = line.split_once(':').unwrap_or((line, ""));
        is_known |= name.is_empty() || FIELDS.contains(&name);
        if name == "data" {
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            match &mut data {
                Some(data) => *data += &format!("\n{rest}"),
                None => data = Some(rest.to_owned()),
            }
        }
    }
    // Some servers leave out the empty line after the last event.
    if let Some(data) = data {
        match &*values(data) {
            [Value::String(text)] if text.starts_with('{') => return Err(cut_off(text)),
            last => events.extend_from_slice(last),
        }
    }
    if is_known {
        Ok(events)
    } else {
        let start = excerpt(text, MAX_CHARS);
        let why = format!(
            "no line of the answer is one of an event, such as data: ...; it begins {start:?}"
        );
        Err(Failure::new(FailureKind::NotSse, why))
    }
}

/// The error by which a server ends a stream that it had begun with a success: the data of an event
/// that is called `error`, or a last document that is an error and nothing else.
pub fn stream_error(body: &[u8], content_type: Option<&str>) -> Option<String> {
    let content_type = content_type.filter(|kind| !kind.starts_with("application/json"))?;
    let kind = AnswerKind::of_type(content_type)?;
    if !matches!(kind, AnswerKind::Sse | AnswerKind::Ndjson) {
        return None;
    }
    let text = String::from_utf8_lossy(body);
    let last = match kind {
        AnswerKind::Sse => match error_event(&text) {
            Ok(last) => last,
            Err(error) => return Some(error),
        },
        _ => text.trim_end().lines().next_back().unwrap_or_default().to_owned(),
    };
    Some(last).filter(|last| is_error(last))
}

/// The data of the last event that has any; the error is that of an event that is called `error`.
fn error_event(text: &str) -> Result<String, String> {
    let (mut is_error, mut data, mut last) = (false, Vec::new(), String::new());
    for line in lines(text).chain([""]) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" if line.is_empty() => {
                let whole = std::mem::take(&mut data).join("\n");
                if is_error {
                    return Err(whole);
                }
                if !whole.is_empty() && whole != CLOSING {
                    last = whole;
                }
            }
            "event" => is_error = value == "error",
            "data" => data.push(value),
            _ => {}
        }
    }
    Ok(last)
}

/// Whether a document is an error and nothing else: `{"error": {...}}`.
fn is_error(document: &str) -> bool {
    match serde_json::from_str(document) {
        Ok(Value::Object(fields)) => {
            let is_about = |name: &String| ["error", "type"].contains(&name.as_str());
            let is_there = fields.get("error").is_some_and(|it| it.is_object() || it.is_string());
            is_there && fields.keys().all(is_about)
        }
        _ => false,
    }
}

/// Whether a text begins as events do.
pub fn begin(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    let name = first.split_once(':').map(|(name, _)| name);
    name.is_some_and(|name| FIELDS.contains(&name)) || first.starts_with(": ")
}

/// The lines of a text, which end in a line feed, a carriage return, or both.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    lines.flat_map(|line| line.split('\r'))
}

/// The failure of events of which the last one ends within a document.
fn cut_off(text: &str) -> Failure {
    let start = excerpt(text, MAX_CHARS);
    let why = format!("the answer ends in the middle of an event, whose data begins {start:?}");
    Failure::new(FailureKind::NotSse, why)
}

/// The values of an event's data; none if it only ends the events. Where a server leaves out the
/// empty lines between its events, each line of the data may be a document.
fn values(data: String) -> Vec<Value> {
    let text = data.trim();
    let text = text.strip_suffix(CLOSING).map_or(text, str::trim_end);
    if text.is_empty() {
        return Vec::new();
    }
    match documents(text) {
        Ok(found) if found.len() == 1 || found.iter().all(Value::is_object) => found,
        _ => vec![Value::String(data)],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_event_gives_its_data() {
        for (text, expected) in [
            (
                "data: {\"a\": 1}\n\ndata: {\"a\": 2}\n\ndata: [DONE]\n\n",
                json!([{"a": 1}, {"a": 2}]),
            ),
            (": hello\r\n\r\nevent: x\r\ndata:{\"a\":\r\ndata: 1}\r\n\r\n", json!([{"a": 1}])),
            ("id: 1\rdata: one\rdata: two\r\rretry: 9\r\r", json!(["one\ntwo"])),
            ("data: 1\n\ndata: last", json!([1, "last"])),
            ("data: {\"a\": 1}\ndata: {\"a\": 2}\ndata: [DONE]\n", json!([{"a": 1}, {"a": 2}])),
            ("data: {\"a\": 1}\ndata: [DONE]", json!([{"a": 1}])),
            ("data: 1\ndata: 2\n\n", json!(["1\n2"])),
            ("data: {note}\n\n", json!(["{note}"])),
            (": nothing yet\n\n", json!([])),
            ("", json!([])),
            ("data: NaN\n\ndata: {\"a\": NaN}\n\n", json!([null, {"a": null}])),
        ] {
            assert_eq!(Value::Array(events(text).unwrap()), expected, "{text:?}");
        }
    }

    #[test]
    fn an_error_is_found_in_a_stream_and_at_its_end() {
        let (sse, ndjson) = ("text/event-stream; charset=utf-8", "application/x-ndjson");
        for (kind, body, error) in [
            (sse, "event: a\ndata: 1\n\nevent: error\ndata: {\"x\": 1}\n\n", Some("{\"x\": 1}")),
            (sse, "data: 1\r\n\r\nevent:error\r\ndata: a\r\ndata: b", Some("a\nb")),
            (sse, "event: error\n\n", Some("")),
            (sse, "data: 1\n\ndata: {\"error\": {}}\n\ndata: [DONE]\n\n", Some("{\"error\": {}}")),
            (sse, "data: {\"error\": {}}\n\ndata: 1\n\n", None),
            (sse, "event: a\ndata: event: error\n\n", None),
            (sse, "event: errors\ndata: 1\n\n", None),
            (ndjson, "{\"a\": 1}\n{\"error\": \"crashed\"}\n", Some("{\"error\": \"crashed\"}")),
            (ndjson, "{\"a\": 1}\n{\"error\": null}\n", None),
            (ndjson, "{\"a\": 1}\n{\"id\": 2, \"error\": \"none\"}\n", None),
            ("application/json", "{\"error\": \"x\"}", None),
            ("text/plain", "event: error\n\n", None),
        ] {
            assert_eq!(stream_error(body.as_bytes(), Some(kind)).as_deref(), error, "{body:?}");
        }
    }

    #[test]
    fn a_text_without_events_or_with_a_cut_one_is_none() {
        let cut = events("data: {\"a\": 1}\n\ndata: {\"a\":").unwrap_err();
        assert_eq!(cut.kind, FailureKind::NotSse);
        assert!(cut.detail.contains("in the middle of an event"), "{}", cut.detail);
        assert_eq!(events("<html>\n</html>").unwrap_err().kind, FailureKind::NotSse);
    }
}
