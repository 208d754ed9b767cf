//! Locks of files and directories, which end with the process.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Opens the file at `path`, creates it if it doesn't exist, and locks it; none if another
/// process holds the lock.
pub fn take_lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    loop {
        let file = options.open(path)?;
        if !take(&file)? {
            return Ok(None);
        }
        // Its holder before may have removed it.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Locks a directory; none if another process holds the lock, or has removed it.
pub fn lock_directory(path: &Path) -> io::Result<Option<File>> {
    let directory = File::open(path)?;
    let is_locked = take(&directory)? && is_at(&directory, path);
    Ok(is_locked.then_some(directory))
}

/// Locks the file; false if another process holds the lock.
pub fn take(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Gives the lock back.
pub fn release(file: &File) {
    // A lock that can't be given back ends with the process.
    let _ = flock(file, FlockOperation::Unlock);
}

/// Which file it is, whatever leads to it, for as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    /// That of an open file.
    pub fn of(file: &File) -> io::Result<FileId> {
        Ok(FileId::new(&file.metadata()?))
    }

    fn new(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), number: metadata.ino() }
    }

    /// Whether the path leads to this file.
    pub fn is_at(self, path: &Path) -> bool {
        path.metadata().is_ok_and(|metadata| FileId::new(&metadata) == self)
    }
}

/// Whether this open file is the one that the path leads to.
fn is_at(file: &File, path: &Path) -> bool {
    FileId::of(file).is_ok_and(|id| id.is_at(path))
}
