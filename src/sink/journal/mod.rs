//! The open end of an output: a stream, or the file of whole records that grows while a run
//! goes on. The disk under it is a few calls, so that tests can have disks that fill up, write
//! short, or lose their power.
//!
//! - `record_cutter`: the records of such a file one by one
//! - `sort`: the file in the order of its input

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use bytesize::ByteSize;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::sidecar::Synced;
use crate::error::Error;
use crate::fs::file_lock::is_at;
use crate::fs::free_bytes;

pub(super) mod record_cutter;
pub(super) mod sort;

/// An output that takes bytes.
pub(crate) struct OpenOutput {
    /// Its name in messages.
    pub name: String,
    pub out: Out,
    /// The file that opening it has made.
    pub made: Option<PathBuf>,
}

/// The stream or file that takes the bytes.
pub(crate) enum Out {
    /// Stdout, a pipe, a device.
    Stream(Box<dyn Write + Send>),
    /// A file.
    File(Journal),
}

/// A file of whole records.
pub(crate) struct Journal {
    pub disk: Box<dyn Disk>,
    /// Where its last whole record ends, in bytes.
    pub end: u64,
    /// The checksum of all before that.
    pub crc: crc32fast::Hasher,
    /// How many records the output has when it is opened.
    pub records: u64,
}

/// An error has the number of bytes that were kept.
pub(crate) type KeptBytes = Result<(), (usize, SinkError)>;

impl OpenOutput {
    /// Appends all of the bytes. If it can't, a file keeps those records that it
    /// took whole; `ends` says where in the bytes each one ends.
    pub fn append(&mut self, bytes: &[u8], ends: &[usize]) -> KeptBytes {
        let written = match &mut self.out {
            Out::Stream(stream) => {
                stream.write_all(bytes).and_then(|()| stream.flush()).map_err(|error| (0, error))
            }
            Out::File(journal) => journal.append(bytes, ends),
        };
        written.map_err(|(kept, error)| (kept, self.failed(&error)))
    }

    fn journal(&mut self) -> Option<&mut Journal> {
        match &mut self.out {
            Out::Stream(_) => None,
            Out::File(journal) => Some(journal),
        }
    }

    /// The number of records it had when it was opened.
    pub fn records(&self) -> u64 {
        match &self.out {
            Out::Stream(_) => 0,
            Out::File(journal) => journal.records,
        }
    }

    /// The room that is kept free, in bytes, if that is known: `wanted` if there is as much; an
    /// error if it is not even `least`.
    pub fn room(&mut self, wanted: u64, least: u64) -> Result<Option<u64>, SinkError> {
        let room = self.journal().map(|journal| journal.disk.room(wanted, least)).transpose();
        room.map(Option::flatten).map_err(|error| self.failed(&error))
    }

    /// Gives back the room that was kept free.
    pub fn close(&mut self) -> Result<(), SinkError> {
        let cut = self.journal().map_or(Ok(()), |journal| journal.disk.cut(journal.end));
        cut.map_err(|error| self.failed(&error))
    }

    /// Empties a file.
    pub fn begin_anew(&mut self) -> Result<(), SinkError> {
        let cut = self.journal().map_or(Ok(()), Journal::begin_anew);
        cut.map_err(|error| self.failed(&error))
    }

    /// Waits until a file is on its disk; tells how much of it is.
    pub fn sync(&mut self) -> Result<Option<Synced>, SinkError> {
        let synced = self.journal().map(Journal::sync).transpose();
        synced.map_err(|error| self.failed(&error))
    }

    /// Removes the file if this run has made it and it is empty.
    pub fn remove(&self) -> Result<(), SinkError> {
        match &self.made {
            Some(path) if path.metadata().is_ok_and(|data| data.len() == 0) => {
                fs::remove_file(path).map_err(|error| self.failed(&error))
            }
            _ => Ok(()),
        }
    }

    /// The error of a write, with what to do about it.
    pub fn failed(&self, error: &io::Error) -> SinkError {
        if error.kind() == ErrorKind::BrokenPipe {
            return SinkError::Closed;
        }
        let advice = match self.out {
            Out::Stream(_) => "",
            Out::File(_) => "; mend that and run again with --resume",
        };
        let why = format!("the output {} cannot be written: {error}{advice}", self.name);
        SinkError::Failed(Error::stopped(why).caused_by_io(error))
    }
}

impl Journal {
    /// What a failed or short write leaves of a record is cut off; if even that
    /// fails, resuming cuts it.
    fn append(&mut self, bytes: &[u8], ends: &[usize]) -> Result<(), (usize, io::Error)> {
        let (written, failed) = write(&mut *self.disk, bytes);
        let kept = match &failed {
            None => bytes.len(),
            Some(_) => {
                ends[..ends.partition_point(|&end| end <= written)].last().copied().unwrap_or(0)
            }
        };
        self.end += kept as u64;
        self.crc.update(&bytes[..kept]);
        match failed {
            None => Ok(()),
            Some(error) => {
                let _ = self.disk.cut(self.end);
                Err((kept, error))
            }
        }
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.disk.cut(0)?;
        (self.end, self.crc) = (0, crc32fast::Hasher::new());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<Synced> {
        self.disk.sync()?;
        Ok(Synced { bytes: self.end, crc32: self.crc.clone().finalize() })
    }
}

/// How many bytes the disk took, and why it took no more.
fn write(disk: &mut dyn Disk, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match disk.append(&bytes[written..]) {
            Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// A file that grows at its end.
pub(crate) trait Disk: Send {
    /// Writes some of the bytes at the end, and says how many.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts it to its first `size` bytes.
    fn cut(&mut self, size: u64) -> io::Result<()>;

    /// Returns once all that was appended survives a power cut.
    fn sync(&mut self) -> io::Result<()>;

    /// The number of bytes that are kept free, if that can be known: `wanted` if there is as
    /// much room; an error if it is not even `least`.
    fn room(&mut self, _wanted: u64, _least: u64) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// Minimum of the room that is kept free ahead, if there is as much, in bytes.
const RESERVE: u64 = 8 << 20;

/// A file at its path.
pub(crate) struct FileAtPath {
    file: File,
    path: PathBuf,
    end: u64,
    /// There is room up to here; none if the file system can't say so.
    reserved: Option<u64>,
    /// How much room there was when it was kept free last, in bytes.
    ahead: u64,
}

impl FileAtPath {
    /// A file that was opened for appending at its `end`.
    pub fn new(file: File, path: PathBuf, end: u64) -> FileAtPath {
        FileAtPath { file, path, end, reserved: Some(end), ahead: RESERVE }
    }

    /// The room that is kept free still, in bytes.
    fn left(&self) -> Option<u64> {
        Some(self.reserved?.saturating_sub(self.end))
    }

    fn check_size(&self) -> io::Result<()> {
        match self.file.metadata()?.len() {
            size if size == self.end => Ok(()),
            size => Err(io::Error::other(format!(
                "it is {size} bytes long, although {} were written; does something else write it?",
                self.end
            ))),
        }
    }

    fn reserve(&mut self, wanted: u64, least: u64) -> io::Result<()> {
        self.check_size()?;
        let (file, end) = (&self.file, self.end);
        let room = most(wanted, least, |size| {
            let kept = fallocate(file, FallocateFlags::KEEP_SIZE, end, size);
            if kept.is_err() {
                // Some of it may have been kept, which other files need.
                let _ = file.set_len(end);
            }
            kept
        });
        match room {
            Ok(room) => {
                self.reserved = Some(end + room);
                self.ahead = room;
                Ok(())
            }
            Err(error) if is_full(error) => {
                let free = free_bytes(&self.file).map_or(String::new(), |free| {
                    format!(" {} free, and", ByteSize(free).display().si())
                });
                let text = format!(
                    "No space left on device:{free} {} wanted before another row is begun",
                    ByteSize(least).display().si()
                );
                Err(io::Error::new(io::ErrorKind::StorageFull, text))
            }
            Err(_) => {
                self.reserved = None;
                Ok(())
            }
        }
    }
}

fn is_full(error: Errno) -> bool {
    matches!(error, Errno::NOSPC | Errno::FBIG | Errno::DQUOT)
}

/// How much can be kept free: as much as is usual, twice as much as is wanted, or half of it, a
/// quarter and so on, but no less than the least.
fn most(
    wanted: u64,
    least: u64,
    mut keep: impl FnMut(u64) -> rustix::io::Result<()>,
) -> rustix::io::Result<u64> {
    let mut size = RESERVE.max(wanted.saturating_mul(2)).max(least);
    loop {
        match keep(size) {
            Err(error) if is_full(error) && size > least => size = (size / 2).max(least),
            kept => return kept.map(|()| size),
        }
    }
}

impl Disk for FileAtPath {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.end += written as u64;
        Ok(written)
    }

    /// Room that was kept free after this is given back. A file that is not as this
    /// process left it has what others wrote, and stays as it is.
    fn cut(&mut self, size: u64) -> io::Result<()> {
        self.check_size()?;
        self.file.set_len(size)?;
        self.end = size;
        self.reserved = self.reserved.map(|_| size);
        Ok(())
    }

    /// A file that was removed meanwhile would take records, and lose them; so would
    /// one that another program cuts.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if !is_at(&self.file, &self.path) {
            let text = "it was removed or replaced by something else";
            return Err(io::Error::other(text));
        }
        self.check_size()
    }

    fn room(&mut self, wanted: u64, least: u64) -> io::Result<Option<u64>> {
        let left = self.left();
        if left.is_some_and(|left| left < least.max(self.ahead / 2)) {
            self.reserve(wanted, least)?;
        }
        Ok(self.left())
    }
}

/// Why an output takes no more records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkError {
    /// Its reader has gone, as in `throng run … | head`: stop quietly.
    Closed,
    /// Records cannot be written: stop, and say why.
    Failed(Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::output::OpenMode;

    fn why(kept: KeptBytes) -> SinkError {
        kept.unwrap_err().1
    }

    #[test]
    fn a_full_disk_is_told_with_what_to_do() {
        let mut opened = OpenMode::Device("/dev/full".into()).open_stream().unwrap();
        let SinkError::Failed(error) = why(opened.append(b"{}\n", &[3])) else {
            panic!("/dev/full took bytes");
        };
        let text = error.to_string();
        assert!(text.contains("/dev/full cannot be written: No space"), "{text}");
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let (reader, writer) = io::pipe().unwrap();
        let mut opened = OpenOutput {
            name: "stdout".to_owned(),
            out: Out::Stream(Box::new(writer)),
            made: None,
        };
        opened.append(b"{}\n", &[3]).unwrap();
        drop(reader);
        assert_eq!(why(opened.append(b"{}\n", &[3])), SinkError::Closed);
    }

    #[test]
    fn a_disk_is_full_when_less_is_left_than_what_is_needed() {
        let with = |left: u64, wanted, least| {
            most(wanted, least, |size| if size <= left { Ok(()) } else { Err(Errno::NOSPC) })
        };
        assert_eq!(with(1 << 30, 1_000, 1), Ok(RESERVE));
        assert_eq!(with(1 << 30, 20 << 20, 20 << 20), Ok(40 << 20));
        assert_eq!(with(7_000_000, 20_000_000, 100_000), Ok(5_000_000));
        assert_eq!(with(100_001, 20_000_000, 100_000), Ok(100_000));
        assert_eq!(with(99_999, 20_000_000, 100_000), Err(Errno::NOSPC));
        assert_eq!(most(1, 1, |_| Err(Errno::OPNOTSUPP)), Err(Errno::OPNOTSUPP));
    }
}
