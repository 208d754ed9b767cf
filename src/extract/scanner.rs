//! A scanner that steps over JSON without building values. Pure.
//!
//! A text that it accepts is JSON for the full parser too. Rare texts (deep nesting, huge
//! numbers, integers beyond 64 bits, half a surrogate pair) are left to the full parser, so
//! that both always agree.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use super::integers::{MIN_DIGITS, is_long_integer};

/// The text is not JSON or is rare: the full parser decides.
#[derive(Debug)]
pub struct Unusual;

/// Maximum depth of nesting; deeper texts are unusual.
const MAX_DEPTH: u32 = 64;

/// Maximum number of characters of a number; with an exponent of two digits it is in the
/// range of a double.
const MAX_NUMBER_CHARS: usize = 100;

/// A position in a JSON text.
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// A scanner at the first byte.
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    /// The next byte after space.
    #[inline]
    pub fn peek(&mut self) -> Result<u8, Unusual> {
        let (at, byte) = next(self.text.as_bytes(), self.at);
        self.at = at;
        if byte == 0 { Err(Unusual) } else { Ok(byte) }
    }

    /// Steps over this byte, which must be the next one after space.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Result<(), Unusual> {
        self.at = expect(self.text.as_bytes(), self.at, byte)?;
        Ok(())
    }

    /// Steps over this byte if it is the next one after space.
    #[inline]
    pub fn take(&mut self, byte: u8) -> Result<bool, Unusual> {
        let is_next = self.peek()? == byte;
        self.at += usize::from(is_next);
        Ok(is_next)
    }

    /// Checks that only space follows.
    pub fn end(&mut self) -> Result<(), Unusual> {
        let (at, _) = next(self.text.as_bytes(), self.at);
        if at < self.text.len() { Err(Unusual) } else { Ok(()) }
    }

    /// Steps to the value of the next wanted field of an object, and returns what its name is
    /// wanted for; after the last field over the end of the object.
    #[inline]
    pub fn field<T>(&mut self, wanted: impl Fn(&[u8]) -> Option<T>) -> Result<Option<T>, Unusual> {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        loop {
            let start = expect(bytes, at, b'"')?;
            let (end, is_plain) = string(bytes, start)?;
            let value = expect(bytes, end, b':')?;
            let found = if is_plain {
                wanted(bytes.get(start..end - 1).unwrap_or_default())
            } else {
                wanted(self.text_of(start..end - 1, is_plain)?.as_bytes())
            };
            if found.is_some() {
                self.at = value;
                return Ok(found);
            }
            at = match next(bytes, value) {
                (start, b'"') => string(bytes, start + 1)?.0,
                (start, b'-' | b'0'..=b'9') => number(bytes, start)?,
                (start, _) => skip(bytes, start)?,
            };
            match next(bytes, at) {
                (comma, b',') => at = comma + 1,
                (end, b'}') => {
                    self.at = end + 1;
                    return Ok(None);
                }
                _ => return Err(Unusual),
            }
        }
    }

    /// What the characters between two quotes mean.
    #[inline]
    fn text_of(&self, inside: Range<usize>, is_plain: bool) -> Result<Cow<'a, str>, Unusual> {
        if is_plain {
            return self.text.get(inside).map(Cow::Borrowed).ok_or(Unusual);
        }
        let quoted = self.text.get(inside.start - 1..inside.end + 1).ok_or(Unusual)?;
        serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| Unusual)
    }

    /// Steps over the next value, and returns it.
    pub fn value(&mut self) -> Result<Value, Unusual> {
        let first = self.peek()?;
        let start = self.at;
        if first == b'"' {
            let (end, is_plain) = string(self.text.as_bytes(), start + 1)?;
            self.at = end;
            return self.text_of(start + 1..end - 1, is_plain).map(|text| text.into());
        }
        self.skip()?;
        let text = self.text.get(start..self.at).ok_or(Unusual)?;
        serde_json::from_str(text).map_err(|_| Unusual)
    }

    /// Steps over the next value.
    pub fn skip(&mut self) -> Result<(), Unusual> {
        self.at = skip(self.text.as_bytes(), self.at)?;
        Ok(())
    }
}

/// The position after the value that comes next. Positions are values and not fields, so that
/// they stay in registers.
fn skip(bytes: &[u8], mut at: usize) -> Result<usize, Unusual> {
    // One bit for each open list or object: 1 for an object.
    let (mut open, mut depth) = (0_u64, 0);
    loop {
        let (start, first) = next(bytes, at);
        at = match first {
            b'"' => string(bytes, start + 1)?.0,
            b'-' | b'0'..=b'9' => number(bytes, start)?,
            b'{' | b'[' => {
                let (inside, byte) = next(bytes, start + 1);
                // In ASCII the closing bracket is the opening one plus 2.
                if byte != first + 2 {
                    if depth == MAX_DEPTH {
                        return Err(Unusual);
                    }
                    depth += 1;
                    open = open << 1 | u64::from(first == b'{');
                    at = skip_key(bytes, inside, open)?;
                    continue;
                }
                inside + 1
            }
            b't' => word(bytes, start, b"true")?,
            b'f' => word(bytes, start, b"false")?,
            b'n' => word(bytes, start, b"null")?,
            _ => return Err(Unusual),
        };
        loop {
            if depth == 0 {
                return Ok(at);
            }
            let (after, byte) = next(bytes, at);
            at = after + 1;
            if byte == b',' {
                break;
            }
            if byte != if open & 1 == 1 { b'}' } else { b']' } {
                return Err(Unusual);
            }
            depth -= 1;
            open >>= 1;
        }
        at = skip_key(bytes, at, open)?;
    }
}

/// The position after the name before a value, if the innermost container is an object.
#[inline]
fn skip_key(bytes: &[u8], at: usize, open: u64) -> Result<usize, Unusual> {
    if open & 1 == 0 {
        return Ok(at);
    }
    let (end, _) = string(bytes, expect(bytes, at, b'"')?)?;
    expect(bytes, end, b':')
}

/// The next byte after space, and its position; at the end zero, which no JSON has there.
#[inline]
fn next(bytes: &[u8], mut at: usize) -> (usize, u8) {
    loop {
        let byte = bytes.get(at).copied().unwrap_or_default();
        if byte > b' ' || !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            return (at, byte);
        }
        at += 1;
    }
}

/// The position after this byte, which must be the next one after space.
#[inline]
fn expect(bytes: &[u8], at: usize, byte: u8) -> Result<usize, Unusual> {
    let (at, found) = next(bytes, at);
    if found == byte { Ok(at + 1) } else { Err(Unusual) }
}

/// The position after the string whose first character is here, and whether it has no escapes.
#[inline(always)]
fn string(bytes: &[u8], mut at: usize) -> Result<(usize, bool), Unusual> {
    let mut is_plain = true;
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok((at + 1, is_plain)),
            Some(b'\\') => {
                is_plain = false;
                at = escape(bytes, at)?;
            }
            // A control character, or the end.
            _ => return Err(Unusual),
        }
    }
}

/// The position of the next quote, backslash or control character.
#[inline(always)]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let found = special_bytes(u64::from_le_bytes(*eight));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    last_plain_end(bytes, at)
}

/// The position of the next such byte within the last bytes of a text.
#[cold]
fn last_plain_end(bytes: &[u8], at: usize) -> usize {
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The position after the escape that begins here.
fn escape(bytes: &[u8], at: usize) -> Result<usize, Unusual> {
    Ok(match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at + 2,
        Some(b'u') => match unit(bytes, at)? {
            0xd800..0xdc00 if (0xdc00..0xe000).contains(&unit(bytes, at + 6)?) => at + 12,
            0xd800..0xe000 => return Err(Unusual),
            _ => at + 6,
        },
        _ => return Err(Unusual),
    })
}

/// The UTF-16 unit of `\u1234`.
fn unit(bytes: &[u8], at: usize) -> Result<u32, Unusual> {
    let escape = bytes.get(at..at + 6).ok_or(Unusual)?;
    let digits = escape.strip_prefix(b"\\u").ok_or(Unusual)?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(Unusual)?;
        Ok(unit << 4 | digit)
    })
}

/// The position after the number that begins here.
#[inline(always)]
fn number(bytes: &[u8], start: usize) -> Result<usize, Unusual> {
    let first = start + usize::from(bytes.get(start) == Some(&b'-'));
    let mut at = match bytes.get(first) {
        Some(b'0') => first + 1,
        _ => digits(bytes, first)?,
    };
    let integer = start..at;
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = at + 1 + sign;
        at = digits(bytes, exponent)?;
        if at - exponent > 2 {
            return Err(Unusual);
        }
    }
    if at - start < MIN_DIGITS { Ok(at) } else { long_number(bytes, integer, at) }
}

/// The position after a long number, unless it is an integer beyond 64 bits, or very long.
#[cold]
fn long_number(bytes: &[u8], integer: Range<usize>, end: usize) -> Result<usize, Unusual> {
    let is_integer = integer.end == end;
    let is_rare = end - integer.start > MAX_NUMBER_CHARS
        || is_integer && str::from_utf8(&bytes[integer]).map_or(true, is_long_integer);
    if is_rare { Err(Unusual) } else { Ok(end) }
}

/// The position after one or more digits.
#[inline(always)]
fn digits(bytes: &[u8], start: usize) -> Result<usize, Unusual> {
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let mut at = start;
    while is_digit(at) {
        at += 1;
    }
    if at == start { Err(Unusual) } else { Ok(at) }
}

/// The position after this word.
fn word(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Unusual> {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.starts_with(word) { Ok(at + word.len()) } else { Err(Unusual) }
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each of eight bytes that is a quote, a backslash or a control
/// character. Bits above the lowest one may be set in error.
#[inline]
fn special_bytes(eight: u64) -> u64 {
    // With the second bit turned over, a quote stands next to the control characters.
    let quote = (eight ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let slash = (eight ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
    (quote | slash) & !eight & (ONES * 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_json(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.skip().and_then(|()| scanner.end()).is_ok()
    }

    #[test]
    fn json_is_stepped_over_and_anything_else_is_not() {
        let deep = |n| "[".repeat(n) + &"]".repeat(n);
        for text in [
            "0",
            "-0.5e+10",
            "18446744073709551615",
            "-9223372036854775808",
            "0.12345678901234567890",
            " [1, {\"a\" : [ ] , \"b\":{ }} ]\r\n",
            r#""é \u00e9 \ud83d\ude00 \" \\ 12345678""#,
            "true",
            &deep(65),
        ] {
            assert!(is_json(text), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
        }
        for text in [
            "",
            "01",
            "+1",
            "1.",
            ".5",
            "1e",
            "1e400",
            "18446744073709551616",
            "-9223372036854775809",
            "NaN",
            "nul",
            "[1,]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "[1}",
            "1 2",
            "\"\n\"",
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            r#""\x41""#,
            r#""\u12g4""#,
            "\"open",
            "[",
            "{}\0",
            &deep(66),
        ] {
            assert!(!is_json(text), "{text}");
        }
    }

    #[test]
    fn fields_are_known_by_what_their_names_mean() {
        let mut scanner = Scanner::new(r#" "x" : "y" , "a\u0062" : [1 , 2] , "x": {} } , "#);
        let wanted = |name: &[u8]| (name == b"ab").then_some(7);
        assert_eq!(scanner.field(wanted).unwrap(), Some(7));
        assert_eq!(scanner.value().unwrap(), serde_json::json!([1, 2]));
        assert!(scanner.take(b',').unwrap());
        assert_eq!(scanner.field(wanted).unwrap(), None);
        assert!(scanner.take(b',').unwrap() && scanner.end().is_ok());
    }
}
