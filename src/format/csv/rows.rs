//! A table's bytes to rows: a header line with the names, then one row per record, all
//! texts. Lines are those on which records begin.
//!
//! This drives the parser of `csv-core` and not the reader of `csv`, which
//! miscounts lines after `\r\n` and after blank lines, and which takes a quote
//! that is never closed for the end of the file. Quotes are followed beside it, for
//! it takes `"say \"hi\""` for a value, and for another one than was meant.

use std::collections::HashMap;
use std::io::BufRead;
use std::{iter, str};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::Value;

use super::cells::{has_guards, unguarded};
use super::dialect::{Dialect, told_delimiter};
use super::quotes::{Byte, Quotes};
use crate::format::rows::{
    FIRST, FormatRow, LONGEST_ROW, NOT_UTF_8, OpenedRows, OpenedText, RowReader, Survey,
    TextOptions, shown,
};

/// A table with its header read. Without an `usual` delimiter, and unless it is told, its
/// first lines show it.
pub(super) fn open(
    text: OpenedText,
    name: &str,
    options: &TextOptions,
    usual: Option<u8>,
) -> OpenedRows {
    Ok(Box::new(rows(text, name, options, usual)?))
}

fn rows<R: BufRead>(
    mut text: R,
    name: &str,
    options: &TextOptions,
    usual: Option<u8>,
) -> Result<CsvRows<R>, String> {
    let head = text.fill_buf().map_err(unreadable)?;
    if options.delimiter.is_none() && (head.starts_with(b"[{") || head.starts_with(b"{\"")) {
        return Err(format!(
            "{name} begins as JSON does, and not as a table: read it with --format json or jsonl (input.format)"
        ));
    }
    let dialect = Dialect::of(head, options, usual);
    let tells = told_delimiter(head).is_some();
    let mut records = TextRecords::new(text, name, dialect, options.skipped);
    if tells {
        records.skip_line()?;
    }
    let header = match records.read()? {
        Some(record) => TableHeader::new(&record, name, dialect.delimiter)?,
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
        while count < most
            && let Some(record) = self.records.read()?
        {
            self.header.check(&record)?;
            count += 1;
        }
        survey.rows = Some(count);
        survey.names.clone_from(&self.header.names);
        Ok(survey)
    }
}

/// What every row of a table must fit.
struct TableHeader {
    pub names: Vec<String>,
    /// What messages call the table.
    table: String,
    delimiter: u8,
    /// Whether throng wrote the table, and put a guard before what looks like a formula.
    guards: bool,
}

impl TableHeader {
    /// Refuses columns that have the name of another. One without a name is called by its
    /// place: `column_1`.
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
            header.names.push(name.into());
            if name.trim().is_empty() {
                continue;
            }
            if let Some(first) = columns.insert(name, column) {
                let flaw = same(name, first);
                return Err(format!("{table}, line {}, column {column}: {flaw}", record.line));
            }
        }
        for place in 0..header.names.len() {
            if header.names[place].trim().is_empty() {
                header.names[place] = header.free_name(place + 1);
            }
        }
        Ok(header)
    }

    /// A name for the column without one at this place, which no other column has.
    fn free_name(&self, column: usize) -> String {
        let mut name = format!("column_{column}");
        while self.names.contains(&name) {
            name.push('_');
        }
        name
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
            b',' => "remove one, or quote a value that contains a comma",
            b';' => "remove one, or quote a value that contains a semicolon",
            _ => "remove one, or quote a value that contains the delimiter",
        }
    }
}

fn same(name: &str, first: usize) -> String {
    let shown = shown(name);
    format!("{shown} is the name of column {first} already: rename one of them")
}

/// A text to be cut into records.
struct TextRecords<R> {
    text: R,
    name: String,
    parser: Reader,
    /// The quotes of the record that is being read; none if quotes are like other letters.
    quotes: Option<Quotes>,
    /// What begins a line that is no record.
    comment: Option<u8>,
    /// The number of lines that the parser has not seen.
    other_lines: u64,
    /// The values of the last record, one directly after the other.
    bytes: Vec<u8>,
    /// Where each value ends in `bytes`.
    ends: Vec<usize>,
}

impl<R: BufRead> TextRecords<R> {
    /// Messages call the text `name`.
    pub fn new(text: R, name: &str, dialect: Dialect, skipped: u64) -> TextRecords<R> {
        let Dialect { delimiter, quote, escape, comment } = dialect;
        let mut parser = ReaderBuilder::new();
        parser.delimiter(delimiter).quoting(quote.is_some()).escape(escape);
        if let Some(quote) = quote {
            parser.quote(quote);
        }
        TextRecords {
            text,
            name: name.into(),
            parser: parser.build(),
            quotes: quote.map(|quote| Quotes::with(delimiter, quote, escape)),
            comment,
            other_lines: skipped,
            bytes: vec![0; 1024],
            ends: vec![0; 32],
        }
    }

    /// Reads the next record, if there is one.
    pub fn read(&mut self) -> Result<Option<ValueRow<'_>>, String> {
        let begins = self.skip_other_lines();
        let line = self.line();
        let count = match begins {
            Ok(true) => self.read_values(),
            Ok(false) => return Ok(None),
            Err(flaw) => Err(flaw),
        };
        let record = count.and_then(|count| ValueRow::new(line, &self.bytes, &self.ends[..count]));
        match record {
            Ok(record) => Ok(Some(record)),
            Err(flaw) => Err(format!("{}, line {line}: {flaw}", self.name)),
        }
    }

    fn line(&self) -> u64 {
        self.parser.line() + self.other_lines
    }

    /// Passes one line, whatever is in it.
    fn skip_line(&mut self) -> Result<(), String> {
        self.other_lines += 1;
        self.text.skip_until(b'\n').map_err(unreadable)?;
        Ok(())
    }

    /// Stops where a record begins; false at the end of the text.
    fn skip_other_lines(&mut self) -> Result<bool, String> {
        loop {
            let next = self.text.fill_buf().map_err(unreadable)?.first().copied();
            if self.comment.is_some() && next == self.comment {
                self.skip_line()?;
                continue;
            }
            match next {
                Some(0x1a) if self.is_at_mark()? => {}
                Some(b'\n') => self.other_lines += 1,
                Some(b'\r') => {}
                next => return Ok(next.is_some()),
            }
            self.text.consume(1);
        }
    }

    /// Whether nothing but the mark by which some programs end a text is left of it.
    fn is_at_mark(&mut self) -> Result<bool, String> {
        let rest = self.text.fill_buf().map_err(unreadable)?;
        Ok(rest.iter().all(|byte| matches!(byte, 0x1a | b'\r' | b'\n')))
    }

    /// Reads one record into `bytes` and `ends`, and tells how many values it has.
    fn read_values(&mut self) -> Result<usize, String> {
        let (mut length, mut count) = (0, 0);
        if let Some(quotes) = &mut self.quotes {
            quotes.begin();
        }
        loop {
            let (result, written, ended) = self.parse_on(length, count)?;
            (length, count) = (length + written, count + ended);
            if length + count * size_of::<usize>() >= LONGEST_ROW {
                return Err(TOO_LONG.into());
            }
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.bytes.resize(length * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(count * 2, 0),
                ReadRecordResult::Record | ReadRecordResult::End => return Ok(count),
            }
        }
    }

    /// Parses what is buffered, after the values and ends there are of this record.
    fn parse_on(&mut self, length: usize, count: usize) -> Result<ParserStep, String> {
        let bytes = self.text.fill_buf().map_err(unreadable)?;
        // A line's end at the end of the text: it ends any value but a quoted one.
        let at_end = bytes.is_empty();
        let bytes = if at_end { b"\n" } else { bytes };
        let (result, read, written, ended) =
            self.parser.read_record(bytes, &mut self.bytes[length..], &mut self.ends[count..]);
        if at_end && result == ReadRecordResult::InputEmpty {
            return Err(UNCLOSED.into());
        }
        if !at_end {
            let is_end = matches!(result, ReadRecordResult::Record | ReadRecordResult::End);
            if let Some(quotes) = &mut self.quotes
                && (!is_end || quotes.matter_in(&bytes[..read]))
            {
                check(quotes, &bytes[..read])?;
            }
            self.text.consume(read);
        }
        Ok((result, written, ended))
    }
}

/// Why the parser paused, and how many bytes and ends it wrote.
type ParserStep = (ReadRecordResult, usize, usize);

const UNCLOSED: &str = "a quote (\") that opens in this row is never closed: \
    close it, or double it if it is meant";
const TOO_LONG: &str = "this row is longer than 64 MiB: look for a quote (\") left open in it";

/// Refuses quotes that another reader would understand in another way.
fn check(quotes: &mut Quotes, bytes: &[u8]) -> Result<(), String> {
    for &byte in bytes {
        let flaw = match quotes.pass(byte) {
            Byte::AfterQuote if quotes.escaped => ESCAPED,
            Byte::AfterQuote => AFTER_QUOTE,
            Byte::QuoteAfterSpaces => AFTER_SPACES,
            Byte::Inside | Byte::Delimiter | Byte::End | Byte::BareQuote => continue,
        };
        return Err(format!("in column {}, {flaw}", quotes.column));
    }
    Ok(())
}

const ESCAPED: &str = "a backslash stands before a quote (\\\"), which does not escape it: \
    write a quote within a value twice (\"\"), or say that it does (--escape '\\', input.escape)";
const AFTER_QUOTE: &str = "something stands after the quote (\") that closes this value: \
    remove it, or write a quote within a value twice (\"\")";
const AFTER_SPACES: &str = "spaces stand before the quote (\") that opens this value: \
    remove them, or put all of it in quotes, and write a quote within a value twice (\"\")";

fn unreadable(error: std::io::Error) -> String {
    format!("cannot read on: {error}")
}

/// Some values in their order.
#[derive(Debug)]
struct ValueRow<'a> {
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
            // Two values can be UTF-8 only together, with a character cut in between.
            Ok(text) => match ends.iter().position(|&end| !text.is_char_boundary(end)) {
                Some(place) => Err(not_utf_8(place + 1)),
                None => Ok(ValueRow { line, text, ends }),
            },
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
    format!("the value in column {column} is not UTF-8: {NOT_UTF_8}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    use serde_json::{Value, json};

    fn read(text: &str, delimiter: u8) -> Result<Vec<Value>, String> {
        let table = rows(text.as_bytes(), "t.csv", &TextOptions::default(), Some(delimiter))?;
        table.map(|found| found.map(Value::Object)).collect()
    }

    fn survey(text: &str, most: u64) -> Result<Survey, String> {
        rows(text.as_bytes(), "t.csv", &TextOptions::default(), None)?.survey(most)
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
        ];
        for (text, start) in cases {
            let error = read(text, b',').unwrap_err();
            assert_eq!(survey(text, 99).unwrap_err(), error);
            assert!(error.starts_with(&format!("t.csv{start}")), "{error}");
        }
    }

    #[test]
    fn a_column_without_a_name_is_called_by_its_place() {
        for (text, row) in [
            (",id\n0,1\n", json!({"column_1": "0", "id": "1"})),
            ("id,\n1,\n", json!({"id": "1", "column_2": ""})),
            (
                " ,column_1,\"\"\n0,1,2\n",
                json!({"column_1_": "0", "column_1": "1", "column_3": "2"}),
            ),
        ] {
            assert_eq!(read(text, b','), Ok(vec![row]), "{text}");
        }
    }

    fn read_with(text: &str, options: &TextOptions) -> Result<Vec<Value>, String> {
        let table = rows(text.as_bytes(), "t.csv", options, None)?;
        table.map(|found| found.map(Value::Object)).collect()
    }

    #[test]
    fn a_table_is_read_with_the_signs_of_its_dialect() {
        let with = TextOptions::default;
        let escape = TextOptions { escape: Some(b'\\'), ..with() };
        let rows = vec![json!({"a": "x \"y\", \\", "b": "z"})];
        assert_eq!(read_with("a,b\n\"x \\\"y\\\", \\\\\",z\n", &escape), Ok(rows));
        let single = TextOptions { quote: Some(Some(b'\'')), ..with() };
        let rows = vec![json!({"a": "x;\"", "b": "it's"})];
        assert_eq!(read_with("a;b\n'x;\"';'it''s'\n", &single), Ok(rows));
        let none = TextOptions { quote: Some(None), ..with() };
        assert_eq!(
            read_with("a|b\n\"x|5\" y\n", &none),
            Ok(vec![json!({"a": "\"x", "b": "5\" y"})])
        );
        let comment = TextOptions { comment: Some(b'#'), skipped: 2, ..with() };
        let text = "# a,b,c\na;b\n# x\n\n1;#2\n#;\n1\n";
        let error = read_with(text, &comment).unwrap_err();
        assert!(error.starts_with("t.csv, line 9: 1 field, but"), "{error}");
        assert_eq!(
            read_with("sep=:\r\na:b\r\n1:2\r\n", &with()),
            Ok(vec![json!({"a": "1", "b": "2"})])
        );
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

    /// The line and values of each record, read in pieces of `piece` bytes.
    fn records(text: &str, piece: usize) -> Result<Vec<(u64, Vec<String>)>, String> {
        let text = BufReader::with_capacity(piece, text.as_bytes());
        let (mut records, mut all) =
            (TextRecords::new(text, "t", Dialect::with(b','), 0), Vec::new());
        while let Some(record) = records.read()? {
            all.push((record.line, record.values().map(String::from).collect()));
        }
        Ok(all)
    }

    #[test]
    fn lines_are_counted_as_an_editor_does() {
        let lines = |text, piece| -> Vec<u64> {
            records(text, piece).unwrap().into_iter().map(|(line, _)| line).collect()
        };
        for piece in [1, 2, 3, 1000] {
            assert_eq!(lines("a\nb\n\n\nc", piece), [1, 2, 5]);
            assert_eq!(lines("\r\na\r\nb\r\n\r\nc\r\n", piece), [2, 3, 5]);
            assert_eq!(lines("\"a\n\na\"\nb\n", piece), [1, 4]);
        }
    }

    #[test]
    fn values_are_kept_as_they_are() {
        let long = "x".repeat(5000);
        let wide = ",".repeat(99);
        let text = format!("007, b ,\"a\"\"\n,\",\0,{long},5\" pipe\n{wide}");
        let records = records(&text, 64).unwrap();
        assert_eq!(records[0].1, ["007", " b ", "a\"\n,", "\0", &long, "5\" pipe"]);
        assert_eq!(records[1].1, [""; 100]);
    }

    #[test]
    fn what_two_readers_understand_in_two_ways_is_refused() {
        for (text, place, flaw) in [
            ("a,b\n1,\"say \\\"hi\\\"\"\n", 2, ESCAPED),
            ("a,b\n1,\"\\\"\"\n2,\"\\\"\"\n", 2, ESCAPED),
            ("a,b\n1,\"x\" \n", 2, AFTER_QUOTE),
            ("a,b\n\"x\"y,2\n", 1, AFTER_QUOTE),
            ("a,b\n1, \"x\"\n", 2, AFTER_SPACES),
        ] {
            for piece in [1, 2, 5, 1000] {
                let error = records(text, piece).unwrap_err();
                assert_eq!(error, format!("t, line 2: in column {place}, {flaw}"), "{text}");
            }
        }
        let whole = "\"C:\\dir\\\",x\n\"a\"\"\"\n\"\"\r\n";
        let values: Vec<_> =
            records(whole, 3).unwrap().into_iter().map(|(_, values)| values).collect();
        assert_eq!(values, [vec!["C:\\dir\\", "x"], vec!["a\""], vec![""]]);
    }

    #[test]
    fn an_open_quote_is_found_at_the_end_of_the_text() {
        for text in ["a\nb,\"c\nd\n", "a\n\"", "a\nb,\"\"\"", "a\n\"b\n\n"] {
            assert_eq!(records(text, 8), Err(format!("t, line 2: {UNCLOSED}")));
        }
        assert_eq!(records("a\n\"b\n\"", 8).unwrap()[1].1, ["b\n"]);
    }

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
