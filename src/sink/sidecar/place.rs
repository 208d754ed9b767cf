//! The names of files that lie beside a results file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

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

/// As many symbolic links as Linux follows.
const MOST_LINKS: usize = 40;

/// The file whose name has this ending more.
pub(crate) fn beside(results: &Path, ending: &str) -> PathBuf {
    // What lies beside a directory does not lie in it: `results/` is `results`.
    let mut name = results.components().as_path().as_os_str().to_owned();
    name.push(ending);
    name.into()
}
