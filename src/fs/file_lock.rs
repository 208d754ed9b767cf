//! One run at a time: a lock that dies with its process.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

/// Opens the file at `path`, makes it if it isn't there, and locks it; none if
/// another process holds it.
pub(crate) fn take(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    take_with(path, &options)
}

/// Opens the file at `path`, makes it if it isn't there, and locks it; none if another process
/// holds it. A symbolic link is an error.
pub(crate) fn take_no_link(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    take_with(path, &options)
}

fn take_with(path: &Path, options: &OpenOptions) -> io::Result<Option<File>> {
    loop {
        let file = options.open(path)?;
        if !lock(&file)? {
            return Ok(None);
        }
        // The process that held it before may have put a new file in its place.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Opens a file for appending and locks it, as long as the path leads to it.
pub(crate) fn take_to_append(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).open(path)?;
    if !lock(&file)? {
        let text = "another run is writing it: wait for its end, or stop it";
        return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
    }
    if is_at(&file, path) {
        Ok(file)
    } else {
        Err(io::Error::other("another file was put in its place"))
    }
}

/// Locks the file; false if another process holds the lock.
pub(crate) fn lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether this open file is the one that the path leads to.
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    are_one(file.metadata(), path.metadata())
}

/// Whether both paths lead to one file.
pub(crate) fn is_one_file(one: &Path, other: &Path) -> bool {
    let is_file = one.metadata().is_ok_and(|data| data.is_file());
    is_file && are_one(one.metadata(), other.metadata())
}

/// Whether another name leads to this file as well.
pub(crate) fn has_hard_links(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.nlink() > 1)
}

fn are_one(one: io::Result<Metadata>, other: io::Result<Metadata>) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
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
    fn a_file_is_locked_by_whatever_name_it_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&path, "").unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        let first = take_to_append(&path).unwrap();
        let error = take_to_append(&other).unwrap_err();
        assert!(error.to_string().contains("another run is writing it"));
        drop(first);
        take_to_append(&other).unwrap();
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
