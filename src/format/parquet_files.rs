//! The Parquet files of a directory, which together are one table.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// The Parquet files of a directory, by their names; hidden ones are still being written.
pub(crate) fn parquet_files(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".parquet") && !name.starts_with(['.', '_']) && path.is_file() {
            parts.push(path);
        }
    }
    parts.sort_unstable();
    Ok(parts)
}
