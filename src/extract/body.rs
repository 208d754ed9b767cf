//! The body of an answer as a text, and as one JSON document. Pure.

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::record::{Failure, FailureKind, excerpt};

/// Maximum number of characters of a body in a failure's detail.
const MAX_CHARS: usize = 80;

/// The unchanged body as a text.
///
/// # Errors
/// A failure `not text`: the body is not UTF-8, or is UTF-16.
pub fn text(body: &[u8]) -> Result<&str, Failure> {
    let length = body.len();
    // UTF-16 without a mark may be valid UTF-8 by chance.
    if let [0, _, ..] | [_, 0, ..] = body {
        return Err(not_text(format!(
            "the answer's {length} bytes are no text in UTF-8: it has a zero byte at its start, as UTF-16 and files have"
        )));
    }
    std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        not_text(format!(
            "the answer's {length} bytes are no text in UTF-8: byte {at} is {:#04x}",
            body.get(at).copied().unwrap_or_default()
        ))
    })
}

fn not_text(why: String) -> Failure {
    Failure::new(FailureKind::NotText, why)
}

/// The body as JSON text, without the byte order mark that some servers send.
///
/// # Errors
/// A failure `not text`.
pub fn json_text(body: &[u8]) -> Result<&str, Failure> {
    let text = text(body)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The JSON document of the body.
///
/// # Errors
/// A failure `not text`, `not json`, or `several documents` if more than one follow each
/// other.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let text = json_text(body)?;
    serde_json::from_str(text).map_err(|error| wrong(text, &error))
}

/// The failure of a text that is not one JSON document.
fn wrong(text: &str, error: &serde_json::Error) -> Failure {
    let start = excerpt(text, MAX_CHARS);
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    if let (Some(Ok(_)), Some(Ok(_))) = (documents.next(), documents.next()) {
        let why = format!(
            "the answer has several JSON documents, one after the other, and not one: it begins {start:?}"
        );
        return Failure::new(FailureKind::SeveralDocuments, why);
    }
    Failure::new(FailureKind::NotJson, format!("{error}; the answer begins {start:?}"))
}

/// The beginning of a body for messages, or its number of bytes if it is no text.
pub fn body_excerpt(body: &[u8], max: usize) -> String {
    text(body).map_or_else(|failure| failure.detail, |text| excerpt(text, max))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kind(body: &[u8]) -> String {
        json::<Value>(body).unwrap_err().kind.text().into_owned()
    }

    #[test]
    fn one_document_is_json_with_or_without_a_byte_order_mark() {
        for body in ["{\"a\": 1}", "\u{feff}{\"a\": 1}", " \n{\"a\": 1}\r\n\t "] {
            assert_eq!(json::<Value>(body.as_bytes()).unwrap(), json!({"a": 1}));
        }
        assert_eq!(text("\u{feff}a".as_bytes()).unwrap(), "\u{feff}a");
    }

    #[test]
    fn a_body_that_is_not_one_document_fails_by_its_kind() {
        let utf16: Vec<u8> = "{\"a\": 1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let swapped: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (body, name) in [
            (&b"{\"a\": \"Caf\xe9\"}"[..], "not text"),
            (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "not text"),
            (b"\xff\xfe{\0}\0", "not text"),
            (&utf16, "not text"),
            (&swapped, "not text"),
            (b"\xed\xa0\x80", "not text"),
            (b"", "not json"),
            (b"{\"a\": 1} oops {\"b\": 2}", "not json"),
            (b"{\"a\": 1}}", "not json"),
            (b"{\"a\": NaN}", "not json"),
            (b"\xef\xbb\xbf\xef\xbb\xbf{}", "not json"),
            (b"{\"a\": 1}\n{\"a\": 2}\n", "several documents"),
            (b"{}{", "not json"),
            (b"1 2", "several documents"),
        ] {
            assert_eq!(kind(body), name, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn the_excerpt_of_bytes_is_their_number() {
        assert_eq!(body_excerpt("größer".as_bytes(), 3), "grö…");
        let shown = body_excerpt(b"\x89PNG....", 3);
        assert!(shown.contains("9 bytes") || shown.contains("8 bytes"), "{shown}");
    }
}
