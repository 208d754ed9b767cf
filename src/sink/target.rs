//! What is to be opened, and how. [door: files]

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::opened::{Opened, Out};
use crate::error::Error;

/// What there is to open.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Stdout,
    /// A pipe or a device.
    Device(PathBuf),
    /// A file that did not exist.
    New(PathBuf),
    /// A file whose records stay, and its size in bytes when it was read.
    GoOn(PathBuf, u64),
    /// A file to be emptied.
    Replace(PathBuf),
}

impl Target {
    /// Opens it for appending after its first `end` bytes.
    pub(super) fn open(&self, end: u64) -> Result<Opened, Error> {
        match self.out(end) {
            Ok(out) => Ok(Opened {
                name: self.to_string(),
                out,
                made: self.made(),
            }),
            Err(error) => Err(Error::plan(format!(
                "the output {self} cannot be opened: {error}"
            ))),
        }
    }

    fn made(&self) -> Option<PathBuf> {
        match self {
            Target::New(path) => Some(path.clone()),
            _ => None,
        }
    }

    fn out(&self, end: u64) -> io::Result<Out> {
        let mut options = OpenOptions::new();
        options.append(true);
        let file = match self {
            Target::Stdout => return Ok(Out::Stream(Box::new(io::stdout()))),
            Target::Device(path) => return Ok(Out::Stream(Box::new(options.open(path)?))),
            Target::New(path) => options.create_new(true).open(path)?,
            Target::GoOn(path, size) => resumed(path, *size, end)?,
            Target::Replace(path) => options.open(path)?,
        };
        if let Target::Replace(_) = self {
            file.set_len(0)?;
        }
        Ok(Out::File(file, end))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Stdout => f.write_str("stdout"),
            Target::Device(path)
            | Target::New(path)
            | Target::GoOn(path, _)
            | Target::Replace(path) => path.display().fmt(f),
        }
    }
}

/// The file as the plan has read it, without what is torn after `end`.
fn resumed(path: &Path, size: u64, end: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).open(path)?;
    if file.metadata()?.len() != size {
        let text = "it has changed since it was read; does another run write it?";
        return Err(io::Error::other(text));
    }
    if end < size {
        keep_torn(&mut file, path, end)?;
        file.set_len(end)?;
    }
    Ok(file)
}

/// What is cut goes to a file beside it, should it have been worth something.
fn keep_torn(file: &mut File, path: &Path, end: u64) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".torn");
    file.seek(SeekFrom::Start(end))?;
    let mut torn = OpenOptions::new().create(true).append(true).open(name)?;
    io::copy(file, &mut torn)?;
    torn.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_appeared_meanwhile_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        fs::write(&path, "precious").unwrap();
        assert!(Target::New(path.clone()).open(0).is_err());
        assert!(Target::GoOn(path.clone(), 3).open(0).is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "precious");
    }

    #[test]
    fn what_is_torn_is_cut_and_kept_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        fs::write(&path, "{\"_row\":0}\n{\"_ro").unwrap();
        let mut opened = Target::GoOn(path.clone(), 16).open(11).unwrap();
        opened.append(b"{\"_row\":1}\n").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"_row\":0}\n{\"_row\":1}\n"
        );
        let torn = fs::read_to_string(directory.path().join("out.jsonl.torn"));
        assert_eq!(torn.unwrap(), "{\"_ro");
    }
}
