//! The quotes of a table, followed byte by byte.
//!
//! The parser takes any text for a table. This finds what only one of two readers
//! would understand: text after the quote that closes a value, as a backslash before
//! a quote leaves it, and a quote that stands after spaces.

use std::borrow::Cow;

/// Where a byte stands in a record.
pub(super) struct Quotes {
    pub delimiter: u8,
    /// The quote around values.
    quote: u8,
    /// What stands before a quote that is a part of a value, besides another quote.
    escape: Option<u8>,
    place: QuoteState,
    /// Which value of the record it is, from 1.
    pub column: usize,
    /// Whether the byte before was a backslash within quotes.
    backslash: bool,
    /// Whether a backslash stood before a quote in this value.
    pub escaped: bool,
}

/// Where in a value the next byte stands.
#[derive(Clone, Copy, PartialEq)]
enum QuoteState {
    /// At its beginning.
    Start,
    /// After nothing but spaces.
    Spaces,
    /// In a value without quotes.
    Plain,
    Quoted,
    /// After an escape within quotes.
    Escaped,
    /// After a quote within quotes: one that closes the value, or the first of two.
    Closed,
}

/// What a byte is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Byte {
    /// A part of a value, or of its quotes.
    Inside,
    /// What ends a value.
    Delimiter,
    /// What ends a record.
    End,
    /// Text after the quote that closes a value.
    AfterQuote,
    /// A quote after spaces.
    QuoteAfterSpaces,
    /// A quote in a value without quotes.
    BareQuote,
}

impl Quotes {
    /// At the beginning of a record.
    pub fn new(delimiter: u8) -> Quotes {
        Quotes::with(delimiter, b'"', None)
    }

    /// At the beginning of a record with this quote and escape.
    pub fn with(delimiter: u8, quote: u8, escape: Option<u8>) -> Quotes {
        let (place, column) = (QuoteState::Start, 1);
        Quotes { delimiter, quote, escape, place, column, backslash: false, escaped: false }
    }

    /// Another record begins.
    pub fn begin(&mut self) {
        *self = Quotes::with(self.delimiter, self.quote, self.escape);
    }

    /// Whether there is something to say of the bytes that end the record: not if the record has no
    /// quote, as most have none.
    pub fn matter_in(&self, rest: &[u8]) -> bool {
        let has_begun = self.place != QuoteState::Start || self.column > 1;
        has_begun || rest.contains(&self.quote)
    }

    /// Whether a line's end would be a part of the value.
    pub fn is_open(&self) -> bool {
        matches!(self.place, QuoteState::Quoted | QuoteState::Escaped)
    }

    /// Says what the next byte is.
    pub fn pass(&mut self, byte: u8) -> Byte {
        let (place, is) = match (self.place, byte) {
            (QuoteState::Quoted, byte) if byte == self.quote => {
                self.escaped |= self.backslash;
                (QuoteState::Closed, Byte::Inside)
            }
            (QuoteState::Quoted, byte) if Some(byte) == self.escape => {
                (QuoteState::Escaped, Byte::Inside)
            }
            (QuoteState::Quoted | QuoteState::Escaped, _) => (QuoteState::Quoted, Byte::Inside),
            (_, b'\n' | b'\r') => (QuoteState::Start, Byte::End),
            (_, byte) if byte == self.delimiter => {
                self.column += 1;
                (QuoteState::Start, Byte::Delimiter)
            }
            (QuoteState::Closed, byte) if byte == self.quote => (QuoteState::Quoted, Byte::Inside),
            (QuoteState::Closed, _) => (QuoteState::Closed, Byte::AfterQuote),
            (QuoteState::Start, byte) if byte == self.quote => {
                self.escaped = false;
                (QuoteState::Quoted, Byte::Inside)
            }
            (QuoteState::Spaces, byte) if byte == self.quote => {
                (QuoteState::Plain, Byte::QuoteAfterSpaces)
            }
            (QuoteState::Plain, byte) if byte == self.quote => (QuoteState::Plain, Byte::BareQuote),
            (QuoteState::Start | QuoteState::Spaces, b' ') => (QuoteState::Spaces, Byte::Inside),
            (_, _) => (QuoteState::Plain, Byte::Inside),
        };
        self.backslash = place == QuoteState::Quoted && byte == b'\\';
        self.place = place;
        is
    }
}

/// The cells of a record as they are written; none if a quote is where none can be, or
/// if one is not closed.
pub(super) fn cut(record: &[u8], delimiter: u8) -> Option<Vec<&[u8]>> {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    let record = record.strip_suffix(b"\r").unwrap_or(record);
    let (mut cells, mut start, mut quotes) = (Vec::new(), 0, Quotes::new(delimiter));
    for (at, byte) in record.iter().enumerate() {
        match quotes.pass(*byte) {
            Byte::Inside => {}
            Byte::Delimiter => {
                cells.push(&record[start..at]);
                start = at + 1;
            }
            _ => return None,
        }
    }
    cells.push(&record[start..]);
    (!quotes.is_open()).then_some(cells)
}

/// The text of a cell without its quotes.
pub(super) fn unquoted(cell: &[u8]) -> Cow<'_, str> {
    let text = str::from_utf8(cell).unwrap_or_default();
    let quoted = text.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    quoted.map_or(text.into(), |it| it.replace("\"\"", "\"").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Byte> {
        let mut quotes = Quotes::new(b',');
        let found = text.bytes().map(|byte| quotes.pass(byte));
        found.filter(|byte| *byte != Byte::Inside).collect()
    }

    #[test]
    fn each_byte_is_known_by_what_stands_before_it() {
        use Byte::{AfterQuote, BareQuote, Delimiter, End, QuoteAfterSpaces};
        assert_eq!(all("a, b,\"c,\"\"\r\n\",\n"), [Delimiter, Delimiter, Delimiter, End]);
        assert_eq!(all("\"say \\\"h"), [AfterQuote]);
        assert_eq!(all("\"a\" ,b"), [AfterQuote, Delimiter]);
        assert_eq!(all("5\" pipe"), [BareQuote]);
        assert_eq!(all("1, \"b"), [Delimiter, QuoteAfterSpaces]);
    }

    #[test]
    fn a_backslash_before_a_quote_is_known() {
        for (text, escaped) in [("\"a\\\"b", true), ("\"a\"b", false), ("\"\\a\"b", false)] {
            let mut quotes = Quotes::new(b',');
            let last = text.bytes().map(|byte| quotes.pass(byte)).last();
            assert_eq!((last, quotes.escaped), (Some(Byte::AfterQuote), escaped));
        }
    }
}
