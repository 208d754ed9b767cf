//! Records into bytes, a buffer at a time, whole records only.

use super::codec::Encode;
use super::opened::Opened;
use super::{Sink, SinkError};
use crate::record::Record;

/// So many bytes are gathered before they are written.
const ENOUGH: usize = 64 * 1024;

/// An open output. Dropped without [`finish`](Writer::finish), it loses what
/// is still in its buffer.
pub struct Writer {
    encode: Box<dyn Encode>,
    opened: Opened,
    buffer: Vec<u8>,
    records: u64,
}

impl Writer {
    /// Writes a new file from its beginning.
    pub(super) fn start(mut encode: Box<dyn Encode>, opened: Opened) -> Writer {
        let mut buffer = Vec::with_capacity(ENOUGH * 2);
        encode.start(&mut buffer);
        Writer {
            encode,
            opened,
            buffer,
            records: 0,
        }
    }

    /// Adds to a file that has its beginning.
    pub(super) fn go_on(encode: Box<dyn Encode>, opened: Opened) -> Writer {
        Writer {
            encode,
            opened,
            buffer: Vec::with_capacity(ENOUGH * 2),
            records: 0,
        }
    }

    /// How many records it took.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes what is left and waits until a file is on its disk. Records may
    /// still follow.
    ///
    /// # Errors
    /// When not all of them could be kept.
    pub fn finish(&mut self) -> Result<(), SinkError> {
        self.flush()?;
        self.opened.sync()
    }

    /// Removes the file if this writer made it and no record came: a run that
    /// could not begin leaves nothing behind.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove_if_empty(self) -> Result<(), SinkError> {
        match self.records {
            0 => self.opened.remove(),
            _ => Ok(()),
        }
    }
}

impl Sink for Writer {
    fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        let encoded = self.encode.record(record, &mut self.buffer);
        encoded.map_err(SinkError::Failed)?;
        self.records += 1;
        match self.buffer.len() {
            0..ENOUGH => Ok(()),
            _ => self.flush(),
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        // What could not be written stays, for another try at the end.
        self.opened.append(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{columns, failed, ok};
    use super::super::{Existing, Output, Settings};
    use super::*;
    use std::fs;
    use std::path::Path;

    fn writer(path: &Path, existing: Existing) -> Writer {
        let settings = Settings {
            file: Some(path.to_str().unwrap().to_owned()),
            existing,
            ..Settings::default()
        };
        let output = Output::new(&settings).unwrap();
        output.create(&columns(&["price"], false)).unwrap()
    }

    #[test]
    fn a_file_grows_by_whole_records_and_is_resumed() {
        for name in ["a.jsonl", "a.csv"] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(name);
            let mut first = writer(&path, Existing::Refuse);
            for number in 0..3000 {
                first.write(&ok(number)).unwrap();
            }
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.ends_with('\n') && text.len() >= ENOUGH, "{name}");
            first.finish().unwrap();
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[..whole.len() - 5]).unwrap();
            let mut second = writer(&path, Existing::Resume);
            second.write(&ok(2999)).unwrap();
            second.finish().unwrap();
            assert!(fs::read(&path).unwrap() == whole, "{name}");
        }
    }

    #[test]
    fn overwriting_starts_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        fs::write(&path, "old\n".repeat(100)).unwrap();
        let mut writer = writer(&path, Existing::Overwrite);
        writer.write(&failed(0)).unwrap();
        writer.finish().unwrap();
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .starts_with("symbol,price,_row")
        );
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_run_that_wrote_nothing_leaves_no_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let new = directory.path().join("new.csv");
        writer(&new, Existing::Refuse).remove_if_empty().unwrap();
        assert!(!new.exists());
        let old = directory.path().join("old.csv");
        fs::write(&old, "").unwrap();
        writer(&old, Existing::Refuse).remove_if_empty().unwrap();
        assert!(old.exists());
    }
}
