//! Files that appear at once, and whole.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::Error;

/// Has a file made under a hidden name, and puts it in its place at once.
pub(crate) fn placed<T>(
    path: &Path,
    make: impl FnOnce(&Path) -> Result<T, Error>,
) -> Result<T, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}"));
    let made = make(&new).and_then(|made| {
        let renamed = fs::rename(&new, path).and_then(|()| sync_directory(path));
        renamed.map(|()| made).map_err(|error| {
            Error::stopped(format!("{} cannot be written: {error}", path.display()))
        })
    });
    if made.is_err() {
        // What is half done would only take up room; the error is what matters.
        let _ = fs::remove_file(&new);
    }
    made
}

/// Returns once the names in a file's directory survive a power cut.
pub(crate) fn sync_directory(of: &Path) -> io::Result<()> {
    let directory = match of.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_leaves_nothing_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        let put = |text: &str, fails: bool| {
            placed(&path, |new| {
                fs::write(new, text).map_err(|error| Error::stopped(error.to_string()))?;
                if fails { Err(Error::stopped("the disk is gone")) } else { Ok(text.len()) }
            })
        };
        assert_eq!(put("whole", false).unwrap(), 5);
        put("half", true).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
