//! Rows of which a file has some items, and not all.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use crate::format::entry::ReadRecord;

/// Rows of which some items are missing. They are few: those that were in flight when a
/// run ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Unfinished(BTreeMap<u64, ItemProgress>);

#[derive(Debug, Clone, Default, PartialEq)]
struct ItemProgress {
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
        self.0.keys().copied().collect()
    }

    /// Takes in one more record of the row of this identity.
    pub fn add(&mut self, row: u64, seen: &ReadRecord) -> Added {
        let Some(item) = seen.item else {
            // Whatever items there are, no more will come.
            self.0.remove(&row);
            return Added::Whole;
        };
        let items = self.0.entry(row).or_default();
        if !items.numbers.insert(item) {
            return Added::Twice;
        }
        if seen.last {
            items.last = Some(item);
        }
        if !items.are_all() {
            return Added::Part;
        }
        self.0.remove(&row);
        Added::Whole
    }

    /// One of the row's items is to be asked for again.
    pub fn lacks(&mut self, row: u64, seen: &ReadRecord) {
        if seen.item.is_some() {
            self.0.entry(row).or_default();
        }
    }
}

impl ItemProgress {
    /// They may be written in any order, so the last one alone says little.
    fn are_all(&self) -> bool {
        let up_to = |last| self.numbers.rank(last) == last + 1;
        self.last.is_some_and(up_to)
    }
}

#[cfg(test)]
mod tests {
    use super::Added::{Part, Twice, Whole};
    use super::*;

    fn seen(row: u64, item: impl Into<Option<u64>>, last: bool) -> ReadRecord {
        ReadRecord { row, item: item.into(), last, ok: true, unknown: false, key: None }
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
        // Nor does one that ends without its last item lack anything.
        assert_eq!(rows.add(3, &seen(3, 0, false)), Part);
        assert_eq!(rows.add(3, &seen(3, None, true)), Whole);
        assert!(rows.rows().is_empty());
    }

    #[test]
    fn a_row_that_lacks_an_item_is_not_whole() {
        let mut rows = Unfinished::default();
        rows.lacks(3, &seen(3, 0, false));
        assert_eq!(rows.add(3, &seen(3, 1, true)), Part);
        assert!(rows.rows().contains(3));
    }
}
