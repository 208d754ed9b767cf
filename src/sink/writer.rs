//! Records to their output: into bytes, a buffer at a time and whole records only, and synced
//! to its disk as the settings say.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roaring::RoaringTreemap;

use super::journal::sort::sort;
use super::journal::{OpenOutput, SinkError};
use super::product::{JournalMirror, Product, complete};
use super::program::OpenSink;
use super::settings::Sync;
use super::sidecar::{MadeFile, SidecarLock};
use crate::error::Error;
use crate::format::Format;
use crate::format::entry::Encode;
use crate::record::Record;

/// An open output. Dropped without [`finish`](Writer::finish), it loses what
/// is still in its buffer.
pub struct Writer {
    text: TextOutput,
    /// The program's sink, which has each record after the text.
    sink: Option<OpenSink>,
    held: Option<SidecarLock>,
    ending: WriterEnding,
    /// Maximum age of written records that are not synced.
    max_age: Option<Duration>,
    synced: Instant,
    /// Whether anything was written since then.
    dirty: bool,
    /// The number of records that were written when the last sync began.
    synced_records: u64,
    records: u64,
    /// The number of records of the journal that are in no part.
    in_journal: u64,
}

/// Milliseconds since 1970, which go on when no process does.
pub(super) fn milliseconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The work that is left when a run is complete.
#[derive(Default)]
pub(super) struct WriterEnding {
    /// The file whose records are to be in the order of the input.
    pub sorts: Option<PathBuf>,
    pub format: Option<Format>,
    pub product: Option<Arc<dyn Product>>,
    /// The number of records the output had before the first of this run.
    pub before: u64,
    /// The number of them that the journal had.
    pub in_journal: u64,
}

impl Writer {
    /// The sidecar is on the disk before the first record.
    pub(super) fn new(
        text: TextOutput,
        held: Option<SidecarLock>,
        ending: WriterEnding,
        sync: Sync,
    ) -> Result<Writer, Error> {
        let mut writer = Writer {
            in_journal: ending.in_journal,
            text,
            sink: None,
            held,
            ending,
            max_age: sync.max_age(),
            synced: Instant::now(),
            dirty: false,
            synced_records: 0,
            records: 0,
        };
        match writer.note(true) {
            Ok(()) => Ok(writer),
            Err(SinkError::Failed(error)) => Err(error),
            Err(SinkError::Closed) => Err(Error::stopped("the output has no reader")),
        }
    }

    /// Gives the records to this sink too.
    pub(super) fn with_sink(self, sink: Option<OpenSink>) -> Writer {
        Writer { sink, ..self }
    }

    /// Hands records that were written over to the program's sink, if there is one.
    ///
    /// # Errors
    /// When the text can't keep them, or the sink doesn't take them; the run should stop.
    pub fn deliver(&mut self, records: Vec<Record>) -> Result<(), SinkError> {
        if self.sink.is_none() {
            return Ok(());
        }
        self.flush()?;
        self.sink.as_mut().map_or(Ok(()), |sink| sink.write(records))
    }

    /// Says that these rows have failed in a run that the brake has ended: a later run asks
    /// for them again.
    pub fn set_braked(&mut self, rows: &RoaringTreemap) {
        if let Some(held) = &mut self.held {
            held.says.braked = rows.iter().collect();
        }
    }

    /// Takes one record. It may lie in a buffer until [`flush`](Writer::flush).
    ///
    /// # Errors
    /// When records can no longer be kept; the run should stop.
    pub fn write(&mut self, record: &Record) -> Result<(), SinkError> {
        let is_full = self.text.write(record)?;
        self.records += 1;
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Hands over all records that were taken so far.
    ///
    /// # Errors
    /// When records can no longer be kept; the run should stop.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        let written = self.text.flush()?;
        self.dirty |= written > 0;
        self.in_journal += written;
        self.make_part()
    }

    /// The number of records it took.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The number of records its file has taken: those that the system has accepted, in
    /// a file of which every sync finds that it is as long as they are.
    #[must_use]
    pub fn written(&self) -> u64 {
        let alone = self.sink.as_ref().filter(|sink| sink.is_alone);
        alone.map_or(self.text.written, |sink| sink.written)
    }

    /// The number of records that it took and that a power cut leaves, as far as the settings
    /// want that: those that were synced, or else those that were written.
    #[must_use]
    pub fn safe(&self) -> u64 {
        if self.max_age.is_some() { self.synced_records } else { self.text.written }
    }

    /// Writes and syncs the records that have waited for long enough at this time.
    ///
    /// # Errors
    /// When not all of it could be kept.
    pub fn keep_safe(&mut self, now: Instant) -> Result<(), SinkError> {
        match self.max_age {
            Some(max_age) if now.saturating_duration_since(self.synced) >= max_age => {
                self.flush()?;
                self.sync(false)
            }
            _ => Ok(()),
        }
    }

    /// The number of records more that fit in, if it is known: `wanted` if there is as much
    /// room.
    ///
    /// # Errors
    /// That its disk is full: it has no room for `least` records.
    pub fn room(&mut self, wanted: u64, least: u64) -> Result<Option<u64>, SinkError> {
        self.text.room(wanted, least)
    }

    /// Writes the records that are left and waits until a file is on its disk. Records may
    /// still follow.
    ///
    /// # Errors
    /// When not all of them could be kept.
    pub fn finish(&mut self) -> Result<(), SinkError> {
        let flushed = self.text.flush();
        // The room that was kept free goes to the sidecar, which says in any case how
        // the run ended.
        let closed = self.text.close();
        self.dirty = true;
        let synced = self.sync(true);
        let ended = self.sink.as_mut().map_or(Ok(()), OpenSink::finish);
        flushed.map(|_| ()).and(closed).and(synced).and(ended)
    }

    /// Makes the product of the journal of a writer that is finished: all rows have their record.
    /// `failed` of them failed, and `missing` are without values.
    ///
    /// # Errors
    /// When the product can't be made; the records are safe.
    pub fn complete(&mut self, failed: u64, missing: u64) -> Result<(), SinkError> {
        let made = self.ending.make(failed).map_err(SinkError::Failed)?;
        if let Some(held) = &mut self.held {
            held.says.complete = true;
            let product = self.ending.product.as_ref();
            held.says.made = product.and_then(|it| MadeFile::at(it.path(), failed, missing));
            if made {
                // It is another text now.
                held.says.synced = None;
            }
        }
        self.note(true)
    }

    /// Removes the file if this writer made it and no record came: a run that
    /// could not begin leaves nothing behind.
    ///
    /// # Errors
    /// When the file cannot be removed, or the sidecar not be written.
    pub fn remove_if_empty(mut self) -> Result<(), SinkError> {
        let removed = self.records == 0 && self.text.remove()?;
        self.sink.as_mut().map_or(Ok(()), OpenSink::finish)?;
        match self.held.take_if(|_| removed) {
            Some(held) => held.remove().map_err(|error| self.text.opened.failed(&error)),
            None => self.note(true),
        }
    }

    /// When the journal has enough records, they become a part, and it begins anew. A
    /// crash between the two leaves them in both, which resuming sees.
    fn make_part(&mut self) -> Result<(), SinkError> {
        let Some(product) = self.ending.product.as_ref() else {
            return Ok(());
        };
        if product.part_size().is_none_or(|size| self.in_journal < size) {
            return Ok(());
        }
        // Should that fail, nothing becomes a part twice: the run is about to end.
        self.in_journal = 0;
        product.make().map_err(SinkError::Failed)?;
        if let Some(held) = &mut self.held {
            held.says.synced = None;
        }
        self.note(false)?;
        self.text.opened.begin_anew()
    }

    fn sync(&mut self, durably: bool) -> Result<(), SinkError> {
        self.synced = Instant::now();
        let written = self.text.written;
        if !std::mem::take(&mut self.dirty) {
            self.synced_records = written;
            return Ok(());
        }
        let synced = self.text.opened.sync();
        if synced.is_ok() {
            self.synced_records = written;
        }
        if let (Some(held), Ok(synced)) = (&mut self.held, &synced) {
            held.says.synced = synced.clone();
        }
        let noted = self.note(durably);
        synced.and(noted)
    }

    /// Writes the sidecar.
    fn note(&mut self, durably: bool) -> Result<(), SinkError> {
        match &mut self.held {
            None => Ok(()),
            Some(held) => {
                held.says.records = self.ending.before + self.text.written;
                held.write(durably).map_err(|error| self.text.opened.failed(&error))
            }
        }
    }
}

impl WriterEnding {
    /// Whether there was anything to make.
    fn make(&self, failed: u64) -> Result<bool, Error> {
        if let (Some(path), Some(format)) = (&self.sorts, self.format) {
            sort(path, format).map_err(|error| {
                Error::stopped(format!("{} cannot be sorted: {error}", path.display()))
            })?;
        }
        if let Some(product) = &self.product {
            complete(&**product, failed)?;
        }
        Ok(self.sorts.is_some() || self.product.is_some())
    }
}

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
    /// The length of the longest record, in bytes.
    longest: u64,
}

impl TextOutput {
    /// Adds to an output, and to the file that mirrors it, if one does.
    pub fn new(
        encode: Box<dyn Encode>,
        opened: OpenOutput,
        mirror: Option<JournalMirror>,
    ) -> TextOutput {
        TextOutput {
            encode,
            opened,
            buffer: Vec::with_capacity(ENOUGH * 2),
            ends: Vec::new(),
            mirror,
            written: 0,
            bytes: 0,
            longest: 0,
        }
    }

    /// Writes what stands before the first record.
    pub fn begin(&mut self) {
        self.encode.start(&mut self.buffer);
    }

    /// Takes a record; whether it is time to flush.
    pub fn write(&mut self, record: &Record) -> Result<bool, SinkError> {
        if let Err(error) = self.encode.record(record, &mut self.buffer) {
            return Err(SinkError::Failed(error));
        }
        let before = self.ends.last().copied().unwrap_or(0);
        self.longest = self.longest.max((self.buffer.len() - before) as u64);
        self.ends.push(self.buffer.len());
        Ok(self.buffer.len() >= ENOUGH)
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

    /// The number of records more that there is room for, as long as those that were written,
    /// and half of that to spare; an error if it is not even `least`.
    pub fn room(&mut self, wanted: u64, least: u64) -> Result<Option<u64>, SinkError> {
        let each = (self.bytes / self.written.max(1)).saturating_mul(3) / 2;
        let least = (least * each).max(2 * self.longest).max(ENOUGH as u64);
        let bytes = self.opened.room(wanted.saturating_mul(each), least)?;
        Ok(bytes.filter(|_| each > 0).map(|bytes| (bytes - self.longest) / each))
    }

    /// Gives back the room that was kept free.
    pub fn close(&mut self) -> Result<(), SinkError> {
        self.opened.close()?;
        match self.mirror.take() {
            None => Ok(()),
            Some(mirror) => mirror.close().map_err(SinkError::Failed),
        }
    }

    /// Removes a file that this run has made, if it is empty.
    pub fn remove(&self) -> Result<bool, SinkError> {
        self.opened.remove()?;
        Ok(self.opened.made.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    use crate::sink::samples::{columns, failed, ok};
    use crate::sink::{Existing, Identity, Output, Settings};

    fn writer(path: &Path, existing: Existing) -> Writer {
        let settings = Settings {
            file: Some(path.to_str().unwrap().to_owned()),
            existing,
            ..Settings::default()
        };
        let output = Output::new(&settings, false).unwrap();
        let identity = Identity::default();
        output.create(&columns(&["price"], false), &identity).unwrap()
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
            assert!(text.ends_with('\n') && text.len() >= 64 * 1024, "{name}");
            first.finish().unwrap();
            drop(first);
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
        assert!(fs::read_to_string(&path).unwrap().starts_with("symbol,price,_row"));
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
