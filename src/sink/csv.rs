//! CSV: a header, then one record a row; a value that is no text is JSON.

mod header;
mod read;

use header::{continued, header};

use serde_json::Value;

use super::Columns;
use super::codec::{Decode, Encode, Marks, milliseconds};
use crate::error::Error;
use crate::record::Record;
use crate::source::Fields;
use crate::table::cells::{end, json, plain, text};

/// The writer's half. A file that is continued keeps its header.
pub(super) fn encoder(columns: &Columns, header: Option<&[u8]>) -> Result<Box<dyn Encode>, Error> {
    let columns = match header {
        Some(header) => continued(columns.clone(), header)?,
        None => columns.clone(),
    };
    Ok(Box::new(CsvCodec {
        columns,
        crlf: header.is_some_and(|header| header.ends_with(b"\r\n")),
        scratch: String::new(),
    }))
}

/// The columns of a file that begins with this header.
pub(super) fn columns(columns: &Columns, header: &[u8]) -> Result<Columns, Error> {
    continued(columns.clone(), header)
}

/// The reader's half.
pub(super) fn decoder(key: Option<&str>) -> Box<dyn Decode> {
    Box::new(read::CsvRecords::new(key))
}

/// What comes from the input, as it stands there.
pub(super) const MARKS: Marks = Marks { value, start };

fn value(value: &Value) -> Vec<u8> {
    let mut cell = Vec::new();
    json(Some(value), &mut String::new(), &mut cell);
    cell.pop();
    cell
}

fn start(columns: &Columns, fields: &Fields) -> Vec<u8> {
    let mut start = Vec::new();
    let names = columns.fields.clone();
    for name in names.unwrap_or_else(|| columns.fields_of(fields)) {
        json(fields.get(&name), &mut String::new(), &mut start);
    }
    start
}

/// The text after its byte order mark, if it has one.
fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

struct CsvCodec {
    columns: Columns,
    /// Whether lines end as they do in a file that a spreadsheet has saved.
    crlf: bool,
    scratch: String,
}

impl Encode for CsvCodec {
    fn start(&mut self, out: &mut Vec<u8>) {
        if self.columns.fields.is_some() {
            out.extend_from_slice(&header(&self.columns));
        }
    }

    fn record(&mut self, record: &Record, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.columns.fields.is_none() {
            self.columns.fields = Some(self.columns.fields_of(&record.row.fields));
            self.start(out);
        }
        self.same_fields(record)?;
        self.cells(record, out);
        Ok(())
    }
}

impl CsvCodec {
    /// A header cannot grow once it is written.
    fn same_fields(&self, record: &Record) -> Result<(), Error> {
        let known = self.columns.fields.as_deref().unwrap_or_default();
        let is_new = |name: &&String| !known.contains(name) && self.columns.is_input(name);
        match record.row.fields.keys().find(is_new) {
            None => Ok(()),
            Some(name) => Err(Error::stopped(format!(
                "row {} has a field {name:?} that the first row did not have, and a CSV \
                 file has one header: use a .jsonl output",
                record.row.number
            ))),
        }
    }

    fn cells(&mut self, record: &Record, out: &mut Vec<u8>) {
        for name in self.columns.fields.as_deref().unwrap_or_default() {
            json(record.row.fields.get(name), &mut self.scratch, out);
        }
        let values = record.values();
        for place in 0..self.columns.values.len() {
            json(values.get(place), &mut self.scratch, out);
        }
        own(&self.columns, record, &mut self.scratch, out);
        end(out);
        if self.crlf {
            out.truncate(out.len() - 1);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn own(columns: &Columns, record: &Record, scratch: &mut String, out: &mut Vec<u8>) {
    let failure = record.outcome.as_ref().err();
    plain(Some(record.row.number), scratch, out);
    if columns.items {
        let item = record.row.item;
        plain(item.and_then(|item| item.number), scratch, out);
        plain(Some(item.is_none_or(|item| item.last)), scratch, out);
    }
    plain(Some(failure.is_none()), scratch, out);
    plain(record.status, scratch, out);
    let kind = failure.map(|failure| failure.kind.text());
    text(&kind.unwrap_or_default(), out);
    text(failure.map_or("", |failure| &failure.detail), out);
    plain(Some(record.attempts), scratch, out);
    plain(record.latency.map(milliseconds), scratch, out);
    if columns.arrived {
        plain(serde_json::to_string(&record.arrived).ok(), scratch, out);
    }
    if columns.body {
        text(record.body.as_deref().unwrap_or_default(), out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{columns, failed, ok};
    use super::*;

    fn lines(columns: &Columns, records: &[Record]) -> Result<String, Error> {
        let mut out = Vec::new();
        let mut csv = encoder(columns, None)?;
        csv.start(&mut out);
        for record in records {
            csv.record(record, &mut out)?;
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_limited_job_says_when_its_requests_arrived() {
        let mut columns = columns(&[], false);
        columns.arrived = true;
        let text = lines(&columns, &[ok(0)]).unwrap();
        assert!(text.contains("_ms,_arrived\n"), "{text}");
        let end = ",118.204,\"[[0.5,0.618204],[2.0,2.25]]\"\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn a_header_then_the_records() {
        let mut columns = columns(&["price", "name"], false);
        let text = "symbol,price,name,_row,_ok,_status,_error,_detail,_attempts,_ms\n\
                    RIV,12.5,\"A \"\"B\"\"\nC\",7,true,200,,,2,118.204\n\
                    RIV,,,8,false,,timeout,\"'=no answer, in 30 s\",1,\n";
        assert_eq!(lines(&columns, &[ok(7), failed(8)]).unwrap(), text);
        columns.fields = None;
        assert_eq!(
            lines(&columns, &[ok(7), failed(8)]).unwrap(),
            text,
            "learnt"
        );
    }

    #[test]
    fn names_are_guarded_as_values_are() {
        let mut columns = columns(&["=1+1"], false);
        columns.fields = Some(vec!["@me".into()]);
        let text = lines(&columns, &[]).unwrap();
        assert!(text.starts_with("'@me,'=1+1,_row,"), "{text}");
    }

    #[test]
    fn lines_end_as_they_do_in_the_file_that_is_continued() {
        let columns = columns(&["price", "name"], false);
        let header =
            "\u{feff}\"symbol\",price,name,_row,_ok,_status,_error,_detail,_attempts,_ms\r\n";
        let mut csv = encoder(&columns, Some(header.as_bytes())).unwrap();
        let mut out = Vec::new();
        csv.record(&failed(8), &mut out).unwrap();
        assert!(
            out.ends_with(b",1,\r\n"),
            "{}",
            String::from_utf8_lossy(&out)
        );
    }

    #[test]
    fn a_field_that_comes_later_stops_the_run() {
        let mut columns = columns(&["price"], false);
        columns.fields = None;
        let mut later = ok(8);
        later.row.fields.insert("sector".into(), "x".into());
        let error = lines(&columns, &[ok(7), later]).unwrap_err().to_string();
        assert!(
            error.contains("\"sector\"") && error.contains(".jsonl"),
            "{error}"
        );
    }
}
