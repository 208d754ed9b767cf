//! One row per record, with the types of their columns. One batch is in memory.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::FileReader;

use super::values::value;
use crate::format::rows::{FormatRow, OpenedRows, RowReader, accepted};
use crate::row::Fields;

const MAGIC: &[u8] = b"ARROW1";

/// Whether the file begins as every Arrow IPC file does. It is left at its beginning.
fn begins_with_magic(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.by_ref().take(MAGIC.len() as u64).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(start == MAGIC)
}

/// The rows of a file.
pub(super) fn open(path: &Path) -> OpenedRows {
    let name = path.display().to_string();
    let mut file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
    let begins_well = begins_with_magic(&mut file);
    if !begins_well.map_err(|error| format!("cannot read {name}: {error}"))? {
        return Err(format!(
            "{name} is no Arrow IPC file: it does not begin with \"ARROW1\" (streams and the first version of Feather are not read)"
        ));
    }
    let reader = FileReader::try_new(BufReader::new(file), None)
        .map_err(|error| format!("{name} is no whole Arrow IPC file: {error}"))?;
    let mut names = HashSet::new();
    let schema = reader.schema();
    for field in schema.fields() {
        if !names.insert(field.name()) {
            return Err(format!(
                "{name} has two columns that are called {:?}: rename one of them",
                field.name()
            ));
        }
    }
    Ok(Box::new(ArrowRows {
        batch: RecordBatch::new_empty(reader.schema()),
        reader,
        name,
        next: 0,
        read: 0,
    }))
}

struct ArrowRows {
    name: String,
    reader: FileReader<BufReader<File>>,
    batch: RecordBatch,
    /// The next row of the batch.
    next: usize,
    read: u64,
}

impl ArrowRows {
    fn fields(&self) -> FormatRow {
        let mut fields = Fields::new();
        let schema = self.batch.schema_ref();
        for (field, column) in schema.fields().iter().zip(self.batch.columns()) {
            let value = value(column as &dyn Array, self.next);
            let value = value.map_err(|flaw| format!("{:?}: {flaw}", field.name()))?;
            fields.insert(field.name().clone(), value);
        }
        accepted(fields)
    }
}

impl Iterator for ArrowRows {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        while self.next == self.batch.num_rows() {
            match self.reader.next()? {
                Ok(batch) => (self.batch, self.next) = (batch, 0),
                Err(error) => return Some(Err(format!("{}: {error}", self.name))),
            }
        }
        self.read += 1;
        let fields = self.fields();
        self.next += 1;
        Some(fields.map_err(|flaw| format!("{}, record {}: {flaw}", self.name, self.read)))
    }
}

impl RowReader for ArrowRows {}
