//! The disk under a results file: a few calls, so that tests can have
//! disks that fill up, write short, or lose their power.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::fs::file_lock::is_at;

/// A file that grows at its end.
pub(crate) trait Disk: Send {
    /// Writes some of the bytes at the end, and says how many.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts it to its first `size` bytes.
    fn cut(&mut self, size: u64) -> io::Result<()>;

    /// Returns once all that was appended survives a power cut.
    fn sync(&mut self) -> io::Result<()>;

    /// Why there is no room for so many bytes more, if there isn't.
    fn is_filling(&mut self, _needed: u64) -> Option<io::Error> {
        None
    }
}

/// The room that is kept free ahead, if there is as much, in bytes.
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

    fn check_size(&self) -> io::Result<()> {
        match self.file.metadata()?.len() {
            size if size == self.end => Ok(()),
            size => Err(io::Error::other(format!(
                "it is {size} bytes long, although {} were written; does something else write it?",
                self.end
            ))),
        }
    }

    fn reserve(&mut self, needed: u64) -> io::Result<()> {
        self.check_size()?;
        let (file, end) = (&self.file, self.end);
        let room = most(needed, |size| {
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
                let text = format!(
                    "No space left on device: less than {} KiB, which what is in flight may need",
                    needed.div_ceil(1 << 10)
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

/// How much can be kept free: as much as is usual, or half of it, a quarter and so on,
/// but no less than is needed.
fn most(
    needed: u64,
    mut keep: impl FnMut(u64) -> rustix::io::Result<()>,
) -> rustix::io::Result<u64> {
    let mut size = RESERVE.max(needed);
    loop {
        match keep(size) {
            Err(error) if is_full(error) && size > needed => size = (size / 2).max(needed),
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
    /// one that somebody else cuts.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        if !is_at(&self.file, &self.path) {
            let text = "it was removed or replaced by something else";
            return Err(io::Error::other(text));
        }
        self.check_size()
    }

    fn is_filling(&mut self, needed: u64) -> Option<io::Error> {
        let left = self.reserved?.saturating_sub(self.end);
        if left < needed.max(self.ahead / 2) { self.reserve(needed).err() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_when_less_is_left_than_what_is_needed() {
        let with = |left: u64, needed| {
            most(needed, |size| if size <= left { Ok(()) } else { Err(Errno::NOSPC) })
        };
        assert_eq!(with(1 << 30, 1_000), Ok(RESERVE));
        assert_eq!(with(1 << 30, 20 << 20), Ok(20 << 20));
        assert_eq!(with(7_000_000, 100_000), Ok(4 << 20));
        assert_eq!(with(100_001, 100_000), Ok(100_000));
        assert_eq!(with(99_999, 100_000), Err(Errno::NOSPC));
        assert_eq!(most(1, |_| Err(Errno::OPNOTSUPP)), Err(Errno::OPNOTSUPP));
    }
}
