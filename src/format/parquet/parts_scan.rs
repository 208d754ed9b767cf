//! A scan of parts for the few columns that resuming needs, a small share of their bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use parquet::basic::Type as Physical;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use serde_json::json;

/// The records of these parts as JSON Lines with `_row`, `_ok` and `_error`; none if
/// one of the parts is not as throng writes those of rows without items.
pub(crate) fn text(parts: Vec<PathBuf>) -> Option<Box<dyn BufRead>> {
    parts.iter().all(|part| is_plain(part)).then(|| {
        Box::new(BufReader::with_capacity(
            1 << 16,
            PartsScan { parts: parts.into_iter(), groups: None, lines: Cursor::default() },
        )) as Box<dyn BufRead>
    })
}

struct PartsScan {
    parts: std::vec::IntoIter<PathBuf>,
    groups: Option<OpenPart>,
    /// Those of one group.
    lines: Cursor<Vec<u8>>,
}

/// An open part, and which of its groups comes next.
struct OpenPart {
    reader: SerializedFileReader<File>,
    next: usize,
}

impl Read for PartsScan {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.lines.read(out)?;
            if read > 0 || out.is_empty() {
                return Ok(read);
            }
            match self.groups.as_mut().map(OpenPart::lines) {
                Some(Ok(Some(lines))) => self.lines = Cursor::new(lines),
                Some(Err(error)) => return Err(io::Error::other(error)),
                Some(Ok(None)) | None => match self.parts.next() {
                    None => return Ok(0),
                    Some(part) => self.groups = Some(OpenPart::of(&part)?),
                },
            }
        }
    }
}

fn is_plain(part: &Path) -> bool {
    let Ok(groups) = OpenPart::of(part) else {
        return false;
    };
    let is = |name, physical| {
        let fields = groups.fields();
        let mut fields = fields.iter();
        fields.any(|field| field.name() == name && field.get_physical_type() == physical)
    };
    is("_row", Physical::INT64)
        && is("_ok", Physical::BOOLEAN)
        && is("_error", Physical::BYTE_ARRAY)
        && groups.place("_item").is_err()
}

impl OpenPart {
    fn of(part: &Path) -> io::Result<OpenPart> {
        let reader = SerializedFileReader::new(File::open(part)?);
        Ok(OpenPart { reader: reader.map_err(io::Error::other)?, next: 0 })
    }

    fn fields(&self) -> &[parquet::schema::types::TypePtr] {
        self.reader.metadata().file_metadata().schema().get_fields()
    }

    fn place(&self, name: &str) -> Result<usize> {
        let place = self.fields().iter().position(|field| field.name() == name);
        place.ok_or_else(|| ParquetError::General(format!("there is no column {name}")))
    }

    /// The lines of the next group, if there is one.
    fn lines(&mut self) -> Result<Option<Vec<u8>>> {
        if self.next == self.reader.num_row_groups() {
            return Ok(None);
        }
        let group = self.reader.get_row_group(self.next)?;
        self.next += 1;
        let rows = numbers(&*group, self.place("_row")?)?;
        let oks = truths(&*group, self.place("_ok")?)?;
        let errors = texts(&*group, self.place("_error")?)?;
        let mut lines = Vec::with_capacity(rows.len() * 28);
        for ((row, ok), error) in rows.into_iter().zip(oks).zip(errors) {
            let line = match error {
                None => format!("{{\"_row\":{row},\"_ok\":{ok}}}\n"),
                Some(error) => {
                    let error = String::from_utf8_lossy(error.data());
                    format!("{}\n", json!({"_row": row, "_ok": ok, "_error": error}))
                }
            };
            lines.extend_from_slice(line.as_bytes());
        }
        Ok(Some(lines))
    }
}

fn numbers(group: &dyn RowGroupReader, place: usize) -> Result<Vec<i64>> {
    let (most, mut values) = (count(group), Vec::new());
    if let ColumnReader::Int64ColumnReader(mut reader) = group.get_column_reader(place)? {
        reader.read_records(most, Some(&mut Vec::new()), None, &mut values)?;
    }
    all(values, most)
}

fn truths(group: &dyn RowGroupReader, place: usize) -> Result<Vec<bool>> {
    let (most, mut values) = (count(group), Vec::new());
    if let ColumnReader::BoolColumnReader(mut reader) = group.get_column_reader(place)? {
        reader.read_records(most, Some(&mut Vec::new()), None, &mut values)?;
    }
    all(values, most)
}

/// Only those that are not null have a value.
fn texts(group: &dyn RowGroupReader, place: usize) -> Result<Vec<Option<ByteArray>>> {
    let (most, mut values, mut levels) = (count(group), Vec::new(), Vec::new());
    if let ColumnReader::ByteArrayColumnReader(mut reader) = group.get_column_reader(place)? {
        reader.read_records(most, Some(&mut levels), None, &mut values)?;
    }
    let mut values = values.into_iter();
    let texts = levels.iter().map(|level| match level {
        0 => None,
        _ => values.next(),
    });
    all(texts.collect(), most)
}

fn count(group: &dyn RowGroupReader) -> usize {
    usize::try_from(group.metadata().num_rows()).unwrap_or(0)
}

/// A record that lacks one of these is none of throng's.
fn all<T>(values: Vec<T>, count: usize) -> Result<Vec<T>> {
    if values.len() == count {
        Ok(values)
    } else {
        Err(ParquetError::General("a record is not whole".to_owned()))
    }
}
