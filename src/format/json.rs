//! JSON documents. The elements of an array, wherever it stands in a document, are read one
//! at a time and never as a whole.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::{fmt, io};

use serde::de::DeserializeOwned;
use serde_json::Error;

use crate::extract::{is_long_number, may_have_long_number};

use super::document::{AN_OBJECT, RowProgram, row_of_value, rows_of_shape};
use super::entry::{FormatEntry, Read as ReadRows};
use super::rows::{
    FormatRow, LONGEST_ROW, OpenedRows, OpenedText, RowReader, TextOptions, accepted,
};

/// JSON documents: an array of objects, or rows within other documents.
pub(super) static FORMAT: FormatEntry = FormatEntry {
    name: "json",
    extensions: &["json", "geojson"],
    read: ReadRows::Text(open),
    write: None,
};

/// Documents, with the first one begun.
pub(super) fn open(text: OpenedText, name: &str, options: &TextOptions) -> OpenedRows {
    Ok(Box::new(rows(text, name, options)?))
}

/// The message of an error without its place.
pub(super) fn reason(error: &Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.into())
}

/// The value of a JSON text. `NaN` and numbers that are out of range are null, since no
/// value of JSON is them. A number that would be rounded is a text of its digits.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Error> {
    if let Some(exact) = with_long_numbers(text) {
        // The place of an error is that in the text itself.
        return serde_json::from_slice(&exact)
            .map_err(|error| serde_json::from_slice::<T>(text).err().unwrap_or(error));
    }
    serde_json::from_slice(text).or_else(|error| match without_odd_numbers(text) {
        Some(text) => serde_json::from_slice(&text).map_err(|_| error),
        None => Err(error),
    })
}

/// The text with quotes around numbers that would be rounded; none if it has none.
pub(crate) fn with_long_numbers(text: &[u8]) -> Option<Vec<u8>> {
    may_have_long_number(text).then(|| without_odd_numbers(text)).flatten()
}

/// The text with null for what Python and others write as numbers, and JSON has not, and with
/// quotes around numbers that would be rounded; none if there is nothing of that kind.
fn without_odd_numbers(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut at, mut is_changed) = (Vec::with_capacity(text.len()), 0, false);
    while let Some(byte) = text.get(at) {
        let rest = &text[at..];
        let length = match byte {
            b'"' => string_end(rest),
            b'-' | b'N' | b'I' | b'0'..=b'9' => {
                let is_end = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
                rest.iter().position(is_end).unwrap_or(rest.len())
            }
            _ => 1,
        };
        let token = &rest[..length];
        if is_odd_number(token) {
            is_changed = true;
            out.extend_from_slice(b"null");
        } else if str::from_utf8(token).is_ok_and(is_long_number) && !is_name(&rest[length..]) {
            is_changed = true;
            out.extend_from_slice(&[b"\"", token, b"\""].concat());
        } else {
            out.extend_from_slice(token);
        }
        at += length;
    }
    is_changed.then_some(out)
}

/// Whether a token before this text stands where the name of a field does.
fn is_name(after: &[u8]) -> bool {
    after.trim_ascii_start().starts_with(b":")
}

fn is_odd_number(token: &[u8]) -> bool {
    let is_number = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    match token {
        b"NaN" | b"-NaN" | b"Infinity" | b"-Infinity" => true,
        [b'-' | b'0'..=b'9', ..] => str::from_utf8(token)
            .ok()
            .filter(|text| is_number(text))
            .and_then(|text| text.parse::<f64>().ok())
            .is_some_and(f64::is_infinite),
        _ => false,
    }
}

/// The length of the text in quotes that begins here.
fn string_end(text: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn rows<R: Read>(bytes: R, name: &str, options: &TextOptions) -> Result<Documents<R>, String> {
    let mut documents = Documents {
        text: Located::new(bytes, options.skipped),
        name: name.into(),
        rows: options.rows.clone(),
        found: VecDeque::new(),
        is_inside: false,
        is_first: true,
        is_stream: false,
    };
    if documents.begin()? {
        Ok(documents)
    } else {
        Err(format!("{name} is empty: it must be an array"))
    }
}

struct Documents<R> {
    text: Located<R>,
    name: String,
    /// What the rows of a document are; none if they are the elements of an array.
    rows: Option<RowProgram>,
    /// The rows of a document that was read whole.
    found: VecDeque<FormatRow>,
    /// Whether the next byte is in an array whose elements are rows.
    is_inside: bool,
    is_first: bool,
    /// Whether there are several objects, one after the other.
    is_stream: bool,
}

impl<R: Read> Iterator for Documents<R> {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        loop {
            if let Some(row) = self.found.pop_front() {
                return Some(row);
            }
            if self.is_inside {
                match self.pass_to_element() {
                    Ok(true) => return Some(self.element()),
                    Ok(false) => self.is_inside = false,
                    Err(message) => return Some(Err(message)),
                }
            } else {
                match self.begin() {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(message) => return Some(Err(message)),
                }
            }
        }
    }
}

impl<R: Read + Send> RowReader for Documents<R> {}

impl<R: Read> Documents<R> {
    /// Begins the next document; false if there is none.
    fn begin(&mut self) -> Result<bool, String> {
        let next = self.peek()?;
        let keys = self.rows.as_ref().map(|rows| rows.path().map(<[String]>::to_vec));
        match (next, keys) {
            (None, _) => return Ok(false),
            (Some(b'['), None) => self.enter(),
            (Some(b'['), Some(Some(keys))) if keys.is_empty() => self.enter(),
            (Some(b'{'), Some(Some(keys))) if !keys.is_empty() => {
                for key in keys {
                    self.seek(&key)?;
                }
                if self.peek()? != Some(b'[') {
                    return self.fail("the path of input.rows (--rows) leads to no list here");
                }
                self.enter();
            }
            (Some(_), Some(_)) | (Some(b'{'), None) => self.read_document()?,
            (Some(_), None) => return self.fail(NO_ARRAY),
        }
        Ok(true)
    }

    /// Passes the bracket that opens an array of rows. The first element is looked for by
    /// the next call.
    fn enter(&mut self) {
        self.text.pass();
        self.is_first = true;
        self.is_inside = true;
    }

    /// Reads a whole document, and finds its rows.
    fn read_document(&mut self) -> Result<(), String> {
        let start = self.text.place();
        let wrong = |name: &str, flaw: String| Err(format!("{name}, {start}: {flaw}"));
        let Some(document) = self.text.raw(LONGEST_DOCUMENT).map_err(|it| self.unread(&it))? else {
            return wrong(&self.name, TOO_LARGE.into());
        };
        // Several objects, one after the other, are rows themselves.
        self.is_stream |= self.rows.is_none() && self.peek()? == Some(b'{');
        if self.rows.is_none() && self.peek()?.is_some_and(|next| next != b'{') {
            return wrong(&self.name, AN_OBJECT.into());
        }
        let found = match &self.rows {
            Some(rows) => parse(&document).map(|document| rows.rows(&document)),
            None if self.is_stream => parse(&document).map(|row| Ok(vec![row_of_value(row)])),
            None => parse(&document).map(rows_of_shape),
        };
        let found = found.map_err(|error| self.malformed(start, &error))?;
        match found {
            Ok(found) => self.found.extend(found.into_iter().map(|row| {
                row.map_err(|flaw| {
                    format!("{}, {start}, a row of this document: {flaw}", self.name)
                })
            })),
            Err(flaw) => return wrong(&self.name, flaw),
        }
        Ok(())
    }

    /// Passes all before the value of this key of the object that begins here.
    fn seek(&mut self, key: &str) -> Result<(), String> {
        if self.peek()? != Some(b'{') {
            return self.fail(&format!("the path of input.rows (--rows) finds no {key:?} here"));
        }
        self.text.pass();
        while self.peek()? != Some(b'}') {
            if self.pass_key()? == key {
                return Ok(());
            }
            self.pass_value()?;
            if self.peek()? == Some(b',') {
                self.text.pass();
            }
        }
        self.fail(&format!("this object has no {key:?}, which input.rows (--rows) names"))
    }

    /// Passes a key and its colon.
    fn pass_key(&mut self) -> Result<String, String> {
        let start = self.text.place();
        let raw = self.pass_value()?;
        let key = parse(&raw).map_err(|error| self.malformed(start, &error))?;
        if self.peek()? != Some(b':') {
            return self.fail("a colon is missing after this key: correct the JSON there");
        }
        self.text.pass();
        self.peek()?;
        Ok(key)
    }

    /// Passes a value of any kind.
    fn pass_value(&mut self) -> Result<Vec<u8>, String> {
        self.peek()?;
        let raw = self.text.raw(LONGEST_ROW).map_err(|it| self.unread(&it))?;
        match raw {
            Some(raw) if raw.is_empty() => self.fail("a value is missing here: correct the JSON"),
            Some(raw) => Ok(raw),
            None => self.fail(TOO_LONG),
        }
    }

    /// Passes what is between elements; false when that is the end of the array.
    fn pass_to_element(&mut self) -> Result<bool, String> {
        match self.peek()? {
            Some(b']') => return self.leave(),
            Some(_) if self.is_first => self.is_first = false,
            Some(b',') => self.text.pass(),
            Some(_) => return self.fail("a comma is missing between two elements: add it"),
            None => return self.fail("the array has no closing ]: the file may be cut off"),
        }
        Ok(true)
    }

    /// Passes the end of the array, and of the objects around it.
    fn leave(&mut self) -> Result<bool, String> {
        self.text.pass();
        let around = self.rows.as_ref().and_then(RowProgram::path).map_or(0, <[String]>::len);
        for _ in 0..around {
            while self.peek()? == Some(b',') {
                self.text.pass();
                self.pass_key()?;
                self.pass_value()?;
            }
            if self.peek()? != Some(b'}') {
                return self
                    .fail("an object around the rows has no closing }: the file may be cut off");
            }
            self.text.pass();
        }
        match self.peek()? {
            Some(_) if self.rows.is_none() => {
                self.fail("there is more after the end of the array: remove it")
            }
            _ => Ok(false),
        }
    }

    fn element(&mut self) -> FormatRow {
        let next = self.peek()?;
        if self.rows.is_none() && next != Some(b'{') {
            return self.fail(NO_OBJECT);
        }
        let start = self.text.place();
        let raw = self.pass_value()?;
        let row = if next == Some(b'{') {
            parse(&raw).map(accepted)
        } else {
            parse(&raw).map(row_of_value)
        };
        let row = row.map_err(|error| self.malformed(start, &error))?;
        row.map_err(|flaw| format!("{}, {start}: {flaw}", self.name))
    }

    /// The next byte that is not blank; it is not passed.
    fn peek(&mut self) -> Result<Option<u8>, String> {
        let peeked = self.text.peek();
        peeked.map_err(|error| self.unread(&error))
    }

    fn unread(&self, error: &io::Error) -> String {
        format!("cannot read {}: {error}", self.name)
    }

    fn malformed(&self, start: Position, error: &Error) -> String {
        let (place, reason) = (start.of(error), reason(error));
        format!("{}, {place}: {reason}: correct the JSON there", self.name)
    }

    fn fail<T>(&self, flaw: &str) -> Result<T, String> {
        Err(format!("{}, {}: {flaw}", self.name, self.text.place()))
    }
}

/// Maximum length in bytes of a document whose rows are not the elements of one array.
const LONGEST_DOCUMENT: usize = 1 << 30;

const NO_ARRAY: &str = "this is no array: the file must be one array of objects, [{...}, {...}]";
const NO_OBJECT: &str = "this element is no object: each must be one, {\"name\": value}; \
    --rows '.[]' makes texts and numbers the field line";
const TOO_LONG: &str = "this row is longer than 64 MiB: break it up";
const TOO_LARGE: &str = "this document is longer than 1 GiB: name the array of its rows, such as \
    --rows '.data[]' (input.rows), and they are read one by one";

/// A place in a text: line and column from 1, the column in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Position {
    line: usize,
    column: usize,
}

/// A text that is read from place to place.
struct Located<R> {
    bytes: BufReader<R>,
    place: Position,
}

impl<R: Read> Located<R> {
    /// A text that begins after this number of lines.
    pub fn new(bytes: R, lines: u64) -> Located<R> {
        let line = usize::try_from(lines).unwrap_or(0) + 1;
        Located { bytes: BufReader::new(bytes), place: Position { line, column: 1 } }
    }

    /// Where the next byte is.
    pub fn place(&self) -> Position {
        self.place
    }

    /// Passes blanks up to the next byte that is none, and tells it.
    pub fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.bytes.fill_buf()?.first() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.pass(),
                next => return Ok(next.copied()),
            }
        }
    }

    /// Passes the byte that was peeked at.
    pub fn pass(&mut self) {
        if let Some(&byte) = self.bytes.buffer().first() {
            self.place.pass(byte);
            self.bytes.consume(1);
        }
    }

    /// Passes the value that begins here, and gives its bytes, whether they are JSON or not;
    /// none if there are more than `most`.
    pub fn raw(&mut self, most: usize) -> io::Result<Option<Vec<u8>>> {
        let (mut raw, mut nesting, mut extent) = (Vec::new(), Nesting::default(), None);
        while extent.is_none() && raw.len() <= most {
            let bytes = self.bytes.fill_buf()?;
            if bytes.is_empty() {
                return Ok(Some(raw));
            }
            extent = bytes.iter().position(|byte| nesting.ends_before(*byte));
            let count = extent.unwrap_or(bytes.len());
            raw.extend_from_slice(&bytes[..count]);
            bytes[..count].iter().for_each(|byte| self.place.pass(*byte));
            self.bytes.consume(count);
        }
        Ok((raw.len() <= most).then_some(raw))
    }
}

/// How deep in a value a byte stands.
#[derive(Default)]
struct Nesting {
    depth: usize,
    in_quotes: bool,
    is_escaped: bool,
    /// Whether the value is a list, object or text that was closed.
    is_closed: bool,
}

impl Nesting {
    /// Whether the value ended before this byte, which is the next one.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.is_closed {
            return true;
        }
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_quotes => self.is_escaped = true,
            b'"' => {
                self.in_quotes = !self.in_quotes;
                self.is_closed = !self.in_quotes && self.depth == 0;
            }
            _ if self.in_quotes => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                self.is_closed = self.depth == 0;
            }
            b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => return self.depth == 0,
            _ => {}
        }
        false
    }
}

impl Position {
    fn pass(&mut self, byte: u8) {
        match byte {
            b'\n' => *self = Position { line: self.line + 1, column: 1 },
            _ => self.column += 1,
        }
    }

    /// The place of an error in a value that starts here.
    pub fn of(self, error: &serde_json::Error) -> Position {
        let Position { line, column } = self;
        match (error.line(), error.column()) {
            (0, _) => self,
            (1, within) => Position { line, column: (column + within).saturating_sub(1) },
            (lines, within) => Position { line: line + lines - 1, column: within },
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Result<Vec<Value>, String> {
        read_with(text, "")
    }

    fn read_with(text: &str, program: &str) -> Result<Vec<Value>, String> {
        let program = Some(program).filter(|program| !program.is_empty());
        let rows_program = program.map(RowProgram::new).transpose()?;
        let options = TextOptions { rows: rows_program, ..TextOptions::default() };
        rows(text.as_bytes(), "t.json", &options)?.map(|found| found.map(Value::Object)).collect()
    }

    #[test]
    fn rows_are_found_within_documents() {
        let two = Ok(vec![json!({"id": 1}), json!({"id": 2})]);
        let text = "{\"count\": -2, \"x\": {\"data\": [\"]\\\"\"]}, \"data\": [{\"id\": 1}, {\"id\": 2}], \"y\": null}\n";
        for program in [".data[]", ".data | .[]", ".data[]?", "{id: .data[].id}"] {
            assert_eq!(read_with(text, program), two, "{program}");
        }
        let deep = "{\"a\": {\"b\": [{\"id\": 1}], \"c\": 1}} {\"a\": {\"b\": []}} \
                    {\"a\": {\"b\": [{\"id\": 2}]}}";
        assert_eq!(read_with(deep, ".a.b[]"), two);
        assert_eq!(read_with("[{\"id\": 1}, {\"id\": 2}]", ".[]"), two);
        assert_eq!(read_with("{\"x\": {\"id\": 1}, \"y\": {\"id\": 2}}", ".[]"), two);
        let values = Ok(vec![json!({"line": "a"}), json!({"line": 7})]);
        assert_eq!(read_with("{\"ids\": [\"a\", 7]}", ".ids[]"), values);
        for (text, flaw) in [
            ("{\"a\": 1}", "line 1, column 8: this object has no \"data\""),
            ("{\"data\": 1}", "leads to no list here"),
            ("{\"data\": [{}, 7, null]}", "is neither an object nor a text"),
            ("{\"data\": [{}]", "line 1, column 14: an object around the rows has no closing }"),
        ] {
            let error = read_with(text, ".data[]").unwrap_err();
            assert!(error.contains(flaw), "{error}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_null() {
        let text =
            "[{\"a\": NaN, \"b\": [-Infinity, 1e999, \"NaN\", 1], \"NaN\": \"\\\"Infinity\"}]";
        let row = json!({"a": null, "b": [null, null, "NaN", 1], "NaN": "\"Infinity"});
        assert_eq!(read(text), Ok(vec![row]));
        assert!(read("[{\"a\": nan}]").unwrap_err().contains("line 1, column "));
    }

    #[test]
    fn an_element_is_a_row() {
        let all = vec![json!({"b": 1, "a": "]},"}), json!({"c": {"d": []}})];
        assert_eq!(read(" [\r\n{\"b\": 1, \"a\": \"]},\"} , {\"c\":{\"d\":[]}}]\n"), Ok(all));
        assert_eq!(read("[ ]"), Ok(vec![]));
    }

    #[test]
    fn mistakes_are_told_with_line_and_column() {
        #[rustfmt::skip]
        let cases = [
            ("", " is empty: it must be an array"),
            ("{\"a\": 1}\n", ", line 1, column 1: this is an object and no array: for one"),
            ("\n 7", ", line 2, column 2: this is no array: the file must be one"),
            ("[{},\n7]", ", line 2, column 1: this element is no object: each must be one"),
            ("[{},]", ", line 1, column 5: this element is no object: each must be one"),
            ("[{}\n {}]", ", line 2, column 2: a comma is missing between two elements"),
            ("[{}\n", ", line 2, column 1: the array has no closing ]: the file may be cut off"),
            ("[] []", ", line 1, column 4: there is more after the end of the array"),
            ("[\n  {\"a\" 1}]", ", line 2, column 8: expected `:`: correct the JSON there"),
            ("[{\n\"a\": 1,\n}]", ", line 3, column 1: trailing comma: correct the JSON there"),
            ("[\n{\"\": 1}]", ", line 2, column 1: a field has no name"),
        ];
        for (text, start) in cases {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(&format!("t.json{start}")), "{error}");
        }
    }

    #[test]
    fn peeking_passes_blanks_only() {
        let mut text = Located::new(&b" \r\n\t\n  [x"[..], 0);
        assert_eq!(text.peek().unwrap(), Some(b'['));
        assert_eq!(text.peek().unwrap(), Some(b'['));
        assert_eq!(text.place().to_string(), "line 3, column 3");
        text.pass();
        assert_eq!(text.peek().unwrap(), Some(b'x'));
    }

    #[test]
    fn an_error_is_placed_in_the_whole_text() {
        let start = Position { line: 5, column: 3 };
        let error = |text| serde_json::from_str::<i32>(text).unwrap_err();
        assert_eq!(start.of(&error("x")).to_string(), "line 5, column 3");
        assert_eq!(start.of(&error("\n x")).to_string(), "line 6, column 2");
    }

    #[test]
    fn a_row_without_an_end_is_not_read_on_and_on() {
        let mut text = Located::new(io::repeat(b'a'), 0);
        assert_eq!(text.raw(LONGEST_ROW).unwrap(), None);
    }
}
