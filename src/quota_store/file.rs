//! The file of one quota: locked while it is changed, and replaced as a whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::quota_state::QuotaState;
use crate::fs::file_lock;

/// The content of a quota's file. Server, limit and unit are for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotaFileContents {
    /// The server.
    pub server: String,
    /// The limit, as the job writes it.
    pub limit: String,
    /// The unit that the limit counts.
    pub unit: String,
    /// The leased and the used units.
    #[serde(flatten)]
    pub state: QuotaState,
}

/// A quota's file that no other process changes while this is held.
pub struct LockedFile {
    path: PathBuf,
    _lock: File,
}

impl LockedFile {
    /// Locks the file; none if another process holds the lock. It never waits, because
    /// the caller holds up all workers meanwhile.
    pub fn take(path: &Path) -> io::Result<Option<LockedFile>> {
        let lock = file_lock::take(path)?;
        Ok(lock.map(|lock| LockedFile { path: path.to_owned(), _lock: lock }))
    }

    /// Reads the file.
    pub fn read(&self) -> io::Result<Option<QuotaFileContents>> {
        read(&self.path)
    }

    /// Replaces the file; returns when the new content is on the disk.
    pub fn write(self, contents: &QuotaFileContents) -> io::Result<()> {
        let name = self.path.with_extension("new");
        let mut new = File::create(&name)?;
        new.write_all(&serde_json::to_vec_pretty(contents)?)?;
        new.sync_data()?;
        fs::rename(name, &self.path)?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}

/// Reads a quota's file; none if it doesn't exist or is only a lock.
pub fn read(path: &Path) -> io::Result<Option<QuotaFileContents>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if text.is_empty() {
        Ok(None)
    } else {
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged: {error}"))
        })
    }
}
