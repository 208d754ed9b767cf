//! The rows that have a record already, by their number or by a field of theirs.

use std::collections::HashSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use roaring::RoaringTreemap;

use crate::format::Format;
use crate::format::entry::ReadRecord;
use crate::row::Row;

/// The rows of an earlier run, which are not asked for again.
#[derive(Debug, Clone, Default)]
pub struct CompletedRows {
    /// Their numbers.
    rows: RoaringTreemap,
    keys: Option<KeyHashes>,
}

/// The values of the field that identifies rows, as hashes.
#[derive(Debug, Clone)]
struct KeyHashes {
    field: String,
    format: Format,
    seen: HashSet<u64>,
}

impl CompletedRows {
    /// None yet; rows are the same if this field is, or else if their number is.
    pub(crate) fn by(key: Option<&str>, format: Format) -> CompletedRows {
        let keys =
            |field: &str| KeyHashes { field: field.to_owned(), format, seen: HashSet::new() };
        CompletedRows { rows: RoaringTreemap::new(), keys: key.map(keys) }
    }

    /// The field that identifies rows, if one does.
    pub(crate) fn key(&self) -> Option<&str> {
        self.keys.as_ref().map(|keys| keys.field.as_str())
    }

    /// The identity of a row: its number, or the hash of its key.
    pub(crate) fn id(&self, row: &Row) -> u64 {
        match &self.keys {
            None => row.number,
            Some(keys) => {
                let value = row.fields.get(&keys.field);
                let value = value.unwrap_or(&serde_json::Value::Null);
                hash(&keys.format.value(value))
            }
        }
    }

    /// The identity of the row of a record.
    pub(crate) fn id_of(&self, seen: &ReadRecord) -> u64 {
        match &self.keys {
            None => seen.row,
            Some(_) => hash(seen.key.as_deref().unwrap_or_default()),
        }
    }

    /// Whether this row has a record.
    #[must_use]
    pub fn has(&self, row: &Row) -> bool {
        let has_none = self.keys.as_ref().is_some_and(|it| it.seen.is_empty());
        !has_none && self.has_id(self.id(row))
    }

    /// Whether the row of this identity has one.
    pub(crate) fn has_id(&self, id: u64) -> bool {
        match &self.keys {
            None => self.rows.contains(id),
            Some(keys) => keys.seen.contains(&id),
        }
    }

    /// Whether the row of this record has one.
    pub(crate) fn has_seen(&self, seen: &ReadRecord) -> bool {
        self.has_id(self.id_of(seen))
    }

    /// Takes the row of this record out.
    pub(crate) fn remove(&mut self, seen: &ReadRecord) {
        self.remove_id(self.id_of(seen));
    }

    /// Takes the row of this identity out.
    pub(crate) fn remove_id(&mut self, id: u64) {
        match &mut self.keys {
            None => self.rows.remove(id),
            Some(keys) => keys.seen.remove(&id),
        };
    }

    /// The number of rows that have one.
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

    /// One more than the highest number of a row; 0 if there is none.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.rows.max().map_or(0, |last| last + 1)
    }

    /// Whether two of the rows have one number, as older versions left them where rows
    /// are known by a key.
    pub(crate) fn numbers_meet(&self) -> bool {
        self.rows.len() < self.len()
    }

    /// Adds the row of a record; false if it was there.
    pub(crate) fn add(&mut self, seen: &ReadRecord) -> bool {
        self.add_id(self.id_of(seen), seen.row)
    }

    fn add_id(&mut self, id: u64, row: u64) -> bool {
        match &mut self.keys {
            None => self.rows.insert(row),
            Some(keys) => {
                self.rows.insert(row);
                keys.seen.insert(id)
            }
        }
    }

    /// Takes the rows with these numbers out, where rows are known by them.
    pub(crate) fn forget(&mut self, rows: &RoaringTreemap) {
        self.rows -= rows;
    }
}

/// The check that each row has a key, and another one than any row before it, as they
/// stand in records.
#[derive(Debug)]
pub struct KeyCheck {
    key: String,
    taken: CompletedRows,
}

impl KeyCheck {
    /// No row yet.
    pub(crate) fn new(key: &str, format: Format) -> KeyCheck {
        KeyCheck { key: key.to_owned(), taken: CompletedRows::by(Some(key), format) }
    }

    /// The next row of the input with this name.
    ///
    /// # Errors
    /// The flaw of its key, and the row.
    pub fn take(&mut self, row: &Row, input: &str) -> Result<(), String> {
        let key = &self.key;
        let wrong = match row.fields.get(key) {
            None => format!("has no field {key:?}"),
            Some(value) if !self.taken.add_id(self.taken.id(row), row.number) => {
                format!("has the same {key}, {value}, as an earlier row")
            }
            Some(_) => return Ok(()),
        };
        Err(format!(
            "output.key (--key): row {} of {input} {wrong}: a key is different for each row",
            row.number
        ))
    }
}

fn hash(value: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}
