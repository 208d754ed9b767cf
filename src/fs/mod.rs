//! Files that are locked, files that appear at once and whole, the names of files that lie
//! beside another, and sorting by way of files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

pub(crate) mod external_sort;
pub(crate) mod file_lock;

/// Has a file made under a hidden name, and puts it in its place at once.
pub(crate) fn placed<T>(
    path: &Path,
    make: impl FnOnce(&Path) -> Result<T, Error>,
) -> Result<T, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}"));
    let made = make(&new).and_then(|made| {
        let renamed = fs::rename(&new, path).and_then(|()| sync_directory(path));
        renamed.map(|()| made).map_err(|error| {
            Error::stopped(format!("{} cannot be written: {error}", path.display()))
        })
    });
    if made.is_err() {
        // What is half done would only take up room; the error is what matters.
        let _ = fs::remove_file(&new);
    }
    made
}

/// Returns once the names in a file's directory survive a power cut.
pub(crate) fn sync_directory(of: &Path) -> io::Result<()> {
    let directory = match of.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// Number of bytes that are free on the disk of a file or directory, if the system tells.
pub(crate) fn free_bytes(file: &File) -> Option<u64> {
    let disk = rustix::fs::fstatvfs(file).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The file or directory that a name leads to through symbolic links, so that it has
/// one sidecar whatever it is called. Pipes and devices stay what they are called.
pub(crate) fn real(path: &Path) -> PathBuf {
    let mut real = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&real) else {
            return real;
        };
        match path.metadata() {
            Ok(data) if data.is_file() || data.is_dir() => {
                return path.canonicalize().unwrap_or(real);
            }
            // What it leads to is yet to be made.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                real = real.parent().unwrap_or(Path::new("")).join(target);
            }
            _ => return path.to_owned(),
        }
    }
    real
}

/// Maximum number of symbolic links to follow, which is that of Linux.
const MOST_LINKS: usize = 40;

/// The file whose name has this ending more.
pub(crate) fn beside(results: &Path, ending: &str) -> PathBuf {
    // What lies beside a directory does not lie in it: `results/` is `results`.
    let mut name = results.components().as_path().as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_leaves_nothing_and_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        let put = |text: &str, fails: bool| {
            placed(&path, |new| {
                fs::write(new, text).map_err(|error| Error::stopped(error.to_string()))?;
                if fails { Err(Error::stopped("the disk is gone")) } else { Ok(text.len()) }
            })
        };
        assert_eq!(put("whole", false).unwrap(), 5);
        put("half", true).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn links_lead_to_the_file_whether_it_is_there_or_not() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().canonicalize().unwrap();
        let name = |name: &str| directory.join(name);
        std::os::unix::fs::symlink("b", name("a")).unwrap();
        std::os::unix::fs::symlink(name("c"), name("b")).unwrap();
        std::os::unix::fs::symlink("loop", name("loop")).unwrap();
        assert_eq!(real(&name("a")), name("c"));
        fs::write(name("c"), "").unwrap();
        assert_eq!((real(&name("a")), real(&name("c"))), (name("c"), name("c")));
        assert_eq!(real(&name("none")), name("none"));
        assert_eq!(real(&name("loop")), name("loop"));
    }
}
