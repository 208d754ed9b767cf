//! The values of one record of a table, decoded.

use std::{iter, str};

/// Some values in their order.
#[derive(Debug)]
pub(super) struct ValueRow<'a> {
    /// The line it starts on, from 1.
    pub line: u64,
    /// The values, one directly after the other.
    text: &'a str,
    /// Where each value ends in `text`.
    ends: &'a [usize],
}

impl<'a> ValueRow<'a> {
    /// The values in `bytes` that end at `ends`, or which of them is not UTF-8.
    pub fn new(line: u64, bytes: &'a [u8], ends: &'a [usize]) -> Result<ValueRow<'a>, String> {
        let bytes = &bytes[..ends.last().copied().unwrap_or(0)];
        let column_at = |byte| 1 + ends.partition_point(|&end| end <= byte);
        match str::from_utf8(bytes) {
            Err(error) => Err(not_utf_8(column_at(error.valid_up_to()))),
            Ok(text) => ValueRow { line, text, ends }.uncut(),
        }
    }

    /// Two values can be UTF-8 only together, with a character cut in between.
    fn uncut(self) -> Result<ValueRow<'a>, String> {
        match self.ends.iter().position(|&end| !self.text.is_char_boundary(end)) {
            Some(place) => Err(not_utf_8(place + 1)),
            None => Ok(self),
        }
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is a line's end in any of them.
    pub fn span_lines(&self) -> bool {
        self.text.contains('\n')
    }

    /// From the first to the last.
    pub fn values(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let (text, starts) = (self.text, iter::once(&0).chain(self.ends));
        starts.zip(self.ends).map(move |(&start, &end)| &text[start..end])
    }
}

fn not_utf_8(column: usize) -> String {
    format!("the value in column {column} is not UTF-8: save the file as UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_at_their_ends() {
        let record = ValueRow::new(1, b"ab\nc left over", &[2, 2, 4]).unwrap();
        assert_eq!(record.values().collect::<Vec<_>>(), ["ab", "", "\nc"]);
        assert!(record.span_lines());
        assert_eq!(record.count(), 3);
    }

    #[test]
    fn the_first_value_that_is_no_text_is_told() {
        let flaw = |bytes, ends| ValueRow::new(1, bytes, ends).unwrap_err();
        assert_eq!(flaw(b"ab\xFFc", &[1, 2, 4]), not_utf_8(3));
        assert_eq!(flaw(b"\xFF", &[0, 1]), not_utf_8(2));
        assert_eq!(flaw(b"a\xC3\xA9", &[1, 2, 3]), not_utf_8(2));
    }
}
