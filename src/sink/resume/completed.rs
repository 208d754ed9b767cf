//! The rows that have records already, by their number or by a field of theirs: all of their
//! records, some of them, or records under another number. Pure.

use std::collections::{BTreeMap, HashSet};
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

    /// The first rows of the input, in this number.
    pub(crate) fn first(rows: u64) -> CompletedRows {
        let mut first = CompletedRows::default();
        first.rows.insert_range(..rows);
        first
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

/// Rows of which some items are missing. They are few: those that were in flight when a
/// run ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Unfinished {
    rows: BTreeMap<u64, ItemProgress>,
    /// The rows that ended with a record that is no item, such as a page that failed.
    ended: RoaringTreemap,
}

/// The items of an unfinished row that have a record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemProgress {
    numbers: RoaringTreemap,
    last: Option<u64>,
}

/// The state of a row after one more record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// All of it is there now.
    Whole,
    /// Something is missing still.
    Part,
    /// It was there before.
    Twice,
}

impl Unfinished {
    /// The identities of these rows.
    pub fn rows(&self) -> RoaringTreemap {
        self.rows.keys().copied().collect()
    }

    /// Whether any of them has a record.
    pub fn has_records(&self) -> bool {
        self.rows.values().any(|items| items.count() > 0)
    }

    /// Whether there is no such row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The items of a row; none if the row has no record, or all of its items have one.
    pub fn of(&self, row: u64) -> Option<&ItemProgress> {
        self.rows.get(&row)
    }

    /// Whether the row ended with a record that is no item.
    pub fn has_ended(&self, row: u64) -> bool {
        self.ended.contains(row)
    }

    /// Leaves out the rows that ended, whatever items they lack.
    pub fn without_ended(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        self.rows.retain(|row, _| !ended.contains(*row));
    }

    /// Leaves these rows out.
    pub fn forget(&mut self, rows: &RoaringTreemap) {
        self.rows.retain(|row, _| !rows.contains(*row));
    }

    /// Takes in one more record of the row of this identity.
    pub fn add(&mut self, row: u64, seen: &ReadRecord) -> Added {
        let Some(item) = seen.item else {
            self.ended.insert(row);
            return Added::Whole;
        };
        let items = self.rows.entry(row).or_default();
        if !items.numbers.insert(item) {
            return Added::Twice;
        }
        if seen.last {
            items.last = Some(item);
        }
        if !items.are_all() {
            return Added::Part;
        }
        self.rows.remove(&row);
        Added::Whole
    }

    /// An item of an unfinished row is asked for by itself: the row's list has no need to give it.
    pub fn comes_by_itself(&mut self, row: u64, item: u64, is_last: bool) {
        if let Some(items) = self.rows.get_mut(&row) {
            items.numbers.insert(item);
            items.last = items.last.or(is_last.then_some(item));
        }
    }

    /// One of the row's items is to be asked for again.
    pub fn lacks(&mut self, row: u64, seen: &ReadRecord) {
        if seen.item.is_some() {
            self.rows.entry(row).or_default();
        }
    }
}

impl ItemProgress {
    /// These items, and which of them is the row's last one, if it is there.
    #[cfg(test)]
    pub(crate) fn of(items: &[u64], last: Option<u64>) -> ItemProgress {
        ItemProgress { numbers: items.iter().copied().collect(), last }
    }

    /// Whether this item has a record.
    #[must_use]
    pub fn has(&self, item: u64) -> bool {
        self.numbers.contains(item)
    }

    /// The last item of the row, if it has a record.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    /// Whether an item after this one has a record.
    #[must_use]
    pub fn has_after(&self, item: u64) -> bool {
        self.numbers.max() > Some(item)
    }

    /// Whether each item before this one has a record.
    #[must_use]
    pub fn has_all_before(&self, item: u64) -> bool {
        item == 0 || self.numbers.rank(item - 1) == item
    }

    /// Whether all items from this one to the row's last one have a record.
    #[must_use]
    pub fn has_all_from(&self, item: u64) -> bool {
        let before = if item == 0 { 0 } else { self.numbers.rank(item - 1) };
        self.last
            .is_some_and(|last| item > last || self.numbers.rank(last) - before == last - item + 1)
    }

    /// The number of items that have a record.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.numbers.len()
    }

    /// Items may be written in any order, so the last one alone says little.
    fn are_all(&self) -> bool {
        self.has_all_from(0)
    }
}

/// By the hash of its key, the number that each row with a record has now. 16 bytes a
/// row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Keyed {
    /// In their order.
    ids: Vec<u64>,
    numbers: Vec<u64>,
}

/// In place of a number: the row's record is to go.
const GONE: u64 = u64::MAX;

impl Keyed {
    /// All rows with a record, by the hashes of their keys in their order; none of them
    /// is in the input as far as is known.
    pub fn new(ids: Vec<u64>) -> Keyed {
        Keyed { numbers: vec![GONE; ids.len()], ids }
    }

    /// The place of a row among those with a record.
    pub fn place(&self, id: u64) -> Option<usize> {
        self.ids.binary_search(&id).ok()
    }

    /// The row at this place has this number in the input.
    pub fn stands(&mut self, place: usize, number: u64) {
        self.numbers[place] = number;
    }

    /// The number that a row has now; none if its record is to go.
    pub fn number(&self, id: u64) -> Option<u64> {
        self.place(id).map(|place| self.numbers[place]).filter(|number| *number != GONE)
    }

    /// The rows whose records are to go.
    pub fn gone(&self) -> impl Iterator<Item = u64> {
        let rows = self.ids.iter().zip(&self.numbers);
        rows.filter(|(_, number)| **number == GONE).map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::Added::{Part, Twice, Whole};
    use super::*;

    fn seen(row: u64, item: impl Into<Option<u64>>, last: bool) -> ReadRecord {
        ReadRecord { row, item: item.into(), last, failed: None, key: None }
    }

    #[test]
    fn a_row_is_whole_when_all_items_up_to_its_last_are_there() {
        let mut rows = Unfinished::default();
        for (row, item, last, expected) in [
            (7, 0, false, Part),
            (7, 2, true, Part),
            (7, 2, true, Twice),
            (8, 0, false, Part),
            (7, 1, false, Whole),
        ] {
            assert_eq!(rows.add(row, &seen(row, item, last)), expected, "{row} {item}");
        }
        assert_eq!(rows.rows().iter().collect::<Vec<_>>(), [8]);
        assert_eq!(rows.add(8, &seen(8, 1, true)), Whole);
        assert!(rows.rows().is_empty());
    }

    #[test]
    fn a_row_without_items_is_whole_with_one_record() {
        let mut rows = Unfinished::default();
        assert_eq!(rows.add(3, &seen(3, None, true)), Whole);
        rows.lacks(3, &seen(3, None, true));
        assert!(rows.rows().is_empty());
        // Nor does one that ends without its last item lack anything, whatever comes then.
        assert_eq!(rows.add(3, &seen(3, 0, false)), Part);
        assert_eq!(rows.add(3, &seen(3, None, true)), Whole);
        assert_eq!(rows.add(3, &seen(3, 1, false)), Part);
        assert_eq!(rows.add(3, &seen(3, 1, false)), Twice);
        assert!(rows.has_ended(3));
        rows.without_ended();
        assert!(rows.rows().is_empty());
    }

    #[test]
    fn a_row_knows_which_of_its_items_are_there() {
        let mut rows = Unfinished::default();
        for (item, last) in [(0, false), (1, false), (3, false), (5, true)] {
            rows.add(7, &seen(7, item, last));
        }
        let items = rows.of(7).unwrap();
        assert_eq!(
            [0, 1, 2, 3, 4].map(|item| items.has_all_before(item)),
            [true, true, true, false, false]
        );
        assert_eq!(
            [2, 3, 4, 5, 6].map(|item| items.has_all_from(item)),
            [false, false, false, true, true]
        );
        assert!(items.has(3) && !items.has(4) && items.has_after(4) && !items.has_after(5));
    }

    #[test]
    fn a_row_that_lacks_an_item_is_not_whole() {
        let mut rows = Unfinished::default();
        rows.lacks(3, &seen(3, 0, false));
        assert_eq!(rows.add(3, &seen(3, 1, true)), Part);
        assert!(rows.rows().contains(3));
    }
}
