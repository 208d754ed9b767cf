//! One JSON array of objects, read one object at a time and never as a whole.

use std::io::{BufRead, BufReader, Read};
use std::{fmt, io};

use serde::Deserialize;
use serde_json::{Deserializer, Error};

use super::entry::{FormatEntry, Read as ReadRows};
use super::rows::{FormatRow, LONGEST_ROW, OpenedRows, OpenedText, RowReader, accepted};
use crate::row::Fields;

/// One JSON array of objects.
pub(super) static FORMAT: FormatEntry =
    FormatEntry { name: "json", extensions: &["json"], read: ReadRows::Text(open), write: None };

/// An array, with its opening bracket read.
fn open(text: OpenedText, name: &str) -> OpenedRows {
    Ok(Box::new(rows(text, name)?))
}

/// The message of an error without its place.
pub(super) fn reason(error: &Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(reason, _)| reason.into())
}

fn rows<R: Read>(bytes: R, name: &str) -> Result<Array<R>, String> {
    let mut array = Array { text: Located::new(bytes), name: name.into(), is_first: true };
    array.enter()?;
    Ok(array)
}

struct Array<R> {
    text: Located<R>,
    name: String,
    is_first: bool,
}

impl<R: Read> Iterator for Array<R> {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        match self.pass_to_element() {
            Ok(true) => Some(self.element()),
            Ok(false) => None,
            Err(message) => Some(Err(message)),
        }
    }
}

impl<R: Read + Send> RowReader for Array<R> {}

impl<R: Read> Array<R> {
    fn enter(&mut self) -> Result<(), String> {
        match self.peek()? {
            Some(b'[') => self.text.pass(),
            Some(b'{') => return self.fail(AN_OBJECT),
            Some(_) => return self.fail(NO_ARRAY),
            None => return Err(format!("{} is empty: it must be an array", self.name)),
        }
        Ok(())
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

    fn leave(&mut self) -> Result<bool, String> {
        self.text.pass();
        match self.peek()? {
            Some(_) => self.fail("there is more after the end of the array: remove it"),
            None => Ok(false),
        }
    }

    fn element(&mut self) -> FormatRow {
        if self.peek()? != Some(b'{') {
            return self.fail(NO_OBJECT);
        }
        let start = self.text.start_row();
        let fields = Fields::deserialize(&mut Deserializer::from_reader(&mut self.text));
        let fields = fields.map_err(|error| {
            let (place, reason) = (start.of(&error), reason(&error));
            format!("{}, {place}: {reason}: correct the JSON there", self.name)
        })?;
        accepted(fields).map_err(|flaw| format!("{}, {start}: {flaw}", self.name))
    }

    /// The next byte that is not blank; it is not passed.
    fn peek(&mut self) -> Result<Option<u8>, String> {
        let peeked = self.text.peek();
        peeked.map_err(|error| format!("cannot read {}: {error}", self.name))
    }

    fn fail<T>(&self, flaw: &str) -> Result<T, String> {
        Err(format!("{}, {}: {flaw}", self.name, self.text.place()))
    }
}

const AN_OBJECT: &str =
    "this is an object and no array: for one object per line use --format jsonl";
const NO_ARRAY: &str = "this is no array: the file must be one array of objects, [{...}, {...}]";
const NO_OBJECT: &str = "this element is no object: each must be one, {\"name\": value}";

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
    /// How many bytes the row that is being read may still have.
    left: usize,
}

impl<R: Read> Located<R> {
    pub fn new(bytes: R) -> Located<R> {
        let place = Position { line: 1, column: 1 };
        Located { bytes: BufReader::new(bytes), place, left: LONGEST_ROW }
    }

    /// Where the next byte is.
    pub fn place(&self) -> Position {
        self.place
    }

    /// A new row begins here, and may be as long as any.
    pub fn start_row(&mut self) -> Position {
        self.left = LONGEST_ROW;
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
}

impl<R: Read> Read for Located<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(out)?;
        self.left = self.left.checked_sub(count).ok_or_else(too_long)?;
        out[..count].iter().for_each(|&byte| self.place.pass(byte));
        Ok(count)
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

fn too_long() -> io::Error {
    io::Error::other("this row is longer than 64 MiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Result<Vec<Value>, String> {
        rows(text.as_bytes(), "t.json")?.map(|found| found.map(Value::Object)).collect()
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
        let mut text = Located::new(&b" \r\n\t\n  [x"[..]);
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
        let mut text = Located::new(io::repeat(b'a'));
        let read = io::copy(&mut text, &mut io::sink());
        assert_eq!(read.unwrap_err().to_string(), "this row is longer than 64 MiB");
        assert_eq!(text.place().to_string(), format!("line 1, column {}", LONGEST_ROW + 1));
    }
}
