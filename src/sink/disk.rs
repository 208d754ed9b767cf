//! What a results file needs of its disk: a few calls, so that tests can have
//! disks that fill up, write short, or lose their power. [door: files]

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::lock::is_at;

/// A file that grows at its end.
pub(super) trait Disk: Send {
    /// Writes some of the bytes at the end, and says how many.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts it to its first `size` bytes.
    fn cut(&mut self, size: u64) -> io::Result<()>;

    /// Returns once all that was appended survives a power cut.
    fn sync(&mut self) -> io::Result<()>;

    /// Why there will soon be no room for more, if there won't.
    fn is_filling(&mut self) -> Option<io::Error> {
        None
    }
}

/// So much room is kept free ahead: when there is no more, what is in flight
/// still fits in. In bytes.
const RESERVE: u64 = 4 << 20;

/// A file at its path.
pub(super) struct Placed {
    file: File,
    path: PathBuf,
    end: u64,
    /// There is room up to here; none if the file system can't say so.
    reserved: Option<u64>,
}

impl Placed {
    /// A file that was opened for appending at its `end`.
    pub fn new(file: File, path: PathBuf, end: u64) -> Placed {
        Placed {
            file,
            path,
            end,
            reserved: Some(end),
        }
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

    fn reserve(&mut self, reserved: u64) -> io::Result<()> {
        let room = fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.end, 2 * RESERVE);
        self.reserved = match room {
            Ok(()) => Some(self.end + 2 * RESERVE),
            Err(Errno::NOSPC | Errno::FBIG | Errno::DQUOT) => {
                self.reserved = Some(reserved);
                return Err(io::Error::from(Errno::NOSPC));
            }
            Err(_) => None,
        };
        Ok(())
    }
}

impl Disk for Placed {
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

    fn is_filling(&mut self) -> Option<io::Error> {
        match self.reserved {
            Some(reserved) if self.end + RESERVE > reserved => self.reserve(reserved).err(),
            _ => None,
        }
    }
}
