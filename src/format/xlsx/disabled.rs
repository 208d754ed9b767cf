//! Stands for workbooks of Excel in a build without the feature `xlsx`.

use super::entry::FormatEntry;

pub(super) static FORMAT: FormatEntry = FormatEntry::missing_input(
    "xlsx",
    &["xlsx", "xlsm"],
    "this build has no workbooks of Excel: build with --features xlsx",
);
