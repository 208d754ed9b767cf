//! The text of a body: UTF-8 first, then as its mark or its type says. Pure.

use std::borrow::Cow;

use encoding_rs::Encoding;

use super::AnswerContext;
use crate::record::{Failure, FailureKind};

/// Maximum number of bytes at the beginning of a document in which it declares its encoding.
const MAX_DECLARATION: usize = 1024;

/// The text of a body, without a byte order mark.
///
/// # Errors
/// A failure `not text`: the bytes are no text in UTF-8, nor in the charset of their type.
pub fn text<'a>(body: &'a [u8], context: &AnswerContext<'_>) -> Result<Cow<'a, str>, Failure> {
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

/// The text of bytes that are not in UTF-8, by their mark or the charset of their type; none
/// if neither is there.
fn decoded<'a>(
    body: &'a [u8],
    context: &AnswerContext<'_>,
) -> Option<Result<Cow<'a, str>, Failure>> {
    let by_mark = Encoding::for_bom(body).map(|(encoding, _)| encoding);
    let by_type = || Encoding::for_label(charset(context.content_type()?)?.as_bytes());
    let encoding = by_mark.or_else(by_type).or_else(|| declared(body))?;
    let (text, _, has_errors) = encoding.decode(body);
    if !has_errors {
        return Some(Ok(text));
    }
    let name = encoding.name();
    let why = format!("the answer's {} bytes are no text in {name}, as it says", body.len());
    (encoding != encoding_rs::UTF_8).then(|| Err(not_text(why)))
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
            ("text/xml", b"<?xml encoding=\"utf-16\"?><r>\xe9</r>", "no text in UTF-8"),
            ("text/xml", b"<?xml version=\"1.0\"?><r>\xe9</r>", "no text in UTF-8"),
        ] {
            let error = read(kind, body).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
