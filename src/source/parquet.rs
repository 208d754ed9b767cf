//! Parquet files: one row per record, with the types of their columns. [door: files]

use std::fs::File;
use std::path::Path;

use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use serde_json::Value;

use super::names::accepted;
use super::rows::{Found, Items, Opened};

/// The rows of a file; a few pages of it are in memory.
pub(super) fn open(path: &Path) -> Opened {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("cannot open {name}: {error}"))?;
    let reader = SerializedFileReader::new(file)
        .map_err(|error| format!("{name} is no whole Parquet file: {error}"))?;
    Ok(Box::new(Rows {
        name: name.to_string(),
        rows: RowIter::from_file_into(Box::new(reader)),
        read: 0,
    }))
}

struct Rows {
    name: String,
    rows: RowIter<'static>,
    read: u64,
}

impl Iterator for Rows {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let row = self.rows.next()?;
        self.read += 1;
        let fields = row.map_err(|error| error.to_string());
        let fields = fields.and_then(|row| match row.to_json_value() {
            Value::Object(fields) => accepted(fields),
            other => Err(format!("{other} is no record")),
        });
        Some(fields.map_err(|flaw| format!("{}, record {}: {flaw}", self.name, self.read)))
    }
}

impl Items for Rows {}
