//! Tables of text: a header with the names, then one record a line.
//!
//! - `quotes`, `rows`: a text cut into records, and these as rows
//! - `dialect`: the delimiter and quotes of a table, told or seen
//! - `cells`: values as they are written
//! - `encode`: rows to a table, and a run's records; `decode`: reads these back

use super::entry::{Codec, FormatEntry, Read, Records, Write};

mod cells;
mod decode;
mod dialect;
mod encode;
mod quotes;
mod rows;

/// Whether a line of unknown format is the header of a table.
pub(super) fn is_header(line: &[u8]) -> bool {
    dialect::is_header(line)
}

/// A table with commas, or what else its first lines show; all values are texts.
pub(super) static CSV: FormatEntry = FormatEntry {
    name: "csv",
    extensions: &["csv"],
    read: Read::Text(|text, name, options| rows::open(text, name, options, None)),
    write: Some(write::<b','>()),
};

/// A table with tabs; all values are texts.
pub(super) static TSV: FormatEntry = FormatEntry {
    name: "tsv",
    extensions: &["tsv", "tab"],
    read: Read::Text(|text, name, options| rows::open(text, name, options, Some(b'\t'))),
    write: Some(write::<b'\t'>()),
};

const fn write<const DELIMITER: u8>() -> Write {
    Write {
        table: |path, columns| encode::table(path, &columns, DELIMITER),
        records: Records::Appended(Codec {
            encoder: |columns, header| encode::encoder(columns, header, DELIMITER),
            decoder: |key| decode::decoder(key, DELIMITER),
            columns: |columns, header| decode::continued(columns.clone(), header, DELIMITER),
            flaw: |header| decode::other_delimiter(header, DELIMITER),
            value: |value| cells::value(value, DELIMITER),
            start: |columns, fields| encode::start(columns, fields, DELIMITER),
        }),
    }
}
