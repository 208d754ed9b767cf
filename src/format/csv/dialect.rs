//! How the values of a table stand apart: as the job says, or as the table's first lines
//! show. Pure.

use crate::format::rows::TextOptions;

/// The signs of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dialect {
    pub delimiter: u8,
    /// The quote around values; none if quotes are like other letters.
    pub quote: Option<u8>,
    /// What stands before a quote within quotes that is a part of the value, unless it is
    /// the quote itself.
    pub escape: Option<u8>,
    /// What begins a line that is no part of the table.
    pub comment: Option<u8>,
}

/// Delimiters that need not be told.
const KNOWN: [u8; 4] = [b',', b';', b'\t', b'|'];
/// The places of the delimiters, of which the first one that fits is it.
const ORDER: [usize; 4] = [0, 1, 2, 3];
/// The places where the header has a comma before a space, as a name may.
const ORDER_IN_PROSE: [usize; 4] = [1, 2, 3, 0];

impl Dialect {
    /// The usual signs, with this delimiter.
    #[cfg(test)]
    pub fn with(delimiter: u8) -> Dialect {
        Dialect { delimiter, quote: Some(b'"'), escape: None, comment: None }
    }

    /// The signs of a table that begins with these lines. Without an `usual` delimiter its
    /// first lines show it.
    pub fn of(head: &[u8], options: &TextOptions, usual: Option<u8>) -> Dialect {
        let quote = options.quote.unwrap_or(Some(b'"'));
        let told = options.delimiter.or_else(|| told_delimiter(head)).or(usual);
        Dialect {
            delimiter: told.unwrap_or_else(|| shown_delimiter(head, options, quote)),
            quote,
            escape: options.escape.filter(|escape| Some(*escape) != quote),
            comment: options.comment,
        }
    }
}

/// The delimiter of a table for Excel, whose first line is `sep=;`.
pub(super) fn told_delimiter(head: &[u8]) -> Option<u8> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match line {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] => Some(*delimiter),
        [b'"', inside @ .., b'"'] => told_delimiter(inside),
        _ => None,
    }
}

/// The first delimiter that stands in the header, and as often in all other lines of the
/// head; else the first one in the header.
fn shown_delimiter(head: &[u8], options: &TextOptions, quote: Option<u8>) -> u8 {
    let counts = counts(head, options.comment, quote);
    let Some((header, others)) = counts.split_first() else {
        return KNOWN[0];
    };
    let is_there = |place: &usize| header[*place] > 0;
    let is_in_all = |place: &usize| others.iter().all(|line| line[*place] == header[*place]);
    let is_prose = head.windows(2).any(|pair| pair == b", ");
    let order = if is_prose { ORDER_IN_PROSE } else { ORDER };
    let places = || order.into_iter().filter(is_there);
    let place = places().find(is_in_all).or_else(|| places().next());
    KNOWN[place.unwrap_or(0)]
}

/// How often each known delimiter stands outside of quotes in each whole record.
fn counts(head: &[u8], comment: Option<u8>, quote: Option<u8>) -> Vec<[usize; 4]> {
    let (mut all, mut count, mut in_quotes) = (Vec::new(), [0; 4], false);
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let is_comment = comment.is_some() && line.first().copied() == comment;
        if !in_quotes && (is_comment || line.trim_ascii().is_empty()) {
            continue;
        }
        for byte in line {
            if Some(*byte) == quote {
                in_quotes = !in_quotes;
            } else if let Some(place) = KNOWN.iter().position(|it| it == byte)
                && !in_quotes
            {
                count[place] += 1;
            }
        }
        // A line that the head cuts off is no record, unless it is the only one.
        if !in_quotes && (line.ends_with(b"\n") || all.is_empty()) {
            all.push(std::mem::take(&mut count));
        }
    }
    all
}

/// Whether a line of unknown format is a table's header of words, with one of the rarer
/// delimiters between them.
pub(super) fn is_header(line: &[u8]) -> bool {
    let Ok(line) = str::from_utf8(line.trim_ascii()) else {
        return false;
    };
    let is_word = |it: &str| {
        let it = it.trim_matches('"');
        !it.is_empty() && it.chars().all(|it| it.is_alphanumeric() || matches!(it, '_' | '-' | '.'))
    };
    let is_table = |delimiter: char| line.contains(delimiter) && line.split(delimiter).all(is_word);
    told_delimiter(line.as_bytes()).is_some() || is_table(';') || is_table('|')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delimiter(head: &str) -> char {
        char::from(Dialect::of(head.as_bytes(), &TextOptions::default(), None).delimiter)
    }

    #[test]
    fn the_first_lines_show_the_delimiter() {
        for (head, expected) in [
            ("id,name\n1,a\n", ','),
            ("id;name\n1;Müller, A\n", ';'),
            ("id|name\r\n1|a;b\r\n", '|'),
            ("id\tname\n1\ta, b\n", '\t'),
            ("Price, net;Name\n1,5;a\n2,5;b\n", ';'),
            ("id, name\n1, a;b\n", ','),
            ("tags a|b|c,id\nx,1\n", ','),
            ("a;b\n", ';'),
            ("\"a;b;c\",d\n\"x\n;y\",1\n", ','),
            ("a,b;c\n1,2\n", ','),
            ("id\n1;2\n", ','),
            ("\n\nid;name\n1;2", ';'),
            ("sep=|\r\nid;a|b\r\n", '|'),
            ("\"sep=\t\"\nid\n", '\t'),
            ("", ','),
        ] {
            assert_eq!(delimiter(head), expected, "{head:?}");
        }
    }

    #[test]
    fn the_job_s_signs_win() {
        let options = TextOptions {
            delimiter: Some(b':'),
            quote: Some(Some(b'\'')),
            escape: Some(b'\''),
            ..TextOptions::default()
        };
        let dialect = Dialect::of(b"a;b\n", &options, Some(b','));
        assert_eq!((dialect.delimiter, dialect.quote, dialect.escape), (b':', Some(b'\''), None));
        let options = TextOptions { comment: Some(b'#'), ..TextOptions::default() };
        assert_eq!(Dialect::of(b"# a,b\nid;x\n", &options, None).delimiter, b';');
    }

    #[test]
    fn a_header_of_words_is_told_from_other_lines() {
        for line in ["id;name", "id|user-id|x.y", "sep=;", "\"id\";\"name\""] {
            assert!(is_header(line.as_bytes()), "{line}");
        }
        for line in ["id", "Hello; world", "http://h/?a=1;b=2", "a|", ""] {
            assert!(!is_header(line.as_bytes()), "{line}");
        }
    }
}
