//! The places of rows in their text, as bytes from its beginning.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::format::rows::OpenedText;

/// A row that can be read from a byte on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RowPlace {
    /// Its number.
    pub row: u64,
    /// The place of its first byte, or of a blank line before it.
    pub byte: u64,
}

/// The places of some rows of a source, which its reader notes and others take.
#[derive(Debug)]
pub(crate) struct RowPlaces {
    every: u64,
    noted: Mutex<VecDeque<RowPlace>>,
}

impl RowPlaces {
    /// Of every so many rows.
    pub fn of_every(every: u64) -> RowPlaces {
        RowPlaces { every: every.max(1), noted: Mutex::default() }
    }

    /// Notes the place of a row, if it is one of those.
    pub fn note(&self, row: u64, byte: u64) {
        if row.is_multiple_of(self.every) {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.push_back(RowPlace { row, byte });
        }
    }

    /// Forgets all, as the rows are read from the beginning.
    pub fn clear(&self) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The last place that was noted of this row or one before it. Places before that are
    /// forgotten, so that the rows of later calls must not be smaller.
    pub fn before(&self, row: u64) -> Option<RowPlace> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        while noted.get(1).is_some_and(|second| second.row <= row) {
            noted.pop_front();
        }
        noted.front().copied().filter(|first| first.row <= row)
    }
}

/// Counts the bytes of a text that were taken.
#[derive(Debug, Clone, Default)]
pub(super) struct TakenBytes(Arc<AtomicU64>);

impl TakenBytes {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The text, whose bytes are counted as they are taken.
    pub fn of(&self, text: OpenedText) -> OpenedText {
        Box::new(CountedText { text, taken: self.clone() })
    }
}

struct CountedText {
    text: OpenedText,
    taken: TakenBytes,
}

impl Read for CountedText {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.text.read(out)?;
        self.taken.0.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl BufRead for CountedText {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.text.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.text.consume(count);
        self.taken.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_before_a_row_is_found_and_those_before_it_go() {
        let places = RowPlaces::of_every(10);
        (0..35).for_each(|row| places.note(row, row * 7));
        assert_eq!(places.before(9), Some(RowPlace { row: 0, byte: 0 }));
        assert_eq!(places.before(29), Some(RowPlace { row: 20, byte: 140 }));
        assert_eq!(places.before(9), None);
        assert_eq!(places.before(99), Some(RowPlace { row: 30, byte: 210 }));
    }
}
