//! The rows of a file as the lines of a journal.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::error::Error;
use crate::format::Format;
use crate::row::Row;
use crate::source::{Settings, Source};

/// A file of this format.
pub(super) fn source(path: &Path, format: Format) -> Result<Source, Error> {
    Source::new(&Settings {
        file: Some(path.display().to_string()),
        format: Some(format),
        ..Settings::default()
    })
}

/// Rows as JSON Lines.
pub(super) fn as_lines(
    rows: impl Iterator<Item = Result<Row, Error>> + 'static,
) -> Box<dyn BufRead> {
    Box::new(BufReader::new(ProductLines { rows, line: io::Cursor::default() }))
}

struct ProductLines<R> {
    rows: R,
    line: io::Cursor<Vec<u8>>,
}

impl<R: Iterator<Item = Result<Row, Error>>> Read for ProductLines<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.line.read(out)?;
        if read > 0 || out.is_empty() {
            return Ok(read);
        }
        match self.rows.next() {
            None => Ok(0),
            Some(row) => {
                let row = row.map_err(io::Error::other)?;
                let mut line = serde_json::to_vec(&row.fields)?;
                line.push(b'\n');
                self.line = io::Cursor::new(line);
                self.line.read(out)
            }
        }
    }
}
