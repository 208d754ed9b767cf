//! Rows as all formats give them: their names, the longest row, how messages quote data.

use std::io::BufRead;

use super::survey::Survey;
use crate::row::Fields;

/// An opened text of any origin, past its byte order mark.
pub(crate) type OpenedText = Box<dyn BufRead + Send>;

/// The fields of the next row, or what is wrong, where, and what to do about it.
pub(crate) type FormatRow = Result<Fields, String>;

/// The rows of a file, or why its very beginning is wrong.
pub(crate) type OpenedRows = Result<Box<dyn RowReader>, String>;

/// The rows of one file as its format finds them; not asked again after an error.
pub(crate) trait RowReader: Iterator<Item = FormatRow> + Send {
    /// Reads on to the end, or over `most` rows, and surveys them.
    fn survey(&mut self, most: u64) -> Result<Survey, String> {
        Survey::of(self, most)
    }
}

/// No row is longer than this, so that memory is bounded; in bytes.
pub(crate) const LONGEST_ROW: usize = 64 * 1024 * 1024;

/// These fields, if all of their names are good.
pub(crate) fn accepted(fields: Fields) -> FormatRow {
    match fields.keys().find_map(|name| flaw(name)) {
        Some(flaw) => Err(flaw),
        None => Ok(fields),
    }
}

/// Why no field may be called `name`, and what to do; none if it may.
pub(crate) fn flaw(name: &str) -> Option<String> {
    name.is_empty().then(|| "a field has no name: give it one".into())
}

/// A piece of data in quotes, with escapes for what cannot be seen, and shortened.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// In characters.
const LONGEST_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_a_name() {
        for name in ["row", "_id", "a_b", "Größe", " "] {
            let fields = Fields::from_iter([(name.into(), 2.into())]);
            assert!(accepted(fields).is_ok(), "{name}");
        }
        let fields = Fields::from_iter([("a".into(), 1.into()), ("".into(), 2.into())]);
        assert_eq!(accepted(fields).err(), flaw(""));
    }

    #[test]
    fn quoted_data_is_escaped_and_short() {
        assert_eq!(shown("a\0\t"), r#""a\0\t""#);
        assert_eq!(shown(&"é".repeat(41)), format!("\"{}\"...", "é".repeat(40)));
        assert_eq!(shown(&"é".repeat(40)), format!("\"{}\"", "é".repeat(40)));
    }
}
