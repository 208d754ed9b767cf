//! The mark before what a spreadsheet would take for a formula.
//!
//! A text that begins like a formula stands in a CSV file of results with a `'`
//! before it: the guard. So does a text that begins with one or more `'` and then
//! like a formula, so that a reader can take away exactly what was put there:
//! [`unguarded`] of [`guarded`] is the text itself, whatever it is.

use std::borrow::Cow;

/// The text with a guard, if it needs one.
pub(super) fn guarded(text: &str) -> Cow<'_, str> {
    if needs_guard(text) { format!("'{text}").into() } else { text.into() }
}

/// The text without the guard that throng gave it.
pub(super) fn unguarded(text: &str) -> &str {
    let rest = text.strip_prefix('\'');
    rest.filter(|rest| needs_guard(rest)).unwrap_or(text)
}

/// Whether a table with these columns holds results of throng's, whose names and
/// values have guards.
pub(super) fn has_guards<'a>(names: impl Iterator<Item = &'a str> + Clone) -> bool {
    let has = |own| names.clone().any(|name| name == own);
    has("_row") && has("_ok")
}

fn needs_guard(text: &str) -> bool {
    let is_number = || text.parse().is_ok_and(f64::is_finite);
    let begins = text.trim_start_matches('\'');
    begins.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_taken_away_and_nothing_else() {
        let pieces = ["", "'", "''", "=", "@", "-", "\t", "\r", "x", "-1", "é"];
        let number = |text: &str| text.parse::<f64>().is_ok_and(f64::is_finite);
        for one in pieces {
            for two in pieces {
                for three in pieces {
                    let text = format!("{one}{two}{three}");
                    let written = guarded(&text);
                    assert_eq!(unguarded(&written), text);
                    assert!(
                        number(&written) || !written.starts_with(['=', '+', '-', '@', '\t', '\r'])
                    );
                }
            }
        }
        // As they were written before a guard was guarded.
        for (written, text) in [("'@bob", "@bob"), ("'-12.5", "'-12.5"), ("-1", "-1"), ("'", "'")] {
            assert_eq!(unguarded(written), text);
        }
    }
}
