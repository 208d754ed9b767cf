//! The registry of runs: each has a file that is locked while its process lives.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::quota::file::FileError;
use crate::quota::lock::{self, FileId};
use crate::time::{Time, now};

/// The registration of this process's run.
#[derive(Debug)]
pub struct RunRegistry {
    directory: PathBuf,
    id: String,
    names: AtomicU64,
    /// The file, which is locked for as long as it is open, and which one it is.
    _file: File,
    file_id: FileId,
}

impl RunRegistry {
    /// Registers a new run.
    pub fn start(directory: &Path) -> io::Result<RunRegistry> {
        fs::create_dir_all(directory).map_err(FileError::of(directory))?;
        static STARTED: AtomicU64 = AtomicU64::new(0);
        let count = STARTED.fetch_add(1, Ordering::Relaxed);
        let time = now().since(Time::ZERO).as_nanos();
        let id = format!("{}-{time:x}-{count}", std::process::id());
        let Some(file) = lock::take_lock(&directory.join(&id))? else {
            return Err(io::Error::other("another run has the same name"));
        };
        let (directory, file_id) = (directory.to_owned(), FileId::of(&file)?);
        Ok(RunRegistry { directory, id, names: AtomicU64::new(0), _file: file, file_id })
    }

    /// A new name for a handle of this run, which leases units by itself.
    pub fn next_name(&self) -> String {
        format!("{}.{}", self.id, self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether this is a handle of this run.
    pub fn is_own(&self, name: &str) -> bool {
        id_of(name) == self.id
    }

    /// Whether the process of this handle lives.
    pub fn is_alive(&self, name: &str) -> bool {
        self.is_own(name) || is_alive(&self.directory, name)
    }

    /// Checks that other runs can see that this one lives.
    pub fn check_registered(&self) -> io::Result<()> {
        if self.file_id.is_at(&self.directory.join(&self.id)) {
            return Ok(());
        }
        let text = "something else has removed the file that shows that this run goes on";
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}

/// Whether the process of this handle lives. The file of a dead process is removed.
pub fn is_alive(directory: &Path, name: &str) -> bool {
    let path = directory.join(id_of(name));
    if !path.exists() {
        return false;
    }
    match lock::take_lock(&path) {
        Ok(Some(_)) => {
            // A file that can't be removed is found dead again.
            let _ = fs::remove_file(path);
            false
        }
        // A process that can't be checked may live.
        Ok(None) | Err(_) => true,
    }
}

/// The process id of a handle's run.
pub fn process_of(name: &str) -> Option<u32> {
    name.split('-').next()?.parse().ok()
}

/// The run of this handle.
pub fn id_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

impl RunRegistry {
    /// Removes the file that shows that the run lives.
    pub fn end(&self) {
        // It may be gone already.
        let _ = fs::remove_file(self.directory.join(&self.id));
    }
}

impl Drop for RunRegistry {
    fn drop(&mut self) {
        self.end();
    }
}
