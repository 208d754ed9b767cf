//! Arrow IPC files (`.arrow`, Feather): typed columns, in batches of rows.

use super::entry::{FormatEntry, Read, Records, Write};

mod read;
mod values;
mod write;

pub(crate) use write::BatchBuilder;

/// An Arrow IPC file.
pub(super) static FORMAT: FormatEntry = FormatEntry {
    name: "arrow",
    extensions: &["arrow", "feather"],
    read: Read::File(read::open),
    write: Some(Write { table: write::open, records: Records::AtTheEnd }),
};
