//! The body of an answer as a text, and as the one JSON document that it is to be. Pure.

use serde::de::{DeserializeOwned, IgnoredAny};

use crate::record::{Failure, FailureKind, excerpt};

/// As much of a body as a failure's detail shows.
const SHOWN: usize = 80;

/// The body as a text, as it came.
///
/// # Errors
/// A failure `not text`: it is no UTF-8, or UTF-16.
pub fn text(body: &[u8]) -> Result<&str, Failure> {
    let length = body.len();
    // What is UTF-16 without saying so may be UTF-8 by chance.
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

/// The body as the text of JSON: without the mark that some servers begin UTF-8 with.
///
/// # Errors
/// A failure `not text`.
pub fn json_text(body: &[u8]) -> Result<&str, Failure> {
    let text = text(body)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The body's one JSON document.
///
/// # Errors
/// A failure `not text`, `not json`, or `several documents` if more than one follow each
/// other.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    let text = json_text(body)?;
    serde_json::from_str(text).map_err(|error| wrong(text, &error))
}

/// Why this text isn't one JSON document, as the parser stumbled.
fn wrong(text: &str, error: &serde_json::Error) -> Failure {
    let start = excerpt(text, SHOWN);
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    if let (Some(Ok(_)), Some(Ok(_))) = (documents.next(), documents.next()) {
        let why = format!(
            "the answer has several JSON documents, one after the other, and not one: it begins {start:?}"
        );
        return Failure::new(FailureKind::SeveralDocuments, why);
    }
    Failure::new(
        FailureKind::NotJson,
        format!("{error}; the answer begins {start:?}"),
    )
}

/// The beginning of a body that is shown to people, or how many bytes it has if it is no
/// text.
pub fn shown(body: &[u8], most: usize) -> String {
    text(body).map_or_else(|failure| failure.detail, |text| excerpt(text, most))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn kind(body: &[u8]) -> String {
        json::<Value>(body).unwrap_err().kind.text().into_owned()
    }

    #[test]
    fn one_document_is_json_with_a_mark_before_it_or_without() {
        for body in ["{\"a\": 1}", "\u{feff}{\"a\": 1}", " \n{\"a\": 1}\r\n\t "] {
            assert_eq!(json::<Value>(body.as_bytes()).unwrap(), json!({"a": 1}));
        }
        assert_eq!(text("\u{feff}a".as_bytes()).unwrap(), "\u{feff}a");
    }

    #[test]
    fn what_is_not_one_document_of_text_is_called_by_its_name() {
        let utf16: Vec<u8> = "{\"a\": 1}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
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
    fn what_is_shown_of_bytes_is_their_number() {
        assert_eq!(shown("größer".as_bytes(), 3), "grö…");
        let shown = shown(b"\x89PNG....", 3);
        assert!(
            shown.contains("9 bytes") || shown.contains("8 bytes"),
            "{shown}"
        );
    }
}
