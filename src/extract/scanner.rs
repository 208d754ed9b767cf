//! A scanner that steps over JSON without building values. Pure.
//!
//! A text that it accepts is JSON for the full parser too. Rare texts (deep nesting, huge
//! numbers, integers beyond 64 bits, half a surrogate pair) are left to the full parser, so
//! that both always agree.

use std::borrow::Cow;

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
        while let Some(byte) = self.byte(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(byte);
            }
            self.at += 1;
        }
        Err(Unusual)
    }

    /// Steps over this byte, which must be the next one after space.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Result<(), Unusual> {
        if self.peek()? != byte {
            return Err(Unusual);
        }
        self.at += 1;
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
        if self.peek().is_ok() { Err(Unusual) } else { Ok(()) }
    }

    /// Steps over the name of a field and its colon, and returns the name.
    #[inline]
    pub fn key(&mut self) -> Result<Cow<'a, str>, Unusual> {
        let start = self.at_quote()?;
        let is_plain = self.string()?;
        let key = self.text.get(start..self.at).ok_or(Unusual)?;
        self.expect(b':')?;
        if is_plain {
            return Ok(key[1..key.len() - 1].into());
        }
        let meant = serde_json::from_str(key);
        meant.map(Cow::Owned).map_err(|_| Unusual)
    }

    /// Steps over the next value, and returns its text.
    #[inline]
    pub fn value(&mut self) -> Result<&'a str, Unusual> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        self.text.get(start..self.at).ok_or(Unusual)
    }

    /// Steps over the next value.
    pub fn skip(&mut self) -> Result<(), Unusual> {
        // One bit for each open list or object: 1 for an object.
        let (mut open, mut depth) = (0_u64, 0);
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                first @ (b'{' | b'[') => {
                    self.at += 1;
                    // In ASCII the closing bracket is the opening one plus 2.
                    if !self.take(first + 2)? {
                        if depth == MAX_DEPTH {
                            return Err(Unusual);
                        }
                        depth += 1;
                        open = open << 1 | u64::from(first == b'{');
                        self.skip_key(open)?;
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => return Err(Unusual),
            }
            while depth > 0 && !self.take(b',')? {
                self.expect(if open & 1 == 1 { b'}' } else { b']' })?;
                depth -= 1;
                open >>= 1;
            }
            if depth == 0 {
                return Ok(());
            }
            self.skip_key(open)?;
        }
    }

    /// Steps over the name before a value, if the innermost container is an object.
    #[inline]
    fn skip_key(&mut self, open: u64) -> Result<(), Unusual> {
        if open & 1 == 1 {
            self.at_quote()?;
            self.string()?;
            self.expect(b':')?;
        }
        Ok(())
    }

    /// The position of the quote that must be the next byte after space.
    #[inline]
    fn at_quote(&mut self) -> Result<usize, Unusual> {
        if self.peek()? == b'"' { Ok(self.at) } else { Err(Unusual) }
    }

    /// Steps over the string that begins here; returns whether it has no escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, Unusual> {
        let mut is_plain = true;
        self.at += 1;
        loop {
            self.skip_plain();
            match self.byte(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(is_plain);
                }
                Some(b'\\') => {
                    is_plain = false;
                    self.escape()?;
                }
                // A control character, or the end.
                _ => return Err(Unusual),
            }
        }
    }

    /// Moves to the next quote, backslash or control character.
    #[inline]
    fn skip_plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(eight) = bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let found = special_bytes(u64::from_le_bytes(*eight));
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while !matches!(bytes.get(self.at), None | Some(b'"' | b'\\' | 0..0x20)) {
            self.at += 1;
        }
    }

    /// Steps over the escape that begins here.
    fn escape(&mut self) -> Result<(), Unusual> {
        self.at += match self.byte(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match self.unit(self.at)? {
                0xd800..0xdc00 if (0xdc00..0xe000).contains(&self.unit(self.at + 6)?) => 12,
                0xd800..0xe000 => return Err(Unusual),
                _ => 6,
            },
            _ => return Err(Unusual),
        };
        Ok(())
    }

    /// The UTF-16 unit of `\u1234`.
    fn unit(&self, at: usize) -> Result<u32, Unusual> {
        let escape = self.text.as_bytes().get(at..at + 6).ok_or(Unusual)?;
        let digits = escape.strip_prefix(b"\\u").ok_or(Unusual)?;
        digits.iter().try_fold(0, |unit, digit| {
            let digit = char::from(*digit).to_digit(16).ok_or(Unusual)?;
            Ok(unit << 4 | digit)
        })
    }

    fn number(&mut self) -> Result<(), Unusual> {
        let start = self.at;
        self.at += usize::from(self.byte(self.at) == Some(b'-'));
        match self.byte(self.at) {
            Some(b'0') => self.at += 1,
            _ => drop(self.digits()?),
        }
        let integer = start..self.at;
        if self.byte(self.at) == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte(self.at) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(self.at), Some(b'+' | b'-')));
            if self.digits()? > 2 {
                return Err(Unusual);
            }
        }
        match self.at - start {
            0..MIN_DIGITS => Ok(()),
            length if length > MAX_NUMBER_CHARS => Err(Unusual),
            _ if integer.end == self.at && is_long_integer(&self.text[integer]) => Err(Unusual),
            _ => Ok(()),
        }
    }

    /// Steps over one or more digits, and returns their number.
    #[inline]
    fn digits(&mut self) -> Result<usize, Unusual> {
        let start = self.at;
        while self.byte(self.at).is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Unusual) } else { Ok(self.at - start) }
    }

    fn word(&mut self, word: &str) -> Result<(), Unusual> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(Unusual);
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }
}

/// The highest bit of each of eight bytes that is a quote, a backslash or a control
/// character. Bits above the lowest one may be set in error.
#[inline]
fn special_bytes(eight: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let quote = eight ^ (ONES * u64::from(b'"'));
    let slash = eight ^ (ONES * u64::from(b'\\'));
    let found = (quote.wrapping_sub(ONES) & !quote)
        | (slash.wrapping_sub(ONES) & !slash)
        | (eight.wrapping_sub(ONES * 0x20) & !eight);
    found & (ONES * 0x80)
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
            &deep(66),
        ] {
            assert!(!is_json(text), "{text}");
        }
    }

    #[test]
    fn keys_are_given_as_they_mean() {
        let mut scanner = Scanner::new(r#" "a\u0062" : [1 , 2] ,"#);
        assert_eq!(scanner.key().unwrap(), "ab");
        assert_eq!(scanner.value().unwrap(), "[1 , 2]");
        assert!(scanner.take(b',').unwrap() && scanner.end().is_ok());
    }
}
