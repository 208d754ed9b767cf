//! What is left after writes that fail and power cuts, at every byte where that
//! may happen.

use std::io;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::journal::{Disk, Journal, OpenOutput, Out};
use super::resume::{self, ResumeState, Unwanted};
use super::samples::{columns, ok};
use super::settings::Sync;
use super::writer::{TextOutput, WriterEnding};
use super::{SinkError, Writer};
use crate::format::Format;

/// A disk in memory, which its tests can look at.
#[derive(Clone, Default)]
struct Platter(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    /// Number of bytes that survive a power cut.
    synced: usize,
    /// Number of bytes that fit on the disk.
    room: Option<usize>,
    /// It takes no more than so many at once.
    at_once: Option<usize>,
    /// Syncs from this one on fail.
    syncs_left: Option<usize>,
}

impl Disk for Platter {
    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock().unwrap();
        let room = state.room.unwrap_or(usize::MAX) - state.bytes.len();
        let most = state.at_once.unwrap_or(usize::MAX).min(room).min(bytes.len());
        if most == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.bytes.extend_from_slice(&bytes[..most]);
        Ok(most)
    }

    fn cut(&mut self, size: u64) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.bytes.truncate(size as usize);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        match state.syncs_left {
            Some(0) => return Err(io::Error::other("input/output error")),
            Some(left) => state.syncs_left = Some(left - 1),
            None => {}
        }
        state.synced = state.bytes.len();
        Ok(())
    }
}

impl Platter {
    fn with(state: State) -> Platter {
        Platter(Arc::new(Mutex::new(state)))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    fn writer(&self, format: &str, sync: Sync) -> Writer {
        let format: Format = format.parse().unwrap();
        let journal = Journal {
            disk: Box::new(self.clone()),
            end: 0,
            crc: crc32fast::Hasher::new(),
            records: 0,
        };
        let opened = OpenOutput { name: "platter".into(), out: Out::File(journal), made: None };
        let encode = format.encoder(&columns(&["price"], false), None).unwrap();
        let mut text = TextOutput::new(encode, opened, None);
        text.begin();
        Writer::new(text, None, WriterEnding::default(), sync).unwrap()
    }
}

fn read(format: &str, bytes: &[u8]) -> ResumeState {
    let format = format.parse().unwrap();
    resume::read(&mut &*bytes, format, None, None, &Unwanted::default()).unwrap()
}

/// Writes records until the disk takes no more; gives how many it took in all.
fn fill(writer: &mut Writer) -> u64 {
    for row in 0.. {
        if writer.write(&ok(row)).and_then(|()| writer.flush()).is_err() {
            return row;
        }
    }
    unreachable!("a disk that never fills up")
}

#[test]
fn a_disk_that_fills_up_at_any_byte_has_whole_records_only() {
    for format in ["jsonl", "csv"] {
        for room in 0..1200 {
            let platter = Platter::with(State {
                room: Some(room),
                at_once: Some(1 + room % 70),
                ..State::default()
            });
            let mut writer = platter.writer(format, Sync::End);
            let taken = fill(&mut writer);
            let bytes = platter.bytes();
            let past = read(format, &bytes);
            assert_eq!(past.end, bytes.len() as u64, "{format} {room}: something is torn");
            assert_eq!(past.done.len(), taken, "{format} {room}: something is missing");
            // With room again, the record that was turned away is not lost.
            platter.0.lock().unwrap().room = None;
            writer.finish().unwrap();
            assert_eq!(read(format, &platter.bytes()).done.len(), taken + 1);
        }
    }
}

#[test]
fn a_sync_that_fails_stops_the_run() {
    let platter = Platter::with(State { syncs_left: Some(1), ..State::default() });
    let mut writer = platter.writer("jsonl", Sync::Always);
    let now = std::time::Instant::now();
    writer.write(&ok(0)).unwrap();
    writer.keep_safe(now).unwrap();
    writer.write(&ok(1)).unwrap();
    let Err(SinkError::Failed(error)) = writer.keep_safe(now) else {
        panic!("a sync failed in silence");
    };
    assert!(error.to_string().contains("input/output error"), "{error}");
}

/// What a power cut leaves: all that was synced, and of the rest some bytes, none
/// of them, or as many zeros.
fn after_power_cut(platter: &Platter, chance: &mut StdRng) -> Vec<u8> {
    let state = platter.0.lock().unwrap();
    let mut left = state.bytes[..state.synced].to_vec();
    let unsynced = &state.bytes[state.synced..];
    let some = chance.random_range(0..=unsynced.len());
    match chance.random_range(0..3) {
        0 => {}
        1 => left.extend_from_slice(&unsynced[..some]),
        _ => left.resize(left.len() + some, 0),
    }
    left
}

#[test]
fn a_power_cut_loses_nothing_that_was_synced() {
    for seed in 0..1000 {
        let mut chance = StdRng::seed_from_u64(seed);
        let platter = Platter::default();
        let format = ["jsonl", "csv"][seed as usize % 2];
        let sync = [Sync::Always, Sync::End][seed as usize / 2 % 2];
        let mut writer = platter.writer(format, sync);
        let (rows, mut safe) = (chance.random_range(0..40), 0);
        for row in 0..rows {
            writer.write(&ok(row)).unwrap();
            if chance.random_bool(0.3) {
                writer.flush().unwrap();
            }
            if chance.random_bool(0.2) {
                // Only one that always syncs says that all is safe now.
                writer.keep_safe(std::time::Instant::now()).unwrap();
                safe = if sync == Sync::Always { row + 1 } else { safe };
            }
        }
        let past = read(format, &after_power_cut(&platter, &mut chance));
        assert!(past.done.len() >= safe, "seed {seed}: a record is lost");
        assert!(past.done.len() <= rows, "seed {seed}: a record comes from nowhere");
    }
}
