//! Rows that stand in the job itself: objects, or texts that become the field `line`.

use std::sync::Arc;

use serde_json::Value;

use crate::format::lines::FIELD;
use crate::format::rows::{FormatRow, RowReader, accepted, shown};
use crate::row::Fields;

/// The rows of a list that messages call `name`.
pub(super) fn rows(list: Arc<[Value]>, name: &str) -> impl RowReader + use<> {
    List { list, name: name.into(), taken: 0 }
}

struct List {
    list: Arc<[Value]>,
    name: String,
    taken: usize,
}

impl Iterator for List {
    type Item = FormatRow;

    fn next(&mut self) -> Option<FormatRow> {
        let found = fields(self.list.get(self.taken)?);
        self.taken += 1;
        Some(found.map_err(|flaw| format!("{}, item {}: {flaw}", self.name, self.taken)))
    }
}

impl RowReader for List {}

fn fields(item: &Value) -> FormatRow {
    match item {
        Value::Object(fields) => accepted(fields.clone()),
        Value::String(_) => Ok(Fields::from_iter([(FIELD.into(), item.clone())])),
        other => {
            let shown = shown(&other.to_string());
            Err(format!("{shown} is neither an object nor a text: make it one of them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(list: Vec<Value>) -> Result<Vec<Value>, String> {
        rows(list.into(), "the job's list").map(|found| found.map(Value::Object)).collect()
    }

    #[test]
    fn an_item_is_a_row() {
        let list = vec![json!("AAPL"), json!({"id": 7, "tags": ["x"]})];
        let rows = vec![json!({"line": "AAPL"}), json!({"id": 7, "tags": ["x"]})];
        assert_eq!(read(list), Ok(rows));
        assert_eq!(read(vec![]), Ok(vec![]));
    }

    #[test]
    fn what_is_no_row_is_told_with_its_place() {
        let number = read(vec![json!("a"), json!(7)]).unwrap_err();
        let name = read(vec![json!({"": 1})]).unwrap_err();
        let remedy = "is neither an object nor a text: make it one of them";
        assert_eq!(number, format!("the job's list, item 2: \"7\" {remedy}"));
        assert!(name.starts_with("the job's list, item 1: a field has no name"));
    }
}
