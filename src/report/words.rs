//! Numbers for people, with the digits that are worth reading.

use std::time::Duration;

use crate::limit::duration;

/// `1 row`, `2 rows`, `12,000 rows`.
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    let noun = if count == 1 { one } else { many };
    format!("{} {noun}", self::count(count))
}

/// `12,000`.
pub fn count(count: u64) -> String {
    grouped(&count.to_string())
}

/// `0.215 s`, `118.2 s`, `5 h 13 m`.
pub(crate) fn seconds(seconds: f64) -> String {
    duration::measured(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// `0.215 per second`, `4.23 per second`, `1,200.5 per second`.
pub(crate) fn per_second(rate: f64) -> String {
    format!("{} per second", measured(rate))
}

/// `1.25 ms`, `12.5 ms`, `125 ms`.
pub(crate) fn milliseconds(milliseconds: f64) -> String {
    let places = match milliseconds {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    format!("{} ms", decimal(milliseconds, places))
}

/// `12.5 %` for 0.125.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", decimal(share * 100.0, 1))
}

/// A number with about six digits: `12,345.68`, `75.2135`, `0.00012`.
pub(crate) fn number(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        ..1e-4 | 1e15.. => format!("{number:.4e}"),
        1e-4..1.0 => decimal(number, 6),
        1.0..1000.0 => decimal(number, 4),
        _ => decimal(number, 2),
    }
}

/// A measured number with few digits.
fn measured(number: f64) -> String {
    let places = match number {
        ..1.0 => 3,
        1.0..100.0 => 2,
        _ => 1,
    };
    decimal(number, places)
}

/// A number with at most this many decimal places.
fn decimal(number: f64, places: usize) -> String {
    let text = format!("{number:.places$}");
    match text.split_once('.') {
        None => grouped(&text),
        Some((whole, rest)) => {
            let rest = rest.trim_end_matches('0');
            let point = if rest.is_empty() { "" } else { "." };
            format!("{}{point}{rest}", grouped(whole))
        }
    }
}

/// A comma before every three digits but the first.
fn grouped(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let mut text = sign.to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        for (value, expected) in [
            (0.0, "0"),
            (3.0, "3"),
            (75.213_456_789, "75.2135"),
            (0.1 + 0.2, "0.3"),
            (-1_234_567.891, "-1,234,567.89"),
            (1000.0, "1,000"),
            (0.000_123_456_789, "0.000123"),
            (0.000_001, "1.0000e-6"),
            (1e20, "1.0000e20"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn times_and_shares_have_fewer() {
        assert_eq!(seconds(118.234), "118.2 s");
        assert_eq!(seconds(2.151), "2.15 s");
        assert_eq!((seconds(5.0), seconds(0.25)), ("5 s".into(), "0.25 s".into()));
        assert_eq!(seconds(90_000.0), "1 d 1 h");
        assert_eq!(per_second(4.228_9), "4.23 per second");
        assert_eq!(milliseconds(118.234), "118 ms");
        assert_eq!(milliseconds(1.234), "1.23 ms");
        assert_eq!(percent(0.125), "12.5 %");
        assert_eq!(percent(1.0), "100 %");
    }

    #[test]
    fn nouns_follow_their_numbers() {
        for (number, expected) in [(0, "0 rows"), (1, "1 row"), (12_000, "12,000 rows")] {
            assert_eq!(plural(number, "row", "rows"), expected);
        }
        assert_eq!((count(999), count(1_000_000)), ("999".into(), "1,000,000".into()));
    }
}
