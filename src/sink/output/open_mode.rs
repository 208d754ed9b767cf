//! The file that grows, and how it is opened: made, emptied, or as an earlier run left it
//! without what is to go.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::format::Format;
use crate::fs::{beside, file_lock, sync_directory};
use crate::report::visible;
use crate::sink::journal::record_cutter::each;
use crate::sink::journal::{FileAtPath, Journal, OpenOutput, Out};
use crate::sink::parts::{self, Parts};
use crate::sink::product::{self, Product};
use crate::sink::program;
use crate::sink::resume::ResumeState;

const CHANGED: &str = "it has changed since it was read; does another run write it?";

/// How an output is opened.
#[derive(Debug, Clone)]
pub(crate) enum OpenMode {
    Stdout,
    /// The program's sink alone.
    Program,
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
            OpenMode::Stdout | OpenMode::Program | OpenMode::Device(_) => None,
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
            OpenMode::Program => Ok(Out::Stream(Box::new(io::sink()))),
            OpenMode::Device(path) => OpenOptions::new()
                .append(true)
                .open(path)
                .map(|device| Out::Stream(Box::new(device))),
            _ if io::stdout().is_terminal() => Ok(Out::Stream(Box::new(Terminal(io::stdout())))),
            _ => Ok(Out::Stream(Box::new(io::stdout()))),
        })
    }

    fn opened(&self, out: io::Result<Out>) -> Result<OpenOutput, Error> {
        let out = out.map_err(|error| {
            let why = format!("the output {self} cannot be opened: {error}");
            Error::plan(why).caused_by(error)
        })?;
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
            OpenMode::Program => f.write_str(program::NAME),
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
    let journal = without_dropped(&path, past, format)?;
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
        return without_dropped(path, past, format);
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
        file.seek(SeekFrom::Start(end))?;
        keep_aside(path, &file)?;
        file.set_len(end)?;
    }
    Ok(file)
}

/// What is cut goes to a file beside it, should it have been worth something.
fn keep_aside(path: &Path, mut bytes: impl Read) -> io::Result<()> {
    let mut torn = OpenOptions::new().create(true).append(true).open(beside(path, ".torn"))?;
    io::copy(&mut bytes, &mut torn)?;
    torn.sync_data()
}

/// Puts a new file without the records that are to go in the place of the old one at once,
/// so that a crash leaves one of them. Those that can't be read are kept beside it.
fn without_dropped(path: &Path, past: &ResumeState, format: Format) -> io::Result<Journal> {
    let name = beside(path, ".new");
    // It is locked before it has its place, and keeps its lock.
    drop(File::create(&name)?);
    let mut new = BufWriter::new(file_lock::take_to_append(&name)?);
    let mut damaged = Vec::new();
    let (mut end, mut crc, mut records) = (0, crc32fast::Hasher::new(), 0);
    let mut decode = format.decoder(past.done.key());
    each(path, &mut *decode, |of| {
        let number = if past.drops(of.place, of.seen) || past.keeps_none() {
            None
        } else {
            of.seen.map_or(Some(0), |seen| past.number(seen))
        };
        let Some(number) = number else {
            if of.seen.is_none() && of.place.is_some() {
                damaged.extend_from_slice(of.bytes);
            }
            return Ok(());
        };
        let moves = of.seen.is_some_and(|seen| seen.row != number);
        let record =
            if moves { renumbered(of.bytes, of.row_at, number)? } else { Cow::Borrowed(of.bytes) };
        end += record.len() as u64;
        crc.update(&record);
        records += u64::from(of.place.is_some());
        new.write_all(&record)
    })?;
    if !damaged.is_empty() {
        keep_aside(path, &damaged[..])?;
    }
    let file = new.into_inner()?;
    file.sync_data()?;
    fs::rename(&name, path)?;
    sync_directory(path)?;
    Ok(Journal { disk: Box::new(FileAtPath::new(file, path.to_owned(), end)), end, crc, records })
}

/// A record whose row has another number now.
fn renumbered(
    record: &[u8],
    at: Option<Range<usize>>,
    number: u64,
) -> io::Result<Cow<'static, [u8]>> {
    let at = at.ok_or_else(|| io::Error::other("a record does not tell where its _row is"))?;
    let number = number.to_string();
    let parts = [&record[..at.start], number.as_bytes(), &record[at.end..]];
    Ok(Cow::Owned(parts.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::RetryFailed;
    use crate::sink::resume::{self, Unwanted};

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

    #[test]
    fn what_is_to_go_goes_and_all_else_stays_in_its_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.csv");
        let text = "a,_row,_ok\nx,0,true\nx,1,false\n!\n\"y\ny\",2,true\nz,0,true\nw,3,true\n";
        fs::write(&path, text).unwrap();
        let format: Format = "csv".parse().unwrap();
        let unwanted = &Unwanted { failed: RetryFailed::All, damaged: true, ..Unwanted::default() };
        let mut past = resume::read(&mut text.as_bytes(), format, None, None, unwanted).unwrap();
        past.forget(&[3].into_iter().collect());
        let journal = without_dropped(&path, &past, format).unwrap();
        let left = "a,_row,_ok\nx,0,true\n\"y\ny\",2,true\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), left);
        assert_eq!((journal.end, journal.records), (left.len() as u64, 2));
        assert_eq!(journal.crc.finalize(), crc32fast::hash(left.as_bytes()));
        let torn = fs::read_to_string(beside(&path, ".torn")).unwrap();
        assert_eq!(torn, "!\n");
        assert!(!beside(&path, ".new").exists());
    }
}
