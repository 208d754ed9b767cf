//! The rows of a JSON document that is not an array of them: by a jq program, or by the
//! shapes in which others write tables. Pure.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::rows::{FormatRow, TEXT_FIELD, accepted, shown};
use crate::extract::{AnswerContext, JqInput, Program, jq_text};
use crate::row::Fields;

/// A jq program that gives the rows of a document.
#[derive(Clone)]
pub(crate) struct RowProgram {
    code: String,
    program: Arc<Program>,
    /// The keys that lead to a list whose items are the rows, if the program is no more.
    path: Option<Vec<String>>,
}

impl RowProgram {
    /// Compiles the program.
    ///
    /// # Errors
    /// Where it is wrong.
    pub fn new(code: &str) -> Result<RowProgram, String> {
        let program = Arc::new(Program::new(code)?);
        Ok(RowProgram { code: code.to_owned(), program, path: path(code) })
    }

    /// The keys of a program such as `.data[]`.
    pub fn path(&self) -> Option<&[String]> {
        self.path.as_deref()
    }

    /// The rows of a document.
    ///
    /// # Errors
    /// Why the program gives none.
    pub fn rows(&self, document: &JqInput) -> Result<Vec<FormatRow>, String> {
        let found = self.program.run_all(document, &AnswerContext::default());
        let texts =
            found.and_then(|found| found.iter().map(jq_text).collect::<Result<Vec<_>, _>>());
        let texts = texts.map_err(|why| format!("input.rows (--rows): {why}"))?;
        let row = |text: &String| match serde_json::from_str(text) {
            Ok(value) => row_of_value(value),
            Err(error) => Err(error.to_string()),
        };
        Ok(texts.iter().map(row).collect())
    }
}

impl fmt::Debug for RowProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)
    }
}

impl PartialEq for RowProgram {
    fn eq(&self, other: &RowProgram) -> bool {
        self.code == other.code
    }
}

/// The keys of a program of keys and one `[]` at its end.
fn path(code: &str) -> Option<Vec<String>> {
    let code = code.trim();
    let keys = code.strip_suffix("[]")?.strip_prefix('.')?;
    if keys.is_empty() {
        return Some(Vec::new());
    }
    let is_key = |key: &str| {
        key.chars().all(|it| it.is_ascii_alphanumeric() || it == '_')
            && key.starts_with(|it: char| !it.is_ascii_digit())
    };
    keys.split('.').map(|key| is_key(key).then(|| key.to_owned())).collect()
}

/// A row of any value: an object, or a text or number that becomes the field `line`.
pub(super) fn row_of_value(value: Value) -> FormatRow {
    match value {
        Value::Object(fields) => accepted(fields),
        Value::String(_) | Value::Number(_) => Ok(Fields::from_iter([(TEXT_FIELD.into(), value)])),
        other => {
            let shown = shown(&other.to_string());
            Err(format!("{shown} is neither an object nor a text: make it one of them"))
        }
    }
}

/// The rows of an object in a shape that is known: GeoJSON, or what pandas writes.
///
/// # Errors
/// That it has none of these shapes, and where its rows may be.
pub(super) fn rows_of_shape(document: Value) -> Result<Vec<FormatRow>, String> {
    let Value::Object(mut fields) = document else {
        return Err(AN_OBJECT.into());
    };
    let is_list = |name: &str| fields.get(name).is_some_and(Value::is_array);
    let is_geo = fields.get("type").is_some_and(|it| it == "FeatureCollection");
    if is_geo && is_list("features") {
        return Ok(list(fields.remove("features")).into_iter().map(row_of_value).collect());
    }
    let is_split = fields.keys().all(|name| ["columns", "index", "data"].contains(&name.as_str()));
    if is_split && is_list("columns") && is_list("data") {
        return split_rows(list(fields.remove("columns")), list(fields.remove("data")));
    }
    if fields.contains_key("schema") && is_list("data") {
        return Ok(list(fields.remove("data")).into_iter().map(row_of_value).collect());
    }
    if let Some(length) = common_length(&fields) {
        return Ok((0..length).map(|number| list_row(&fields, number)).collect());
    }
    let inner = || fields.values().filter_map(Value::as_object);
    let are_objects = !fields.is_empty() && inner().count() == fields.len();
    let are_numbers = |names: &Map<String, Value>| names.keys().all(|name| is_number(name));
    match (are_objects, are_numbers(&fields), are_objects && inner().all(are_numbers)) {
        (true, true, false) => Ok(fields.into_iter().map(|(_, row)| row_of_value(row)).collect()),
        (true, false, true) => column_rows(&fields),
        _ => Err(no_shape(&fields)),
    }
}

/// The length that all values have, if they are several lists of no objects: columns.
fn common_length(fields: &Map<String, Value>) -> Option<usize> {
    let is_column = |list: &&Vec<Value>| !list.iter().any(Value::is_object);
    let lists: Vec<_> = fields.values().filter_map(Value::as_array).filter(is_column).collect();
    let length = lists.first()?.len();
    let are_alike = lists.iter().all(|list| list.len() == length);
    (fields.len() > 1 && lists.len() == fields.len() && are_alike).then_some(length)
}

/// The row with this number of columns that are lists.
fn list_row(columns: &Map<String, Value>, number: usize) -> FormatRow {
    let value = |column: &Value| column.get(number).cloned().unwrap_or_default();
    accepted(columns.iter().map(|(name, column)| (name.clone(), value(column))).collect())
}

fn list(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The rows of pandas' `orient="split"`.
fn split_rows(columns: Vec<Value>, data: Vec<Value>) -> Result<Vec<FormatRow>, String> {
    let name = |column: Value| match column {
        Value::String(name) => name,
        other => other.to_string(),
    };
    let names: Vec<String> = columns.into_iter().map(name).collect();
    let row = |(number, values): (usize, Value)| match values {
        Value::Array(values) if values.len() == names.len() => {
            accepted(names.iter().cloned().zip(values).collect())
        }
        _ => {
            Err(format!("data[{number}] is no list of {} values, one for each column", names.len()))
        }
    };
    Ok(data.into_iter().enumerate().map(row).collect())
}

/// The rows of pandas' `orient="columns"`: each column is an object with a value for each
/// number of a row.
fn column_rows(columns: &Map<String, Value>) -> Result<Vec<FormatRow>, String> {
    let first = columns.values().next().and_then(Value::as_object);
    let numbers: Vec<&String> = first.into_iter().flat_map(Map::keys).collect();
    let is_whole = columns.values().filter_map(Value::as_object).all(|column| {
        column.len() == numbers.len() && numbers.iter().all(|number| column.contains_key(*number))
    });
    if !is_whole {
        return Err(no_shape(columns));
    }
    let row = |number: &&String| {
        accepted(
            columns.iter().map(|(name, column)| (name.clone(), column[*number].clone())).collect(),
        )
    };
    Ok(numbers.iter().map(row).collect())
}

pub(super) const AN_OBJECT: &str =
    "this is an object and no array: for one object per line use --format jsonl";

/// What to do about an object in no known shape.
fn no_shape(fields: &Map<String, Value>) -> String {
    let is_table = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    match fields.iter().find(|(_, value)| is_table(value)) {
        Some((name, _)) => {
            let path = match path(&format!(".{name}[]")) {
                Some(_) => format!(".{name}[]"),
                None => format!(".[{name:?}][]"),
            };
            format!(
                "this is an object and no array: for the array in it use --rows '{path}' (input.rows)"
            )
        }
        None => format!(
            "{AN_OBJECT}; for rows within it, a jq program such as --rows '.[]' (input.rows)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(document: Value) -> Result<Vec<Value>, String> {
        rows_of_shape(document)?.into_iter().map(|row| row.map(Value::Object)).collect()
    }

    #[test]
    fn known_shapes_have_rows() {
        let two = Ok(vec![json!({"id": 1, "n": "a"}), json!({"id": 2, "n": "b"})]);
        for document in [
            json!({"columns": ["id", "n"], "index": [0, 1], "data": [[1, "a"], [2, "b"]]}),
            json!({"id": {"0": 1, "1": 2}, "n": {"0": "a", "1": "b"}}),
            json!({"0": {"id": 1, "n": "a"}, "1": {"id": 2, "n": "b"}}),
            json!({"id": [1, 2], "n": ["a", "b"]}),
            json!({"schema": {}, "data": [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}]}),
            json!({"type": "FeatureCollection", "features": [{"id": 1, "n": "a"}, {"id": 2, "n": "b"}]}),
        ] {
            assert_eq!(rows(document.clone()), two, "{document}");
        }
    }

    #[test]
    fn an_object_of_no_known_shape_says_where_its_rows_may_be() {
        for (document, said) in [
            (json!({"count": 2, "data": [{"id": 1}]}), "--rows '.data[]'"),
            (json!({"a b": [1]}), "--rows '.[\"a b\"][]'"),
            (json!({"users": [{"id": 1}], "orders": [{"id": 2}]}), "--rows '.users[]'"),
            (json!({"id": [1, 2], "n": ["a"]}), "--rows '.id[]'"),
            (json!({"a": 1}), "--format jsonl; for rows within it"),
            (json!({"0": {"1": 2}}), "for rows within it"),
            (json!({"id": {"0": 1}, "n": {"1": 2}}), "for rows within it"),
            (json!({"columns": ["id"], "data": [[1, 2]]}), "data[0] is no list of 1 values"),
        ] {
            let error = rows(document).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_path_to_a_list_is_known() {
        assert_eq!(path(" .data[]"), Some(vec!["data".to_owned()]));
        assert_eq!(path(".[]"), Some(vec![]));
        for code in [".a[].b", ".a", ".a[0][]", ".[\"x\"][]", "..[]", ".1a[]", ".a[]?"] {
            assert_eq!(path(code), None, "{code}");
        }
    }
}
