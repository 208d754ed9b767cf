//! The cells of a table's line, which no spreadsheet takes for formulas.
//!
//! A text that begins like a formula stands in a table of results with a `'`
//! before it: the guard. So does a text that begins with one or more `'` and then
//! like a formula, so that a reader can take away exactly what was put there:
//! [`unguarded`] of [`guarded`] is the text itself, whatever it is.

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use serde_json::Value;

/// A value of the input as it stands in a record.
pub(super) fn value(value: &Value, delimiter: u8) -> Vec<u8> {
    let mut cell = Vec::new();
    Cells::new(delimiter).json(Some(value), &mut cell);
    cell.pop();
    cell
}

/// Writes values with a delimiter after each.
pub(super) struct Cells {
    delimiter: u8,
    scratch: String,
}

impl Cells {
    /// With this delimiter.
    pub fn new(delimiter: u8) -> Cells {
        Cells { delimiter, scratch: String::new() }
    }

    /// One value: text with a guard if it needs one, nothing for null, and all else as JSON.
    pub fn json(&mut self, value: Option<&Value>, out: &mut Vec<u8>) {
        match value {
            Some(Value::String(value)) => self.text(value, out),
            value => self.raw(value, out),
        }
    }

    /// One value: text as it is, nothing for null, and all else as JSON.
    pub fn raw(&mut self, value: Option<&Value>, out: &mut Vec<u8>) {
        match value {
            None | Some(Value::Null) => self.cell("", out),
            Some(Value::String(value)) => self.cell(value, out),
            Some(value) => self.plain(Some(value), out),
        }
    }

    /// A value that is no text, and so no formula either.
    pub fn plain(&mut self, value: Option<impl Display>, out: &mut Vec<u8>) {
        self.scratch.clear();
        if let Some(value) = value {
            // Writing to a String cannot fail.
            let _ = write!(self.scratch, "{value}");
        }
        self.cell(&self.scratch, out);
    }

    /// A text, which a spreadsheet must not take for a formula: the server may
    /// have written it.
    pub fn text(&self, value: &str, out: &mut Vec<u8>) {
        self.cell(&guarded(value), out);
    }

    /// Quoted only where it must be, and followed by the delimiter.
    pub fn cell(&self, value: &str, out: &mut Vec<u8>) {
        let quotes = |byte| matches!(byte, b'"' | b'\n' | b'\r') || byte == self.delimiter;
        if value.bytes().any(quotes) {
            out.push(b'"');
            out.extend_from_slice(value.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(value.as_bytes());
        }
        out.push(self.delimiter);
    }

    /// The last delimiter becomes the end of the line.
    pub fn end(out: &mut [u8]) {
        if let Some(last) = out.last_mut() {
            *last = b'\n';
        }
    }
}

/// The text with a guard, if it needs one.
fn guarded(text: &str) -> Cow<'_, str> {
    if needs_guard(text) { format!("'{text}").into() } else { text.into() }
}

/// The text without the guard that throng gave it.
pub(super) fn unguarded(text: &str) -> &str {
    let rest = text.strip_prefix('\'');
    rest.filter(|rest| needs_guard(rest)).unwrap_or(text)
}

/// Whether a table with these columns holds results of throng's, whose names and
/// values have guards.
pub(super) fn has_guards<'a>(names: impl Iterator<Item = &'a str> + Clone) -> bool {
    let has = |own| names.clone().any(|name| name == own);
    has("_row") && has("_ok")
}

fn needs_guard(text: &str) -> bool {
    let is_number = || text.parse().is_ok_and(f64::is_finite);
    let begins = text.trim_start_matches('\'');
    begins.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number()
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
            Cells::new(b',').json(Some(&value), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{expected},"), "{value}");
        }
    }

    #[test]
    fn any_reader_gets_back_what_was_written() {
        let values = ["a\"b", "\"", "\n", "x\r\n", ",,", " a ", "", "é\u{202e}"];
        let mut out = Vec::new();
        values.iter().for_each(|value| Cells::new(b',').text(value, &mut out));
        Cells::end(&mut out);
        let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(&*out);
        let record = reader.records().next().unwrap().unwrap();
        assert!(record.iter().eq(values));
    }

    #[test]
    fn a_guard_is_taken_away_and_nothing_else() {
        let pieces = ["", "'", "''", "=", "@", "-", "\t", "\r", "x", "-1", "é"];
        let number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
        for one in pieces {
            for two in pieces {
                for three in pieces {
                    let text = format!("{one}{two}{three}");
                    let written = guarded(&text);
                    assert_eq!(unguarded(&written), text);
                    assert!(
                        number(&written) || !written.starts_with(['=', '+', '-', '@', '\t', '\r'])
                    );
                }
            }
        }
        // As they were written before a guard was guarded.
        for (written, text) in [("'@bob", "@bob"), ("'-12.5", "'-12.5"), ("-1", "-1"), ("'", "'")] {
            assert_eq!(unguarded(written), text);
        }
    }
}
