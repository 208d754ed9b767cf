//! The cells of a table's line, which no spreadsheet takes for formulas.

use std::fmt::{Display, Write as _};

use serde_json::Value;

use super::guard::guarded;

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
}
