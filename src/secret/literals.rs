//! The string literals of JSON, and the places of secrets in them. Pure.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::matcher::{MatchEnd, Matcher};

/// Whether a text is JSON: one value, or several after each other.
pub fn is_json(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.all(|value| value.is_ok())
}

/// The places of secrets in literals, found in their decoded texts.
pub fn ranges(matcher: &Matcher, json: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(literal) = next_literal(json.as_bytes(), from) {
        from = literal.end + 1;
        found.extend(within(matcher, json, literal));
    }
    found
}

/// The place between the next two quotes.
pub fn next_literal(json: &[u8], from: usize) -> Option<Range<usize>> {
    let is_quote = |byte: &u8| *byte == b'"';
    let start = from + json.get(from..)?.iter().position(is_quote)? + 1;
    let mut end = start;
    loop {
        match json.get(end)? {
            b'"' => return Some(start..end),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
}

/// The decoded text of the next literal, and its place between its quotes.
pub fn literal(json: &str, from: usize) -> Option<(String, Range<usize>)> {
    let place = next_literal(json.as_bytes(), from)?;
    let (text, _) = decode(json.get(place.clone())?);
    Some((text, place))
}

fn within(matcher: &Matcher, json: &str, literal: Range<usize>) -> Vec<Range<usize>> {
    let Some(text) = json.get(literal.clone()) else {
        return Vec::new();
    };
    if !text.contains('\\') {
        let found = matcher.ranges(text.as_bytes(), MatchEnd::Whole);
        let moved = |range: Range<usize>| range.start + literal.start..range.end + literal.start;
        return found.into_iter().map(moved).collect();
    }
    let (decoded, places) = decode(text);
    let found = matcher.ranges(decoded.as_bytes(), MatchEnd::Whole);
    found
        .into_iter()
        .map(|range| literal.start + places[range.start]..literal.start + places[range.end])
        .collect()
}

/// The decoded text of a literal, and the place of each of its bytes and of its end.
fn decode(literal: &str) -> (String, Vec<usize>) {
    let (mut decoded, mut places) = (String::new(), Vec::new());
    let mut at = 0;
    while let Some(letter) = literal[at..].chars().next() {
        let (letter, length) = match letter {
            '\\' => escaped(&literal[at..]),
            letter => (letter, letter.len_utf8()),
        };
        decoded.push(letter);
        places.resize(decoded.len(), at);
        at += length;
    }
    places.push(at);
    (decoded, places)
}

/// The character of an escape, and its length.
fn escaped(text: &str) -> (char, usize) {
    let letter = match text.as_bytes().get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return utf16(text),
        _ => {
            let letter = text[1..].chars().next();
            return letter.map_or(('\\', 1), |letter| (letter, 1 + letter.len_utf8()));
        }
    };
    (letter, 2)
}

/// The character of `\uXXXX`, or of two of them; half of a pair is the replacement
/// character.
fn utf16(text: &str) -> (char, usize) {
    const ONE: usize = 6;
    let unit = |at: usize| {
        let digits = text.get(at..at + ONE)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let Some(first) = unit(0) else {
        return ('\\', 1);
    };
    if let Some(letter) = char::from_u32(first.into()) {
        return (letter, ONE);
    }
    let pair = unit(ONE).and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    pair.map_or((char::REPLACEMENT_CHARACTER, ONE), |letter| (letter, 2 * ONE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_means_what_a_parser_takes_it_for() {
        for literal in
            ["plain Ü", r#"\"\\\/\b\f\n\r\t"#, r"\u0041\u00fc\ud83d\ude00", r"\\u0041", r"\\\u0041"]
        {
            let (decoded, places) = decode(literal);
            let parsed: String = serde_json::from_str(&format!("\"{literal}\"")).unwrap();
            assert_eq!(decoded, parsed);
            assert_eq!(places.len(), decoded.len() + 1);
            assert_eq!(places.last(), Some(&literal.len()));
        }
    }

    #[test]
    fn literals_are_found_in_their_order() {
        let json = br#"{"a": "b\"c", "d\\": 1, "e"#;
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(literal) = next_literal(json, from) {
            from = literal.end + 1;
            found.push(String::from_utf8_lossy(&json[literal]).into_owned());
        }
        assert_eq!(found, ["a", r#"b\"c"#, r"d\\"]);
    }

    #[test]
    fn json_is_one_value_or_several() {
        for (text, is) in [
            (r#"{"a": 1}"#, true),
            ("{\"a\": 1}\n{\"a\": 2}\n", true),
            ("\u{feff}[1]", true),
            ("{\"a\": ", false),
            ("<html>", false),
        ] {
            assert_eq!(is_json(text), is, "{text}");
        }
    }
}
