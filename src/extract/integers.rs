//! Integers beyond 64 bits: a number would round them, so that the text of their digits stands
//! for them. Pure.

/// The number of digits of the shortest integer beyond 64 bits, which is negative.
pub const MIN_DIGITS: usize = 19;

/// Whether a JSON text may have an integer beyond 64 bits. Every 19th byte is looked at, and the
/// digits around it.
pub fn has_long_integer(json: &str) -> bool {
    let bytes = json.as_bytes();
    let is_digit = |at: &usize| bytes[*at].is_ascii_digit();
    let mut at = MIN_DIGITS - 1;
    while at < bytes.len() {
        if is_digit(&at) {
            let start = at - (0..at).rev().take_while(is_digit).count();
            at += (at..bytes.len()).take_while(is_digit).count();
            let sign = usize::from(json[..start].ends_with('-'));
            let is_fraction = json[..start].ends_with('.');
            if !is_fraction && is_long_integer(&json[start - sign..at]) {
                return true;
            }
        }
        at += MIN_DIGITS;
    }
    false
}

/// Whether a word is an integer beyond 64 bits.
pub fn is_long_integer(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    let is_short = || word.parse::<i64>().is_ok() || word.parse::<u64>().is_ok();
    digits.len() >= MIN_DIGITS && is_integer && !is_short()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_integer_is_seen_at_any_place() {
        for before in 0..50 {
            for after in 0..25 {
                for (number, is_long) in [
                    ("9223372036854775808", false),
                    ("-9223372036854775808", false),
                    ("-9223372036854775809", true),
                    ("18446744073709551615", false),
                    ("18446744073709551616", true),
                    ("1234567890123456789012345678901234567890", true),
                    ("0.0001234567890123456789", false),
                ] {
                    let text = format!("{:before$}{number}{:after$}", "", "");
                    assert_eq!(has_long_integer(&text), is_long, "{text:?}");
                }
            }
        }
    }
}
