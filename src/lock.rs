//! One run at a time: a lock that dies with its process. [door: files]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Opens the file at `path`, makes it if it isn't there, and locks it; none if
/// someone else holds it.
pub(crate) fn take(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    loop {
        let file = options.open(path)?;
        if !lock(&file)? {
            return Ok(None);
        }
        // Whoever held it before may have put a new file in its place.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// False if someone else holds it.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether this open file is the one that the path leads to.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_by_one_until_that_one_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.throng");
        let first = take(&path).unwrap().unwrap();
        assert!(take(&path).unwrap().is_none());
        drop(first);
        assert!(take(&path).unwrap().is_some());
    }

    #[test]
    fn a_file_that_was_replaced_is_not_the_one_at_the_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.throng");
        let first = take(&path).unwrap().unwrap();
        assert!(is_at(&first, &path));
        std::fs::remove_file(&path).unwrap();
        assert!(!is_at(&first, &path));
        assert!(take(&path).unwrap().is_some(), "the new one is free");
        assert!(!is_at(&first, &path));
    }
}
