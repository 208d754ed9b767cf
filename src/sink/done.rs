//! Which rows have a record already, by their number or by a field of theirs.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use roaring::RoaringTreemap;

use super::Format;
use super::codec::Seen;
use crate::source::Row;

/// The rows of an earlier run, which are not asked for again.
#[derive(Debug, Clone, Default)]
pub struct Done {
    rows: RoaringTreemap,
    keys: Option<Keys>,
}

/// The values of the field that identifies rows, as hashes.
#[derive(Debug, Clone)]
struct Keys {
    field: String,
    format: Format,
    seen: HashSet<u64>,
}

impl Done {
    /// None yet; rows are the same if this field is, or else if their number is.
    pub(super) fn by(key: Option<&str>, format: Format) -> Done {
        let keys = |field: &str| Keys {
            field: field.to_owned(),
            format,
            seen: HashSet::new(),
        };
        Done {
            rows: RoaringTreemap::new(),
            keys: key.map(keys),
        }
    }

    /// Whether this row has a record.
    #[must_use]
    pub fn has(&self, row: &Row) -> bool {
        match &self.keys {
            None => self.rows.contains(row.number),
            Some(keys) if keys.seen.is_empty() => false,
            Some(keys) => {
                let value = row
                    .fields
                    .get(&keys.field)
                    .unwrap_or(&serde_json::Value::Null);
                keys.seen.contains(&hash(&keys.format.value(value)))
            }
        }
    }

    /// Whether the row with this number has one.
    pub(super) fn has_number(&self, row: u64) -> bool {
        self.rows.contains(row)
    }

    /// Whether the row of this record has one.
    pub(super) fn has_seen(&self, seen: &Seen) -> bool {
        match &self.keys {
            None => self.rows.contains(seen.row),
            Some(keys) => keys
                .seen
                .contains(&hash(seen.key.as_deref().unwrap_or_default())),
        }
    }

    /// Takes the row of this record out.
    pub(super) fn remove(&mut self, seen: &Seen) {
        match &mut self.keys {
            None => self.rows.remove(seen.row),
            Some(keys) => keys
                .seen
                .remove(&hash(seen.key.as_deref().unwrap_or_default())),
        };
    }

    /// How many rows have one.
    #[must_use]
    pub fn len(&self) -> u64 {
        match &self.keys {
            None => self.rows.len(),
            Some(keys) => keys.seen.len() as u64,
        }
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One more than the highest number of a row; 0 if there is none, or if
    /// numbers mean nothing.
    pub(super) fn end(&self) -> u64 {
        match self.keys {
            None => self.rows.max().map_or(0, |last| last + 1),
            Some(_) => 0,
        }
    }

    /// Adds a row; false if it was there.
    pub(super) fn add(&mut self, seen: &Seen) -> bool {
        match &mut self.keys {
            None => self.rows.insert(seen.row),
            Some(keys) => keys
                .seen
                .insert(hash(seen.key.as_deref().unwrap_or_default())),
        }
    }

    /// Takes these rows out.
    pub(super) fn forget(&mut self, rows: &RoaringTreemap) {
        self.rows -= rows;
    }
}

fn hash(value: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}
