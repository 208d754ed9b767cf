//! The records of a table one after the other, each with the line it starts on.
//!
//! This drives the parser of `csv-core` and not the reader of `csv`, which
//! miscounts lines after `\r\n` and after blank lines, and which takes a quote
//! that is never closed for the end of the file. Quotes are followed beside it, for
//! it takes `"say \"hi\""` for a value, and for another one than was meant.

use std::io::BufRead;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::quotes::{Byte, Quotes};
use super::values::ValueRow;
use crate::format::rows::LONGEST_ROW;

/// A text to be cut into records.
pub(super) struct TextRecords<R> {
    text: R,
    name: String,
    parser: Reader,
    quotes: Quotes,
    blank_lines: u64,
    /// The values of the last record, one directly after the other.
    bytes: Vec<u8>,
    /// Where each value ends in `bytes`.
    ends: Vec<usize>,
}

impl<R: BufRead> TextRecords<R> {
    /// Messages call the text `name`.
    pub fn new(text: R, name: &str, delimiter: u8) -> TextRecords<R> {
        TextRecords {
            text,
            name: name.into(),
            parser: ReaderBuilder::new().delimiter(delimiter).build(),
            quotes: Quotes::new(delimiter),
            blank_lines: 0,
            bytes: vec![0; 1024],
            ends: vec![0; 32],
        }
    }

    /// Reads the next record, if there is one.
    pub fn read(&mut self) -> Result<Option<ValueRow<'_>>, String> {
        let begins = self.skip_blank_lines();
        let line = self.line();
        let count = match begins {
            Ok(true) => self.read_values(),
            Ok(false) => return Ok(None),
            Err(flaw) => Err(flaw),
        };
        let record = count.and_then(|count| ValueRow::new(line, &self.bytes, &self.ends[..count]));
        match record {
            Ok(record) => Ok(Some(record)),
            Err(flaw) => Err(format!("{}, line {line}: {flaw}", self.name)),
        }
    }

    fn line(&self) -> u64 {
        self.parser.line() + self.blank_lines
    }

    /// Stops where a record begins; false at the end of the text.
    fn skip_blank_lines(&mut self) -> Result<bool, String> {
        loop {
            match self.text.fill_buf().map_err(unreadable)?.first() {
                Some(b'\n') => self.blank_lines += 1,
                Some(b'\r') => {}
                next => return Ok(next.is_some()),
            }
            self.text.consume(1);
        }
    }

    /// Reads one record into `bytes` and `ends`, and tells how many values it has.
    fn read_values(&mut self) -> Result<usize, String> {
        let (mut length, mut count) = (0, 0);
        self.quotes.begin();
        loop {
            let (result, written, ended) = self.parse_on(length, count)?;
            (length, count) = (length + written, count + ended);
            if length + count * size_of::<usize>() >= LONGEST_ROW {
                return Err(TOO_LONG.into());
            }
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.bytes.resize(length * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(count * 2, 0),
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(count),
            }
        }
    }

    /// Parses what is buffered, after the values and ends there are of this record.
    fn parse_on(&mut self, length: usize, count: usize) -> Result<ParserStep, String> {
        let bytes = self.text.fill_buf().map_err(unreadable)?;
        // A line's end at the end of the text: it ends any value but a quoted one.
        let at_end = bytes.is_empty();
        let bytes = if at_end { b"\n" } else { bytes };
        let (result, read, written, ended) =
            self.parser.read_record(bytes, &mut self.bytes[length..], &mut self.ends[count..]);
        if at_end && result == ReadRecordResult::InputEmpty {
            return Err(UNCLOSED.into());
        }
        if !at_end {
            check(&mut self.quotes, &bytes[..read])?;
            self.text.consume(read);
        }
        Ok((result, written, ended))
    }
}

/// Why the parser paused, and how many bytes and ends it wrote.
type ParserStep = (ReadRecordResult, usize, usize);

const UNCLOSED: &str = "a quote (\") that opens in this row is never closed: \
    close it, or double it if it is meant";
const TOO_LONG: &str = "this row is longer than 64 MiB: look for a quote (\") left open in it";

/// Refuses quotes that another reader would understand in another way.
fn check(quotes: &mut Quotes, bytes: &[u8]) -> Result<(), String> {
    for &byte in bytes {
        let flaw = match quotes.pass(byte) {
            Byte::AfterQuote if quotes.escaped => ESCAPED,
            Byte::AfterQuote => AFTER_QUOTE,
            Byte::QuoteAfterSpaces => AFTER_SPACES,
            Byte::Inside | Byte::Delimiter | Byte::End | Byte::BareQuote => continue,
        };
        return Err(format!("in column {}, {flaw}", quotes.column));
    }
    Ok(())
}

const ESCAPED: &str = "a backslash stands before a quote (\\\"), which does not escape it: \
    write a quote within a value twice (\"\")";
const AFTER_QUOTE: &str = "something stands after the quote (\") that closes this value: \
    remove it, or write a quote within a value twice (\"\")";
const AFTER_SPACES: &str = "spaces stand before the quote (\") that opens this value: \
    remove them, or put all of it in quotes, and write a quote within a value twice (\"\")";

fn unreadable(error: std::io::Error) -> String {
    format!("cannot read on: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// The line and values of each record, read in pieces of `piece` bytes.
    fn records(text: &str, piece: usize) -> Result<Vec<(u64, Vec<String>)>, String> {
        let text = BufReader::with_capacity(piece, text.as_bytes());
        let (mut records, mut all) = (TextRecords::new(text, "t", b','), Vec::new());
        while let Some(record) = records.read()? {
            all.push((record.line, record.values().map(String::from).collect()));
        }
        Ok(all)
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let lines = |text, piece| -> Vec<u64> {
            records(text, piece).unwrap().into_iter().map(|(line, _)| line).collect()
        };
        for piece in [1, 2, 3, 1000] {
            assert_eq!(lines("a\nb\n\n\nc", piece), [1, 2, 5]);
            assert_eq!(lines("\r\na\r\nb\r\n\r\nc\r\n", piece), [2, 3, 5]);
            assert_eq!(lines("\"a\n\na\"\nb\n", piece), [1, 4]);
        }
    }

    #[test]
    fn values_are_kept_as_they_are() {
        let long = "x".repeat(5000);
        let wide = ",".repeat(99);
        let text = format!("007, b ,\"a\"\"\n,\",\0,{long},5\" pipe\n{wide}");
        let records = records(&text, 64).unwrap();
        assert_eq!(records[0].1, ["007", " b ", "a\"\n,", "\0", &long, "5\" pipe"]);
        assert_eq!(records[1].1, [""; 100]);
    }

    #[test]
    fn what_two_readers_understand_in_two_ways_is_refused() {
        for (text, place, flaw) in [
            ("a,b\n1,\"say \\\"hi\\\"\"\n", 2, ESCAPED),
            ("a,b\n1,\"\\\"\"\n2,\"\\\"\"\n", 2, ESCAPED),
            ("a,b\n1,\"x\" \n", 2, AFTER_QUOTE),
            ("a,b\n\"x\"y,2\n", 1, AFTER_QUOTE),
            ("a,b\n1, \"x\"\n", 2, AFTER_SPACES),
        ] {
            for piece in [1, 2, 5, 1000] {
                let error = records(text, piece).unwrap_err();
                assert_eq!(error, format!("t, line 2: in column {place}, {flaw}"), "{text}");
            }
        }
        let whole = "\"C:\\dir\\\",x\n\"a\"\"\"\n\"\"\r\n";
        let values: Vec<_> =
            records(whole, 3).unwrap().into_iter().map(|(_, values)| values).collect();
        assert_eq!(values, [vec!["C:\\dir\\", "x"], vec!["a\""], vec![""]]);
    }

    #[test]
    fn an_open_quote_is_found_at_the_end_of_the_text() {
        for text in ["a\nb,\"c\nd\n", "a\n\"", "a\nb,\"\"\"", "a\n\"b\n\n"] {
            assert_eq!(records(text, 8), Err(format!("t, line 2: {UNCLOSED}")));
        }
        assert_eq!(records("a\n\"b\n\"", 8).unwrap()[1].1, ["b\n"]);
    }
}
