//! The file of one limit of an account: locked while it is read and changed, and never half
//! written.
//!
//! The file has two headers and two parts for a content. A new content goes to the part
//! that is not in use; its header, which is written last, makes it the one in use. So a kill
//! or a power cut at any byte leaves the content before or the new one. A file is changed in
//! place, since that is several times cheaper than to replace it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::quota::state::QuotaState;

/// Length of a header.
const HEADER: usize = 128;
/// Where the first content begins: behind both headers.
const FIRST: u64 = 2 * HEADER as u64;
/// Longest content.
const LONGEST: u64 = 1 << 17;
/// How often, and after which time, a lock is tried again that another process holds.
const TRIES: u32 = 20;
const TRY_AGAIN: Duration = Duration::from_micros(50);

/// The content of a limit's file. Limit and unit are for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// The limit, as the job writes it.
    pub limit: String,
    /// The unit that the limit counts.
    pub unit: String,
    /// Whether the file was removed because it was of no use any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
    /// The leased and the used units.
    #[serde(flatten)]
    pub state: QuotaState,
}

/// The file of one limit.
#[derive(Debug)]
pub struct LimitFile {
    path: PathBuf,
    file: File,
    /// The content that was read or written last, and its number.
    known: Option<(u64, Contents)>,
}

/// A limit's file that no other process changes while this is held.
pub struct LockedFile<'a> {
    limit: &'a mut LimitFile,
    number: u64,
}

/// Which content is in use.
#[derive(Debug, Clone, Copy)]
struct Header {
    number: u64,
    length: u64,
    checksum: u64,
}

impl LimitFile {
    /// Opens a limit's file, which is created if it doesn't exist.
    pub fn open(path: &Path) -> io::Result<LimitFile> {
        check_regular(path)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(LimitFile { path: path.to_owned(), file, known: None })
    }

    /// Opens a limit's file, if it exists.
    pub fn open_existing(path: &Path) -> io::Result<Option<LimitFile>> {
        check_regular(path)?;
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => Ok(Some(LimitFile { path: path.to_owned(), file, known: None })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Locks the file; none if another process holds the lock for longer than a
    /// millisecond, because the caller holds up all workers meanwhile.
    ///
    /// # Errors
    /// What the system says, that the file is damaged, or that something else has removed or
    /// replaced it.
    pub fn lock(&mut self) -> io::Result<Option<LockedFile<'_>>> {
        for _ in 0..TRIES {
            if take(&self.file)? {
                return self.checked();
            }
            std::thread::sleep(TRY_AGAIN);
        }
        Ok(None)
    }

    /// The file that this one's path leads to, locked.
    fn checked(&mut self) -> io::Result<Option<LockedFile<'_>>> {
        if !is_at(&self.file, &self.path) {
            // A run that had no more use for it may have removed it.
            let number = self.read()?;
            let was_removed = self.known.as_ref().is_some_and(|(_, it)| it.removed);
            if !(was_removed || number == 0) {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "something else has removed or replaced it",
                ));
            }
            *self = LimitFile::open(&self.path)?;
            return Ok(None);
        }
        let number = self.read()?;
        Ok(Some(LockedFile { limit: self, number }))
    }

    /// Reads the content in use, unless it is known, and gives its number; 0 if there is none.
    fn read(&mut self) -> io::Result<u64> {
        let mut headers = [0; 2 * HEADER];
        let length = read_up_to(&self.file, &mut headers, 0)?;
        // A file whose first content was not written to its end has no header yet: it is new.
        if headers[..length].iter().all(|byte| *byte == 0) {
            self.known = None;
            return Ok(0);
        }
        let mut found: Vec<Header> =
            headers[..length].chunks(HEADER).filter_map(Header::parse).collect();
        found.sort_by_key(|header| std::cmp::Reverse(header.number));
        for header in found {
            if self.known.as_ref().is_some_and(|(number, _)| *number == header.number) {
                return Ok(header.number);
            }
            if let Some(contents) = header.contents(&self.file)? {
                self.known = Some((header.number, contents));
                return Ok(header.number);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"))
    }
}

impl LockedFile<'_> {
    /// The content; none if the file is new.
    #[must_use]
    pub fn contents(&self) -> Option<&Contents> {
        let known = self.limit.known.as_ref().map(|(_, contents)| contents);
        known.filter(|contents| !contents.removed)
    }

    /// Removes the file, which is of no use any more.
    pub fn remove(mut self) -> io::Result<()> {
        self.put(Contents { removed: true, ..Contents::default() }, false)?;
        std::fs::remove_file(&self.limit.path)
    }

    /// Writes the content; if it is to be durable, returns when it is on the disk.
    pub fn write(mut self, contents: Contents, durably: bool) -> io::Result<()> {
        self.put(contents, durably)
    }

    fn put(&mut self, contents: Contents, durably: bool) -> io::Result<()> {
        let number = self.number + 1;
        let text = serde_json::to_vec(&contents)?;
        let header = Header { number, length: text.len() as u64, checksum: checksum(&text) };
        if header.length > LONGEST {
            return Err(io::Error::other("there are too many runs and times to remember"));
        }
        let file = &self.limit.file;
        file.write_all_at(&text, header.offset())?;
        if durably {
            file.sync_data()?;
        }
        file.write_all_at(&header.text(), (number % 2) * HEADER as u64)?;
        if durably {
            file.sync_data()?;
        }
        self.limit.known = Some((number, contents));
        self.number = number;
        Ok(())
    }
}

impl Drop for LockedFile<'_> {
    fn drop(&mut self) {
        // A lock that can't be given back ends with the process.
        let _ = flock(&self.limit.file, FlockOperation::Unlock);
    }
}

impl Header {
    /// The offset of its content: odd numbers have the second.
    fn offset(self) -> u64 {
        FIRST + (self.number % 2) * LONGEST
    }

    fn text(self) -> Vec<u8> {
        let Header { number, length, checksum } = self;
        let mut text = format!("throng limit 2 {number} {length} {checksum:016x}").into_bytes();
        text.resize(HEADER - 1, b' ');
        text.push(b'\n');
        text
    }

    fn parse(text: &[u8]) -> Option<Header> {
        let text = str::from_utf8(text).ok()?;
        let mut words = text.strip_prefix("throng limit 2 ")?.split_whitespace();
        Some(Header {
            number: words.next()?.parse().ok()?,
            length: words.next()?.parse().ok().filter(|length| *length <= LONGEST)?,
            checksum: u64::from_str_radix(words.next()?, 16).ok()?,
        })
    }

    /// Its content, if it is whole.
    fn contents(self, file: &File) -> io::Result<Option<Contents>> {
        let mut text = vec![0; usize::try_from(self.length).unwrap_or(0)];
        let length = read_up_to(file, &mut text, self.offset())?;
        let is_whole = length == text.len() && checksum(&text) == self.checksum;
        Ok(if is_whole { serde_json::from_slice(&text).ok() } else { None })
    }
}

/// Reads the content of a limit's file, without a lock; none if it doesn't exist or is new.
pub fn read(path: &Path) -> io::Result<Option<Contents>> {
    check_regular(path)?;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut limit = LimitFile { path: path.to_owned(), file, known: None };
    // A content that is replaced while it is read is read again.
    let mut tries = TRIES;
    while let Err(error) = limit.read() {
        if error.kind() != io::ErrorKind::InvalidData || tries == 0 {
            return Err(error);
        }
        tries -= 1;
        std::thread::sleep(TRY_AGAIN);
    }
    Ok(limit.known.map(|(_, contents)| contents).filter(|contents| !contents.removed))
}

/// Refuses a path that leads to something other than a file: to open a pipe may wait for ever.
fn check_regular(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"))
        }
        _ => Ok(()),
    }
}

/// An error of a file that is not the one that was asked for: its path and the reason.
#[derive(Debug)]
pub struct FileError {
    /// The file's path.
    pub path: PathBuf,
    /// The reason.
    pub error: io::Error,
}

impl FileError {
    /// The error with the path of the file that it is about.
    pub fn of(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
        move |error| io::Error::new(error.kind(), FileError { path: path.to_owned(), error })
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl std::error::Error for FileError {}

fn read_up_to(file: &File, buffer: &mut [u8], from: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], from + length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

/// A hash by words of eight bytes, after FNV-1a: it tells a torn content from a whole one,
/// and one name from another.
pub fn checksum(text: &[u8]) -> u64 {
    let words = text.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.chain([text.len() as u64]).fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        (hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    })
}

/// Opens the file at `path`, creates it if it doesn't exist, and locks it; none if another
/// process holds the lock.
pub fn take_lock(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    loop {
        let file = options.open(path)?;
        if !take(&file)? {
            return Ok(None);
        }
        // Its holder before may have removed it.
        if is_at(&file, path) {
            return Ok(Some(file));
        }
    }
}

/// Locks a directory; none if another process holds the lock, or has removed it.
pub fn lock_directory(path: &Path) -> io::Result<Option<File>> {
    let directory = File::open(path)?;
    let is_locked = take(&directory)? && is_at(&directory, path);
    Ok(is_locked.then_some(directory))
}

/// Locks the file; false if another process holds the lock.
fn take(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether this open file is the one that the path leads to.
pub fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(limit: &str) -> Contents {
        Contents { limit: limit.to_owned(), ..Contents::default() }
    }

    fn path() -> PathBuf {
        let name = std::thread::current().name().unwrap_or_default().replace(':', "-");
        let directory = std::env::temp_dir().join(format!("throng-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        directory.join("a.limit")
    }

    fn write(limit: &mut LimitFile, text: &str) {
        limit.lock().unwrap().unwrap().write(contents(text), false).unwrap();
    }

    fn limit_in(path: &Path) -> Option<String> {
        read(path).unwrap().map(|contents| contents.limit)
    }

    #[test]
    fn a_kill_at_any_byte_leaves_the_content_before_or_the_new_one() {
        let path = path();
        let mut limit = LimitFile::open(&path).unwrap();
        let mut images = vec![std::fs::read(&path).unwrap()];
        for text in ["one", "two", "three"] {
            write(&mut limit, text);
            images.push(std::fs::read(&path).unwrap());
        }
        for (index, pair) in images.windows(2).enumerate() {
            let before = [None, Some("one"), Some("two")][index];
            let [old, new] = pair else { unreachable!() };
            let header = ((index as u64 + 1) % 2) as usize * HEADER;
            // All of the content without its header, and then parts of the header.
            for written in [0, 1, HEADER / 2, HEADER] {
                let mut torn = new.clone();
                let known = old.get(header..header + HEADER).unwrap_or(&[0; HEADER]);
                torn[header + written..header + HEADER].copy_from_slice(&known[written..]);
                std::fs::write(&path, torn).unwrap();
                let after = ["one", "two", "three"][index];
                let found = match read(&path) {
                    Ok(contents) => contents.map(|contents| contents.limit),
                    // Half of the first header that there ever was: no run has leased yet.
                    Err(_) => None,
                };
                let is_either = found.as_deref() == before || found.as_deref() == Some(after);
                assert!(is_either, "{index}: {written} bytes of the header: {found:?}");
            }
        }
    }

    #[test]
    fn a_file_that_was_removed_for_good_reason_begins_anew_for_its_other_users() {
        let path = path();
        let mut one = LimitFile::open(&path).unwrap();
        let mut other = LimitFile::open(&path).unwrap();
        write(&mut one, "one");
        assert_eq!(other.lock().unwrap().unwrap().contents(), Some(&contents("one")));
        one.lock().unwrap().unwrap().remove().unwrap();
        assert_eq!(limit_in(&path), None);
        assert!(other.lock().unwrap().is_none(), "it opens the new one");
        assert_eq!(other.lock().unwrap().unwrap().contents(), None);
        write(&mut other, "two");
        assert_eq!(limit_in(&path).as_deref(), Some("two"));
        std::fs::remove_file(&path).unwrap();
        let error = other.lock().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
}
