//! JSON documents of a text: one, or several one after the other. What JSON has no word for
//! spoils only itself. Pure.

use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};

use super::integers::{has_long_integer, is_long_integer};
use crate::record::{Failure, FailureKind, excerpt};

/// Maximum number of characters of a body in a failure's detail.
pub const MAX_CHARS: usize = 80;

/// Beginnings of answers that keep browsers from running them.
const GUARDS: [&str; 4] = [")]}',", ")]}'", "while(1);", "for(;;);"];

/// The value of a JSON text that holds one document. An integer beyond 64 bits is a text of its
/// digits.
///
/// # Errors
/// Where the text is no JSON.
pub fn value(text: &str) -> serde_json::Result<Value> {
    if has_long_integer(text) {
        serde_json::from_str(&mend(text))
    } else {
        serde_json::from_str(text)
    }
}

/// All documents of a text. Numbers that JSON has no word for, or that are out of the range of
/// a double, are null, and halves of surrogate pairs U+FFFD. An integer beyond 64 bits is a text
/// of its digits.
///
/// # Errors
/// A failure `not json`, with the place.
pub fn documents(text: &str) -> Result<Vec<Value>, Failure> {
    if !has_long_integer(text)
        && let Ok(document) = serde_json::from_str(text)
    {
        return Ok(vec![document]);
    }
    let mended = mend(without_guard(text));
    let mut documents = Deserializer::from_str(&mended).into_iter::<Value>();
    let mut all = Vec::new();
    while let Some(document) = documents.next() {
        let at = documents.byte_offset();
        all.push(document.map_err(|error| not_json(text, &mended, all.len(), at, &error))?);
    }
    if all.is_empty() {
        let error = serde_json::from_str::<IgnoredAny>(&mended).err();
        let why = error.map_or_else(String::new, |error| error.to_string());
        return Err(Failure::new(FailureKind::NotJson, why));
    }
    Ok(all)
}

fn without_guard(text: &str) -> &str {
    let text = text.trim_start();
    GUARDS.iter().find_map(|guard| text.strip_prefix(guard)).unwrap_or(text)
}

fn not_json(
    text: &str,
    mended: &str,
    before: usize,
    at: usize,
    error: &serde_json::Error,
) -> Failure {
    let start = excerpt(text, MAX_CHARS);
    let error = match raw_control(mended) {
        Some(found) if error.to_string().starts_with("control character") => format!(
            "a text has the raw control character U+{:04X}{} at line {} column {}, which JSON wants as an escape",
            u32::from(found),
            control_name(found),
            error.line(),
            error.column()
        ),
        _ => error.to_string(),
    };
    let why = match before {
        0 => format!("{error}; the answer begins {start:?}"),
        before => {
            let rest = excerpt(mended.get(at..).unwrap_or_default().trim_start(), MAX_CHARS);
            let what = if before == 1 {
                "a whole document".to_owned()
            } else {
                format!("{before} whole documents")
            };
            format!(
                "after {what} comes text that is no JSON, {rest:?}: {error}; the answer begins {start:?}"
            )
        }
    };
    Failure::new(FailureKind::NotJson, why)
}

fn control_name(control: char) -> &'static str {
    match control {
        '\t' => " (tab)",
        '\n' => " (line feed)",
        '\r' => " (carriage return)",
        '\0' => " (zero)",
        _ => "",
    }
}

/// The first control character that stands in a string.
fn raw_control(text: &str) -> Option<char> {
    let mut rest = text;
    while let Some(start) = rest.find('"') {
        let string = &rest[start..];
        let string = &string[..string_length(string)];
        if let Some(found) = string.chars().find(|c| u32::from(*c) < 0x20) {
            return Some(found);
        }
        rest = &rest[start + string.len()..];
    }
    None
}

/// The length of the string with which a text begins, in bytes: to its closing quote, or to the
/// end.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The text with what spoils no more than itself replaced.
fn mend(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let length = string_length(rest);
                mend_string(&rest[..length], &mut mended);
                length
            }
            // The mark before each document of RFC 7464.
            '\u{1e}' => {
                mended.push('\n');
                1
            }
            first if is_between(first) => {
                mended.push(first);
                first.len_utf8()
            }
            _ => {
                let length = rest.find(|c| is_between(c) || c == '"').unwrap_or(rest.len());
                let (word, after) = rest.split_at(length);
                mend_word(word, after, &mut mended);
                length
            }
        };
        rest = &rest[length..];
    }
    mended
}

/// Adds a word, which is no string, before the text after it.
fn mend_word(word: &str, after: &str, mended: &mut String) {
    // The name of a field is no number, and stays wrong.
    let is_value = || !after.trim_start().starts_with(':');
    if is_long_integer(word) && is_value() {
        mended.push('"');
        mended.push_str(word);
        mended.push('"');
    } else if word.parse::<f64>().is_ok_and(|number| !number.is_finite()) {
        mended.push_str("null");
    } else {
        mended.push_str(word);
    }
}

/// Whether a character stands between words.
fn is_between(c: char) -> bool {
    matches!(c, '{' | '}' | '[' | ']' | ',' | ':' | ' ' | '\n' | '\r' | '\t' | '\u{1e}')
}

/// Adds a string, with U+FFFD in place of each half of a surrogate pair.
fn mend_string(string: &str, mended: &mut String) {
    let mut rest = string;
    while let Some(at) = rest.find('\\') {
        mended.push_str(&rest[..at]);
        rest = &rest[at..];
        let (escape, length) = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => (&rest[..12], 12),
            (Some(0xd800..0xe000), _) => ("\\ufffd", 6),
            _ => {
                let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                (&rest[..length], length)
            }
        };
        mended.push_str(escape);
        rest = &rest[length..];
    }
    mended.push_str(rest);
}

/// The UTF-16 unit of the escape with which a text begins.
fn unit(text: &str) -> Option<u32> {
    let digits = text.get(..6)?.strip_prefix("\\u")?;
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        documents(text).unwrap().into()
    }

    #[test]
    fn documents_follow_one_another() {
        for (text, expected) in [
            (r#"{"a": 1}"#, json!([{"a": 1}])),
            ("{\"a\": 1}\n{\"a\": 2}\n", json!([{"a": 1}, {"a": 2}])),
            ("{\"a\": 1}{\"a\": 2}", json!([{"a": 1}, {"a": 2}])),
            ("\u{1e}{\"a\": 1}\n\u{1e}[2]\n", json!([{"a": 1}, [2]])),
            (")]}'\n{\"a\": 1}", json!([{"a": 1}])),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_json_has_no_word_for_spoils_only_itself() {
        for (text, expected) in [
            (r#"{"a": NaN, "b": -Infinity, "c": 1}"#, json!([{"a": null, "b": null, "c": 1}])),
            (r#"[1e999, -1e999, nan, inf, "NaN"]"#, json!([[null, null, null, null, "NaN"]])),
            (r#"{"a": "\ud800x", "b": "\ud83d\ude00"}"#, json!([{"a": "\u{fffd}x", "b": "😀"}])),
            (r#"["\"NaN", NaN, "\\"]"#, json!([["\"NaN", null, "\\"]])),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn an_integer_beyond_64_bits_is_a_text_of_its_digits() {
        let long = "12345678901234567890123";
        for (text, expected) in [
            (long.to_owned(), json!(long)),
            (format!("[-{long}, \"{long}\", 7]"), json!([format!("-{long}"), long, 7])),
            ("[18446744073709551615, 18446744073709551616]".into(), {
                json!([u64::MAX, "18446744073709551616"])
            }),
            ("[-9223372036854775808,-9223372036854775809]".into(), {
                json!([i64::MIN, "-9223372036854775809"])
            }),
            (format!("{{\"{long}\": 0.{long}}}"), json!({long: 0.123_456_789_012_345_68})),
            (
                format!("[{long}e2, {long}.5]"),
                json!([1.234_567_890_123_456_8e24, 1.234_567_890_123_456_8e22]),
            ),
            (format!("[{}]", long.repeat(20)), json!([long.repeat(20)])),
        ] {
            assert_eq!(read(&text), json!([expected]), "{text}");
            assert_eq!(value(&text).unwrap(), expected, "{text}");
        }
        for text in [format!("{{{long}: 1}}"), format!("[0{long}]"), format!("[+{long}]")] {
            assert!(documents(&text).is_err() && value(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_document_is_shown() {
        for (text, why) in [
            ("{\"a\": 1} oops", "after a whole document comes text that is no JSON, \"oops\""),
            ("{\"a\": 1}\n{\"a\": 2}\n{\"a\"", "after 2 whole documents"),
            ("{\"a\": \"x\ty\"}", "raw control character U+0009 (tab) at line 1 column"),
            ("{\"b\": \"\\\"\", \"a\": \"x\u{1}y\"}", "raw control character U+0001 at line 1"),
            ("<html>", "the answer begins \"<html>\""),
            ("{\"a\": nope}", "the answer begins"),
            ("[1,]", "trailing comma"),
            ("", "EOF"),
        ] {
            let failure = documents(text).unwrap_err();
            assert_eq!(failure.kind, FailureKind::NotJson, "{text}");
            assert!(failure.detail.contains(why), "{text}: {}", failure.detail);
        }
    }
}
