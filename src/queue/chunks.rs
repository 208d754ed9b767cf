//! Rows on their way into chunks. Pure.

use std::sync::Arc;

use roaring::RoaringTreemap;

use super::{numbers, wire};
use crate::row::Row;
use crate::source::{RowPlaces, SharedRows};

/// Size of the rows of a chunk, in bytes, unless one of them is larger.
const MAX_BYTES: usize = 64 * 1024;

/// A chunk that is ready to be submitted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewChunk {
    /// The numbers of its rows.
    pub numbers: RoaringTreemap,
    /// The rows, as they go out.
    pub rows: Vec<u8>,
}

impl NewChunk {
    /// The number after that of its last row.
    pub fn end(&self) -> u64 {
        self.numbers.max().map_or(0, |last| last.saturating_add(1))
    }
}

/// Rows that have no chunk yet.
pub(crate) struct ChunkBuilder {
    /// Number of rows of a chunk.
    most: u64,
    /// The places of the rows, where chunks name these in place of having the rows.
    places: Option<Arc<RowPlaces>>,
    numbers: RoaringTreemap,
    rows: Vec<u8>,
}

impl ChunkBuilder {
    /// Rows for chunks of this number of rows, which have the rows, or name their places.
    pub fn new(most: usize, places: Option<Arc<RowPlaces>>) -> ChunkBuilder {
        let (numbers, rows) = (RoaringTreemap::new(), Vec::new());
        ChunkBuilder { most: most as u64, places, numbers, rows }
    }

    /// Whether no row waits.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Adds a row; gives the chunk if it is full.
    pub fn add(&mut self, row: &Row) -> Option<NewChunk> {
        self.numbers.insert(row.number);
        if self.places.is_none() {
            wire::put_row(row, &mut self.rows);
        }
        let is_full = self.rows.len() >= MAX_BYTES || self.numbers.len() >= self.most;
        if is_full { self.take() } else { None }
    }

    /// The chunk of the rows that wait, if any do.
    pub fn take(&mut self) -> Option<NewChunk> {
        let first = self.numbers.min()?;
        let numbers = std::mem::take(&mut self.numbers);
        let rows = match &self.places {
            None => wire::packed(std::mem::take(&mut self.rows)),
            Some(places) => {
                // From the beginning they are found, too.
                let at = places.before(first).unwrap_or_default();
                let place = SharedRows { numbers: numbers::to_text(&numbers), at };
                // Numbers and texts can always be written.
                serde_json::to_vec(&place).unwrap_or_default()
            }
        };
        Some(NewChunk { numbers, rows })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_chunk_has_its_number_of_rows_or_its_bytes() {
        let mut chunks = ChunkBuilder::new(3, None);
        let row = |number: u64, text: &str| Row {
            number,
            fields: json!({"a": text}).as_object().unwrap().clone(),
            ..Row::default()
        };
        assert!(chunks.add(&row(0, "x")).is_none() && chunks.add(&row(7, "x")).is_none());
        let chunk = chunks.add(&row(9, "x")).unwrap();
        assert_eq!((chunk.numbers.len(), chunk.end()), (3, 10));
        assert_eq!(wire::rows(&chunk.rows).unwrap()[1], row(7, "x"));
        assert!(chunks.take().is_none());
        assert!(chunks.add(&row(11, &"x".repeat(MAX_BYTES))).is_some());
        chunks.add(&row(12, "x"));
        assert_eq!(chunks.take().unwrap().end(), 13);
    }
}
