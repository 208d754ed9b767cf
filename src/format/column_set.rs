//! The columns of a table, and the type that all values of each have.

use std::collections::HashMap;

use serde_json::Value;

use crate::row::Fields;

/// The columns in the order in which they first appear.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ColumnSet {
    pub columns: Vec<(String, ColumnType)>,
    /// Whether the rows are of results, of which some columns may be left out.
    pub is_of_results: bool,
    /// Each column's place by its name.
    places: HashMap<String, usize>,
}

/// What the values of a column are; each of them may also be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ColumnType {
    Null,
    Bool,
    Int,
    /// Integers of which some would be another number as a float.
    Long,
    Float,
    /// All else, as text: objects and arrays as JSON.
    Text,
}

/// throng's own columns, even where no row of a file has a value for them.
pub(crate) const OWN: [(&str, ColumnType); 10] = [
    ("_row", ColumnType::Int),
    ("_item", ColumnType::Int),
    ("_last", ColumnType::Bool),
    ("_ok", ColumnType::Bool),
    ("_status", ColumnType::Int),
    ("_attempts", ColumnType::Int),
    ("_ms", ColumnType::Float),
    ("_stored", ColumnType::Bool),
    ("_same_as", ColumnType::Int),
    ("_size", ColumnType::Int),
];

impl ColumnSet {
    /// These columns, in this order.
    pub fn with(columns: impl Iterator<Item = (String, ColumnType)>) -> ColumnSet {
        let mut shape = ColumnSet::default();
        columns.for_each(|(name, kind)| shape.take(&name, kind));
        shape
    }

    /// The columns of an earlier table, as far as they can hold these values, and
    /// then those that are new.
    pub fn after(self, mut earlier: ColumnSet) -> ColumnSet {
        for (name, kind) in self.columns {
            earlier.take(&name, kind);
        }
        earlier
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// Takes in the values of a row.
    pub fn add(&mut self, fields: &Fields) {
        for (name, value) in fields {
            self.take(name, ColumnType::of(value));
        }
    }

    fn take(&mut self, name: &str, kind: ColumnType) {
        match self.place(name) {
            Some(place) => self.columns[place].1 = self.columns[place].1.or(kind),
            None => {
                let own = OWN.iter().find(|(own, _)| *own == name);
                let kind = own.map_or(kind, |(_, own)| kind.or(*own));
                self.places.insert(name.to_owned(), self.columns.len());
                self.columns.push((name.to_owned(), kind));
            }
        }
    }

    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }
}

/// A float is the same number up to here.
const EXACT: u64 = 1 << 53;

impl ColumnType {
    fn of(value: &Value) -> ColumnType {
        match value {
            Value::Null => ColumnType::Null,
            Value::Bool(_) => ColumnType::Bool,
            Value::Number(number) if number.is_i64() => {
                let is_exact = number.as_i64().is_some_and(|it| it.unsigned_abs() <= EXACT);
                if is_exact { ColumnType::Int } else { ColumnType::Long }
            }
            // Beyond 63 bits a float would not be the same number.
            Value::Number(number) if number.is_u64() => ColumnType::Text,
            Value::Number(_) => ColumnType::Float,
            _ => ColumnType::Text,
        }
    }

    /// Whether a column of this kind has a place for a value. One without a kind is of texts.
    #[cfg_attr(not(feature = "arrow"), expect(dead_code, reason = "batches of Arrow need it"))]
    pub fn holds(self, value: &Value) -> bool {
        let kind = ColumnType::of(value);
        let is_number = |kind| matches!(kind, ColumnType::Int | ColumnType::Long);
        let is_text = matches!(self, ColumnType::Text | ColumnType::Null);
        is_text || self.or(kind) == self || (is_number(self) && is_number(kind))
    }

    /// The kind that both can be written as.
    fn or(self, other: ColumnType) -> ColumnType {
        match (self, other) {
            (kind, ColumnType::Null) | (ColumnType::Null, kind) => kind,
            (one, other) if one == other => one,
            (ColumnType::Int, ColumnType::Float) | (ColumnType::Float, ColumnType::Int) => {
                ColumnType::Float
            }
            (ColumnType::Int, ColumnType::Long) | (ColumnType::Long, ColumnType::Int) => {
                ColumnType::Long
            }
            _ => ColumnType::Text,
        }
    }
}

/// A value as text: texts as they are, all else as JSON; nothing for null.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_column_is_what_all_its_values_can_be() {
        let mut shape = ColumnSet::default();
        for row in [
            json!({"a": 1, "b": null, "c": true, "d": 1, "e": 1}),
            json!({"a": 2.5, "b": null, "c": false, "d": "x", "e": u64::MAX, "f": [1]}),
        ] {
            shape.add(row.as_object().unwrap());
        }
        let kinds: Vec<ColumnType> = shape.columns.iter().map(|(_, kind)| *kind).collect();
        use ColumnType::{Bool, Float, Null, Text};
        assert_eq!(kinds, [Float, Null, Bool, Text, Text, Text]);
        assert_eq!((shape.place("f"), shape.place("g")), (Some(5), None));
    }

    #[test]
    fn no_integer_becomes_another_number() {
        let kind = |values: &[Value]| {
            let mut shape = ColumnSet::default();
            for value in values {
                shape.add(json!({"a": value}).as_object().unwrap());
            }
            shape.columns[0].1
        };
        let long = (1_i64 << 53) + 1;
        assert_eq!(kind(&[json!(long), json!(1), json!(null)]), ColumnType::Long);
        assert_eq!(kind(&[json!(long - 1), json!(1.5)]), ColumnType::Float);
        assert_eq!(kind(&[json!(long), json!(1.5)]), ColumnType::Text);
        assert_eq!(kind(&[json!(1.5), json!(-long)]), ColumnType::Text);
    }

    #[test]
    fn columns_go_on_from_one_table_to_the_next() {
        use ColumnType::{Float, Int, Null, Text};
        let of = |columns: &[(&str, ColumnType)]| {
            let columns = columns.iter();
            ColumnSet::with(columns.map(|(name, kind)| ((*name).to_owned(), *kind)))
        };
        let earlier = of(&[("a", Float), ("b", Int), ("_status", Null)]);
        let next = of(&[("c", Text), ("b", Null), ("a", Int)]).after(earlier);
        let expected = of(&[("a", Float), ("b", Int), ("_status", Int), ("c", Text)]);
        assert_eq!(next, expected);
    }
}
