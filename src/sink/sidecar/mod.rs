//! The small file beside a results file: what the records belong to, and how
//! far the disk has them. It is the lock, too.
//!
//! It is replaced as a whole, so that a crash leaves the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::fs::{beside, file_lock, real, sync_directory};
use crate::limit::Limit;
use crate::source::InputFingerprint;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sidecar {
    /// The version that wrote it.
    pub throng: String,
    /// The process that holds the lock, or held it last.
    pub pid: u32,
    /// The identifier that all runs with one file share; idempotency keys come from it.
    pub run: String,
    /// What the records belong to.
    pub identity: Identity,
    /// How much of the results was on the disk at the last sync.
    pub synced: Option<Synced>,
    /// How many records the results had when this was written.
    pub records: u64,
    /// Whether all rows have their record.
    pub complete: bool,
    /// The file that was made when they had, if it is none that grows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made: Option<MadeFile>,
    /// The rows whose records have failed in a run that the brake has ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub braked: Vec<u64>,
}

/// The beginning of a results file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Synced {
    /// How long it is.
    pub bytes: u64,
    /// Its checksum.
    pub crc32: u32,
}

/// A file that was made of a journal, as long as nothing else has written to it, and its
/// records in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct MadeFile {
    /// Its length.
    pub bytes: u64,
    /// When it was written last, in nanoseconds since 1970.
    pub modified: u64,
    /// The records of rows that failed.
    pub failed: u64,
    /// The records of rows that are done without values.
    pub missing: u64,
}

impl MadeFile {
    /// The file at this path, with `failed` records that failed and `missing` without values.
    pub fn at(path: &Path, failed: u64, missing: u64) -> Option<MadeFile> {
        let data = path.metadata().ok().filter(fs::Metadata::is_file)?;
        let since = data.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let modified = u64::try_from(since.as_nanos()).ok()?;
        Some(MadeFile { bytes: data.len(), modified, failed, missing })
    }
}

/// A sidecar that no other run can have as long as this lives.
pub(super) struct SidecarLock {
    path: PathBuf,
    /// Holds the lock.
    file: File,
    pub says: Sidecar,
}

/// Where the sidecar of this results file is.
pub(super) fn path(results: &Path) -> PathBuf {
    beside(results, ".throng")
}

/// What an earlier run has left, if it can be read.
pub(super) fn read(results: &Path) -> Option<Sidecar> {
    let text = fs::read(path(results)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// What the sidecar of a results file says of the last run that wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFacts {
    /// The limits of the run; none if the sidecar is of an older version.
    pub limits: Vec<RunLimit>,
    /// The limits as the job writes them.
    pub limits_text: String,
    /// Whether the requests of earlier steps are in no record.
    pub has_steps: bool,
    /// Whether limits were not shared with the other runs of the account.
    pub is_alone: bool,
    /// Number of rows, if it was known before the run.
    pub rows: Option<u64>,
    /// Whether the run has ended with a record for each row.
    pub complete: bool,
    /// Minimum number of records that the file must have.
    pub records: u64,
    /// The names of the values.
    pub values: Vec<String>,
    /// The part of the rows that the run had, if it was one of several shards.
    pub shard: Option<ShardFacts>,
    /// Fingerprints of the parts of the job that the records depend on, and of the input.
    pub fingerprints: Vec<(String, String)>,
}

/// A limit of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunLimit {
    /// The limit, with its burst and its template of keys wherever the job states them.
    pub limit: Limit,
    /// Whether each key of the pool has the limit for itself.
    #[serde(default)]
    pub pool: bool,
    /// The names of the targets whose requests it counts; empty where the job has one alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
}

/// The facts of the last run that wrote these results, if they have a sidecar.
#[must_use]
pub fn facts_of(results: &Path) -> Option<RunFacts> {
    let Sidecar { identity, records, complete, .. } = read(&real(results))?;
    Some(RunFacts {
        limits: identity.rates,
        limits_text: identity.limits,
        has_steps: identity.has_steps,
        is_alone: identity.is_alone,
        rows: identity.rows,
        complete,
        records,
        values: identity.values,
        shard: identity.shard,
        fingerprints: identity
            .parts
            .into_iter()
            .chain(identity.input.map(|input| ("the input".to_owned(), input.blake3)))
            .collect(),
    })
}

impl SidecarLock {
    /// Takes the lock of these results; the error says who holds it.
    pub fn take(results: &Path) -> io::Result<SidecarLock> {
        let path = path(results);
        let Some(mut file) = file_lock::take(&path)? else {
            return Err(io::Error::other(holder(results)));
        };
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(SidecarLock { says: serde_json::from_slice(&text).unwrap_or_default(), path, file })
    }

    /// Puts what it says on the disk; `durably` returns only when it is there. It may
    /// have been removed meanwhile; one that another run has put there stays.
    pub fn write(&mut self, durably: bool) -> io::Result<()> {
        if self.path.exists() && !file_lock::is_at(&self.file, &self.path) {
            let name = self.path.display();
            return Err(io::Error::other(format!(
                "something else has put another {name} in the place of this run's"
            )));
        }
        let name = beside(&self.path, ".new");
        let mut new = File::create(&name)?;
        file_lock::lock(&new)?;
        new.write_all(&serde_json::to_vec_pretty(&self.says)?)?;
        if durably {
            new.sync_data()?;
        }
        fs::rename(name, &self.path)?;
        self.file = new;
        if durably { sync_directory(&self.path) } else { Ok(()) }
    }

    /// Takes the file away, if it is still there.
    pub fn remove(self) -> io::Result<()> {
        if file_lock::is_at(&self.file, &self.path) { fs::remove_file(&self.path) } else { Ok(()) }
    }
}

/// Which run writes these results, as far as their sidecar tells. By another name of
/// the results there may be none, or one that nothing holds.
pub(super) fn holder(results: &Path) -> String {
    let is_held =
        File::open(path(results)).is_ok_and(|file| matches!(file_lock::lock(&file), Ok(false)));
    let who = match read(results).filter(|_| is_held) {
        Some(Sidecar { pid, .. }) if pid > 0 => format!("process {pid}"),
        _ => "another run".to_owned(),
    };
    format!("{who} is writing it: wait for its end, or stop it")
}

/// The identity of a run, as fingerprints: short hashes, so that no secret is kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// The input's bytes, if they can be read again.
    pub input: Option<InputFingerprint>,
    /// Each part of the job that the records depend on, by its key.
    pub parts: Vec<(String, String)>,
    /// The limits as the job writes them.
    pub limits: String,
    /// The limits of the requests that the records tell of.
    #[serde(default)]
    pub rates: Vec<RunLimit>,
    /// Whether the job has steps, of which the records tell the last one's requests alone.
    #[serde(default)]
    pub has_steps: bool,
    /// Whether limits were not shared with the other runs of the account, by a run of which
    /// there are records.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_alone: bool,
    /// Number of rows, if it is known before the run.
    #[serde(default)]
    pub rows: Option<u64>,
    /// The part of the rows that the run had, if it was one of several shards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardFacts>,
    /// The names of the values.
    #[serde(default)]
    pub values: Vec<String>,
    /// Whether a record has the values of all of its row's pages.
    #[serde(default)]
    pub joins_pages: bool,
}

/// The place of a run among those that divide the rows of one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardFacts {
    /// Its number, from 1 to `count`.
    pub index: u64,
    /// Number of shards.
    pub count: u64,
    /// Number of rows of all shards together, if it was known before the run.
    pub rows_of_all: Option<u64>,
}

/// A short hash of a text.
#[must_use]
pub fn fingerprint(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

impl Identity {
    /// The keys of the parts that have another fingerprint than `before`.
    #[must_use]
    pub fn changed_since<'a>(&'a self, before: &'a Identity) -> Vec<&'a str> {
        let same = |part: &&(String, String)| before.parts.contains(part);
        let changed = self.parts.iter().filter(|part| !same(part));
        let has = |name: &str| self.parts.iter().any(|(own, _)| own == name);
        let gone = before.parts.iter().filter(|(name, _)| !has(name));
        changed.chain(gone).map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_replaced_as_a_whole_and_stays_locked() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("out.jsonl");
        let mut held = SidecarLock::take(&results).unwrap();
        held.says.pid = 4711;
        held.write(true).unwrap();
        held.write(false).unwrap();
        let error = SidecarLock::take(&results).err().unwrap().to_string();
        assert!(error.contains("process 4711 is writing it"), "{error}");
        drop(held);
        assert_eq!(SidecarLock::take(&results).unwrap().says.pid, 4711);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_that_was_removed_comes_back_and_another_run_s_stays() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("out.jsonl");
        let mut held = SidecarLock::take(&results).unwrap();
        held.write(true).unwrap();
        fs::remove_file(path(&results)).unwrap();
        held.write(true).unwrap();
        fs::remove_file(path(&results)).unwrap();
        let other = SidecarLock::take(&results).unwrap();
        let error = held.write(true).unwrap_err().to_string();
        assert!(error.contains("something else has put another"), "{error}");
        held.remove().unwrap();
        assert!(file_lock::is_at(&other.file, &other.path));
    }

    #[test]
    fn a_damaged_one_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let results = directory.path().join("out.jsonl");
        fs::write(path(&results), "\0\0\0").unwrap();
        assert_eq!(read(&results), None);
        assert_eq!(SidecarLock::take(&results).unwrap().says, Sidecar::default());
    }

    #[test]
    fn what_has_changed_is_named() {
        let identity = |url: &str| Identity {
            parts: vec![
                ("request.url".into(), fingerprint(url)),
                ("extract".into(), fingerprint("")),
            ],
            ..Identity::default()
        };
        let (old, new) = (identity("http://a/"), identity("http://b/"));
        assert_eq!(new.changed_since(&old), ["request.url"]);
        assert!(old.changed_since(&old).is_empty());
        assert!(!format!("{old:?}").contains("http"), "only fingerprints are kept");
    }
}
