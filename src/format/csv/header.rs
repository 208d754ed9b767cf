//! The header of a table: the names of its columns, which all rows must fit.

use std::collections::HashMap;

use serde_json::Value;

use super::guard::{has_guards, unguarded};
use super::values::ValueRow;
use crate::format::rows::{FormatRow, flaw, shown};

/// What every row of a table must fit.
pub(super) struct TableHeader {
    pub names: Vec<String>,
    /// What messages call the table.
    table: String,
    delimiter: u8,
    /// Whether throng wrote the table, and put a guard before what looks like a formula.
    guards: bool,
}

impl TableHeader {
    /// Refuses columns that have no name, or a bad one, or that of another.
    pub fn new(record: &ValueRow<'_>, table: &str, delimiter: u8) -> Result<TableHeader, String> {
        let mut header = TableHeader {
            names: Vec::with_capacity(record.count()),
            table: table.into(),
            delimiter,
            guards: has_guards(record.values()),
        };
        let mut columns = HashMap::new();
        for (column, cell) in (1..).zip(record.values()) {
            let name = header.read(cell);
            let again = columns.insert(name, column).map(|first| same(name, first));
            if let Some(flaw) = again.or_else(|| flaw(name)) {
                return Err(format!("{table}, line {}, column {column}: {flaw}", record.line));
            }
            header.names.push(name.into());
        }
        Ok(header)
    }

    /// A name or a value as it was before it was written.
    fn read<'a>(&self, cell: &'a str) -> &'a str {
        if self.guards { unguarded(cell) } else { cell }
    }

    /// The fields of a record.
    pub fn row(&self, record: &ValueRow<'_>) -> FormatRow {
        self.check(record)?;
        let values = record.values().map(|cell| Value::from(self.read(cell)));
        Ok(self.names.iter().cloned().zip(values).collect())
    }

    /// Refuses a record that has more or fewer values than there are columns.
    pub fn check(&self, record: &ValueRow<'_>) -> Result<(), String> {
        let (has, needs) = (record.count(), self.names.len());
        if has == needs {
            return Ok(());
        }
        let (place, remedy) =
            (format!("{}, line {}", self.table, record.line), self.remedy(record));
        let fields = if has == 1 { "field" } else { "fields" };
        Err(format!("{place}: {has} {fields}, but the header has {needs}: {remedy}"))
    }

    fn remedy(&self, record: &ValueRow<'_>) -> &'static str {
        match self.delimiter {
            _ if record.span_lines() => "close a quote left open in this row",
            _ if record.count() < self.names.len() => "add what is missing",
            b'\t' => "remove one, or quote a value that contains a tab",
            _ => "remove one, or quote a value that contains a comma",
        }
    }
}

fn same(name: &str, first: usize) -> String {
    let shown = shown(name);
    format!("{shown} is the name of column {first} already: rename one of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &'static [u8], ends: &'static [usize]) -> ValueRow<'static> {
        ValueRow::new(7, text, ends).unwrap()
    }

    #[test]
    fn a_row_has_the_names_of_the_header() {
        let header = TableHeader::new(&record(b"idnote", &[2, 6]), "t", b',').unwrap();
        let row = header.row(&record(b"007", &[3, 3])).unwrap();
        assert_eq!(Value::from(row), serde_json::json!({"id": "007", "note": ""}));
    }

    #[test]
    fn the_remedy_is_that_of_the_case() {
        let header = |delimiter| TableHeader::new(&record(b"ab", &[1, 2]), "t", delimiter).unwrap();
        let (few, many) = (record(b"1", &[1]), record(b"123", &[1, 2, 3]));
        let long = record(b"1\n2", &[3]);
        assert_eq!(header(b',').remedy(&few), "add what is missing");
        assert_eq!(header(b',').remedy(&long), "close a quote left open in this row");
        assert!(header(b',').remedy(&many).ends_with("a comma"));
        assert!(header(b'\t').remedy(&many).ends_with("a tab"));
    }
}
