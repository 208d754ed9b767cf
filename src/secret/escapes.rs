//! All readings of one place in a text: as it is, or as an escape of URLs, JSON, JavaScript
//! or HTML, also one within another. Pure.

use smallvec::SmallVec;

/// One reading of a place: up to four bytes of UTF-8, and its end.
#[derive(Debug, Clone, Copy)]
pub struct EscapeUnit {
    bytes: [u8; 4],
    length: u8,
    /// The depth of escapes within each other.
    depth: u8,
    /// The end of the reading in the text.
    pub end: usize,
}

/// All readings of a place.
pub type EscapeUnits = SmallVec<[EscapeUnit; 4]>;

/// Whether a byte may begin an escape.
pub fn begins_escape(byte: u8) -> bool {
    matches!(byte, b'\\' | b'%' | b'&' | b'+')
}

/// All readings of the text at this place, with escapes up to this depth.
pub fn units(text: &[u8], at: usize, depth: u8) -> EscapeUnits {
    let mut all = EscapeUnits::new();
    let Some(&byte) = text.get(at) else {
        return all;
    };
    all.push(EscapeUnit::of_byte(byte, 0, at + 1));
    if byte == b'+' {
        all.push(EscapeUnit::of_byte(b' ', 1, at + 1));
    }
    let mut read = 0;
    while let Some(&unit) = all.get(read) {
        read += 1;
        if unit.depth < depth {
            // The rest of the escape has the same depth as its first byte.
            let rest = EscapeRest { text, depth: unit.depth };
            for made in rest.escapes(unit) {
                if !all.iter().any(|known| known.is_like(&made)) {
                    all.push(made);
                }
            }
        }
    }
    all
}

impl EscapeUnit {
    fn of_byte(byte: u8, depth: u8, end: usize) -> EscapeUnit {
        EscapeUnit { bytes: [byte, 0, 0, 0], length: 1, depth, end }
    }

    fn of_char(letter: char, depth: u8, end: usize) -> EscapeUnit {
        let mut bytes = [0; 4];
        let length = letter.encode_utf8(&mut bytes).len() as u8;
        EscapeUnit { bytes, length, depth, end }
    }

    /// The bytes of the reading.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Whether the bytes and the end are equal.
    fn is_like(&self, other: &EscapeUnit) -> bool {
        self.end == other.end && self.bytes() == other.bytes()
    }

    fn byte(&self) -> Option<u8> {
        (self.length == 1).then_some(self.bytes[0])
    }
}

/// The text after the first byte of an escape, which may be escaped itself.
#[derive(Clone, Copy)]
struct EscapeRest<'a> {
    text: &'a [u8],
    depth: u8,
}

impl EscapeRest<'_> {
    /// The escapes that begin with this reading of a place.
    fn escapes(self, first: EscapeUnit) -> EscapeUnits {
        let depth = first.depth + 1;
        match first.byte() {
            Some(b'%') => self.hex(first.end, 2).map(|(value, end)| {
                // One byte of a character that may have several.
                EscapeUnit::of_byte(value as u8, depth, end)
            }),
            Some(b'&') => {
                self.entity(first.end).map(|(letter, end)| EscapeUnit::of_char(letter, depth, end))
            }
            Some(b'\\') => return self.backslashed(first.end, depth),
            _ => None,
        }
        .into_iter()
        .collect()
    }

    /// The readings after a backslash.
    fn backslashed(self, at: usize, depth: u8) -> EscapeUnits {
        let mut made = EscapeUnits::new();
        for next in units(self.text, at, self.depth) {
            let Some(byte) = next.byte() else { continue };
            let letter = match byte {
                b'u' => self.utf16(next.end),
                b'x' => self
                    .hex(next.end, 2)
                    .and_then(|(value, end)| Some((char::from_u32(value)?, end))),
                b'b' => Some(('\u{8}', next.end)),
                b'f' => Some(('\u{c}', next.end)),
                b'n' => Some(('\n', next.end)),
                b'r' => Some(('\r', next.end)),
                b't' => Some(('\t', next.end)),
                b'0' => Some(('\0', next.end)),
                byte if byte.is_ascii_punctuation() => Some((char::from(byte), next.end)),
                _ => None,
            };
            made.extend(letter.map(|(letter, end)| EscapeUnit::of_char(letter, depth, end)));
        }
        made
    }

    /// The character after `\u`: four digits, twice for a pair of surrogates; or up to six
    /// digits in braces.
    fn utf16(self, at: usize) -> Option<(char, usize)> {
        if let Some(inside) = self.one(at, b'{') {
            let (value, end) = self.digits(inside, 16, 6)?;
            return Some((char::from_u32(value)?, self.one(end, b'}')?));
        }
        let (first, end) = self.hex(at, 4)?;
        if let Some(letter) = char::from_u32(first) {
            return Some((letter, end));
        }
        let other = units(self.text, end, self.depth);
        let other = other.iter().filter(|unit| unit.bytes() == b"\\");
        let mut digits = other.filter_map(|unit| self.one(unit.end, b'u'));
        let (second, end) = self.hex(digits.next()?, 4)?;
        let pair = [first as u16, second as u16];
        let letter = char::decode_utf16(pair).next()?.ok()?;
        Some((letter, end))
    }

    /// The character of an entity after `&`, up to the semicolon.
    fn entity(self, at: usize) -> Option<(char, usize)> {
        if let Some(number) = self.one(at, b'#') {
            let hexadecimal = self.one(number, b'x').or_else(|| self.one(number, b'X'));
            let (value, end) = match hexadecimal {
                Some(digits) => self.digits(digits, 16, 8)?,
                None => self.digits(number, 10, 8)?,
            };
            return Some((char::from_u32(value)?, self.one(end, b';')?));
        }
        let (mut name, mut end) = (SmallVec::<[u8; 8]>::new(), at);
        while name.len() < MAX_NAME
            && let Some((letter, next)) =
                self.first(end, |byte| byte.is_ascii_alphabetic().then_some(byte))
        {
            name.push(letter);
            end = next;
        }
        let named = NAMED.iter().find(|(known, _)| known.as_bytes() == &*name)?;
        Some((named.1, self.one(end, b';')?))
    }

    /// The number of `count` hexadecimal digits.
    fn hex(self, at: usize, count: usize) -> Option<(u32, usize)> {
        let (mut value, mut end) = (0, at);
        for _ in 0..count {
            let (digit, next) = self.first(end, |byte| char::from(byte).to_digit(16))?;
            value = value * 16 + digit;
            end = next;
        }
        Some((value, end))
    }

    /// The number of one to `max` digits.
    fn digits(self, at: usize, base: u32, max: usize) -> Option<(u32, usize)> {
        let (mut value, mut end, mut count) = (0_u32, at, 0);
        while count < max
            && let Some((digit, next)) = self.first(end, |byte| char::from(byte).to_digit(base))
        {
            value = value.checked_mul(base)?.checked_add(digit)?;
            end = next;
            count += 1;
        }
        (count > 0).then_some((value, end))
    }

    /// The end of this byte, if it is here.
    fn one(self, at: usize, wanted: u8) -> Option<usize> {
        let found = self.first(at, |byte| (byte == wanted).then_some(()));
        found.map(|((), end)| end)
    }

    /// The first reading of a place that `wanted` accepts.
    fn first<T>(self, at: usize, wanted: impl Fn(u8) -> Option<T>) -> Option<(T, usize)> {
        let byte = *self.text.get(at)?;
        if let Some(found) = wanted(byte) {
            return Some((found, at + 1));
        }
        if self.depth == 0 || !begins_escape(byte) {
            return None;
        }
        let readings = units(self.text, at, self.depth);
        let mut readings = readings.iter();
        readings.find_map(|unit| Some((wanted(unit.byte()?)?, unit.end)))
    }
}

/// Maximum length of the name of an entity.
const MAX_NAME: usize = 8;

/// The names of the characters of ASCII, and of those that HTML itself needs.
#[rustfmt::skip]
const NAMED: [(&str, char); 41] = [
    ("amp", '&'), ("quot", '"'), ("lt", '<'), ("gt", '>'), ("apos", '\''), ("AMP", '&'),
    ("QUOT", '"'), ("LT", '<'), ("GT", '>'), ("nbsp", '\u{a0}'), ("Tab", '\t'), ("NewLine", '\n'),
    ("excl", '!'), ("num", '#'), ("dollar", '$'), ("percnt", '%'), ("lpar", '('), ("rpar", ')'),
    ("ast", '*'), ("plus", '+'), ("comma", ','), ("period", '.'), ("sol", '/'), ("colon", ':'),
    ("semi", ';'), ("equals", '='), ("quest", '?'), ("commat", '@'), ("lsqb", '['),
    ("lbrack", '['), ("bsol", '\\'), ("rsqb", ']'), ("rbrack", ']'), ("Hat", '^'),
    ("lowbar", '_'), ("grave", '`'), ("lcub", '{'), ("lbrace", '{'), ("vert", '|'), ("rcub", '}'),
    ("rbrace", '}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// All readings of a whole text.
    fn readings(text: &str) -> Vec<String> {
        let whole = units(text.as_bytes(), 0, 3);
        let whole = whole.iter().filter(|unit| unit.end == text.len());
        whole.map(|unit| String::from_utf8_lossy(unit.bytes()).into_owned()).collect()
    }

    #[test]
    fn every_escape_is_read() {
        for (text, letter) in [
            ("a", "a"),
            ("%2f", "/"),
            ("%2F", "/"),
            ("+", " "),
            (r"\/", "/"),
            (r#"\""#, "\""),
            (r"\n", "\n"),
            (r"\u002B", "+"),
            (r"\u002b", "+"),
            (r"\ud83d\uDE00", "😀"),
            (r"\u{1f600}", "😀"),
            (r"\x2B", "+"),
            ("&amp;", "&"),
            ("&#38;", "&"),
            ("&#038;", "&"),
            ("&#x26;", "&"),
            ("&#X1F600;", "😀"),
            ("&sol;", "/"),
            // Escapes within each other.
            ("%252F", "/"),
            ("%2525", "%"),
            (r"\\\/", "/"),
            (r"\\u002B", "+"),
            (r"\\ud83d\\ude00", "😀"),
            (r"%5Cu002B", "+"),
            (r"%5C%22", "\""),
            ("&amp;amp;", "&"),
            (r"\u0026amp;", "&"),
            ("%26%23x2f%3B", "/"),
            (r"\\\\\/", "/"),
        ] {
            let found = readings(text);
            assert!(found.contains(&letter.to_owned()), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_text_that_is_no_escape_has_one_reading() {
        for text in ["%", "%2", "%zz", r"\", r"\u00", r"\ud83d", "&", "&am", "&#;", "&nope;"] {
            let found = units(text.as_bytes(), 0, 3);
            assert!(found.iter().all(|unit| unit.end == 1), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_long_run_of_backslashes_has_few_readings() {
        let text = "\\".repeat(1_000);
        let all: usize = (0..text.len()).map(|at| units(text.as_bytes(), at, 3).len()).sum();
        assert!(all <= 8 * text.len(), "{all}");
    }
}
