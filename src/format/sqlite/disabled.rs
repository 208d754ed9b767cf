//! Stands for SQLite in a build without the feature `sqlite`.

use super::entry::FormatEntry;

pub(super) static FORMAT: FormatEntry = FormatEntry::missing(
    "sqlite",
    &["db", "sqlite", "sqlite3"],
    "this build has no SQLite: build with --features sqlite",
);
