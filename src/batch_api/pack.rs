//! Requests of rows, packed into batches by the bounds of a provider. Pure.

use http::{HeaderMap, Uri};

use super::Endpoint;
use crate::row::Row;

/// Maximum number of batches that are filled at a time, for different endpoints and models.
const MAX_OPEN: usize = 8;

/// The bounds of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Maximum number of rows.
    pub rows: u64,
    /// Maximum number of bytes.
    pub bytes: u64,
    /// Maximum number of tokens of all batches in progress.
    pub tokens: u64,
}

/// What the requests of a batch have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct PackKey {
    /// The server, with the query of the requests.
    pub uri: Uri,
    pub endpoint: Endpoint,
    /// The model that their bodies name.
    pub model: Option<String>,
    /// Their headers, without those of the body.
    pub headers: HeaderMap,
}

/// A row of a batch.
#[derive(Debug)]
pub struct PackedRow {
    pub row: Row,
    /// The id of its request.
    pub id: String,
    /// Number of batches that had it before.
    pub tries: u32,
    /// What it may cost by the limiter's units, if anything has a price.
    pub units: Vec<u64>,
}

/// A batch of rows.
#[derive(Debug)]
pub struct Pack {
    pub key: PackKey,
    pub rows: Vec<PackedRow>,
    /// The requests of the rows, with a separator between them.
    pub requests: String,
    /// An estimate of the tokens of the requests.
    pub tokens: u64,
}

/// Fills batches.
pub struct Packer {
    bounds: Bounds,
    separator: &'static str,
    open: Vec<Pack>,
}

impl Packer {
    /// A packer without rows.
    #[must_use]
    pub fn new(bounds: Bounds, separator: &'static str) -> Packer {
        Packer { bounds, separator, open: Vec::new() }
    }

    /// Adds a row whose request is this entry. Gives a batch that has no room for more.
    pub fn add(&mut self, key: PackKey, row: PackedRow, entry: &str, tokens: u64) -> Option<Pack> {
        let place = self.open.iter().position(|pack| pack.key == key);
        let full = match place {
            Some(place) if !self.has_room(&self.open[place], entry, tokens) => {
                Some(self.open.swap_remove(place))
            }
            None if self.open.len() == MAX_OPEN => self.take_largest(),
            _ => None,
        };
        let place = self.open.iter().position(|pack| pack.key == key).unwrap_or_else(|| {
            self.open.push(Pack { key, rows: Vec::new(), requests: String::new(), tokens: 0 });
            self.open.len() - 1
        });
        let pack = &mut self.open[place];
        if !pack.rows.is_empty() {
            pack.requests.push_str(self.separator);
        }
        pack.requests.push_str(entry);
        pack.rows.push(row);
        pack.tokens = pack.tokens.saturating_add(tokens);
        full
    }

    /// The largest of the batches that are not full.
    pub fn take_largest(&mut self) -> Option<Pack> {
        let largest = (0..self.open.len()).max_by_key(|place| self.open[*place].rows.len())?;
        Some(self.open.swap_remove(largest))
    }

    fn has_room(&self, pack: &Pack, entry: &str, tokens: u64) -> bool {
        let bytes = pack.requests.len() + self.separator.len() + entry.len();
        (pack.rows.len() as u64) < self.bounds.rows
            && bytes as u64 <= self.bounds.bytes
            && pack.tokens.saturating_add(tokens) <= self.bounds.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(model: &str) -> PackKey {
        PackKey {
            uri: Uri::from_static("http://h/"),
            endpoint: Endpoint { base: String::new(), target: String::new() },
            model: Some(model.to_owned()),
            headers: HeaderMap::new(),
        }
    }

    /// The numbers of rows of all batches, of rows with these models, bytes and tokens.
    fn packed(bounds: Bounds, rows: &[(&str, usize, u64)]) -> Vec<usize> {
        let mut packer = Packer::new(bounds, ",");
        let mut packs = Vec::new();
        for (model, bytes, tokens) in rows {
            let row =
                PackedRow { row: Row::default(), id: String::new(), tries: 0, units: Vec::new() };
            packs.extend(packer.add(key(model), row, &"x".repeat(*bytes), *tokens));
        }
        packs.extend(std::iter::from_fn(|| packer.take_largest()));
        let within = |pack: &Pack| {
            pack.rows.len() as u64 <= bounds.rows && pack.requests.len() as u64 <= bounds.bytes
        };
        assert!(packs.iter().all(within));
        packs.iter().map(|pack| pack.rows.len()).collect()
    }

    #[test]
    fn a_batch_is_full_by_rows_bytes_or_tokens() {
        let bounds = |rows, bytes, tokens| Bounds { rows, bytes, tokens };
        let ten = [("a", 10, 5); 10];
        assert_eq!(packed(bounds(4, 1_000, 1_000), &ten), [4, 4, 2]);
        assert_eq!(packed(bounds(99, 31, 1_000), &ten), [2; 5]);
        assert_eq!(packed(bounds(99, 32, 1_000), &ten), [3, 3, 3, 1]);
        assert_eq!(packed(bounds(99, 1_000, 20), &ten), [4, 4, 2]);
    }

    #[test]
    fn each_model_has_batches_of_its_own() {
        let bounds = Bounds { rows: 99, bytes: 1_000, tokens: 1_000 };
        let models = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|model| (model, 1, 1));
        let twice: Vec<_> = models.iter().chain(&models).copied().collect();
        let packs = packed(bounds, &twice);
        assert_eq!(packs.iter().sum::<usize>(), 18);
        assert!(packs.len() >= 9, "{packs:?}");
    }
}
