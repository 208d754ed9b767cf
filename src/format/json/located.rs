//! Bytes that know their line and column, read with a bound on each row.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use crate::format::rows::LONGEST_ROW;

/// A place in a text: line and column from 1, the column in bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Position {
    line: usize,
    column: usize,
}

/// A text that is read from place to place.
pub(super) struct Located<R> {
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
