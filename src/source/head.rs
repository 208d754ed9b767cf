//! The first lines of a text: its byte order mark, lines that are no part of it, and a guess
//! at its format.

use std::io::{BufRead, Cursor, Read};

use super::encoding::decoded;
use super::settings::Reading;
use crate::format::rows::{OpenedText, TextOptions, unmarked};
use crate::format::{Format, is_table_header};

/// Decodes a text, and takes away its byte order mark and the lines to skip. Gives the
/// lines up to the first that is not blank, and `more` after it, and the whole text with
/// these lines still in it.
pub(super) fn read(
    bytes: OpenedText,
    name: &str,
    reading: &Reading,
    more: usize,
) -> Result<(Vec<u8>, OpenedText), String> {
    let mut text = decoded(bytes, reading.encoding, name)?;
    let head = first_lines_after(&mut text, &reading.options, more);
    let head = head.map_err(|error| format!("cannot read {name}: {error}"))?;
    let head = unmarked(&head).to_vec();
    let text = Cursor::new(head.clone()).chain(text);
    Ok((head, Box::new(text)))
}

/// The format of a text that begins like this.
pub(super) fn guess(head: &[u8]) -> Format {
    match head.trim_ascii_start() {
        [b'[', ..] => Format::JSON,
        [b'{', ..] => Format::JSONL,
        line if line.contains(&b',') => Format::CSV,
        line if line.contains(&b'\t') => Format::TSV,
        line if is_table_header(line) => Format::CSV,
        _ => Format::LINES,
    }
}

/// Longer beginnings are cut here; in bytes.
const LONGEST: u64 = 64 * 1024;

/// The first lines after those to skip.
fn first_lines_after(
    text: &mut OpenedText,
    options: &TextOptions,
    more: usize,
) -> std::io::Result<Vec<u8>> {
    for _ in 0..options.skipped {
        text.skip_until(b'\n')?;
    }
    first_lines(text, options.comment, more)
}

/// Asks for no more than the lines it gives, so that a slow pipe is not waited for.
fn first_lines(
    bytes: &mut OpenedText,
    comment: Option<u8>,
    more: usize,
) -> std::io::Result<Vec<u8>> {
    let (mut head, mut found, mut allowed) = (Vec::new(), 0, bytes.take(LONGEST));
    while found <= more {
        let start = head.len();
        if allowed.read_until(b'\n', &mut head)? == 0 {
            break;
        }
        let line = if start == 0 { unmarked(&head) } else { &head[start..] };
        let is_comment = comment.is_some() && line.first().copied() == comment;
        found += usize::from(!line.trim_ascii().is_empty() && !is_comment);
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_and_text(bytes: &'static [u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let (head, mut text) = read(Box::new(bytes), "t", &Reading::default(), 0)?;
        let mut whole = Vec::new();
        text.read_to_end(&mut whole).unwrap();
        Ok((head, whole))
    }

    #[test]
    fn the_mark_goes_and_the_text_stays() {
        let (head, text) = head_and_text(b"\xEF\xBB\xBF\n a\nb\n").unwrap();
        assert_eq!(text, b"\n a\nb\n");
        assert_eq!(head, b"\n a\n");
        assert_eq!(head_and_text(b"").unwrap(), (vec![], vec![]));
    }

    #[test]
    fn other_encodings_are_decoded() {
        for bytes in [b"\xFF\xFEa\0\n\0b\0".as_slice(), b"\xFE\xFF\0a\0\n\0b"] {
            let (head, text) = head_and_text(bytes).unwrap();
            assert_eq!((&*head, &*text), (b"a\n".as_slice(), b"a\nb".as_slice()));
        }
        let error = head_and_text(b"\xFF\xFE\0\0").unwrap_err();
        assert_eq!(error, "t is written in UTF-32: save it as UTF-8");
    }

    #[test]
    fn lines_are_left_out_and_no_more_are_read_than_asked_for() {
        let text = b"\xEF\xBB\xBFReport\nof 2024\n\n#x\na,b\n1,2\n3,4\n5,6\n".as_slice();
        let mut reading = Reading::default();
        reading.options.skipped = 2;
        reading.options.comment = Some(b'#');
        let (head, _) = read(Box::new(text), "t", &reading, 1).unwrap();
        assert_eq!(head, b"\n#x\na,b\n1,2\n");
    }

    #[test]
    fn the_first_line_tells_the_format() {
        let cases: [(&[u8], Format); 9] = [
            (b"\n [{", Format::JSON),
            (b"{\"a\": [1, 2]}", Format::JSONL),
            (b"a,b\n", Format::CSV),
            (b"a\tb\n", Format::TSV),
            (b"a;b\n", Format::CSV),
            (b"a; b\n", Format::LINES),
            (b"\t\n", Format::LINES),
            (b"a\n", Format::LINES),
            (b"", Format::LINES),
        ];
        for (head, format) in cases {
            assert_eq!(guess(head), format, "{head:?}");
        }
    }
}
