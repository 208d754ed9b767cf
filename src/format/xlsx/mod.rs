//! Workbooks of Excel (`.xlsx`): the rows of a sheet, whose first row has the names.

use super::entry::{FormatEntry, Read};

mod read;

/// A sheet of a workbook. It is only read.
pub(super) static FORMAT: FormatEntry = FormatEntry {
    name: "xlsx",
    extensions: &["xlsx", "xlsm"],
    read: Read::Tables(read::open),
    write: None,
};
