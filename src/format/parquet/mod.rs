//! Parquet: typed columns, in groups of rows, compressed by zstd.

use super::entry::{FormatEntry, Read, Records, Write};

mod bare;
mod kinds;
pub(crate) mod parts_scan;
mod read;
mod write;

pub(crate) use write::shape;

/// A Parquet file, or a directory of them.
pub(super) static FORMAT: FormatEntry = FormatEntry {
    name: "parquet",
    extensions: &["parquet"],
    read: Read::File(read::open),
    write: Some(Write { table: write::open, records: Records::AtTheEnd }),
};
