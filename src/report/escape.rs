//! Text of others, made harmless for a terminal.
//!
//! A server's text is data. It must neither move the cursor, nor colour or
//! reorder what stands around it, nor pass for a line of ours.

use std::fmt::Write as _;

/// A longer text of a server is cut to so many characters.
const SHORT: usize = 200;

/// The text with every character visible: controls, line ends and what
/// reorders or hides text stand there as escapes, such as `\n` and `\u{1b}`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    text.chars().for_each(|char| push(char, &mut safe));
    safe
}

/// As [`escape`], and cut to 200 characters of the text, with a `…` if there
/// were more.
#[must_use]
pub fn short(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        None => escape(text),
        Some((end, _)) => escape(&text[..end]) + "…",
    }
}

/// A text of whole lines with nothing in it that a terminal would obey but the ends of
/// the lines and tabs: all else stands there as `\u001b`, which is the same value in
/// JSON, where it can only be within a string.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\t' => safe.push(char),
            _ if char.is_control() || is_invisible(char) => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
            _ => safe.push(char),
        }
    }
    safe
}

fn push(char: char, safe: &mut String) {
    match char {
        '\n' => safe.push_str("\\n"),
        '\r' => safe.push_str("\\r"),
        '\t' => safe.push_str("\\t"),
        // Writing to a String cannot fail.
        _ if char.is_control() || is_invisible(char) => {
            let _ = write!(safe, "{}", char.escape_unicode());
        }
        _ => safe.push(char),
    }
}

/// What is no control by Unicode's count, and yet changes how text looks.
fn is_invisible(char: char) -> bool {
    matches!(char,
        // Marks, embeddings, overrides and isolates of direction.
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Nothing wide, and ends of lines and paragraphs.
        | '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
        // Tags: a second alphabet that nobody sees.
        | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (text, expected) in [
            ("plain é 漢 \\ text", "plain é 漢 \\ text"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("\u{9b}31m\u{7f}\0", "\\u{9b}31m\\u{7f}\\u{0}"),
            ("exe\u{202e}gpj", "exe\\u{202e}gpj"),
            (
                "a\u{200b}\u{2066}\u{2028}\u{e0041}",
                "a\\u{200b}\\u{2066}\\u{2028}\\u{e0041}",
            ),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn no_character_gets_through_that_a_terminal_obeys() {
        let all: String = ('\0'..='\u{ffff}').collect();
        assert!(
            !escape(&all)
                .chars()
                .any(|char| char.is_control() || is_invisible(char))
        );
    }

    #[test]
    fn what_is_made_visible_is_the_same_json() {
        let all: String = ('\u{7f}'..='\u{ffff}')
            .chain('\u{e0000}'..='\u{e007f}')
            .collect();
        let json = serde_json::to_string(&all).unwrap();
        let safe = visible(&json);
        assert!(
            !safe
                .chars()
                .any(|char| char.is_control() || is_invisible(char))
        );
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), all);
        assert_eq!(
            visible("a\tb\r\n\u{1b}[m\u{e0041}"),
            "a\tb\\u000d\n\\u001b[m\\udb40\\udc41"
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(short(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(short(&"é".repeat(201)), "é".repeat(200) + "…");
    }
}
