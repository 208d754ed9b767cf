//! Stands for Parquet in a build without the feature `parquet`.

use std::path::Path;

use super::column_set::ColumnSet;
use super::entry::FormatEntry;

const WHY: &str = "this build has no Parquet: build with --features parquet";

pub(super) static FORMAT: FormatEntry = FormatEntry::missing("parquet", &["parquet"], WHY);

pub(crate) fn shape(_path: &Path) -> Result<ColumnSet, String> {
    Err(WHY.to_owned())
}

pub(crate) mod parts_scan {
    use std::io::BufRead;
    use std::path::PathBuf;

    pub(crate) fn text(_parts: Vec<PathBuf>) -> Option<Box<dyn BufRead>> {
        None
    }
}
