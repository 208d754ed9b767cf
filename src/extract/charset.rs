//! The text of a body: UTF-8 first, then as its mark or its type says. Pure.

use std::borrow::Cow;

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};

use super::AnswerContext;
use crate::record::{Failure, FailureKind};

/// Maximum number of bytes at the beginning of a document in which it declares its encoding.
const MAX_DECLARATION: usize = 1024;

/// The encoding of answers, as a job names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct AnswerEncoding(&'static Encoding);

impl AnswerEncoding {
    /// The encoding of this name.
    ///
    /// # Errors
    /// That there is none.
    pub fn by_name(name: &str) -> Result<AnswerEncoding, String> {
        let found = Encoding::for_label(name.trim().as_bytes());
        found.map(AnswerEncoding).ok_or_else(|| {
            format!(
                "there is no encoding {name:?}; some that there are: utf-8, utf-16le, cp1252 (Windows in Western Europe), latin1, iso-8859-15, cp1250, cp1251, macintosh, shift_jis, gbk, big5, euc-kr"
            )
        })
    }
}

impl TryFrom<String> for AnswerEncoding {
    type Error = String;

    fn try_from(name: String) -> Result<AnswerEncoding, String> {
        AnswerEncoding::by_name(&name).map_err(|why| format!("answer-encoding: {why}"))
    }
}

impl From<AnswerEncoding> for &'static str {
    fn from(encoding: AnswerEncoding) -> &'static str {
        encoding.0.name()
    }
}

/// The text of a body, without a byte order mark.
///
/// # Errors
/// A failure `not text`: the bytes are no text in UTF-8, nor in the charset of their type.
pub fn text<'a>(body: &'a [u8], context: &AnswerContext<'_>) -> Result<Cow<'a, str>, Failure> {
    if let Some(AnswerEncoding(encoding)) = context.encoding {
        let (text, used, has_errors) = encoding.decode(body);
        let why = || {
            not_text(format!("the answer's {} bytes are no text in {}", body.len(), used.name()))
        };
        return if has_errors { Err(why()) } else { Ok(text) };
    }
    match utf8(body) {
        // A charset such as ISO-2022-JP has bytes of ASCII that mean something else.
        Ok(text) if context.content_type().is_none() || !has_shifts(text) => Ok(text.into()),
        plain => decoded(body, context).unwrap_or_else(|| plain.map(Cow::Borrowed)),
    }
}

/// The text of a body in UTF-8, without a byte order mark.
///
/// # Errors
/// A failure `not text`.
pub fn utf8(body: &[u8]) -> Result<&str, Failure> {
    let length = body.len();
    // UTF-16 without a mark may be valid UTF-8 by chance.
    if let [0, _, ..] | [_, 0, ..] = body {
        return Err(not_text(format!(
            "the answer's {length} bytes are no text in UTF-8: it has a zero byte at its start, as UTF-16 and files have"
        )));
    }
    let text = str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        not_text(format!(
            "the answer's {length} bytes are no text in UTF-8: byte {at} is {:#04x}",
            body.get(at).copied().unwrap_or_default()
        ))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Whether a text has the escapes by which charsets in seven bits change their letters.
fn has_shifts(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, 0x1b | 0x0e))
}

/// The text of bytes that are not in UTF-8: by their mark, the charset of their type, what the
/// document declares, or the zero bytes of UTF-16, the first in which they are a text; none if
/// nothing names another encoding.
fn decoded<'a>(
    body: &'a [u8],
    context: &AnswerContext<'_>,
) -> Option<Result<Cow<'a, str>, Failure>> {
    let by_mark = Encoding::for_bom(body).map(|(encoding, _)| encoding);
    let by_type =
        context.content_type().and_then(charset).and_then(|it| Encoding::for_label(it.as_bytes()));
    let by_document = declared(body);
    let named = by_mark.or(by_type).or(by_document);
    let usual = named.is_none() && is_page(body, context);
    let usual = usual.then_some(encoding_rs::WINDOWS_1252);
    let candidates = [by_mark, by_type, by_document, utf16(body), usual];
    for encoding in candidates.into_iter().flatten() {
        if let (text, _, false) = encoding.decode(body) {
            return Some(Ok(text));
        }
    }
    let encoding = named.filter(|encoding| *encoding != encoding_rs::UTF_8)?;
    let name = encoding.name();
    let why = format!("the answer's {} bytes are no text in {name}, as it says", body.len());
    Some(Err(not_text(why)))
}

/// UTF-16 without a mark: two letters of ASCII, each with a zero byte beside it.
fn utf16(body: &[u8]) -> Option<&'static Encoding> {
    let is_letter = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match body {
        [0, first, 0, second, ..] if is_letter(*first) && is_letter(*second) => {
            Some(encoding_rs::UTF_16BE)
        }
        [first, 0, second, 0, ..] if is_letter(*first) && is_letter(*second) => {
            Some(encoding_rs::UTF_16LE)
        }
        _ => None,
    }
}

/// Whether a body is a page in HTML, which browsers read as Windows-1252 where it names no
/// charset.
fn is_page(body: &[u8], context: &AnswerContext<'_>) -> bool {
    let is_html = |value: &str| value.trim_start().to_ascii_lowercase().starts_with("text/html");
    context.content_type().is_some_and(is_html)
        && body.trim_ascii_start().starts_with(b"<")
        && !body.contains(&0)
}

/// The charset that the value of `content-type` names.
fn charset(value: &str) -> Option<&str> {
    let mut parameters = value.split(';').skip(1).filter_map(|it| it.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    Some(value.trim().trim_matches(['"', '\'']))
}

/// The encoding that a document declares of itself: XML in its first line, HTML in a `<meta>`.
fn declared(body: &[u8]) -> Option<&'static Encoding> {
    let start = body.get(..MAX_DECLARATION).unwrap_or(body).trim_ascii_start();
    let start = String::from_utf8_lossy(start);
    let (_, named) = if start.starts_with("<?xml") {
        start.split_once("?>")?.0.split_once("encoding=")?
    } else if start.starts_with('<') {
        start.split_once("charset=")?
    } else {
        return None;
    };
    let is_of_label = |c: char| c.is_ascii_alphanumeric() || "-_:.".contains(c);
    let label = named.trim_start_matches(['"', '\'']).split(|c| !is_of_label(c)).next()?;
    let encoding = Encoding::for_label(label.as_bytes())?;
    // What is read as ASCII here is no UTF-16.
    encoding.is_ascii_compatible().then_some(encoding)
}

fn not_text(why: String) -> Failure {
    Failure::new(FailureKind::NotText, why)
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn read(kind: &str, body: &[u8]) -> Result<String, String> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
        let context = AnswerContext::of(StatusCode::OK, &headers);
        text(body, &context).map(Cow::into_owned).map_err(|failure| failure.detail)
    }

    #[test]
    fn a_text_is_in_utf_8_or_as_it_says() {
        let utf16: Vec<u8> = "\u{feff}é".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bare: Vec<u8> = "aé".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (kind, body, expected) in [
            ("text/plain; charset=ISO-8859-1", &b"Caf\xe9"[..], "Café"),
            ("text/plain; charset=ISO-8859-1", "Café".as_bytes(), "Café"),
            ("text/plain;charset=\"windows-1251\"", b"\xcc\xe8\xf0", "Мир"),
            ("text/plain; Charset='shift_jis'", b"\x93\xfa\x96\x7b", "日本"),
            ("text/plain; charset=iso-2022-jp", b"\x1b$BF|K\\\x1b(B", "日本"),
            ("text/plain; charset=gbk", b"\xd6\xd0", "中"),
            ("text/plain", &utf16, "é"),
            ("text/plain; charset=utf-16be", &bare, "aé"),
            ("text/plain; charset=unheard-of", b"\xef\xbb\xbfabc", "abc"),
            ("text/plain; charset=utf-16", b"abc", "abc"),
            ("application/json", b"{\0\"\0\xe9\0\"\0}\0", "{\"é\"}"),
            ("text/csv", b"\0i\0d\0\n\0\xe9", "id\né"),
            (
                "text/xml; charset=utf-8",
                b"<?xml version='1.0' encoding='iso-8859-1'?><r>\xe9</r>",
                "<?xml version='1.0' encoding='iso-8859-1'?><r>é</r>",
            ),
            ("text/html", b"<h1>\xe9 \x80</h1>", "<h1>é €</h1>"),
            (
                "text/xml",
                b"<?xml version='1.0' encoding='iso-8859-1'?><r>\xe9</r>",
                "<?xml version='1.0' encoding='iso-8859-1'?><r>é</r>",
            ),
            (
                "text/html",
                b"<html><meta charset=\"windows-1251\">\xcc\xe8\xf0",
                "<html><meta charset=\"windows-1251\">Мир",
            ),
        ] {
            assert_eq!(read(kind, body).as_deref(), Ok(expected), "{kind}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_named() {
        for (kind, body, why) in [
            ("text/plain", &b"Caf\xe9"[..], "byte 3 is 0xe9"),
            ("text/plain; charset=utf-8", b"Caf\xe9", "no text in UTF-8: byte 3 is 0xe9"),
            ("text/plain; charset=unheard-of", b"Caf\xe9", "byte 3 is 0xe9"),
            ("text/plain; charset=shift_jis", b"\x93", "no text in Shift_JIS"),
            ("application/pdf", b"\0\x01", "zero byte"),
            ("text/plain", b"a\0b\0c", "zero byte"),
            ("text/html", b"PNG\x89", "byte 3 is 0x89"),
            ("text/html; charset=utf-8", b"<p>\xe9</p>", "byte 3 is 0xe9"),
            ("text/xml", b"<?xml encoding=\"utf-16\"?><r>\xe9</r>", "no text in UTF-8"),
            ("text/xml", b"<?xml version=\"1.0\"?><r>\xe9</r>", "no text in UTF-8"),
        ] {
            let error = read(kind, body).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
