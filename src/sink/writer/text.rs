//! Records into bytes, a buffer at a time, whole records only.

use crate::format::entry::Encode;
use crate::record::Record;
use crate::sink::error::SinkError;
use crate::sink::journal::open_output::OpenOutput;
use crate::sink::product::JournalMirror;
use crate::sink::sidecar::Synced;

/// The number of bytes that are gathered before they are written.
const ENOUGH: usize = 64 * 1024;

/// An output that is a text. Dropped without a flush, it loses what is still in
/// its buffer.
pub(crate) struct TextOutput {
    encode: Box<dyn Encode>,
    opened: OpenOutput,
    buffer: Vec<u8>,
    /// Where each record in the buffer ends.
    ends: Vec<usize>,
    mirror: Option<JournalMirror>,
    /// The number of records the file has taken, and their bytes.
    written: u64,
    bytes: u64,
}

impl TextOutput {
    /// Writes a new file from its beginning.
    pub fn start(encode: Box<dyn Encode>, opened: OpenOutput) -> TextOutput {
        let mut text = TextOutput::go_on(encode, opened);
        text.encode.start(&mut text.buffer);
        text
    }

    /// Adds to a file that has its beginning.
    pub fn go_on(encode: Box<dyn Encode>, opened: OpenOutput) -> TextOutput {
        TextOutput {
            encode,
            opened,
            buffer: Vec::with_capacity(ENOUGH * 2),
            ends: Vec::new(),
            mirror: None,
            written: 0,
            bytes: 0,
        }
    }

    /// Records that are written from now on go there as well.
    pub fn mirror_to(&mut self, mirror: Option<JournalMirror>) {
        self.mirror = mirror;
    }

    /// Takes a record; whether it is time to flush.
    pub fn write(&mut self, record: &Record) -> Result<bool, SinkError> {
        let encoded = self.encode.record(record, &mut self.buffer);
        encoded.map_err(SinkError::Failed)?;
        self.ends.push(self.buffer.len());
        Ok(self.buffer.len() >= ENOUGH)
    }

    /// The number of records the file has taken.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes the buffer; gives the number of its records. Those that could not be
    /// written stay, for another try at the end.
    pub fn flush(&mut self) -> Result<u64, SinkError> {
        if self.buffer.is_empty() {
            return Ok(0);
        }
        match self.opened.append(&self.buffer, &self.ends) {
            Ok(()) => {
                let records = self.ends.len() as u64;
                self.written += records;
                self.bytes += self.buffer.len() as u64;
                let reflected = self.reflect(self.buffer.len());
                self.buffer.clear();
                self.ends.clear();
                reflected.map(|()| records)
            }
            Err((kept, error)) => {
                let reflected = self.reflect(kept);
                self.forget(kept);
                reflected.and(Err(error))
            }
        }
    }

    fn reflect(&mut self, written: usize) -> Result<(), SinkError> {
        let Some(mirror) = &mut self.mirror else {
            return Ok(());
        };
        let taken = mirror.take(&self.buffer[..written]);
        if taken.is_err() {
            // What it lacks now it must not have later rows in place of: the next run
            // catches up from where it is.
            self.mirror = None;
        }
        taken.map_err(SinkError::Failed)
    }

    /// These first bytes of the buffer are written.
    fn forget(&mut self, kept: usize) {
        self.written += self.ends.partition_point(|&end| end <= kept) as u64;
        self.bytes += kept as u64;
        self.buffer.drain(..kept);
        self.ends.retain(|&end| end > kept);
        self.ends.iter_mut().for_each(|end| *end -= kept);
    }

    /// An error if there is no room for this number of records more, as long as those that
    /// were written, and half of that to spare.
    pub fn has_room(&mut self, records: u64) -> Result<(), SinkError> {
        let each = self.bytes / self.written.max(1);
        let bytes = (records * each).saturating_mul(3) / 2;
        self.opened.has_room(bytes.max(ENOUGH as u64))
    }

    /// Gives back the room that was kept free.
    pub fn close(&mut self) -> Result<(), SinkError> {
        self.opened.close()?;
        match self.mirror.take() {
            None => Ok(()),
            Some(mirror) => mirror.close().map_err(SinkError::Failed),
        }
    }

    /// Empties the file: its records are in a part now.
    pub fn begin_anew(&mut self) -> Result<(), SinkError> {
        self.opened.begin_anew()
    }

    /// Waits until a file is on its disk.
    pub fn sync(&mut self) -> Result<Option<Synced>, SinkError> {
        self.opened.sync()
    }

    /// Removes a file that this run has made, if it is empty.
    pub fn remove(&self) -> Result<bool, SinkError> {
        self.opened.remove()?;
        Ok(self.opened.made.is_some())
    }

    /// The error of a write, with what to do about it.
    pub fn failed(&self, error: &std::io::Error) -> SinkError {
        self.opened.failed(error)
    }
}
