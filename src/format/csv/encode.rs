//! Rows to a table: the records of a run one by one, or the rows of any source. A value that
//! is no text is JSON.

use std::path::Path;

use serde_json::Value;

use super::cells::{Cells, has_guards};
use super::decode::continued;
use crate::error::Error;
use crate::format::column_set::ColumnSet;
use crate::format::columns::{Columns, KeepBody};
use crate::format::compress::PackedWriter;
use crate::format::entry::{Encode, NewEncoder, NewTable, TableWriter};
use crate::record::{Record, WrittenArrivals};
use crate::row::Fields;

/// Writes records. A file that is continued keeps its header.
pub(super) fn encoder(columns: &Columns, header: Option<&[u8]>, delimiter: u8) -> NewEncoder {
    let columns = match header {
        Some(header) => continued(columns.clone(), header, delimiter)?,
        None => columns.clone(),
    };
    Ok(Box::new(CsvEncoder {
        columns,
        crlf: header.is_some_and(|header| header.ends_with(b"\r\n")),
        cells: Cells::new(delimiter),
    }))
}

/// The beginning of the record of a row with these fields.
pub(super) fn start(columns: &Columns, fields: &Fields, delimiter: u8) -> Vec<u8> {
    let (mut cells, mut start) = (Cells::new(delimiter), Vec::new());
    let names = columns.fields.clone();
    for name in names.unwrap_or_else(|| columns.fields_of(fields)) {
        cells.json(fields.get(&name), &mut start);
    }
    start
}

struct CsvEncoder {
    columns: Columns,
    /// Whether lines end as they do in a file that a spreadsheet has saved.
    crlf: bool,
    cells: Cells,
}

impl Encode for CsvEncoder {
    fn start(&mut self, out: &mut Vec<u8>) {
        if self.columns.fields.is_some() {
            out.extend_from_slice(&header(&self.columns, &self.cells));
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

impl CsvEncoder {
    /// A header cannot grow once it is written.
    fn same_fields(&self, record: &Record) -> Result<(), Error> {
        let known = self.columns.fields.as_deref().unwrap_or_default();
        let is_new = |name: &&String| !known.contains(name) && self.columns.is_input(name);
        match record.row.fields.keys().find(is_new) {
            None => Ok(()),
            Some(name) => Err(Error::stopped(format!(
                "row {} has a field {name:?} that the first row did not have, and a table \
                 of text has one header: use a .jsonl output",
                record.row.number
            ))),
        }
    }

    fn cells(&mut self, record: &Record, out: &mut Vec<u8>) {
        for name in self.columns.fields.as_deref().unwrap_or_default() {
            self.cells.json(record.row.fields.get(name), out);
        }
        let values = record.values();
        for place in 0..self.columns.values.len() {
            self.cells.json(values.get(place), out);
        }
        own(&self.columns, record, &mut self.cells, out);
        Cells::end(out);
        if self.crlf {
            out.truncate(out.len() - 1);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The header, with its newline.
pub(super) fn header(columns: &Columns, cells: &Cells) -> Vec<u8> {
    let mut out = Vec::new();
    for name in columns.names() {
        cells.text(name, &mut out);
    }
    Cells::end(&mut out);
    out
}

fn own(columns: &Columns, record: &Record, cells: &mut Cells, out: &mut Vec<u8>) {
    let failure = record.outcome.as_ref().err();
    cells.plain(Some(record.row.number), out);
    if columns.items {
        let item = record.row.item;
        cells.plain(item.and_then(|item| item.number), out);
        cells.plain(Some(item.is_none_or(|item| item.last)), out);
    }
    cells.plain(Some(record.is_ok()), out);
    cells.plain(record.status, out);
    let kind = failure.map(|failure| failure.kind.text());
    cells.text(&kind.unwrap_or_default(), out);
    cells.text(record.detail().unwrap_or_default(), out);
    cells.plain(Some(record.attempts), out);
    cells.plain(record.milliseconds(), out);
    if columns.arrived {
        cells.plain(serde_json::to_string(&WrittenArrivals(&record.arrived)).ok(), out);
    }
    if columns.stored {
        cells.plain(Some(record.is_stored()), out);
    }
    if columns.same_as {
        cells.plain(record.same_as(), out);
    }
    if columns.target {
        cells.text(record.target.as_deref().unwrap_or_default(), out);
    }
    if columns.files {
        let file = record.saved.as_deref();
        cells.text(file.map_or("", |file| &file.path), out);
        cells.plain(file.map(|file| file.size), out);
        cells.text(file.map_or("", |file| &file.sha256), out);
        cells.text(file.and_then(|file| file.content_type.as_deref()).unwrap_or_default(), out);
    }
    if columns.body != KeepBody::None {
        cells.text(record.body.as_deref().unwrap_or_default(), out);
    }
}

/// A new file with these columns.
pub(super) fn table(path: &Path, columns: &ColumnSet, delimiter: u8) -> NewTable {
    let names: Vec<String> = columns.names().map(str::to_owned).collect();
    let mut table = CsvTable {
        out: PackedWriter::new(path)?,
        guards: columns.is_of_results || has_guards(names.iter().map(String::as_str)),
        cells: Cells::new(delimiter),
        line: Vec::new(),
        names,
    };
    for name in &table.names {
        if table.guards {
            table.cells.text(name, &mut table.line);
        } else {
            table.cells.cell(name, &mut table.line);
        }
    }
    table.end_line()?;
    Ok(Box::new(table))
}

struct CsvTable {
    out: PackedWriter,
    names: Vec<String>,
    /// Whether texts that look like formulas get a guard: a reader takes it away
    /// only from results, and all other tables keep their texts as they are.
    guards: bool,
    cells: Cells,
    line: Vec<u8>,
}

impl CsvTable {
    fn end_line(&mut self) -> Result<(), String> {
        Cells::end(&mut self.line);
        self.out.write(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

impl TableWriter for CsvTable {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        for name in &self.names {
            let value = fields.get(name).filter(|value| **value != Value::Null);
            if self.guards {
                self.cells.json(value, &mut self.line);
            } else {
                self.cells.raw(value, &mut self.line);
            }
        }
        self.end_line()
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{columns, failed, ok};

    fn lines(columns: &Columns, records: &[Record]) -> Result<String, Error> {
        let mut out = Vec::new();
        let mut csv = encoder(columns, None, b',')?;
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
        assert_eq!(lines(&columns, &[ok(7), failed(8)]).unwrap(), text, "learnt");
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
        let mut csv = encoder(&columns, Some(header.as_bytes()), b',').unwrap();
        let mut out = Vec::new();
        csv.record(&failed(8), &mut out).unwrap();
        assert!(out.ends_with(b",1,\r\n"), "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn a_field_that_comes_later_stops_the_run() {
        let mut columns = columns(&["price"], false);
        columns.fields = None;
        let mut later = ok(8);
        later.row.fields.insert("sector".into(), "x".into());
        let error = lines(&columns, &[ok(7), later]).unwrap_err().to_string();
        assert!(error.contains("\"sector\"") && error.contains(".jsonl"), "{error}");
    }
}
