//! Records read back, as far as resuming needs it: where records end, their rows, and whether
//! a run can continue the file.
//!
//! It need not be as throng wrote it: a spreadsheet saves it with a byte order mark,
//! with CRLF at the end of each line, and with `TRUE` for `true`.

use std::borrow::Cow;
use std::ops::Range;

use super::cells::{unguarded, value};
use super::quotes::{Byte, Quotes, cut, unquoted};
use crate::error::Error;
use crate::format::columns::{Columns, KeepBody};
use crate::format::entry::{Decode, FoundRecord, ReadRecord};
use crate::format::rows::unmarked;

/// Reads records; with the field that identifies rows.
pub(super) fn decoder(key: Option<&str>, delimiter: u8) -> Box<dyn Decode> {
    Box::new(CsvRecords {
        key: key.map(str::to_owned),
        quotes: Quotes::new(delimiter),
        columns: None,
    })
}

struct CsvRecords {
    key: Option<String>,
    /// The quotes of the record that is being read.
    quotes: Quotes,
    /// The columns that are read; none before the header.
    columns: Option<ColumnNumbers>,
}

/// The numbers of the columns that are read.
struct ColumnNumbers {
    delimiter: u8,
    count: usize,
    row: usize,
    item: Option<usize>,
    last: Option<usize>,
    ok: usize,
    error: Option<usize>,
    key: Option<usize>,
}

impl CsvRecords {
    fn header(&self, record: &[u8]) -> Option<ColumnNumbers> {
        let cells = cut(unmarked(record), self.quotes.delimiter)?;
        let names: Vec<_> = cells.into_iter().map(unquoted).collect();
        let place = |name: &str| names.iter().rposition(|it| is_called(it, name));
        let key = match &self.key {
            Some(key) => Some(place(key)?),
            None => None,
        };
        Some(ColumnNumbers {
            delimiter: self.quotes.delimiter,
            count: names.len(),
            row: place("_row")?,
            item: place("_item"),
            last: place("_last"),
            ok: place("_ok")?,
            error: place("_error"),
            key,
        })
    }
}

impl Decode for CsvRecords {
    fn begin(&mut self) {
        self.quotes.begin();
    }

    fn ends(&mut self, line: &[u8]) -> bool {
        let line = match self.columns {
            None => unmarked(line),
            Some(_) => line,
        };
        // One with a misplaced quote is no record, wherever it ends.
        let mut bytes = line.iter().map(|byte| self.quotes.pass(*byte));
        bytes.any(is_misplaced) || !self.quotes.is_open()
    }

    fn read(&mut self, record: &[u8]) -> Option<FoundRecord> {
        let Some(columns) = &self.columns else {
            self.columns = Some(self.header(record)?);
            return Some(FoundRecord::Header);
        };
        columns.seen(record).map(FoundRecord::Row)
    }

    fn row_at(&self, record: &[u8]) -> Option<Range<usize>> {
        let row = self.columns.as_ref()?.row;
        let cells = cut(record, self.quotes.delimiter)?;
        // Each with the delimiter after it.
        let start = cells.iter().take(row).map(|cell| cell.len() + 1).sum();
        Some(start..start + cells.get(row)?.len())
    }
}

impl ColumnNumbers {
    fn seen(&self, record: &[u8]) -> Option<ReadRecord> {
        let cells = cut(record, self.delimiter).filter(|cells| cells.len() == self.count)?;
        let cell = |place: usize| cells.get(place).copied().map(unquoted);
        let is = |cell: Option<Cow<str>>, text: &str| {
            cell.is_some_and(|cell| cell.eq_ignore_ascii_case(text))
        };
        let ok = is(cell(self.ok), "true");
        if !ok && !is(cell(self.ok), "false") {
            return None;
        }
        let item = self.item.and_then(cell).filter(|item| !item.is_empty());
        let key = self.key.and_then(cell);
        Some(ReadRecord {
            row: cell(self.row)?.parse().ok()?,
            item: match item {
                None => None,
                Some(item) => Some(item.parse().ok()?),
            },
            last: !is(self.last.and_then(cell), "false"),
            failed: ReadRecord::failure(ok, self.error.and_then(cell).as_deref()),
            key: key.map(|key| value(&unguarded(&key).into(), self.delimiter)),
        })
    }
}

fn is_misplaced(byte: Byte) -> bool {
    matches!(byte, Byte::AfterQuote | Byte::QuoteAfterSpaces | Byte::BareQuote)
}

/// Whether a column that is written so has this name. Names had no guards once.
fn is_called(written: &str, name: &str) -> bool {
    written == name || unguarded(written) == name
}

/// The columns of the file that begins with this header; those of this run
/// must be the same.
pub(super) fn continued(
    mut columns: Columns,
    first_line: &[u8],
    delimiter: u8,
) -> Result<Columns, Error> {
    let names = names(first_line, delimiter);
    // Whether the job has a limit, and which bodies it keeps, may change; a file's columns can't.
    columns.arrived = names.iter().any(|name| name == "_arrived");
    columns.stored = names.iter().any(|name| name == "_stored");
    columns.same_as = names.iter().any(|name| name == "_same_as");
    columns.target = names.iter().any(|name| name == "_target");
    columns.files |= names.iter().any(|name| name == "_sha256");
    columns.body = match (names.iter().any(|name| name == "_body"), columns.body) {
        (true, KeepBody::None) => KeepBody::Failed,
        (false, KeepBody::Failed) => KeepBody::None,
        (_, body) => body,
    };
    if columns.fields.is_none() {
        let after = columns.after_fields().count();
        let fields = &names[..names.len().saturating_sub(after)];
        columns.fields = Some(fields.iter().map(|name| unguarded(name).into()).collect());
    }
    let ours: Vec<&str> = columns.names().collect();
    match difference(&names, &ours) {
        None => Ok(columns),
        Some(difference) => Err(Error::plan(format!(
            "the file to resume has the columns {}, but this run would write {}: {difference}",
            names.join(","),
            ours.join(","),
        ))),
    }
}

/// Why a header can't be read that has another delimiter than this one.
pub(super) fn other_delimiter(header: &str, delimiter: u8) -> Option<String> {
    let names = [(',', "commas"), ('\t', "tabs"), (';', "semicolons"), ('|', "|")];
    let name = |is: &dyn Fn(char) -> bool| {
        let found = names.iter().find(|(other, _)| is(*other));
        found.map(|(_, name)| *name)
    };
    let own = char::from(delimiter);
    let other = name(&|other| other != own && header.contains(&format!("{other}_row{other}")))?;
    let own = name(&|it| it == own)?;
    Some(format!(
        "its columns are separated by {other}, as some spreadsheets save them: save it with {own}, as UTF-8"
    ))
}

/// The first column that is not the same, with what can't be seen made visible.
fn difference(theirs: &[String], ours: &[&str]) -> Option<String> {
    let place = (0..theirs.len().max(ours.len())).find(|place| {
        let both = theirs.get(*place).zip(ours.get(*place));
        both.is_none_or(|(theirs, ours)| !is_called(theirs, ours))
    })?;
    let shown = |name: Option<String>| name.unwrap_or_else(|| "missing".to_owned());
    let theirs = theirs.get(place).map(|name| format!("{name:?}"));
    let ours = ours.get(place).map(|name| format!("{name:?}"));
    Some(format!("column {} is {} there, and {} here", place + 1, shown(theirs), shown(ours)))
}

fn names(header: &[u8], delimiter: u8) -> Vec<String> {
    let cells = cut(unmarked(header), delimiter).unwrap_or_default();
    cells.into_iter().map(|cell| unquoted(cell).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::csv::cells::Cells;
    use crate::format::csv::encode::header;
    use crate::sink::samples::columns;

    #[test]
    fn the_row_is_found_behind_quoted_commas_and_newlines() {
        let mut rows = decoder(Some("a,b"), b',');
        let header = b"\"a,b\",_row,_ok\n";
        assert!(rows.ends(header));
        assert_eq!(rows.read(header), Some(FoundRecord::Header));
        assert!(!rows.ends(b"\"x,\"\"y\n"));
        assert!(rows.ends(b"z\",7,true\r\n"));
        let seen = ReadRecord {
            row: 7,
            item: None,
            last: true,
            failed: None,
            key: Some(b"\"x,\"\"y\nz\"".to_vec()),
        };
        assert_eq!(rows.read(b"\"x,\"\"y\nz\",7,true\r\n"), Some(FoundRecord::Row(seen)));
    }

    #[test]
    fn the_place_of_the_number_is_found() {
        let mut rows = decoder(None, b',');
        rows.read(b"a,_row,_ok\n");
        let record = b"\"x,\ny\",12,true\n";
        assert_eq!(&record[rows.row_at(record).unwrap()], b"12");
    }

    #[test]
    fn an_item_is_found_with_its_number() {
        let mut rows = decoder(None, b',');
        rows.read(b"_row,_item,_last,_ok\n");
        for (record, item, last) in [
            (&b"7,3,false,true\n"[..], Some(3), false),
            (b"7,4,true,false\n", Some(4), true),
            (b"7,,true,true\n", None, true),
        ] {
            let Some(FoundRecord::Row(seen)) = rows.read(record) else { panic!("{record:?}") };
            assert_eq!((seen.row, seen.item, seen.last), (7, item, last));
        }
    }

    #[test]
    fn what_is_not_ours_is_told() {
        let mut rows = decoder(None, b',');
        assert!(rows.read(b"symbol,name\n").is_none());
        assert!(rows.read(b"symbol,_row,_ok,_error\n").is_some());
        for record in [
            &b"RIV\n"[..],
            b"RIV,x,true,\n",
            b"RIV,1,maybe,\n",
            b"RIV,1,true\n",
            b"RIV,1,true,,\n",
            b"\n",
        ] {
            assert!(rows.read(record).is_none(), "{record:?}");
        }
    }

    #[test]
    fn a_resumed_file_must_have_the_same_columns() {
        let mut columns = columns(&["price"], false);
        let ours = header(&columns, &Cells::new(b','));
        assert!(continued(columns.clone(), &ours, b',').is_ok());
        columns.fields = None;
        assert!(continued(columns.clone(), &ours, b',').is_ok(), "learnt from the file");
        columns.arrived = true;
        assert!(continued(columns.clone(), &ours, b',').is_ok(), "it has a limit now");
        columns.values.push("name".into());
        let error = continued(columns.clone(), &ours, b',').err().unwrap().to_string();
        assert!(error.contains("has the columns symbol,price,_row"), "{error}");
        let end = ": column 1 is \"symbol\" there, and \"price\" here";
        assert!(error.ends_with(end), "{error}");
    }

    #[test]
    fn what_cannot_be_seen_is_no_difference_or_is_shown() {
        let columns = columns(&["@price"], false);
        let ours = header(&columns, &Cells::new(b','));
        for (from, to, is_same) in [
            ("symbol", "\u{feff}symbol", true),
            ("_ms\n", "_ms\r\n", true),
            ("symbol", "\"symbol\"", true),
            ("'@price", "@price", true),
            ("symbol", "symbol\u{a0}", false),
            (",_ms", "", false),
        ] {
            let theirs = String::from_utf8(ours.clone()).unwrap().replace(from, to);
            let found = continued(columns.clone(), theirs.as_bytes(), b',');
            assert_eq!(found.is_ok(), is_same, "{theirs}");
        }
        let theirs = String::from_utf8(ours).unwrap();
        let error = |theirs: String| {
            continued(columns.clone(), theirs.as_bytes(), b',').unwrap_err().to_string()
        };
        let spaced = error(theirs.replace("symbol", "symbol\u{a0}"));
        let end = ": column 1 is \"symbol\\u{a0}\" there, and \"symbol\" here";
        assert!(spaced.ends_with(end), "{spaced}");
        let short = error(theirs.replace(",_ms", ""));
        assert!(short.ends_with(": column 9 is missing there, and \"_ms\" here"), "{short}");
    }
}
