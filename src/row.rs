//! One unit of input and its named fields.

use serde_json::{Map, Value};

use crate::cookies::RowJar;

/// The named fields of a row, in the order of the input.
pub type Fields = Map<String, Value>;

/// One unit of input: it becomes one request and one record, or one record for
/// each item of its answer.
///
/// ```
/// let mut row = throng::Row::default();
/// row.fields.insert("symbol".into(), "AAPL".into());
/// assert_eq!(row.number, 0);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// Its place in the input, from 0.
    pub number: u64,
    /// Its values by name.
    pub fields: Fields,
    /// Which of its row's items it is, in a job that has items.
    pub item: Option<Item>,
    /// The cookies that servers set for it, in a job that keeps them.
    #[doc(hidden)]
    pub jar: RowJar,
}

/// One of the items that a row's answers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Its place among the row's items, from 0; none if the row came to no item.
    pub number: Option<u64>,
    /// Whether the row has no item after it.
    pub last: bool,
}
