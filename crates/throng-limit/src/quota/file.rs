//! The file of one limit of an account: locked while it is read and changed, and never half
//! written.
//!
//! The file has two headers and two parts for a content. A new content goes to the part
//! that is not in use; its header, which is written last, makes it the one in use. So a kill
//! or a power cut at any byte leaves the content before or the new one. A file is changed in
//! place, since that is several times cheaper than to replace it. A new file gets its name when
//! its first content is written: one without a content is damaged.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quota::lock::{FileId, release, take};
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
    id: FileId,
    /// Whether the file has no content yet, and another name.
    is_new: bool,
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
    fn of(path: &Path, file: File, is_new: bool) -> io::Result<LimitFile> {
        let id = FileId::of(&file)?;
        Ok(LimitFile { path: path.to_owned(), file, id, is_new, known: None })
    }

    /// Creates a limit's file, which has its name once its first content is written. One run at
    /// a time creates a file.
    pub fn create(path: &Path) -> io::Result<LimitFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        LimitFile::of(path, options.open(name_before(path))?, true)
    }

    /// Opens a limit's file, if it exists.
    pub fn open_existing(path: &Path) -> io::Result<Option<LimitFile>> {
        check_regular(path)?;
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => LimitFile::of(path, file, false).map(Some),
            // A link that leads nowhere is not replaced.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content that was read or written last.
    pub fn into_contents(self) -> Option<Contents> {
        self.known.map(|(_, contents)| contents)
    }

    /// Gives a new file its name.
    fn publish(&mut self, durably: bool) -> io::Result<()> {
        fs::rename(name_before(&self.path), &self.path)?;
        self.is_new = false;
        match self.path.parent().filter(|_| durably) {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
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
                return match self.checked() {
                    Ok(Some(number)) => Ok(Some(LockedFile { limit: self, number })),
                    other => {
                        release(&self.file);
                        other.map(|_| None)
                    }
                };
            }
            std::thread::sleep(TRY_AGAIN);
        }
        Ok(None)
    }

    /// The number of the content in use, if the file is locked that the path leads to.
    fn checked(&mut self) -> io::Result<Option<u64>> {
        if self.is_new {
            return Ok(Some(0));
        }
        let number = self.read()?;
        if self.id.is_at(&self.path) {
            return Ok(Some(number));
        }
        // A run that had no more use for it may have removed it.
        if !self.known.as_ref().is_some_and(|(_, contents)| contents.removed) {
            let text = "something else has removed or replaced it";
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        if let Some(file) = LimitFile::open_existing(&self.path)? {
            *self = file;
        }
        Ok(None)
    }

    /// Reads the content in use, unless it is known, and gives its number.
    fn read(&mut self) -> io::Result<u64> {
        let damaged = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let mut headers = [0; 2 * HEADER];
        let length = read_up_to(&self.file, &mut headers, 0)?;
        if length == 0 {
            return damaged("it is damaged: it is empty");
        }
        let mut found: Vec<Header> =
            headers[..length].chunks(HEADER).filter_map(Header::parse).collect();
        found.sort_by_key(|header| std::cmp::Reverse(header.number));
        for header in found {
            let known = self.known.as_ref().map_or(0, |(number, _)| *number);
            if header.number < known {
                return damaged("it is damaged: an older content was put back");
            }
            if header.number == known {
                return Ok(known);
            }
            if let Some(contents) = header.contents(&self.file)? {
                self.known = Some((header.number, contents));
                return Ok(header.number);
            }
        }
        damaged("it is damaged")
    }
}

impl LockedFile<'_> {
    /// The content; none if the file is new, or was of no use any more.
    #[must_use]
    pub fn contents(&self) -> Option<&Contents> {
        let known = self.limit.known.as_ref().map(|(_, contents)| contents);
        known.filter(|contents| !contents.removed)
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.limit.path
    }

    /// Removes the file, which is of no use any more.
    pub fn remove(mut self) -> io::Result<()> {
        self.put(Contents { removed: true, ..Contents::default() }, false)?;
        fs::remove_file(&self.limit.path)
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
        if self.limit.is_new {
            self.limit.publish(durably)?;
        }
        self.limit.known = Some((number, contents));
        self.number = number;
        Ok(())
    }
}

impl Drop for LockedFile<'_> {
    fn drop(&mut self) {
        release(&self.limit.file);
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

/// Reads the content of a limit's file, without a lock; none if it doesn't exist.
pub fn read(path: &Path) -> io::Result<Option<Contents>> {
    check_regular(path)?;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut limit = LimitFile::of(path, file, false)?;
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

/// The name of a new limit's file until it has a content.
fn name_before(path: &Path) -> PathBuf {
    path.with_extension("new")
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
        let mut limit = LimitFile::create(&path).unwrap();
        assert_eq!(limit_in(&path), None);
        write(&mut limit, "one");
        let mut images = vec![std::fs::read(&path).unwrap()];
        for text in ["two", "three", "four"] {
            write(&mut limit, text);
            images.push(std::fs::read(&path).unwrap());
        }
        for (index, pair) in images.windows(2).enumerate() {
            let (before, after) = [("one", "two"), ("two", "three"), ("three", "four")][index];
            let [old, new] = pair else { unreachable!() };
            let header = (index as u64 % 2) as usize * HEADER;
            // All of the content without its header, and then parts of the header.
            for written in [0, 1, HEADER / 2, HEADER] {
                let mut torn = new.clone();
                let known = &old[header..header + HEADER];
                torn[header + written..header + HEADER].copy_from_slice(&known[written..]);
                std::fs::write(&path, torn).unwrap();
                let found = limit_in(&path).unwrap();
                assert!([before, after].contains(&&*found), "{index}: {written} bytes: {found}");
            }
        }
    }

    #[test]
    fn a_new_file_has_its_name_once_it_has_a_content() {
        let path = path();
        // A process was killed before it wrote the first content.
        std::fs::write(name_before(&path), "half of it").unwrap();
        let mut limit = LimitFile::create(&path).unwrap();
        assert_eq!(limit.lock().unwrap().unwrap().contents(), None);
        assert!(!path.exists());
        write(&mut limit, "one");
        assert_eq!(limit_in(&path).as_deref(), Some("one"));
        assert!(!name_before(&path).exists());
        write(&mut limit, "two");
        assert_eq!(limit_in(&path).as_deref(), Some("two"));
    }

    #[test]
    fn an_empty_file_and_an_older_content_are_damage() {
        let path = path();
        let mut limit = LimitFile::create(&path).unwrap();
        write(&mut limit, "one");
        let older = std::fs::read(&path).unwrap();
        write(&mut limit, "two");
        write(&mut limit, "three");
        std::fs::write(&path, older).unwrap();
        let error = limit.lock().err().unwrap().to_string();
        assert_eq!(error, "it is damaged: an older content was put back");
        std::fs::write(&path, "").unwrap();
        let error = limit.lock().err().unwrap().to_string();
        assert_eq!(error, "it is damaged: it is empty");
        assert_eq!(read(&path).unwrap_err().to_string(), error);
        let mut other = LimitFile::open_existing(&path).unwrap().unwrap();
        assert_eq!(other.lock().err().unwrap().to_string(), error);
    }

    #[test]
    fn a_file_that_was_removed_for_good_reason_begins_anew_for_its_other_users() {
        let path = path();
        let mut one = LimitFile::create(&path).unwrap();
        write(&mut one, "one");
        let mut other = LimitFile::open_existing(&path).unwrap().unwrap();
        assert_eq!(other.lock().unwrap().unwrap().contents(), Some(&contents("one")));
        one.lock().unwrap().unwrap().remove().unwrap();
        assert_eq!(limit_in(&path), None);
        assert!(other.lock().unwrap().is_none(), "there is none");
        write(&mut LimitFile::create(&path).unwrap(), "two");
        assert!(other.lock().unwrap().is_none(), "it opens the new one");
        assert_eq!(other.lock().unwrap().unwrap().contents(), Some(&contents("two")));
        std::fs::remove_file(&path).unwrap();
        let error = other.lock().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
    }
}
