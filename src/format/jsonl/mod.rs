//! JSON Lines: one object a line. Also the format of each journal that is no output.

use std::path::Path;

use super::column_set::ColumnSet;
use super::columns::Columns;
use super::compress::PackedWriter;
use super::entry::{Codec, FormatEntry, NewTable, Read, Records, TableWriter, Write};
use crate::error::Error;
use crate::row::Fields;

mod decode;
mod encode;
pub(super) mod rows;

/// One JSON object per line.
pub(super) static FORMAT: FormatEntry = FormatEntry {
    name: "jsonl",
    extensions: &["jsonl", "ndjson"],
    read: Read::Text(rows::open),
    write: Some(Write { table, records: Records::Appended(CODEC) }),
};

/// The records of a run.
pub(super) const CODEC: Codec = Codec {
    encoder: encode::encoder,
    decoder: decode::decoder,
    columns: any_columns,
    flaw: |_| None,
    value: encode::value,
    start: encode::start,
};

/// Each line has its own names.
fn any_columns(columns: &Columns, _: &[u8]) -> Result<Columns, Error> {
    Ok(columns.clone())
}

fn table(path: &Path, _: ColumnSet) -> NewTable {
    Ok(Box::new(JsonlTable(PackedWriter::new(path)?)))
}

struct JsonlTable(PackedWriter);

impl TableWriter for JsonlTable {
    fn row(&mut self, fields: &Fields) -> Result<(), String> {
        let mut line = serde_json::to_vec(fields).map_err(|error| error.to_string())?;
        line.push(b'\n');
        self.0.write(&line)
    }

    fn end(self: Box<Self>) -> Result<(), String> {
        self.0.end()
    }
}
