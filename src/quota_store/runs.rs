//! The registry of runs: each has a file that is locked while its process lives.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fs::file_lock;

/// The registration of this process's run.
#[derive(Debug)]
pub struct RunRegistry {
    directory: PathBuf,
    id: String,
    names: AtomicU64,
    /// The locked file.
    _file: File,
}

impl RunRegistry {
    /// Registers a new run.
    pub fn start(directory: &Path) -> io::Result<RunRegistry> {
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

    /// A new name for a handle of this run, which leases units by itself.
    pub fn next_name(&self) -> String {
        format!("{}.{}", self.id, self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether the process of this handle lives.
    pub fn is_alive(&self, name: &str) -> bool {
        id_of(name) == self.id || is_alive(&self.directory, name)
    }
}

/// Whether the process of this handle lives. The file of a dead process is removed.
pub fn is_alive(directory: &Path, name: &str) -> bool {
    let path = directory.join(id_of(name));
    if !path.exists() {
        return false;
    }
    match file_lock::take(&path) {
        Ok(Some(_)) => {
            // A file that can't be removed is found dead again.
            let _ = fs::remove_file(path);
            false
        }
        // A process that can't be checked may live.
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
