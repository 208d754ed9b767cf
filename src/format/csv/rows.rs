//! Tables: a header line with the names, then one row per record, all texts.

use std::io::BufRead;

use super::header::TableHeader;
use super::records::TextRecords;
use crate::format::rows::{FormatRow, OpenedRows, OpenedText, RowReader};
use crate::format::survey::{FIRST, Survey};

/// A table whose values are separated by `delimiter`, with its header read.
pub(super) fn open(text: OpenedText, name: &str, delimiter: u8) -> OpenedRows {
    Ok(Box::new(rows(text, name, delimiter)?))
}

fn rows<R: BufRead>(text: R, name: &str, delimiter: u8) -> Result<CsvRows<R>, String> {
    let mut records = TextRecords::new(text, name, delimiter);
    let header = match records.read()? {
        Some(record) => TableHeader::new(&record, name, delimiter)?,
        None => return Err(format!("{name} is empty: a table begins with column names")),
    };
    Ok(CsvRows { header, records })
}

struct CsvRows<R> {
    header: TableHeader,
    records: TextRecords<R>,
}

impl<R: BufRead> Iterator for CsvRows<R> {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        let record = self.records.read().transpose()?;
        Some(record.and_then(|record| self.header.row(&record)))
    }
}

impl<R: BufRead + Send> RowReader for CsvRows<R> {
    /// All rows have the names of the header, so most are only checked, not built.
    fn survey(&mut self, most: u64) -> Result<Survey, String> {
        let mut survey = Survey::of(self, most.min(FIRST))?;
        let mut count = survey.rows.unwrap_or(0);
        while count < most && self.check_next()? {
            count += 1;
        }
        survey.rows = Some(count);
        survey.names.clone_from(&self.header.names);
        Ok(survey)
    }
}

impl<R: BufRead> CsvRows<R> {
    /// False at the end of the table.
    fn check_next(&mut self) -> Result<bool, String> {
        match self.records.read()? {
            Some(record) => self.header.check(&record).map(|()| true),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &str, delimiter: u8) -> Result<Vec<Value>, String> {
        let table = rows(text.as_bytes(), "t.csv", delimiter)?;
        table.map(|found| found.map(Value::Object)).collect()
    }

    fn survey(text: &str, most: u64) -> Result<Survey, String> {
        rows(text.as_bytes(), "t.csv", b',')?.survey(most)
    }

    #[test]
    fn values_are_texts_under_the_names_of_the_header() {
        let row = json!({"id": "007", "note": "a,\nb"});
        assert_eq!(read("id,note\r\n007,\"a,\nb\"\r\n", b','), Ok(vec![row.clone()]));
        assert_eq!(read("id\tnote\n007\t\"a,\nb\"", b'\t'), Ok(vec![row]));
        assert_eq!(read("id,note\n", b','), Ok(vec![]));
    }

    #[test]
    fn mistakes_are_found_by_reading_and_by_the_survey() {
        #[rustfmt::skip]
        let cases = [
            ("", " is empty: a table begins with column names"),
            ("a,b\n1,2\n\n1,2,3\n", ", line 4: 3 fields, but the header has 2: remove one, or"),
            ("a,b\n1\n", ", line 2: 1 field, but the header has 2: add what is missing"),
            ("a\n1\n1\n1\n\"1\n\",2\n", ", line 5: 2 fields, but the header has 1: close a quote"),
            ("a,b,a\n", ", line 1, column 3: \"a\" is the name of column 1 already: rename one"),
            ("\n,b\n", ", line 2, column 1: a field has no name: give it one"),
        ];
        for (text, start) in cases {
            let error = read(text, b',').unwrap_err();
            assert_eq!(survey(text, 99).unwrap_err(), error);
            assert!(error.starts_with(&format!("t.csv{start}")), "{error}");
        }
    }

    #[test]
    fn the_survey_counts_what_is_taken() {
        let text = "a,b\n1,1\n2,2\n3,3\n4,4\n5\n";
        for (most, first) in [(0, 0), (2, 2), (4, 3)] {
            let survey = survey(text, most).unwrap();
            assert_eq!((survey.rows, survey.first.len()), (Some(most), first));
            assert_eq!(survey.names, ["a", "b"]);
        }
        assert_eq!(survey("a,b\n", 9).unwrap().lacks("a"), None);
    }
}
