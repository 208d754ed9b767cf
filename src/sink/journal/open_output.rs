//! The open end of an output.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use super::disk::Disk;
use crate::error::Error;
use crate::sink::error::SinkError;
use crate::sink::sidecar::Synced;

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

    /// The number of records it had when it was opened.
    pub fn records(&self) -> u64 {
        match &self.out {
            Out::Stream(_) => 0,
            Out::File(journal) => journal.records,
        }
    }

    /// Whether there is still room for `bytes`.
    pub fn has_room(&mut self, bytes: u64) -> Result<(), SinkError> {
        let full = match &mut self.out {
            Out::Stream(_) => None,
            Out::File(journal) => journal.disk.is_filling(bytes),
        };
        full.map_or(Ok(()), |error| Err(self.failed(&error)))
    }

    /// Gives back the room that was kept free.
    pub fn close(&mut self) -> Result<(), SinkError> {
        let cut = match &mut self.out {
            Out::Stream(_) => Ok(()),
            Out::File(journal) => journal.disk.cut(journal.end),
        };
        cut.map_err(|error| self.failed(&error))
    }

    /// Empties a file.
    pub fn begin_anew(&mut self) -> Result<(), SinkError> {
        let cut = match &mut self.out {
            Out::Stream(_) => Ok(()),
            Out::File(journal) => journal.begin_anew(),
        };
        cut.map_err(|error| self.failed(&error))
    }

    /// Waits until a file is on its disk; tells how much of it is.
    pub fn sync(&mut self) -> Result<Option<Synced>, SinkError> {
        let synced = match &mut self.out {
            Out::Stream(_) => return Ok(None),
            Out::File(journal) => journal.sync(),
        };
        synced.map(Some).map_err(|error| self.failed(&error))
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
        SinkError::Failed(Error::stopped(format!(
            "the output {} cannot be written: {error}{advice}",
            self.name
        )))
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
}
