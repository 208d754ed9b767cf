//! Which rows a results file has, and how far it can be trusted.

use std::io::{self, BufRead};

use roaring::RoaringTreemap;

use super::codec::{Decode, Found};

/// A set of row numbers, small even for very many rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowSet(RoaringTreemap);

impl RowSet {
    /// Whether this row is one of them.
    #[must_use]
    pub fn contains(&self, row: u64) -> bool {
        self.0.contains(row)
    }

    /// How many they are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What an earlier run left in a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Past {
    /// The rows that have a record.
    pub rows: RowSet,
    /// The first whole line.
    pub first_line: Vec<u8>,
    /// Where the last whole record ends, in bytes; what follows is torn.
    pub end: u64,
}

/// Why a file cannot be gone on with.
#[derive(Debug)]
pub(super) enum Unreadable {
    /// The system says so.
    Io(io::Error),
    /// The record that begins at this line, counted from 1, is not throng's.
    Line(u64),
}

/// Reads a results file to its end. A record counts only with its newline.
pub(super) fn read(input: &mut dyn BufRead, decode: &mut dyn Decode) -> Result<Past, Unreadable> {
    let mut past = Past::default();
    let (mut record, mut line) = (Vec::new(), 1);
    loop {
        let lines = next(input, decode, &mut record).map_err(Unreadable::Io)?;
        if lines == 0 {
            return Ok(past);
        }
        past.add(&record, decode).ok_or(Unreadable::Line(line))?;
        line += lines;
    }
}

impl Past {
    fn add(&mut self, record: &[u8], decode: &mut dyn Decode) -> Option<()> {
        if let Found::Row(row) = decode.read(record)? {
            self.rows.0.insert(row);
        }
        if self.end == 0 {
            self.first_line = record.to_vec();
        }
        self.end += record.len() as u64;
        Some(())
    }
}

/// Fills `record` with the next whole one and says how many lines it has;
/// none are left at 0.
fn next(input: &mut dyn BufRead, decode: &mut dyn Decode, record: &mut Vec<u8>) -> io::Result<u64> {
    record.clear();
    for lines in 1.. {
        let start = record.len();
        input.read_until(b'\n', record)?;
        if !record[start..].ends_with(b"\n") {
            break;
        }
        if decode.ends(&record[start..]) {
            return Ok(lines);
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::super::{csv, jsonl};
    use super::*;

    fn past(decode: fn() -> Box<dyn Decode>, text: &str) -> Result<Past, Unreadable> {
        read(&mut text.as_bytes(), &mut *decode())
    }

    #[test]
    fn only_whole_records_count() {
        for (decode, whole, torn, rows) in [
            (
                jsonl::decoder as fn() -> _,
                "{\"_row\":3}\n{\"a\":1,\"_row\":0}\n",
                "{\"_row\":4}",
                2,
            ),
            (jsonl::decoder, "", "{\"_ro", 0),
            (jsonl::decoder, "{\"_row\":3}\n", "\0\0\0", 1),
            (csv::decoder, "a,_row\n\"x\ny\",5\n", "z,6", 1),
            (csv::decoder, "a,_row,_body\nx,5,\n", "z,6,\"a\n", 1),
            (csv::decoder, "a,_row\n", "\"x\n", 0),
            (csv::decoder, "", "a,_ro", 0),
        ] {
            let past = past(decode, &format!("{whole}{torn}")).unwrap();
            assert_eq!(past.end, whole.len() as u64, "{whole}");
            assert_eq!(past.rows.len(), rows, "{whole}");
        }
    }

    #[test]
    fn a_set_of_rows_knows_its_own() {
        let rows = past(jsonl::decoder, "{\"_row\":3}\n{\"_row\":3}\n")
            .unwrap()
            .rows;
        assert!(rows.contains(3) && !rows.contains(4) && !rows.is_empty());
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn what_is_not_ours_is_told_by_its_line() {
        for (decode, text, line) in [
            (jsonl::decoder as fn() -> _, "{\"_row\":1}\n{\"a\":1}\n", 2),
            (jsonl::decoder, "hello\n", 1),
            (csv::decoder, "a,_row\n\"x\ny\",5\nz\n", 4),
            (csv::decoder, "a,b\n1,2\n", 1),
        ] {
            let error = past(decode, text).unwrap_err();
            assert!(
                matches!(error, Unreadable::Line(at) if at == line),
                "{text}"
            );
        }
    }
}
