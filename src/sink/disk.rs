//! What a results file needs of its disk: three calls, so that tests can have
//! disks that fill up, write short, or lose their power. [door: files]

use std::fs::File;
use std::io::{self, Write};

/// A file that grows at its end.
pub(super) trait Disk: Send {
    /// Writes some of the bytes at the end, and says how many.
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts it to its first `size` bytes.
    fn cut(&mut self, size: u64) -> io::Result<()>;

    /// Returns once all that was appended survives a power cut.
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write(bytes)
    }

    fn cut(&mut self, size: u64) -> io::Result<()> {
        self.set_len(size)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
