//! Foreign text, escaped for a terminal.
//!
//! A server's text is data. It must not move the cursor, colour or reorder the
//! text around it, or look like a line of our own.

use std::fmt::Write as _;

/// Maximum number of characters of a server's text.
const SHORT: usize = 200;

/// The text with every character visible: control characters, line ends and
/// invisible characters become escapes, such as `\n` and `\u{1b}`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    text.chars().for_each(|char| push(char, &mut safe));
    safe
}

/// The first 200 characters of the text, escaped by [`escape`], with a `…` if it
/// goes on.
#[must_use]
pub fn short(text: &str) -> String {
    match text.char_indices().nth(SHORT) {
        None => escape(text),
        Some((end, _)) => escape(&text[..end]) + "…",
    }
}

/// JSON lines in which a terminal interprets only line ends and tabs. Other control
/// characters become escapes such as `\u001b`, which are the same value, since in JSON
/// they can only be within a string.
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

/// Whether a character is not a control character but changes how text looks.
fn is_invisible(char: char) -> bool {
    matches!(char,
        // Marks, embeddings, overrides and isolates of direction.
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        // Zero-width characters, and separators of lines and paragraphs.
        | '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
        // Tags: an invisible alphabet.
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
            ("a\u{200b}\u{2066}\u{2028}\u{e0041}", "a\\u{200b}\\u{2066}\\u{2028}\\u{e0041}"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn no_character_gets_through_that_a_terminal_obeys() {
        let all: String = ('\0'..='\u{ffff}').collect();
        assert!(!escape(&all).chars().any(|char| char.is_control() || is_invisible(char)));
    }

    #[test]
    fn what_is_made_visible_is_the_same_json() {
        let all: String = ('\u{7f}'..='\u{ffff}').chain('\u{e0000}'..='\u{e007f}').collect();
        let json = serde_json::to_string(&all).unwrap();
        let safe = visible(&json);
        assert!(!safe.chars().any(|char| char.is_control() || is_invisible(char)));
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), all);
        assert_eq!(visible("a\tb\r\n\u{1b}[m\u{e0041}"), "a\tb\\u000d\n\\u001b[m\\udb40\\udc41");
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(short(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(short(&"é".repeat(201)), "é".repeat(200) + "…");
    }
}
