//! Which runs are alive: each has a file, locked as long as its process lives.
//! [door: files]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fs::file_lock;

/// This process's own run, among others.
#[derive(Debug)]
pub struct RunRegistry {
    directory: PathBuf,
    id: String,
    names: AtomicU64,
    /// Holds the lock.
    _file: File,
}

impl RunRegistry {
    /// Begins one.
    pub fn begin(directory: &Path) -> io::Result<RunRegistry> {
        fs::create_dir_all(directory)?;
        let id = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        let Some(file) = file_lock::take(&directory.join(&id))? else {
            return Err(io::Error::other("another run has the same name"));
        };
        Ok(RunRegistry {
            directory: directory.to_owned(),
            id,
            names: AtomicU64::new(0),
            _file: file,
        })
    }

    /// Another name for a part of it that keeps units by itself.
    pub fn name(&self) -> String {
        format!("{}.{}", self.id, self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether the process lives that has this name.
    pub fn is_alive(&self, name: &str) -> bool {
        id_of(name) == self.id || is_alive(&self.directory, name)
    }
}

/// Whether the process lives that has this name. One that doesn't leaves nothing behind.
pub fn is_alive(directory: &Path, name: &str) -> bool {
    let path = directory.join(id_of(name));
    if !path.exists() {
        return false;
    }
    match file_lock::take(&path) {
        Ok(Some(_)) => {
            // If it can't go, it is found dead again.
            let _ = fs::remove_file(path);
            false
        }
        // Who can't be asked may live.
        Ok(None) | Err(_) => true,
    }
}

fn id_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

impl Drop for RunRegistry {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.directory.join(&self.id));
    }
}
