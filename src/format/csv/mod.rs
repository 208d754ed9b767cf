//! Tables of text: a header with the names, then one record a line.
//!
//! - `quotes`, `records`, `values`: a text cut into records and their values
//! - `header`, `rows`: records as rows
//! - `cells`, `guard`: values as they are written
//! - `table`: rows to a table; `encode`, `continued`: a run's records; `decode`: reads
//!   them back

use super::entry::{Codec, FormatEntry, Read, Records, Write};

mod cells;
mod continued;
mod decode;
mod encode;
mod guard;
mod header;
mod quotes;
mod records;
mod rows;
mod table;
mod values;

/// A table with commas; all values are texts.
pub(super) static CSV: FormatEntry = FormatEntry {
    name: "csv",
    extensions: &["csv"],
    read: Read::Text(|text, name| rows::open(text, name, b',')),
    write: Some(write::<b','>()),
};

/// A table with tabs; all values are texts.
pub(super) static TSV: FormatEntry = FormatEntry {
    name: "tsv",
    extensions: &["tsv"],
    read: Read::Text(|text, name| rows::open(text, name, b'\t')),
    write: Some(write::<b'\t'>()),
};

const fn write<const DELIMITER: u8>() -> Write {
    Write {
        table: |path, columns| table::open(path, &columns, DELIMITER),
        records: Records::Appended(Codec {
            encoder: |columns, header| encode::encoder(columns, header, DELIMITER),
            decoder: |key| decode::decoder(key, DELIMITER),
            columns: |columns, header| continued::continued(columns.clone(), header, DELIMITER),
            flaw: |header| continued::other_delimiter(header, DELIMITER),
            value: |value| encode::value(value, DELIMITER),
            start: |columns, fields| encode::start(columns, fields, DELIMITER),
        }),
    }
}
