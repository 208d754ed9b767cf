//! (1) Bytes to rows.

use serde_json::{Map, Value};

/// The named fields of a row, in the order of the input.
pub type Fields = Map<String, Value>;

/// One unit of input: it becomes one request and one record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// Its place in the input, from 0.
    pub number: u64,
    /// Its values by name.
    pub fields: Fields,
}
