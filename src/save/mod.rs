//! Answers as files: which paths rows may have, and how a file comes into its place.
//!
//! - a file appears at its path at once, whole and synced, before its record is written
//! - two rows never have one file, also across the runs that continue one output
//! - files that were there before a run stay, unless the run continues or starts again
//!
//! Does I/O: files.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::fs::{file_lock, real};
use crate::record::{Failure, FailureKind};
use crate::render::{RowPath, UNFINISHED};
use crate::wording::worded;

mod download;

pub use download::{Download, SaveError};

/// The files of a run's answers.
#[derive(Debug)]
pub struct SavedFiles {
    rules: SaveRules,
    /// The paths that rows have, as hashes: eight bytes for each file.
    taken: Mutex<HashSet<u64>>,
}

/// What a run does with the files of answers.
#[derive(Debug, Clone, Default)]
pub struct SaveRules {
    /// Whether files are replaced that no record of the output tells of.
    pub replaces: bool,
    /// Whether a file is on the disk, safe from a power cut, before its record is written.
    pub syncs: bool,
    /// Maximum size of a file in bytes, if there is one.
    pub max_size: Option<u64>,
    /// Maximum size of a file in bytes that is decompressed, unless it is less than
    /// [`MAX_RATIO`] times what was sent.
    pub max_decompressed: u64,
    /// The run's own files, which no answer replaces: its input, and its output with the files
    /// beside it.
    pub own: Vec<PathBuf>,
}

/// Maximum size of a decompressed file, in that of what was sent.
pub const MAX_RATIO: u64 = 200;

impl SavedFiles {
    /// Of a run with these rules.
    pub fn new(rules: SaveRules) -> SavedFiles {
        SavedFiles { rules, taken: Mutex::default() }
    }

    /// Notes the file of a row that has a record.
    pub fn note(&self, path: &str) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(hash(path));
    }

    /// The file of a row, which is to be downloaded.
    ///
    /// # Errors
    /// A failure `file exists` if another row has it, or if it was there before; a failure
    /// `input` if there can be none at this path, or if it leads out of its folder.
    pub fn begin(&self, of_row: &RowPath) -> Result<Download, Failure> {
        let shown = &of_row.path;
        let number = hash(shown);
        let path = Path::new(shown);
        self.check_place(path, &of_row.folder)?;
        if !self.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(number) {
            return Err(exists(format!(
                "{shown} is the file of another row: save (--save) needs a field that tells them apart"
            )));
        }
        let replaces = match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(no_file(shown, &error.to_string())),
            Ok(data) if data.is_dir() => return Err(no_file(shown, "it is a folder")),
            Ok(_) if !self.rules.replaces => {
                return Err(exists(worded(format!(
                    "{shown} was there before this run: move it away, or replace such files with --overwrite"
                ))));
            }
            Ok(_) => true,
        };
        let part = path.with_file_name(format!("{UNFINISHED}{number:016x}"));
        Ok(Download::new(shown.clone(), part, replaces, self.rules.clone()))
    }

    /// Checks that a path stays in its folder where links lead, and is none of the run's own
    /// files.
    fn check_place(&self, path: &Path, folder: &str) -> Result<(), Failure> {
        let folder = match folder {
            "" => Path::new("."),
            folder => Path::new(folder),
        };
        let shown = path.display();
        let leads_out = leads_out(path, folder);
        if leads_out.map_err(|error| no_file(&shown.to_string(), &error.to_string()))? {
            return Err(no_file(
                &shown.to_string(),
                &format!("a link leads out of the folder {}", folder.display()),
            ));
        }
        if self.rules.own.iter().any(|own| is_own(path, own)) {
            return Err(no_file(&shown.to_string(), "the run itself reads or writes it"));
        }
        Ok(())
    }
}

/// Whether a file below a folder is elsewhere, where links lead. Folders that are not there yet
/// lead nowhere.
fn leads_out(path: &Path, folder: &Path) -> io::Result<bool> {
    let below =
        path.ancestors().skip(1).take_while(|it| *it != folder && !it.as_os_str().is_empty());
    for parent in below {
        match parent.canonicalize() {
            Ok(real) => return Ok(!real.starts_with(folder.canonicalize()?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Whether a path is that of one of the run's own files, or of a file beside it whose name
/// begins with its name.
fn is_own(path: &Path, own: &Path) -> bool {
    let names = path.file_name().zip(own.file_name());
    let is_beside = names
        .is_some_and(|(name, own)| name.as_encoded_bytes().starts_with(own.as_encoded_bytes()));
    let place = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => real(parent).canonicalize(),
        _ => Path::new(".").canonicalize(),
    };
    let is_there = || place(path).ok().is_some_and(|it| place(own).is_ok_and(|own| own == it));
    (is_beside && is_there()) || file_lock::is_one_file(path, own)
}

/// A number for a path; where names that differ in case alone are one file, so is the number.
fn hash(path: &str) -> u64 {
    let folds = cfg!(any(target_os = "macos", target_os = "windows"));
    let folded = if folds { path.to_lowercase() } else { path.to_owned() };
    let hash = blake3::hash(folded.as_bytes());
    let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(first)
}

fn exists(why: String) -> Failure {
    Failure::new(FailureKind::FileExists, why)
}

fn no_file(path: &str, why: &str) -> Failure {
    Failure::new(FailureKind::Input, format!("save: the file {path:?} can't be written: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(folder: &Path, name: &str) -> RowPath {
        let folder = format!("{}/", folder.display());
        RowPath { path: format!("{folder}{name}"), folder }
    }

    fn kind(files: &SavedFiles, path: &RowPath) -> Result<(), (FailureKind, String)> {
        files.begin(path).map(|_| ()).map_err(|failure| (failure.kind, failure.detail))
    }

    #[test]
    fn a_path_is_one_row_s() {
        let place = tempfile::tempdir().unwrap();
        let files = SavedFiles::new(SaveRules::default());
        files.note(&path(place.path(), "earlier").path);
        std::fs::write(place.path().join("foreign"), "mine").unwrap();
        assert_eq!(kind(&files, &path(place.path(), "a")), Ok(()));
        for (name, why) in [
            ("a", "is the file of another row"),
            ("earlier", "is the file of another row"),
            ("foreign", "was there before this run"),
        ] {
            let (kind, detail) = kind(&files, &path(place.path(), name)).unwrap_err();
            assert_eq!(kind, FailureKind::FileExists);
            assert!(detail.contains(why), "{detail}");
        }
        let again = SavedFiles::new(SaveRules { replaces: true, ..SaveRules::default() });
        assert_eq!(kind(&again, &path(place.path(), "foreign")), Ok(()));
    }

    #[test]
    fn no_link_leads_out_of_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("out");
        std::fs::create_dir_all(folder.join("inside")).unwrap();
        std::fs::create_dir(place.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", folder.join("away")).unwrap();
        std::os::unix::fs::symlink("inside", folder.join("near")).unwrap();
        let files = SavedFiles::new(SaveRules::default());
        for (name, is_allowed) in
            [("near/a", true), ("new/new/a", true), ("away/a", false), ("away/new/a", false)]
        {
            let found = kind(&files, &path(&folder, name));
            assert_eq!(found.is_ok(), is_allowed, "{name}: {found:?}");
        }
    }

    #[test]
    fn the_run_s_own_files_are_no_rows() {
        let place = tempfile::tempdir().unwrap();
        let own = vec![place.path().join("out.jsonl")];
        let files = SavedFiles::new(SaveRules { replaces: true, own, ..SaveRules::default() });
        for (name, is_own) in [("out.jsonl", true), ("out.jsonl.throng", true), ("out.json", false)]
        {
            assert_eq!(kind(&files, &path(place.path(), name)).is_err(), is_own, "{name}");
        }
    }
}
