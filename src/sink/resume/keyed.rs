//! Where rows that are known by a key stand in the input now. Pure.

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
