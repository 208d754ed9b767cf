//! JSON Lines as rows: one object per line, blank lines aside.

use std::io::BufRead;

use crate::format::json::reason;
use crate::format::lines::TextLines;
use crate::format::rows::{FormatRow, OpenedRows, OpenedText, RowReader, accepted, shown};

/// A text with an object on each line.
pub(crate) fn open(text: OpenedText, name: &str) -> OpenedRows {
    Ok(Box::new(ObjectLines(TextLines::new(text, name))))
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
    if !line.trim_start().starts_with('{') {
        return Err(no_object(line));
    }
    let fields = serde_json::from_str(line).map_err(|error| {
        let (reason, column) = (reason(&error), error.column());
        format!("{reason} at column {column}: each line must be one whole JSON object")
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Result<Vec<Value>, String> {
        let rows = ObjectLines(TextLines::new(text.as_bytes(), "t.jsonl"));
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
        let whole = "each line must be one whole JSON object";
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
}
