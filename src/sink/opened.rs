//! The open end of an output. [door: files]

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use super::SinkError;
use crate::error::Error;

/// A target that takes bytes.
pub(super) struct Opened {
    /// For people.
    pub(super) name: String,
    pub(super) out: Out,
    /// The file that opening it has made.
    pub(super) made: Option<PathBuf>,
}

/// What takes them.
pub(super) enum Out {
    /// Stdout, a pipe, a device.
    Stream(Box<dyn Write + Send>),
    /// A file, and where its last whole record ends.
    File(File, u64),
}

impl Opened {
    /// Appends all of the bytes; a file gets all of them or none.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let written = match &mut self.out {
            Out::Stream(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Out::File(file, end) => append(file, end, bytes),
        };
        written.map_err(|error| self.failed(&error))
    }

    /// Waits until a file is on its disk.
    pub(super) fn sync(&mut self) -> Result<(), SinkError> {
        match &self.out {
            Out::Stream(_) => Ok(()),
            Out::File(file, _) => file.sync_data().map_err(|error| self.failed(&error)),
        }
    }

    /// Takes a file away again that this run has made.
    pub(super) fn remove(self) -> Result<(), SinkError> {
        match &self.made {
            Some(path) => fs::remove_file(path).map_err(|error| self.failed(&error)),
            None => Ok(()),
        }
    }

    fn failed(&self, error: &io::Error) -> SinkError {
        if error.kind() == ErrorKind::BrokenPipe {
            return SinkError::Closed;
        }
        let advice = match self.out {
            Out::Stream(_) => "",
            Out::File(..) => "; mend that and run again with --resume",
        };
        SinkError::Failed(Error::stopped(format!(
            "the output {} cannot be written: {error}{advice}",
            self.name
        )))
    }
}

/// After a short write the file is cut back: no record is ever torn. If even
/// that fails, resuming cuts it.
fn append(file: &mut File, end: &mut u64, bytes: &[u8]) -> io::Result<()> {
    let written = file.write_all(bytes);
    match written {
        Ok(()) => *end += bytes.len() as u64,
        Err(_) => drop(file.set_len(*end)),
    }
    written
}

#[cfg(test)]
mod tests {
    use super::super::target::Target;
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_what_to_do() {
        let path = PathBuf::from("/dev/full");
        if !path.exists() {
            return;
        }
        let mut opened = Target::Device(path).open(0).unwrap();
        let Err(SinkError::Failed(error)) = opened.append(b"{}\n") else {
            panic!("/dev/full took bytes");
        };
        let text = error.to_string();
        assert!(
            text.contains("/dev/full cannot be written: No space"),
            "{text}"
        );
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let (reader, writer) = io::pipe().unwrap();
        let mut opened = Opened {
            name: "stdout".to_owned(),
            out: Out::Stream(Box::new(writer)),
            made: None,
        };
        opened.append(b"{}\n").unwrap();
        drop(reader);
        assert_eq!(opened.append(b"{}\n"), Err(SinkError::Closed));
    }
}
