//! Events that a server sends (`text/event-stream`), as a list of their data. Pure.

use serde_json::Value;

use super::json::{MAX_CHARS, documents};
use crate::record::{Failure, FailureKind, excerpt};

/// The data by which some servers say that no event follows.
const CLOSING: &str = "[DONE]";

/// The names of fields.
const FIELDS: [&str; 4] = ["data", "event", "id", "retry"];

/// The data of each event, as a value where it is JSON and as a text otherwise.
///
/// # Errors
/// A failure `not sse`: there is a text, and no line of it is one of an event.
pub fn events(text: &str) -> Result<Vec<Value>, Failure> {
    let mut events = Vec::new();
    let mut data: Option<String> = None;
    let mut is_known = text.trim().is_empty();
    for line in lines(text) {
        if line.is_empty() {
            events.extend(data.take().and_then(value));
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
    events.extend(data.and_then(value));
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

/// The value of an event's data; none if it only ends the events.
fn value(data: String) -> Option<Value> {
    let text = data.trim();
    if text == CLOSING || text.is_empty() {
        return None;
    }
    let found = documents(text).ok().and_then(|found| match <[Value; 1]>::try_from(found) {
        Ok([value]) => Some(value),
        Err(_) => None,
    });
    Some(found.unwrap_or(Value::String(data)))
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
            (": nothing yet\n\n", json!([])),
            ("", json!([])),
            ("data: NaN\n\ndata: {\"a\": NaN}\n\n", json!([null, {"a": null}])),
        ] {
            assert_eq!(Value::Array(events(text).unwrap()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_without_events_is_none() {
        assert_eq!(events("<html>\n</html>").unwrap_err().kind, FailureKind::NotSse);
    }
}
