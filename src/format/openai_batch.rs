//! The lines of the output of OpenAI's batch endpoint, as others' tools read them:
//! `{"id": …, "custom_id": …, "response": {"status_code": …, "request_id": …, "body": {…}}, "error": null}`.
//!
//! A line's id has the number of its row, so that a run can go on with the file.

use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::column_set::ColumnSet;
use super::columns::RESERVED;
use super::compress::PackedWriter;
use super::entry::{FormatEntry, NewTable, Read, Records, TableWriter, Write};
use super::jsonl;
use super::rows::{FormatRow, OpenedRows, OpenedText, RowReader, TextOptions};
use crate::row::Fields;

/// One JSON object per line, as OpenAI's batch endpoint writes its output.
pub(super) static FORMAT: FormatEntry = FormatEntry {
    name: "openai-batch",
    extensions: &[],
    read: Read::Text(open),
    write: Some(Write { table, records: Records::AtTheEnd }),
};

/// The field of a row by which others know it.
const CUSTOM_ID: &str = "custom_id";
/// The beginning of the id of a line, before the number of its row.
const ID: &str = "batch_req_";
/// The member that has a body which is no object.
const OTHER_BODY: &str = "body";

fn table(path: &Path, _: ColumnSet) -> NewTable {
    Ok(Box::new(BatchOutput(PackedWriter::new(path)?)))
}

struct BatchOutput(PackedWriter);

impl TableWriter for BatchOutput {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        self.0.write(line(fields)?.as_bytes())
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.0.end()
    }
}

/// The line of a record.
fn line(fields: &Fields) -> Result<String, String> {
    let (Some(row), Some(ok)) = (whole(fields, "_row"), fields.get("_ok").and_then(Value::as_bool))
    else {
        return Err("a line of openai-batch is made of a record, with its _row and _ok".into());
    };
    let id = match (whole(fields, "_item"), fields.get("_last").and_then(Value::as_bool)) {
        (None, _) => format!("{ID}{row}"),
        (Some(item), Some(true)) => format!("{ID}{row}_{item}_last"),
        (Some(item), _) => format!("{ID}{row}_{item}"),
    };
    let custom_id = match fields.get(CUSTOM_ID) {
        None | Some(Value::Null) => row.to_string(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let status = whole(fields, "_status");
    let error = match text(fields, "_error") {
        Some(code) => json!({ "code": code, "message": text(fields, "_detail") }),
        None => Value::Null,
    };
    // The body of a failure whose status says nothing of it would be taken for a result.
    let is_misleading = !ok && status.is_none_or(|status| (200..300).contains(&status));
    let response = if is_misleading {
        "null".to_owned()
    } else {
        let (status, body) = (status.unwrap_or(200), body(fields));
        format!("{{\"status_code\":{status},\"request_id\":\"\",\"body\":{body}}}")
    };
    let [id, custom_id] = [id, custom_id].map(Value::from);
    Ok(format!(
        "{{\"id\":{id},\"custom_id\":{custom_id},\"response\":{response},\"error\":{error}}}\n"
    ))
}

/// The answer's JSON; where the record does not have it, its fields and values.
fn body(fields: &Fields) -> String {
    let Some(text) = text(fields, "_body") else {
        let is_own = |name: &str| name == CUSTOM_ID || RESERVED.contains(&name);
        let values = fields.iter().filter(|(name, _)| !is_own(name));
        let values: Map<String, Value> =
            values.map(|(name, value)| (name.clone(), value.clone())).collect();
        return Value::Object(values).to_string();
    };
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        return json!({ OTHER_BODY: text }).to_string();
    }
    // Outside of texts, which have none, newlines are blanks.
    let written = text.trim().replace(['\n', '\r'], " ");
    if written.starts_with('{') { written } else { format!("{{\"{OTHER_BODY}\":{written}}}") }
}

fn whole(fields: &Fields, name: &str) -> Option<u64> {
    fields.get(name).and_then(Value::as_u64)
}

fn text<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// A text with such an object on each line.
fn open(text: OpenedText, name: &str, options: &TextOptions) -> OpenedRows {
    let objects = jsonl::open(text, name, options)?;
    Ok(Box::new(BatchOutputRows { objects, name: name.to_owned(), number: 0 }))
}

struct BatchOutputRows {
    objects: Box<dyn RowReader>,
    name: String,
    number: u64,
}

impl Iterator for BatchOutputRows {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        let found = self.objects.next()?;
        self.number += 1;
        Some(found.and_then(|fields| {
            record(fields).ok_or_else(|| {
                format!(
                    "{}, answer {}: each line must be {{\"id\": …, \"custom_id\": …, \"response\": …, \"error\": …}}",
                    self.name, self.number
                )
            })
        }))
    }
}

impl RowReader for BatchOutputRows {}

/// The record of a line; none if it is no such line.
fn record(mut line: Fields) -> Option<Fields> {
    let custom_id = line.shift_remove(CUSTOM_ID)?;
    let mut response = line.shift_remove("response")?;
    let error = line.shift_remove("error").unwrap_or_default();
    let status = response["status_code"].as_u64();
    let is_missing = error["code"] == "missing";
    let failed = !error.is_null() || !status.is_some_and(|it| (200..300).contains(&it));
    let mut fields = Fields::new();
    fields.insert(CUSTOM_ID.to_owned(), custom_id);
    let id = line.get("id").and_then(Value::as_str).unwrap_or_default();
    let mut parts = id.strip_prefix(ID).unwrap_or_default().split('_');
    // The ids of others have no number.
    if let Some(row) = parts.next().and_then(|row| row.parse::<u64>().ok()) {
        fields.insert("_row".to_owned(), row.into());
        if let Some(item) = parts.next().and_then(|item| item.parse::<u64>().ok()) {
            fields.insert("_item".to_owned(), item.into());
            fields.insert("_last".to_owned(), (parts.next() == Some("last")).into());
        }
    }
    let kind = error["code"].as_str().map(str::to_owned);
    let kind = kind.or_else(|| status.filter(|_| failed).map(|status| format!("status {status}")));
    for (name, value) in [
        ("_ok", (!failed || is_missing).into()),
        ("_status", status.into()),
        ("_error", kind.into()),
        ("_detail", error["message"].as_str().into()),
        ("_body", text_of(response["body"].take())),
    ] {
        fields.insert(name.to_owned(), value);
    }
    Some(fields)
}

/// A body as a record has it: a text.
fn text_of(mut body: Value) -> Value {
    let is_other = body.as_object().is_some_and(|it| it.len() == 1);
    if is_other && body[OTHER_BODY].is_string() {
        return body[OTHER_BODY].take();
    }
    if body.is_null() { Value::Null } else { body.to_string().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fields: Value) -> Value {
        serde_json::from_str(&line(fields.as_object().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn a_record_is_a_line_as_others_read_it() {
        let answer = "{\"choices\": [\n{\"n\": 0.10000000000000000000001}]}\r\n";
        let fields = json!({"custom_id": "a-7", "prompt": "x", "_row": 7, "_ok": true, "_status": 200, "_error": null, "_detail": null, "_body": answer});
        let line = line(fields.as_object().unwrap()).unwrap();
        assert_eq!(
            line,
            "{\"id\":\"batch_req_7\",\"custom_id\":\"a-7\",\"response\":{\"status_code\":200,\"request_id\":\"\",\"body\":{\"choices\": [ {\"n\": 0.10000000000000000000001}]}},\"error\":null}\n"
        );
    }

    #[test]
    fn a_body_is_an_object_whatever_the_record_has() {
        let record = |body: Value| {
            written(json!({"n": 1, "_row": 3, "_ok": true, "_status": 200, "_body": body}))
        };
        for (body, expected) in [
            (json!(null), json!({"n": 1})),
            (json!("[1, 2]"), json!({"body": [1, 2]})),
            (json!("no JSON"), json!({"body": "no JSON"})),
            (json!("{}"), json!({})),
        ] {
            assert_eq!(record(body)["response"]["body"], expected);
        }
        assert_eq!(record(json!(null))["custom_id"], "3");
    }

    #[test]
    fn a_failure_is_an_error_and_no_response_that_could_be_taken_for_a_result() {
        let record = |status: Value, error: &str| {
            written(
                json!({"_row": 3, "_ok": false, "_status": status, "_error": error, "_detail": "why", "_body": "{\"a\": 1}"}),
            )
        };
        let refused = record(json!(400), "status 400");
        assert_eq!(refused["error"], json!({"code": "status 400", "message": "why"}));
        assert_eq!(refused["response"]["status_code"], 400);
        assert_eq!(refused["response"]["body"], json!({"a": 1}));
        for (status, error) in [(json!(null), "timeout"), (json!(200), "schema")] {
            let line = record(status, error);
            assert_eq!((&line["response"], &line["error"]["code"]), (&json!(null), &json!(error)));
        }
        assert!(line(json!({"custom_id": "x"}).as_object().unwrap()).is_err());
    }

    #[test]
    fn a_line_comes_back_as_its_record() {
        for fields in [
            json!({"custom_id": "7", "_row": 7, "_ok": true, "_status": 200, "_error": null, "_detail": null, "_body": "{\"a\":1}"}),
            json!({"custom_id": "x", "_row": 7, "_item": 2, "_last": true, "_ok": true, "_status": 200, "_error": null, "_detail": null, "_body": "text"}),
            json!({"custom_id": "x", "_row": 7, "_ok": false, "_status": null, "_error": "timeout", "_detail": "why", "_body": null}),
            json!({"custom_id": "x", "_row": 7, "_ok": true, "_status": 404, "_error": "missing", "_detail": "why", "_body": "{}"}),
        ] {
            let line = written(fields.clone());
            let read = record(line.as_object().unwrap().clone()).unwrap();
            assert_eq!(Value::from(read), fields);
        }
        let of_others = json!({"id": "batch_req_x1", "custom_id": "q", "response": {"status_code": 500, "request_id": "r", "body": {}}, "error": null});
        let read = Value::from(record(of_others.as_object().unwrap().clone()).unwrap());
        assert_eq!((&read["_ok"], &read["_error"]), (&json!(false), &json!("status 500")));
        assert!(read.get("_row").is_none());
    }
}
