//! One file in the making: beside its place until it is whole. Does I/O: files.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use ring::digest::{Context, SHA256};
use tempfile::{NamedTempFile, TempPath};

use super::{MAX_RATIO, SaveRules, exists, no_file};
use crate::fs::{file_lock, sync_directory};
use crate::record::{Failure, FailureKind, SavedFile, excerpt};
use crate::send::{self, ContentEncoding};
use crate::wording::worded;

/// Number of bytes that are decompressed at a time.
const BLOCK: usize = 1 << 16;

/// Maximum number of characters of a `content-type` that a record keeps.
const MAX_TYPE: usize = 200;

/// The download of a row's answer. What is not whole goes when it is dropped.
#[derive(Debug)]
pub struct Download {
    path: String,
    /// The path of the file until it is whole.
    part: PathBuf,
    /// Whether it takes the place of a file.
    replaces: bool,
    rules: SaveRules,
    /// Whether the latest answer comes piece by piece.
    is_streamed: bool,
    encodings: Vec<ContentEncoding>,
    /// The bytes so far, if any has come.
    received: Option<Received>,
    /// Why it can't go on.
    error: Option<SaveError>,
}

/// Why an answer is not saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaveError {
    /// The row fails.
    Row(Failure),
    /// No file can be written.
    Run(String),
}

/// The bytes of an answer on the disk.
#[derive(Debug)]
enum Received {
    /// As they will be in the file.
    Plain(Box<Part>),
    /// As they were sent, in a file without a name.
    Encoded(File, u64),
}

/// A file that is being written under another name.
struct Part {
    file: NamedTempFile,
    size: u64,
    digest: Context,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("file", &self.file).field("size", &self.size).finish()
    }
}

impl Download {
    pub(super) fn new(path: String, part: PathBuf, replaces: bool, rules: SaveRules) -> Download {
        Download {
            path,
            part,
            replaces,
            rules,
            is_streamed: false,
            encodings: Vec::new(),
            received: None,
            error: None,
        }
    }

    /// Begins anew, with an answer that comes piece by piece in these encodings.
    pub fn stream(&mut self, encodings: Vec<ContentEncoding>) {
        self.reset();
        self.is_streamed = true;
        self.encodings = encodings;
    }

    /// Forgets what has come so far. An answer that is held in memory follows.
    pub fn reset(&mut self) {
        (self.is_streamed, self.received, self.error) = (false, None, None);
    }

    /// Whether the latest answer came piece by piece.
    pub fn is_streamed(&self) -> bool {
        self.is_streamed
    }

    /// Adds a piece of the answer; false if it can't be written.
    pub fn add(&mut self, piece: &[u8]) -> bool {
        let added = self.try_add(piece);
        self.error = added.err();
        self.error.is_none()
    }

    /// Why the latest piece was not added.
    pub fn take_error(&mut self) -> Option<SaveError> {
        self.error.take()
    }

    fn try_add(&mut self, piece: &[u8]) -> Result<(), SaveError> {
        let received = match self.received.take() {
            Some(received) => received,
            None if self.encodings.is_empty() => Received::Plain(Box::new(self.open()?)),
            None => Received::Encoded(self.open_unnamed()?, 0),
        };
        let received = match received {
            Received::Plain(mut part) => {
                part.add(piece).map_err(|error| self.broken(&error))?;
                Received::Plain(part)
            }
            Received::Encoded(mut file, size) => {
                file.write_all(piece).map_err(|error| self.broken(&error))?;
                Received::Encoded(file, size + piece.len() as u64)
            }
        };
        self.received = Some(received);
        Ok(())
    }

    /// Puts the file in its place, whole: with what has come piece by piece, or with this body.
    ///
    /// # Errors
    /// That there is a file already, what is wrong with the answer, or what the system says.
    pub fn finish(mut self, headers: &HeaderMap, body: &Bytes) -> Result<SavedFile, SaveError> {
        let part = match self.received.take() {
            Some(Received::Plain(part)) => *part,
            Some(Received::Encoded(file, size)) => self.decoded(file, size)?,
            None => {
                let mut part = self.open()?;
                part.add(body).map_err(|error| self.broken(&error))?;
                part
            }
        };
        let (size, digest) = (part.size, part.digest.finish());
        self.place(part.file)?;
        let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        let kind = headers.get(CONTENT_TYPE);
        let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
        Ok(SavedFile {
            size,
            sha256: hex.collect(),
            content_type: kind.map(|kind| excerpt(&kind, MAX_TYPE)),
            path: self.path,
        })
    }

    /// Moves a whole file to its place, and syncs it if that is to be.
    fn place(&self, file: NamedTempFile) -> Result<(), SaveError> {
        if self.rules.syncs {
            file.as_file().sync_data().map_err(|error| self.broken(&error))?;
        }
        let placed = if self.replaces {
            file.persist(&self.path).map_err(|error| error.error)
        } else {
            file.persist_noclobber(&self.path).map_err(|error| error.error)
        };
        match placed {
            Ok(_) if self.rules.syncs => {
                sync_directory(Path::new(&self.path)).map_err(|error| self.broken(&error))
            }
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let path = &self.path;
                Err(SaveError::Row(exists(format!(
                    "{path} was made by another program while its answer came"
                ))))
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    /// The file of an answer that came in its encodings.
    fn decoded(&self, mut file: File, sent: u64) -> Result<Part, SaveError> {
        let mut part = self.open()?;
        file.seek(SeekFrom::Start(0)).map_err(|error| self.broken(&error))?;
        let wrong = |error: io::Error| {
            SaveError::Row(Failure::new(
                FailureKind::BadEncoding,
                format!("the answer's body can't be decompressed: {error}"),
            ))
        };
        let file = Box::new(BufReader::with_capacity(BLOCK, file));
        let mut decoder = send::decoder(file, &self.encodings).map_err(wrong)?;
        let mut block = vec![0; BLOCK];
        loop {
            match decoder.read(&mut block).map_err(wrong)? {
                0 => return Ok(part),
                read => part.add(&block[..read]).map_err(|error| self.broken(&error))?,
            }
            self.check_size(part.size, sent)?;
        }
    }

    /// Refuses a decompressed file that is too large for what was sent.
    fn check_size(&self, size: u64, sent: u64) -> Result<(), SaveError> {
        let SaveRules { max_size, max_decompressed, .. } = self.rules;
        let most = sent.saturating_mul(MAX_RATIO).max(max_decompressed);
        let why = match max_size {
            Some(max) if size > max => {
                format!("more than {} (send.max-body or --max-body)", bytesize::ByteSize(max))
            }
            None if size > most => format!(
                "more than {MAX_RATIO} times the {} that were sent (send.max-body or --max-body allows more)",
                bytesize::ByteSize(sent)
            ),
            _ => return Ok(()),
        };
        Err(SaveError::Row(Failure::new(FailureKind::BodyTooLarge, worded(why))))
    }

    /// A new file beside the place of the whole one. What a crash has left there is emptied.
    fn open(&self) -> Result<Part, SaveError> {
        let opened = self.in_folder(|| file_lock::take_no_link(&self.part))?;
        let Some(file) = opened else {
            let path = &self.path;
            let why = format!("{path} is being written by another run");
            return Err(SaveError::Row(exists(why)));
        };
        let emptied = file.set_len(0).and_then(|()| TempPath::try_from_path(&self.part));
        let path = emptied.map_err(|error| self.broken(&error))?;
        Ok(Part {
            file: NamedTempFile::from_parts(file, path),
            size: 0,
            digest: Context::new(&SHA256),
        })
    }

    fn open_unnamed(&self) -> Result<File, SaveError> {
        self.in_folder(|| tempfile::tempfile_in(self.folder()))
    }

    fn folder(&self) -> &Path {
        match self.part.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// Opens a file in the folder, which is made if it is not there.
    fn in_folder<T>(&self, open: impl Fn() -> io::Result<T>) -> Result<T, SaveError> {
        let opened = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(self.folder()).and_then(|()| open())
            }
            opened => opened,
        };
        opened.map_err(|error| self.broken(&error))
    }

    /// The error of a file that can't be written: of this row if its name is the reason.
    fn broken(&self, error: &io::Error) -> SaveError {
        use io::ErrorKind::{AlreadyExists, InvalidFilename, IsADirectory, NotADirectory};
        match error.kind() {
            AlreadyExists | InvalidFilename | IsADirectory | NotADirectory => {
                SaveError::Row(no_file(&self.path, &error.to_string()))
            }
            _ => SaveError::Run(format!(
                "{} can't be written: {error} (save or --save); its row has no record",
                self.path
            )),
        }
    }
}

impl Part {
    fn add(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.as_file_mut().write_all(piece)?;
        self.digest.update(piece);
        self.size += piece.len() as u64;
        Ok(())
    }
}

/// Makes a folder and those above it, so that a power cut leaves them.
fn make_folder(path: &Path) -> io::Result<()> {
    let made = match (fs::create_dir(path), path.parent()) {
        (Err(error), Some(parent))
            if error.kind() == io::ErrorKind::NotFound && !parent.as_os_str().is_empty() =>
        {
            make_folder(parent)?;
            fs::create_dir(path)
        }
        (made, _) => made,
    };
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.and_then(|()| sync_directory(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::RowPath;
    use crate::save::SavedFiles;

    fn begin(folder: &Path, name: &str) -> Download {
        let folder = format!("{}/", folder.display());
        let path = RowPath { path: format!("{folder}{name}"), folder };
        SavedFiles::new(SaveRules { syncs: true, ..SaveRules::default() }).begin(&path).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_whole_and_nothing_else_stays() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b");
        let mut download = begin(&folder, "x.bin");
        download.stream(Vec::new());
        assert!(download.add(b"cut"));
        // Another attempt follows.
        download.stream(Vec::new());
        assert!(download.add(b"he") && download.add(b"llo"));
        assert!(!folder.join("x.bin").exists());
        let saved = download.finish(&HeaderMap::new(), &Bytes::new()).unwrap();
        let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        assert_eq!((saved.size, &*saved.sha256), (5, hello));
        assert_eq!(fs::read(folder.join("x.bin")).unwrap(), b"hello");
        let mut cut = begin(&folder, "y.bin");
        cut.stream(Vec::new());
        assert!(cut.add(b"half"));
        drop(cut);
        assert_eq!(names(&folder), ["x.bin"]);
    }

    #[test]
    fn a_file_that_another_program_has_made_stays() {
        let place = tempfile::tempdir().unwrap();
        let download = begin(place.path(), "x.bin");
        fs::write(place.path().join("x.bin"), "mine").unwrap();
        let error = download.finish(&HeaderMap::new(), &Bytes::from_static(b"new")).unwrap_err();
        assert!(
            matches!(&error, SaveError::Row(failure) if failure.kind == FailureKind::FileExists)
        );
        assert_eq!(fs::read(place.path().join("x.bin")).unwrap(), b"mine");
        assert_eq!(names(place.path()), ["x.bin"]);
    }

    #[test]
    fn a_file_that_unpacks_to_too_much_is_not_saved() {
        let place = tempfile::tempdir().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        gzip.write_all(&vec![0; 4_000_000]).unwrap();
        let bomb = gzip.finish().unwrap();
        let unpacked = |rules: SaveRules| {
            let mut download = begin(place.path(), "x.bin");
            download.rules = rules;
            download.stream(vec![ContentEncoding::Gzip]);
            assert!(download.add(&bomb));
            download.finish(&HeaderMap::new(), &Bytes::new())
        };
        let error = unpacked(SaveRules::default()).unwrap_err();
        let SaveError::Row(failure) = error else { panic!("{error:?}") };
        assert!(failure.detail.contains("more than 200 times"), "{failure:?}");
        assert!(names(place.path()).is_empty());
        let max_size = Some(5_000_000);
        let saved = unpacked(SaveRules { max_size, ..SaveRules::default() }).unwrap();
        assert_eq!(saved.size, 4_000_000);
    }
}
