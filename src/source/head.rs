//! The first bytes of a text: its byte order mark, and a guess at its format.

use std::io::{BufRead, Cursor, Read};

use crate::format::Format;
use crate::format::rows::{OpenedText, unmarked};

/// Takes away the byte order mark. Gives the lines up to the first that is
/// not blank, and the whole text with these lines still in it.
pub(super) fn read(mut bytes: OpenedText, name: &str) -> Result<(Vec<u8>, OpenedText), String> {
    let head = first_lines(&mut bytes).map_err(|error| format!("cannot read {name}: {error}"))?;
    if let Some(coding) = foreign_coding(&head) {
        return Err(format!("{name} is written in {coding}: save it as UTF-8"));
    }
    let head = unmarked(&head).to_vec();
    let text = Cursor::new(head.clone()).chain(bytes);
    Ok((head, Box::new(text)))
}

/// The format of a text that begins like this.
pub(super) fn guess(head: &[u8]) -> Format {
    match head.trim_ascii_start() {
        [b'[', ..] => Format::JSON,
        [b'{', ..] => Format::JSONL,
        line if line.contains(&b',') => Format::CSV,
        line if line.contains(&b'\t') => Format::TSV,
        _ => Format::LINES,
    }
}

/// Longer beginnings are cut here; in bytes.
const LONGEST: u64 = 64 * 1024;

/// Asks for no more than the lines it gives, so that a slow pipe is not waited for.
fn first_lines(bytes: &mut OpenedText) -> std::io::Result<Vec<u8>> {
    let (mut head, mut allowed) = (Vec::new(), bytes.take(LONGEST));
    while unmarked(&head).trim_ascii().is_empty() && allowed.read_until(b'\n', &mut head)? > 0 {}
    Ok(head)
}

fn foreign_coding(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xFF, 0xFE, 0, 0, ..] | [0, 0, 0xFE, 0xFF, ..] => Some("UTF-32"),
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => Some("UTF-16"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_and_text(bytes: &'static [u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
        let (head, mut text) = read(Box::new(bytes), "t")?;
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
    fn other_codings_are_refused_by_name() {
        let error = |bytes| head_and_text(bytes).unwrap_err();
        assert_eq!(error(b"\xFF\xFEa\0"), "t is written in UTF-16: save it as UTF-8");
        assert_eq!(error(b"\xFE\xFF\0a"), "t is written in UTF-16: save it as UTF-8");
        assert_eq!(error(b"\xFF\xFE\0\0"), "t is written in UTF-32: save it as UTF-8");
    }

    #[test]
    fn the_first_line_tells_the_format() {
        let cases: [(&[u8], Format); 7] = [
            (b"\n [{", Format::JSON),
            (b"{\"a\": [1, 2]}", Format::JSONL),
            (b"a,b\n", Format::CSV),
            (b"a\tb\n", Format::TSV),
            (b"\t\n", Format::LINES),
            (b"a\n", Format::LINES),
            (b"", Format::LINES),
        ];
        for (head, format) in cases {
            assert_eq!(guess(head), format, "{head:?}");
        }
    }
}
