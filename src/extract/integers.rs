//! Integers beyond 64 bits, and other numbers of more digits than a number keeps: it would round
//! them, so that the text of their digits stands for them. Pure.

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

/// Whether a JSON text may have a number of more digits than a number keeps.
pub fn may_have_long_number(json: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let mut at = MIN_DIGITS - 1;
    while at < json.len() {
        if is_part(&json[at]) {
            let before = json[..at].iter().rev().take_while(|byte| is_part(byte)).count();
            let after = json[at..].iter().take_while(|byte| is_part(byte)).count();
            if before + after >= MIN_DIGITS {
                return true;
            }
            at += after;
        }
        at += MIN_DIGITS;
    }
    false
}

/// Whether a word is a number that would be rounded: an integer beyond 64 bits, or one with
/// more digits than any double is written with.
pub fn is_long_number(word: &str) -> bool {
    if is_long_integer(word) {
        return true;
    }
    let mantissa = word.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    let significant = digits.skip_while(|digit| *digit == b'0').count();
    let zeros = mantissa.bytes().rev().take_while(|byte| *byte == b'0').count();
    let is_decimal = mantissa.len() < word.len() || mantissa.contains('.');
    is_decimal
        && significant.saturating_sub(zeros) > DIGITS_OF_DOUBLE
        && word.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Maximum number of significant digits with which a double is written.
const DIGITS_OF_DOUBLE: usize = 17;

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
    fn a_number_that_would_be_rounded_is_seen_at_any_place() {
        for (number, is_long) in [
            ("18446744073709551615", false),
            ("18446744073709551616", true),
            ("-9223372036854775809", true),
            ("0.1234567890123456789", true),
            ("-1234567890.1234567890", true),
            ("1234567890.1234567e-20", false),
            ("123456789012345678901e-20", true),
            ("0.10000000000000000000", false),
            ("0.00000000000000000001", false),
            ("52.520008000000001", false),
            ("12345678901234567890.5e999", false),
        ] {
            assert_eq!(is_long_number(number), is_long, "{number}");
            for before in 0..50 {
                let text = format!("{:before$}{number}", "");
                assert!(may_have_long_number(text.as_bytes()) || !is_long, "{text:?}");
            }
        }
    }

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
