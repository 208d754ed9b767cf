//! The cells of a CSV line, which no spreadsheet takes for formulas.

use std::fmt::{Display, Write as _};

use serde_json::Value;

use crate::source::guard::guarded;

/// One value: text with a guard if it needs one, nothing for null, and all else as JSON.
pub(crate) fn json(value: Option<&Value>, scratch: &mut String, out: &mut Vec<u8>) {
    match value {
        Some(Value::String(value)) => text(value, out),
        value => raw(value, scratch, out),
    }
}

/// One value: text as it is, nothing for null, and all else as JSON.
pub(super) fn raw(value: Option<&Value>, scratch: &mut String, out: &mut Vec<u8>) {
    match value {
        None | Some(Value::Null) => cell("", out),
        Some(Value::String(value)) => cell(value, out),
        Some(value) => plain(Some(value), scratch, out),
    }
}

/// A value that is no text, and so no formula either.
pub(crate) fn plain(value: Option<impl Display>, scratch: &mut String, out: &mut Vec<u8>) {
    scratch.clear();
    if let Some(value) = value {
        // Writing to a String cannot fail.
        let _ = write!(scratch, "{value}");
    }
    cell(scratch, out);
}

/// A text, which a spreadsheet must not take for a formula: the server may
/// have written it.
pub(crate) fn text(value: &str, out: &mut Vec<u8>) {
    cell(&guarded(value), out);
}

/// Quoted only where it must be, and followed by a comma.
pub(crate) fn cell(value: &str, out: &mut Vec<u8>) {
    if value.contains(['"', ',', '\n', '\r']) {
        out.push(b'"');
        out.extend_from_slice(value.replace('"', "\"\"").as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b',');
}

/// The last comma becomes the end of the line.
pub(crate) fn end(out: &mut [u8]) {
    if let Some(last) = out.last_mut() {
        *last = b'\n';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_guarded() {
        for (value, expected) in [
            (Value::from("plain text"), "plain text"),
            (Value::from("a,b"), "\"a,b\""),
            (Value::from("say \"x\""), "\"say \"\"x\"\"\""),
            (Value::from("=1+1"), "'=1+1"),
            (Value::from("=a,b"), "\"'=a,b\""),
            (Value::from("+cmd"), "'+cmd"),
            (Value::from("-"), "'-"),
            (Value::from("@SUM(A1)"), "'@SUM(A1)"),
            (Value::from("\t=1"), "'\t=1"),
            (Value::from("\r=1"), "\"'\r=1\""),
            (Value::from("-12.5"), "-12.5"),
            (Value::from("+491234"), "+491234"),
            (Value::from("-inf"), "'-inf"),
            (Value::from("'@bob"), "''@bob"),
            (Value::from("''=1"), "'''=1"),
            (Value::from("'tis"), "'tis"),
            (Value::from(-3), "-3"),
            (Value::from(true), "true"),
            (Value::Null, ""),
            (serde_json::json!([1, "a"]), "\"[1,\"\"a\"\"]\""),
        ] {
            let mut out = Vec::new();
            json(Some(&value), &mut String::new(), &mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("{expected},"),
                "{value}"
            );
        }
    }

    #[test]
    fn any_reader_gets_back_what_was_written() {
        let values = ["a\"b", "\"", "\n", "x\r\n", ",,", " a ", "", "é\u{202e}"];
        let mut out = Vec::new();
        values.iter().for_each(|value| text(value, &mut out));
        end(&mut out);
        let mut reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(&*out);
        let record = reader.records().next().unwrap().unwrap();
        assert!(record.iter().eq(values));
    }
}
