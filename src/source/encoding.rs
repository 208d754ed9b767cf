//! Texts of any encoding, as UTF-8: by the mark that they begin with, or by the name that
//! the job gives. Bytes that are none of the encoding are an error, never another text.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::format::rows::OpenedText;

/// Names of encodings that others use, and the ones that the standard has for them.
const ALIASES: [(&str, &str); 8] = [
    ("ansi", "windows-1252"),
    ("latin-1", "windows-1252"),
    ("cp932", "shift_jis"),
    ("cp936", "gbk"),
    ("cp949", "euc-kr"),
    ("cp950", "big5"),
    ("utf8", "utf-8"),
    ("utf16", "utf-16"),
];

/// The first bytes of an archive.
const ZIP: &[u8] = b"PK\x03\x04";

/// The encoding of this name: `cp1252`, `latin1`, `UTF-16`, `utf_16_le`, `shift_jis`.
pub(super) fn by_name(name: &str) -> Result<&'static Encoding, String> {
    let wanted = name.trim().to_ascii_lowercase();
    let hyphens = wanted.replace('_', "-");
    let alias = ALIASES.iter().find(|(alias, _)| *alias == hyphens).map(|(_, name)| *name);
    let spellings = [alias.unwrap_or(&wanted).to_owned(), hyphens, wanted.replace(['_', '-'], "")];
    let joined = wanted.replace("16-", "16").replace("16_", "16").replace('_', "-");
    let mut found = spellings.iter().chain([&joined]);
    let found = found.find_map(|spelling| Encoding::for_label(spelling.as_bytes()));
    found.ok_or_else(|| {
        format!(
            "input.encoding (--encoding): there is no encoding {name:?}; some that there are: utf-8, utf-16, cp1252 (Windows in Western Europe), latin1, iso-8859-15, cp1250, cp1251, macintosh, shift_jis, gbk, big5, euc-kr"
        )
    })
}

/// The text as UTF-8, with its byte order mark if it is one of UTF-8.
pub(super) fn decoded(
    mut bytes: OpenedText,
    encoding: Option<&'static Encoding>,
    name: &str,
) -> Result<OpenedText, String> {
    let start = beginning(&mut bytes).map_err(|error| format!("cannot read {name}: {error}"))?;
    if bytes.fill_buf().is_ok_and(|start| start.starts_with(ZIP)) {
        return Err(format!(
            "{name} is a zip archive, or a workbook of Excel: unpack it, or say --format xlsx (input.format)"
        ));
    }
    let of_mark = match start.as_slice() {
        [0xFF, 0xFE, 0, 0] | [0, 0, 0xFE, 0xFF] => {
            return Err(format!("{name} is written in UTF-32: save it as UTF-8"));
        }
        [0xFF, 0xFE, ..] => Some(UTF_16LE),
        [0xFE, 0xFF, ..] => Some(UTF_16BE),
        // A text that begins with a zero byte, or has one after its first letter.
        [0, letter, ..] if *letter != 0 => Some(UTF_16BE),
        [letter, 0, ..] if *letter != 0 => Some(UTF_16LE),
        _ => None,
    };
    if !start.is_empty() {
        bytes = Box::new(Cursor::new(start).chain(bytes));
    }
    match encoding.or(of_mark) {
        None => Ok(bytes),
        Some(encoding) if encoding == UTF_8 => Ok(bytes),
        Some(encoding) => Ok(Box::new(BufReader::new(DecodedText::new(bytes, encoding)))),
    }
}

/// The first bytes that tell an encoding: four if the first of them can't begin a text in
/// UTF-8, and else those that are there already.
fn beginning(bytes: &mut OpenedText) -> io::Result<Vec<u8>> {
    let wanted = match bytes.fill_buf()? {
        [0 | 0xFE | 0xFF, ..] => 4,
        [_, 0, ..] => 2,
        _ => return Ok(Vec::new()),
    };
    let mut start = Vec::new();
    bytes.take(wanted).read_to_end(&mut start)?;
    Ok(start)
}

/// A text that is decoded as it is read.
struct DecodedText {
    bytes: OpenedText,
    encoding: &'static Encoding,
    decoder: Decoder,
    /// Decoded text, of which the first `given` bytes were read.
    text: Vec<u8>,
    given: usize,
    /// The number of bytes that were decoded.
    count: usize,
    is_malformed: bool,
    is_at_end: bool,
}

/// In bytes; the text of one reading is at most as long.
const BUFFER: usize = 32 * 1024;

impl DecodedText {
    fn new(bytes: OpenedText, encoding: &'static Encoding) -> DecodedText {
        DecodedText {
            bytes,
            encoding,
            decoder: encoding.new_decoder(),
            text: Vec::new(),
            given: 0,
            count: 0,
            is_malformed: false,
            is_at_end: false,
        }
    }

    fn decode_on(&mut self) -> io::Result<()> {
        if self.is_malformed {
            let (count, name) = (self.count, self.encoding.name());
            let why = format!("the bytes before byte {count} of the file are not {name}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let bytes = self.bytes.fill_buf()?;
        let is_last = bytes.is_empty();
        self.text.resize(BUFFER, 0);
        let (result, read, written) =
            self.decoder.decode_to_utf8_without_replacement(bytes, &mut self.text, is_last);
        self.bytes.consume(read);
        self.text.truncate(written);
        self.given = 0;
        self.count += read;
        self.is_malformed = matches!(result, DecoderResult::Malformed(..));
        self.is_at_end = is_last && result == DecoderResult::InputEmpty;
        Ok(())
    }
}

impl Read for DecodedText {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.text.len() && !self.is_at_end {
            self.decode_on()?;
        }
        let left = &self.text[self.given..];
        let count = left.len().min(out.len());
        out[..count].copy_from_slice(&left[..count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], encoding: Option<&str>) -> Result<String, String> {
        let encoding = encoding.map(by_name).transpose()?;
        // One byte at a time, so that every character is cut somewhere.
        let bytes = BufReader::with_capacity(1, Cursor::new(bytes.to_vec()));
        let mut text = String::new();
        let mut decoded = decoded(Box::new(bytes), encoding, "t")?;
        decoded.read_to_string(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn a_text_is_decoded_by_its_mark_or_by_the_name_given() {
        for (bytes, encoding, text) in [
            (b"a\xE9".as_slice(), Some("cp1252"), "aé"),
            (b"a\xE9", Some("Latin-1"), "aé"),
            (b"\xA4", Some("iso-8859-15"), "€"),
            (b"\xFF\xFEa\0\xE9\0", None, "aé"),
            (b"\xFE\xFF\0a\0\xE9", None, "aé"),
            (b"\xFE\xFF\0a", Some("utf-16"), "a"),
            (b"a\0\xE9\0", Some("utf_16_le"), "aé"),
            (b"\x83\x65", Some("cp932"), "テ"),
            (b"a\xC3\xA9", Some("UTF8"), "aé"),
            (b"", None, ""),
        ] {
            assert_eq!(read(bytes, encoding).as_deref(), Ok(text), "{bytes:?}");
        }
    }

    #[test]
    fn utf_16_without_a_mark_is_known_by_its_zero_bytes() {
        let mut text = String::new();
        decoded(Box::new(b"a\0,\0".as_slice()), None, "t")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "a,");
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let error = read(b"a\0\0\xD8a\0", Some("utf-16le")).unwrap_err();
        assert_eq!(error, "the bytes before byte 6 of the file are not UTF-16LE");
        let error = read(b"\xFF\xFE\0\0", None).unwrap_err();
        assert_eq!(error, "t is written in UTF-32: save it as UTF-8");
        assert!(by_name("cp437").unwrap_err().contains("there is no encoding \"cp437\""));
    }
}
