//! One account's file: locked while it is changed, and replaced as a whole.
//! [door: files]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::book::QuotaState;
use crate::fs::file_lock;

/// What the file says. The first three are for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotaFileContents {
    /// Whom it concerns: the server.
    pub server: String,
    /// The limit, as jobs write it.
    pub limit: String,
    /// What it counts.
    pub unit: String,
    /// What is known of it.
    #[serde(flatten)]
    pub book: QuotaState,
}

/// A file that nobody else changes as long as this lives.
pub struct LockedFile {
    path: PathBuf,
    _lock: File,
}

impl LockedFile {
    /// Keeps others from changing it; none if somebody else does just now. Nobody waits
    /// here: the limits, which ask, are kept from all workers meanwhile.
    pub fn take(path: &Path) -> io::Result<Option<LockedFile>> {
        let lock = file_lock::take(path)?;
        Ok(lock.map(|lock| LockedFile {
            path: path.to_owned(),
            _lock: lock,
        }))
    }

    /// What it says.
    pub fn read(&self) -> io::Result<Option<QuotaFileContents>> {
        read(&self.path)
    }

    /// Says something else; returns when that is on the disk.
    pub fn write(self, page: &QuotaFileContents) -> io::Result<()> {
        let name = self.path.with_extension("new");
        let mut new = File::create(&name)?;
        new.write_all(&serde_json::to_vec_pretty(page)?)?;
        new.sync_data()?;
        fs::rename(name, &self.path)?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()
    }
}

/// What a file says; nothing if there is none, or only its lock.
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
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is damaged: {error}"),
            )
        })
    }
}
