//! SQLite databases: the rows of a table, with the types of their values.

use super::entry::{FormatEntry, Mirror, Read, Records, Write};

mod read;
mod write;

/// A table of a SQLite database.
pub(super) static FORMAT: FormatEntry = FormatEntry {
    name: "sqlite",
    extensions: &["db", "sqlite", "sqlite3"],
    read: Read::Tables(read::open),
    write: Some(Write {
        table: write::table,
        records: Records::WithJournal(Mirror {
            open: write::mirror,
            beside: &["-wal", "-shm"],
            flaw: write::flaw,
        }),
    }),
};
