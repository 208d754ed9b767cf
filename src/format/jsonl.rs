//! JSON Lines: one object a line. Also the format of each journal that is no output.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::BufRead;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::column_set::ColumnSet;
use super::columns::{Columns, KeepBody};
use super::compress::PackedWriter;
use super::entry::{
    Codec, Decode, Encode, FormatEntry, FoundRecord, NewEncoder, NewTable, Read, ReadRecord,
    Records, TableWriter, Write,
};
use super::json::{self, parse, reason};
use super::lines::TextLines;
use super::rows::{FormatRow, OpenedRows, OpenedText, RowReader, TextOptions, accepted, shown};
use crate::error::Error;
use crate::record::{Record, WrittenArrivals};
use crate::row::Fields;

/// One JSON object per line.
pub(super) static FORMAT: FormatEntry = FormatEntry {
    name: "jsonl",
    extensions: &["jsonl", "ndjson", "ldjson", "geojsonl", "geojsons"],
    read: Read::Text(open),
    write: Some(Write { table, records: Records::Appended(CODEC) }),
};

/// The records of a run.
pub(super) const CODEC: Codec = Codec {
    encoder,
    decoder,
    // Each line has its own names.
    columns: |columns, _| Ok(columns.clone()),
    flaw: |_| None,
    value,
    start,
};

fn table(path: &Path, _: ColumnSet) -> NewTable {
    Ok(Box::new(JsonlTable(PackedWriter::new(path)?)))
}

struct JsonlTable(PackedWriter);

impl TableWriter for JsonlTable {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        let mut line = serde_json::to_vec(fields).map_err(|error| error.to_string())?;
        line.push(b'\n');
        self.0.write(&line)
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.0.end()
    }
}

/// A text with an object on each line.
pub(super) fn open(text: OpenedText, name: &str, options: &TextOptions) -> OpenedRows {
    if options.rows.is_some() {
        return json::open(text, name, options);
    }
    Ok(Box::new(ObjectLines(TextLines::new(text, name, options))))
}

struct ObjectLines<R>(TextLines<R>);

impl<R: BufRead> Iterator for ObjectLines<R> {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        let found = self.0.next()?;
        Some(found.and_then(|(number, line)| {
            fields(&line).map_err(|flaw| format!("{}, line {number}: {flaw}", self.0.name))
        }))
    }
}

impl<R: BufRead + Send> RowReader for ObjectLines<R> {}

fn fields(line: &str) -> FormatRow {
    // The mark before each text of RFC 7464.
    let line = line.trim_start_matches('\u{1e}');
    if !line.trim_start().starts_with('{') {
        return Err(no_object(line));
    }
    let fields = parse(line.as_bytes()).map_err(|error| {
        let (reason, column) = (reason(&error), error.column());
        format!(
            "{reason} at column {column}: each line must be one whole JSON object; --format json reads objects that are written otherwise"
        )
    })?;
    accepted(fields)
}

fn no_object(line: &str) -> String {
    let hint = if line.trim_start().starts_with('[') {
        "for one array of objects use --format json"
    } else {
        "each line must be one, {\"name\": value}"
    };
    format!("{} is no JSON object: {hint}", shown(line))
}

/// Writes records; a line needs nothing of the lines before it.
fn encoder(columns: &Columns, _: Option<&[u8]>) -> NewEncoder {
    let unwritable = |error| Error::plan(format!("a name cannot be written as JSON: {error}"));
    let names = columns.values.iter().map(|name| {
        let mut before = Vec::new();
        set_off(&mut before, name).map_err(unwritable)?;
        Ok(before)
    });
    let names = names.collect::<Result<_, Error>>()?;
    Ok(Box::new(JsonlEncoder { names, columns: columns.clone() }))
}

/// A value of the input as it stands in a record.
fn value(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// The beginning of the record of a row with these fields.
fn start(columns: &Columns, fields: &Fields) -> Vec<u8> {
    let own = fields.iter().filter(|(name, _)| columns.is_input(name));
    let own: Fields = own.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut start = Value::Object(own).to_string().into_bytes();
    // More follows before the object's end.
    start.pop();
    start
}

struct JsonlEncoder {
    columns: Columns,
    /// What stands before each value: its name, and what sets it off.
    names: Vec<Vec<u8>>,
}

impl JsonlEncoder {
    fn object(&self, record: &Record, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let start = out.len();
        for (name, value) in &record.row.fields {
            if self.columns.is_input(name) {
                set_off(out, name)?;
                serde_json::to_writer(&mut *out, value)?;
            }
        }
        let mut values = record.values().iter();
        for name in &self.names {
            entry(out, name, values.next().unwrap_or(&Value::Null))?;
        }
        own(&self.columns, record, out)?;
        // The comma before the first entry.
        out[start] = b'{';
        out.push(b'}');
        Ok(())
    }
}

impl Encode for JsonlEncoder {
    fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = out.len();
        if let Err(error) = self.object(record, out) {
            out.truncate(start);
            return Err(Error::stopped(format!(
                "row {} cannot be written as JSON: {error}",
                record.row.number
            )));
        }
        out.push(b'\n');
        Ok(())
    }
}

/// Sets the entry of this name off from the one before it.
fn set_off(out: &mut Vec<u8>, name: &str) -> serde_json::Result<()> {
    out.push(b',');
    serde_json::to_writer(&mut *out, name)?;
    out.push(b':');
    Ok(())
}

fn entry<T: Serialize>(out: &mut Vec<u8>, before: &[u8], value: T) -> serde_json::Result<()> {
    out.extend_from_slice(before);
    serde_json::to_writer(out, &value)
}

fn own(columns: &Columns, record: &Record, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let failure = record.outcome.as_ref().err();
    entry(out, br#","_row":"#, record.row.number)?;
    if columns.items {
        let item = record.row.item;
        entry(out, br#","_item":"#, item.and_then(|item| item.number))?;
        entry(out, br#","_last":"#, item.is_none_or(|item| item.last))?;
    }
    entry(out, br#","_ok":"#, record.is_ok())?;
    entry(out, br#","_status":"#, record.status)?;
    entry(out, br#","_error":"#, failure.map(|failure| failure.kind.text()))?;
    entry(out, br#","_detail":"#, record.detail())?;
    entry(out, br#","_attempts":"#, record.attempts)?;
    entry(out, br#","_ms":"#, record.milliseconds())?;
    if columns.arrived {
        entry(out, br#","_arrived":"#, WrittenArrivals(&record.arrived))?;
    }
    if columns.stored {
        entry(out, br#","_stored":"#, record.is_stored())?;
    }
    if columns.same_as {
        entry(out, br#","_same_as":"#, record.same_as())?;
    }
    if columns.target {
        entry(out, br#","_target":"#, record.target.as_deref())?;
    }
    if columns.files {
        let file = record.saved.as_deref();
        entry(out, br#","_file":"#, file.map(|file| &file.path))?;
        entry(out, br#","_size":"#, file.map(|file| file.size))?;
        entry(out, br#","_sha256":"#, file.map(|file| &file.sha256))?;
        entry(out, br#","_content_type":"#, file.map(|file| &file.content_type))?;
    }
    match (columns.body, &record.body) {
        (KeepBody::All, body) => entry(out, br#","_body":"#, body),
        (KeepBody::Failed, Some(body)) => entry(out, br#","_body":"#, body),
        _ => Ok(()),
    }
}

/// Reads records; with the field that identifies rows.
fn decoder(key: Option<&str>) -> Box<dyn Decode> {
    Box::new(JsonlRecords { key: key.map(str::to_owned) })
}

struct JsonlRecords {
    key: Option<String>,
}

/// The fields of a line that resuming needs; the rest is only checked to be JSON.
#[derive(Deserialize)]
struct ResumeLine<'a> {
    _row: u64,
    #[serde(default)]
    _item: Option<u64>,
    #[serde(default = "yes")]
    _last: bool,
    _ok: bool,
    #[serde(borrow, default)]
    _error: Option<Cow<'a, str>>,
}

fn yes() -> bool {
    true
}

impl Decode for JsonlRecords {
    fn ends(&mut self, _: &[u8]) -> bool {
        true
    }

    fn read(&mut self, record: &[u8]) -> Option<FoundRecord> {
        let line: ResumeLine = serde_json::from_slice(record).ok()?;
        let key = match &self.key {
            None => None,
            Some(name) => Some(field(record, name)?),
        };
        Some(FoundRecord::Row(ReadRecord {
            row: line._row,
            item: line._item,
            last: line._last,
            failed: ReadRecord::failure(line._ok, line._error.as_deref()),
            key,
        }))
    }

    fn row_at(&self, record: &[u8]) -> Option<Range<usize>> {
        row_at(record)
    }
}

/// Where the value of `_row` stands in an object of JSON; not in one within it.
fn row_at(record: &[u8]) -> Option<Range<usize>> {
    let blank = |byte: &u8| byte.is_ascii_whitespace();
    let (mut at, mut depth) = (0, 0);
    while at < record.len() {
        match record[at] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let text = at + 1..end_of_text(record, at + 1)?;
                at = text.end;
                let is_row = depth == 1 && &record[text] == b"_row";
                let after = at + 1 + record[at + 1..].iter().take_while(|it| blank(it)).count();
                if is_row && record.get(after) == Some(&b':') {
                    let number = &record[after + 1..];
                    let start = after + 1 + number.iter().take_while(|it| blank(it)).count();
                    let digits = record[start..].iter().take_while(|it| it.is_ascii_digit());
                    return Some(start..start + digits.count());
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where the quotes are that end the text which starts there.
fn end_of_text(record: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        match record.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn field(record: &[u8], name: &str) -> Option<Vec<u8>> {
    let mut fields: BTreeMap<Cow<str>, Value> = serde_json::from_slice(record).ok()?;
    Some(value(&fields.remove(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    use crate::record::FailureKind;
    use crate::sink::samples::{columns, failed, ok};

    fn read(text: &str) -> Result<Vec<Value>, String> {
        let rows = ObjectLines(TextLines::new(text.as_bytes(), "t.jsonl", &TextOptions::default()));
        rows.map(|found| found.map(Value::Object)).collect()
    }

    #[test]
    fn a_line_is_an_object() {
        let text = "{\"b\": 1, \"a\": \"\\u0000\"}\r\n\n {\"c\": [null]}";
        let rows = vec![json!({"b": 1, "a": "\0"}), json!({"c": [null]})];
        assert_eq!(read(text), Ok(rows));
        assert_eq!(read("\n"), Ok(vec![]));
    }

    #[test]
    fn what_is_no_object_is_told_with_its_line() {
        let whole = "each line must be one whole JSON object; --format json reads objects that are written otherwise";
        let cases = [
            (
                "{}\n\n7",
                "line 3: \"7\" is no JSON object: each line must be one, {\"name\": value}".into(),
            ),
            (
                "[{}]",
                "line 1: \"[{}]\" is no JSON object: for one array of objects use --format json"
                    .into(),
            ),
            ("{\n}\n", format!("line 1: EOF while parsing an object at column 1: {whole}")),
            ("{\"a\": nul}", format!("line 1: expected ident at column 10: {whole}")),
            ("{} {}", format!("line 1: trailing characters at column 4: {whole}")),
            ("{\"\": 1}", "line 1: a field has no name: give it one".into()),
        ];
        for (text, message) in cases {
            assert_eq!(read(text).unwrap_err(), format!("t.jsonl, {message}"));
        }
    }

    fn line(columns: &Columns, record: &Record) -> String {
        let mut out = Vec::new();
        let mut jsonl = encoder(columns, None).unwrap();
        jsonl.record(record, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_result_is_one_line_in_the_order_of_the_design() {
        assert_eq!(
            line(&columns(&["price", "name"], false), &ok(7)),
            "{\"symbol\":\"RIV\",\"price\":12.5,\"name\":\"A \\\"B\\\"\\nC\",\"_row\":7,\"_ok\":true,\
             \"_status\":200,\"_error\":null,\"_detail\":null,\"_attempts\":2,\"_ms\":118.204}\n"
        );
    }

    #[test]
    fn a_failure_has_null_values_and_a_reason() {
        assert_eq!(
            line(&columns(&["price"], true), &failed(3)),
            "{\"symbol\":\"RIV\",\"price\":null,\"_row\":3,\"_ok\":false,\"_status\":null,\
             \"_error\":\"timeout\",\"_detail\":\"=no answer, in 30 s\",\"_attempts\":1,\"_ms\":null,\
             \"_body\":null}\n"
        );
    }

    #[test]
    fn a_limited_job_says_when_its_requests_arrived() {
        let mut columns = columns(&[], true);
        columns.arrived = true;
        let line = line(&columns, &ok(0));
        let end = "\"_ms\":118.204,\"_arrived\":[[0.5,0.618204],[2.0,2.25]],\"_body\":null}\n";
        assert!(line.ends_with(end), "{line}");
    }

    #[test]
    fn no_key_stands_twice() {
        let mut record = ok(0);
        record.row.fields.insert("_row".into(), 99.into());
        record.row.fields.insert("price".into(), 1.into());
        let line = line(&columns(&["price", "name"], false), &record);
        assert_eq!(line.matches("\"_row\"").count(), 1, "{line}");
        assert!(line.contains("\"price\":12.5"), "{line}");
    }

    #[test]
    fn the_place_of_the_number_is_found() {
        for line in [
            r#"{"a":"_row","b":{"_row":7},"c":[{"_row":8}],"d":"\\\",\"_row\":9","_row":12,"e":1}"#,
            r#"{ "_row" : 12 }"#,
        ] {
            let at = row_at(line.as_bytes()).unwrap();
            assert_eq!(&line[at], "12", "{line}");
        }
        for line in [r#"{"a":{"_row":1}}"#, r#"{"_row"#, r#"{"a\"#, ""] {
            assert_eq!(row_at(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_line_tells_its_row_and_how_it_ended() {
        let read = |line: &str| decoder(Some("id")).read(line.as_bytes());
        let line = r#"{"id":7,"_row":3,"_ok":false,"_error":"outcome unknown"}"#;
        let seen = ReadRecord {
            row: 3,
            item: None,
            last: true,
            failed: Some(FailureKind::OutcomeUnknown),
            key: Some(b"7".to_vec()),
        };
        assert_eq!(read(line), Some(FoundRecord::Row(seen)));
        for line in [r#"{"_row":3}"#, r#"{"id":7}"#, r#"{"id":7,"_row":3}x"#, "", "\0"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
