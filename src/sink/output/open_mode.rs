//! The file that grows, and how it is opened.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::format::Format;
use crate::fs::file_lock;
use crate::report::visible;
use crate::sink::journal::disk::FileAtPath;
use crate::sink::journal::open_output::{Journal, OpenOutput, Out};
use crate::sink::journal::rewrite;
use crate::sink::product::parts::{self, Parts};
use crate::sink::product::{self, Product};
use crate::sink::resume::ResumeState;
use crate::sink::sidecar::place::beside;

const CHANGED: &str = "it has changed since it was read; does another run write it?";

/// How an output is opened.
#[derive(Debug, Clone)]
pub(crate) enum OpenMode {
    Stdout,
    /// A pipe or a device.
    Device(PathBuf),
    /// A file that did not exist.
    New(PathBuf),
    /// A file whose records stay, and its size in bytes when it was read.
    GoOn(PathBuf, u64),
    /// A file to be emptied.
    Replace(PathBuf),
    /// A journal to be put back, of a file that was finished.
    Unpack(Arc<dyn Product>),
    /// The journal of a directory of parts, and its size in bytes when it was read;
    /// none if all begins anew.
    Parts(Parts, Option<u64>),
}

impl OpenMode {
    /// The file that grows, if one does.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match self {
            OpenMode::Unpack(product) => Some(product.journal()),
            OpenMode::Parts(parts, _) => Some(parts.journal()),
            _ => self.path().map(Path::to_owned),
        }
    }

    /// The file that it names, if it names one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            OpenMode::Stdout | OpenMode::Device(_) => None,
            OpenMode::New(path) | OpenMode::GoOn(path, _) | OpenMode::Replace(path) => Some(path),
            OpenMode::Unpack(product) => Some(product.path()),
            OpenMode::Parts(parts, _) => Some(parts.path()),
        }
    }

    /// The file that grows, if it is there already: no other run can have it as long
    /// as this lives, by whatever name.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        match self {
            OpenMode::GoOn(path, _) | OpenMode::Replace(path) => {
                file_lock::take_to_append(path).map(Some)
            }
            OpenMode::Parts(parts, _) => match file_lock::take_to_append(&parts.journal()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                locked => locked.map(Some),
            },
            _ => Ok(None),
        }
    }

    /// Opens it for appending after its past; with the file that was locked.
    pub(super) fn open(
        &self,
        locked: Option<File>,
        past: &ResumeState,
        format: Format,
    ) -> Result<OpenOutput, Error> {
        match self.file() {
            None => self.open_stream(),
            Some(path) => self.opened(self.journal(&path, locked, past, format).map(Out::File)),
        }
    }

    pub(crate) fn open_stream(&self) -> Result<OpenOutput, Error> {
        self.opened(match self {
            OpenMode::Device(path) => OpenOptions::new()
                .append(true)
                .open(path)
                .map(|device| Out::Stream(Box::new(device))),
            _ if io::stdout().is_terminal() => Ok(Out::Stream(Box::new(Terminal(io::stdout())))),
            _ => Ok(Out::Stream(Box::new(io::stdout()))),
        })
    }

    fn opened(&self, out: io::Result<Out>) -> Result<OpenOutput, Error> {
        let out = out
            .map_err(|error| Error::plan(format!("the output {self} cannot be opened: {error}")))?;
        let made = match self {
            OpenMode::New(path) => Some(path.clone()),
            _ => None,
        };
        Ok(OpenOutput { name: self.to_string(), out, made })
    }

    fn journal(
        &self,
        path: &Path,
        locked: Option<File>,
        past: &ResumeState,
        format: Format,
    ) -> io::Result<Journal> {
        if let OpenMode::Unpack(product) = self {
            if path.exists() {
                return Err(io::Error::other(CHANGED));
            }
            product::unpack(&**product)?;
        }
        let file = match (self, locked) {
            (_, Some(locked)) => locked,
            (OpenMode::New(_) | OpenMode::Parts(..), None) => {
                File::create_new(path)?;
                file_lock::take_to_append(path)?
            }
            _ => file_lock::take_to_append(path)?,
        };
        match self {
            OpenMode::Parts(parts, size) => in_parts(parts, file, *size, past, format),
            OpenMode::GoOn(_, size) => resumed(path, file, *size, past, format),
            OpenMode::Unpack(_) => resumed(path, file, past.end, past, format),
            _ => emptied(file, path, 0),
        }
    }
}

impl fmt::Display for OpenMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenMode::Device(path) => path.display().fmt(f),
            _ => match self.path() {
                Some(path) => path.display().fmt(f),
                None => f.write_str("stdout"),
            },
        }
    }
}

/// Standard output on a terminal: no record moves the cursor, or changes how others look.
struct Terminal(io::Stdout);

impl Write for Terminal {
    /// Whole records are written at once, so that no character is cut.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = visible(&String::from_utf8_lossy(bytes));
        self.0.write_all(text.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A journal that begins anew, of an output that has `records` elsewhere.
fn emptied(file: File, path: &Path, records: u64) -> io::Result<Journal> {
    file.set_len(0)?;
    Ok(Journal {
        disk: Box::new(FileAtPath::new(file, path.to_owned(), 0)),
        end: 0,
        crc: crc32fast::Hasher::new(),
        records,
    })
}

/// The journal of the parts to come. If records are to go, all of them are put back
/// into it first, so that a crash leaves each in one place at least.
fn in_parts(
    parts: &Parts,
    file: File,
    size: Option<u64>,
    past: &ResumeState,
    format: Format,
) -> io::Result<Journal> {
    let path = parts.journal();
    let Some(size) = size else {
        parts::remove(&parts.directory)?;
        return emptied(file, &path, 0);
    };
    if !past.is_to_be_rewritten() && past.left_over {
        return emptied(file, &path, past.records);
    }
    if !past.is_to_be_rewritten() {
        return resumed(&path, file, size, past, format);
    }
    cut_torn(&path, file, size, past.end)?;
    product::unpack(parts)?;
    let journal = rewrite::without_dropped(&path, past, format)?;
    parts::remove(&parts.directory)?;
    Ok(journal)
}

/// The file as the plan has read it, without what is torn after its end, and
/// without the records that are to go.
fn resumed(
    path: &Path,
    file: File,
    size: u64,
    past: &ResumeState,
    format: Format,
) -> io::Result<Journal> {
    let file = cut_torn(path, file, size, past.end)?;
    if past.is_to_be_rewritten() {
        return rewrite::without_dropped(path, past, format);
    }
    Ok(Journal {
        disk: Box::new(FileAtPath::new(file, path.to_owned(), past.end)),
        end: past.end,
        crc: past.crc.clone(),
        records: past.records,
    })
}

fn cut_torn(path: &Path, mut file: File, size: u64, end: u64) -> io::Result<File> {
    if file.metadata()?.len() != size {
        return Err(io::Error::other(CHANGED));
    }
    if end < size {
        keep_torn(&mut file, path, end)?;
        file.set_len(end)?;
    }
    Ok(file)
}

/// What is cut goes to a file beside it, should it have been worth something.
fn keep_torn(file: &mut File, path: &Path, end: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(end))?;
    let mut options = OpenOptions::new();
    let mut torn = options.create(true).append(true).open(beside(path, ".torn"))?;
    io::copy(file, &mut torn)?;
    torn.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn open(target: OpenMode, end: u64) -> Result<OpenOutput, Error> {
        let past = ResumeState { end, ..ResumeState::default() };
        let locked = target.lock().unwrap();
        target.open(locked, &past, "jsonl".parse().unwrap())
    }

    #[test]
    fn a_file_that_appeared_meanwhile_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        fs::write(&path, "precious").unwrap();
        assert!(open(OpenMode::New(path.clone()), 0).is_err());
        assert!(open(OpenMode::GoOn(path.clone(), 3), 0).is_err());
        assert_eq!(fs::read_to_string(path).unwrap(), "precious");
    }

    #[test]
    fn what_is_torn_is_cut_and_kept_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.jsonl");
        fs::write(&path, "{\"_row\":0}\n{\"_ro").unwrap();
        let mut opened = open(OpenMode::GoOn(path.clone(), 16), 11).unwrap();
        opened.append(b"{\"_row\":1}\n", &[11]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"_row\":0}\n{\"_row\":1}\n");
        let torn = fs::read_to_string(directory.path().join("out.jsonl.torn"));
        assert_eq!(torn.unwrap(), "{\"_ro");
    }
}
