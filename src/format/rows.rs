//! Rows as all formats give them: their names, the longest row, how messages quote data, and
//! what one reading of them finds.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use super::document::RowProgram;
use crate::row::{Fields, Row};

/// An opened text of any origin, past its byte order mark.
pub(crate) type OpenedText = Box<dyn BufRead + Send>;

/// The name of the only field of a row that is one text, such as a plain line.
pub(crate) const TEXT_FIELD: &str = "line";

/// The number that is written as one of 32 bits is, in the fewest digits: 0.1, and not
/// 0.10000000149011612.
#[allow(dead_code, reason = "a build without Parquet and Arrow has no such numbers")]
pub(crate) fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// The text after its byte order mark, if it has one.
pub(crate) fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// How the text of a file is read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TextOptions {
    /// The number of lines of the file before this text.
    pub skipped: u64,
    /// What begins a line that is no row; none if all lines are.
    pub comment: Option<u8>,
    /// What stands between the values of a table; none if its first lines show it.
    pub delimiter: Option<u8>,
    /// The quote around values of a table, or that there is none; if absent, `"`.
    pub quote: Option<Option<u8>>,
    /// What stands before a quote that is a part of a value of a table.
    pub escape: Option<u8>,
    /// What the rows of a JSON document are; none if they are the elements of an array.
    pub rows: Option<RowProgram>,
}

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

/// What to do about a text that is not UTF-8.
pub(crate) const NOT_UTF_8: &str =
    "save the file as UTF-8, or name its encoding, such as --encoding cp1252 (input.encoding)";

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

/// The rows and names of a source. Of a pipe, which cannot be read twice, nothing is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    /// How many rows there are, or will be taken; none if that is not known.
    pub rows: Option<u64>,
    /// How many rows all shards take together, if a shard takes a part; likewise.
    pub all: Option<u64>,
    /// The names of all fields in the order they first appear. Those that
    /// first appear after row 0 are left out when there are 2001 names already.
    pub names: Vec<String>,
    /// The first 3 rows.
    pub first: Vec<Row>,
    /// For a name that some row lacks, the number of the first such row.
    gaps: HashMap<String, u64>,
}

/// How many rows `Survey::first` has at most.
pub(crate) const FIRST: u64 = 3;

/// How many names rows after the first may add up to: one more than a SQLite database
/// has columns, so that too many of them are noticed.
const NAMES: usize = 2001;

impl Survey {
    /// How many rows the input has, or how many of its first ones are taken.
    #[must_use]
    pub fn of_all_shards(&self) -> Option<u64> {
        self.all.or(self.rows)
    }

    /// The number of the first row without a field of this name; none if all
    /// rows have it, or if no row is known.
    #[must_use]
    pub fn lacks(&self, name: &str) -> Option<u64> {
        match self.rows {
            None | Some(0) => None,
            Some(_) if self.names.iter().any(|known| known == name) => self.gaps.get(name).copied(),
            Some(_) => Some(0),
        }
    }

    /// Reads at most `most` rows that may each have other names.
    pub(super) fn of(
        items: &mut (impl Iterator<Item = Result<Fields, String>> + ?Sized),
        most: u64,
    ) -> Result<Survey, String> {
        let mut reading = Reading::default();
        reading.survey.rows = Some(0);
        for number in 0..most {
            match items.next() {
                Some(fields) => reading.add(Row { number, fields: fields?, ..Row::default() }),
                None => break,
            }
        }
        Ok(reading.survey)
    }
}

/// A survey in the making.
#[derive(Default)]
struct Reading {
    survey: Survey,
    known: HashSet<String>,
    /// The names that no row has lacked so far.
    steady: Vec<String>,
}

impl Reading {
    fn add(&mut self, row: Row) {
        self.miss(&row);
        row.fields.keys().for_each(|name| self.meet(name, row.number));
        self.survey.rows = Some(row.number + 1);
        if row.number < FIRST {
            self.survey.first.push(row);
        }
    }

    fn miss(&mut self, row: &Row) {
        let gaps = &mut self.survey.gaps;
        self.steady.retain(|name| {
            let is_there = row.fields.contains_key(name);
            if !is_there {
                gaps.insert(name.clone(), row.number);
            }
            is_there
        });
    }

    fn meet(&mut self, name: &str, number: u64) {
        if self.known.contains(name) || (number > 0 && self.known.len() >= NAMES) {
            return;
        }
        self.known.insert(name.into());
        self.survey.names.push(name.into());
        match number {
            0 => self.steady.push(name.into()),
            _ => drop(self.survey.gaps.insert(name.into(), 0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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

    fn survey(rows: Vec<Value>) -> Survey {
        let fields = |row: Value| Ok(row.as_object().unwrap().clone());
        Survey::of(&mut rows.into_iter().map(fields), u64::MAX).unwrap()
    }

    #[test]
    fn names_are_those_of_all_rows() {
        let survey = survey(vec![json!({"b": 1, "a": 1}), json!({"c": 1, "b": 1})]);
        assert_eq!(survey.names, ["b", "a", "c"]);
        assert_eq!(survey.rows, Some(2));
    }

    #[test]
    fn the_first_row_without_a_field_is_known() {
        let (a, ab, b) = (json!({"a": 1}), json!({"a": 1, "b": 1}), json!({"b": 1}));
        let survey = survey(vec![ab.clone(), ab.clone(), a, b, ab]);
        assert_eq!(survey.lacks("a"), Some(3));
        assert_eq!(survey.lacks("b"), Some(2));
        assert_eq!(survey.lacks("c"), Some(0));
    }

    #[test]
    fn a_field_of_all_rows_lacks_nowhere() {
        assert_eq!(survey(vec![json!({"a": 1}), json!({"a": null})]).lacks("a"), None);
        assert_eq!(survey(vec![]).lacks("a"), None);
        assert_eq!(Survey::default().lacks("a"), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let rows = (0..5000).map(|n| json!({ n.to_string(): n })).collect();
        let survey = survey(rows);
        assert_eq!((survey.names.len(), survey.first.len()), (2001, 3));
        assert_eq!(survey.lacks("4999"), Some(0));
    }
}
