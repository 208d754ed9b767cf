//! Plain lines: each that is not blank is a row with the one field `line`.

use std::io::{BufRead, Read};

use super::entry::{FormatEntry, Read as ReadRows};
use super::rows::{
    FormatRow, LONGEST_ROW, NOT_UTF_8, OpenedRows, OpenedText, RowReader, TEXT_FIELD, TextOptions,
};
use crate::row::Fields;

/// Plain lines, each of them the field `line`.
pub(super) static FORMAT: FormatEntry =
    FormatEntry { name: "lines", extensions: &["txt"], read: ReadRows::Text(open), write: None };

/// A text whose lines are the values.
fn open(text: OpenedText, name: &str, options: &TextOptions) -> OpenedRows {
    Ok(Box::new(PlainLines(TextLines::new(text, name, options))))
}

/// The mark by which some programs end a text.
pub(super) const END: &str = "\u{1a}";

struct PlainLines<R>(TextLines<R>);

impl<R: BufRead> Iterator for PlainLines<R> {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        let found = self.0.next()?;
        Some(found.map(|(_, line)| Fields::from_iter([(TEXT_FIELD.into(), line.into())])))
    }
}

impl<R: BufRead + Send> RowReader for PlainLines<R> {}

/// The lines of a text that are not blank, without their ends, with their numbers from 1.
pub(super) struct TextLines<R> {
    text: R,
    pub name: String,
    number: u64,
    /// What begins a line that is no row.
    comment: Option<u8>,
}

impl<R: BufRead> TextLines<R> {
    /// Messages call the text `name`.
    pub fn new(text: R, name: &str, options: &TextOptions) -> TextLines<R> {
        let (number, comment) = (options.skipped, options.comment);
        TextLines { text, name: name.into(), number, comment }
    }

    /// The next line, blank or not, or none at the end. An error is without its place.
    fn read(&mut self) -> Result<Option<String>, String> {
        let mut bytes = Vec::new();
        let mut allowed = self.text.by_ref().take(LONGEST_ROW as u64);
        allowed
            .read_until(b'\n', &mut bytes)
            .map_err(|error| format!("cannot read on: {error}"))?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() == LONGEST_ROW {
            return Err("this line is longer than 64 MiB: break it up".into());
        }
        line(bytes).map(Some)
    }
}

impl<R: BufRead> Iterator for TextLines<R> {
    type Item = Result<(u64, String), String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.number += 1;
            match self.read().transpose()? {
                Ok(line) if line.trim().is_empty() || line == END => {}
                Ok(line) if self.comment.is_some() && line.bytes().next() == self.comment => {}
                Ok(line) => return Some(Ok((self.number, line))),
                Err(flaw) => {
                    return Some(Err(format!("{}, line {}: {flaw}", self.name, self.number)));
                }
            }
        }
    }
}

/// The text of a line without what ends it.
fn line(bytes: Vec<u8>) -> Result<String, String> {
    let mut line = String::from_utf8(bytes).map_err(|error| {
        let column = error.utf8_error().valid_up_to() + 1;
        format!("byte {column} of this line is not UTF-8: {NOT_UTF_8}")
    })?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    if line.contains('\r') {
        Err("a carriage return is within this line: end lines with LF or CRLF".into())
    } else {
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<String>, String> {
        let values = PlainLines(TextLines::new(text, "t.txt", &TextOptions::default()));
        values
            .map(|found| found.map(|fields| fields[TEXT_FIELD].as_str().unwrap().into()))
            .collect()
    }

    #[test]
    fn a_line_is_a_row() {
        assert_eq!(
            read(b" a \r\n\n \r\nb,\0\n\"c"),
            Ok(vec![" a ".into(), "b,\0".into(), "\"c".into()])
        );
        assert_eq!(read(b""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_line_is_told_with_its_number() {
        let error = |text| read(text).unwrap_err();
        let (coding, end) = (format!("not UTF-8: {NOT_UTF_8}"), "end lines with LF or CRLF");
        assert_eq!(
            error(b"a\n\na\xFF\n"),
            format!("t.txt, line 3: byte 2 of this line is {coding}")
        );
        assert_eq!(
            error(b"a\rb\r"),
            format!("t.txt, line 1: a carriage return is within this line: {end}")
        );
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let endless = std::io::BufReader::new(std::io::repeat(b'a'));
        let error =
            TextLines::new(endless, "t", &TextOptions::default()).next().unwrap().unwrap_err();
        assert_eq!(error, "t, line 1: this line is longer than 64 MiB: break it up");
    }
}
