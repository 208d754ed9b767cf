//! The columns that a converted table has, and the types of their values. Pure.

use std::collections::HashMap;

use serde_json::Value;

use crate::error::Error;
use crate::format::RESERVED;
use crate::format::column_set::{ColumnSet, ColumnType, OWN};
use crate::row::Fields;

/// What of a table is written.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These columns, in this order; if absent, all.
    pub columns: Option<Vec<String>>,
    /// Whether throng's own columns are left out.
    pub no_meta: bool,
    /// Whether texts become the numbers and truth values that they look like, where a whole
    /// column does.
    pub types: bool,
}

/// A selection for one table, whose rows were seen.
#[derive(Default)]
pub(super) struct Selected {
    columns: Option<Vec<String>>,
    /// The names that are left out.
    own: &'static [&'static str],
    /// The type of each column of texts, if texts are to have types.
    types: HashMap<String, Option<ColumnType>>,
    /// Whether the table has records of throng's, whose values a server has written.
    is_of_results: bool,
}

impl Selection {
    /// The selection for a table with these rows.
    ///
    /// # Errors
    /// Which column the table has not, or the error of a row.
    pub(super) fn of(
        &self,
        rows: impl Iterator<Item = Result<Fields, Error>>,
    ) -> Result<Selected, Error> {
        let own: &[&str] = if self.no_meta { &RESERVED } else { &[] };
        let columns = self.columns.clone();
        let mut selected = Selected { columns, own, ..Selected::default() };
        let mut names = Vec::new();
        for (number, fields) in rows.enumerate() {
            let fields = fields?;
            selected.is_of_results |=
                number == 0 && fields.contains_key("_row") && fields.contains_key("_ok");
            for (name, value) in &fields {
                selected.see(name, value, self.types);
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        let wanted = self.columns.iter().flatten();
        match wanted.clone().find(|name| !names.is_empty() && !names.contains(name)) {
            Some(name) => Err(Error::plan(format!(
                "there is no column {name:?} for --columns; there are: {}",
                names.join(", ")
            ))),
            None => Ok(selected),
        }
    }
}

impl Selected {
    fn see(&mut self, name: &str, value: &Value, types: bool) {
        let Some(text) = value.as_str().filter(|text| types && !text.is_empty()) else {
            return;
        };
        let of_text = type_of(text);
        match self.types.get_mut(name) {
            Some(known) => *known = known.zip(of_text).and_then(|(a, b)| either(a, b)),
            None => drop(self.types.insert(name.to_owned(), of_text)),
        }
    }

    /// The values of a row that are written.
    pub fn fields(&self, mut fields: Fields) -> Fields {
        if self.is_of_results {
            type_own(&mut fields);
        }
        for (name, kind) in &self.types {
            if let (Some(value), Some(kind)) = (fields.get_mut(name), kind) {
                retype(value, *kind);
            }
        }
        fields.retain(|name, _| !self.own.contains(&name.as_str()));
        match &self.columns {
            None => fields,
            Some(columns) => columns
                .iter()
                .filter_map(|name| Some((name.clone(), fields.remove(name)?)))
                .collect(),
        }
    }

    /// The columns of a table that is written, which gets guards where that of a server's
    /// values had them.
    pub fn of_table(&self, mut columns: ColumnSet) -> ColumnSet {
        columns.is_of_results = self.is_of_results;
        columns
    }
}

/// Gives the columns of throng's own, which a table of text has as texts, their types.
fn type_own(fields: &mut Fields) {
    for (name, kind) in OWN {
        if let Some(value) = fields.get_mut(name) {
            retype(value, kind);
        }
    }
    for name in ["_error", "_detail", "_body"] {
        if let Some(value) = fields.get_mut(name).filter(|value| **value == "") {
            *value = Value::Null;
        }
    }
    if let Some(value) = fields.get_mut("_arrived")
        && let Some(Ok(arrived)) = value.as_str().map(serde_json::from_str)
    {
        *value = arrived;
    }
}

/// Makes a text a value of this type, if it is one; an empty one is none.
fn retype(value: &mut Value, kind: ColumnType) {
    let Some(text) = value.as_str() else {
        return;
    };
    let typed = match (text, kind) {
        ("", _) => Some(Value::Null),
        (text, ColumnType::Bool) if text.eq_ignore_ascii_case("true") => Some(true.into()),
        (text, ColumnType::Bool) if text.eq_ignore_ascii_case("false") => Some(false.into()),
        (text, ColumnType::Int) => text.parse::<i64>().ok().map(Value::from),
        (text, ColumnType::Float) => text.parse::<f64>().ok().map(Value::from),
        _ => None,
    };
    if let Some(typed) = typed {
        *value = typed;
    }
}

/// The type that a text looks like. A number that would be written in another way, such as
/// `007`, is a text.
fn type_of(text: &str) -> Option<ColumnType> {
    let is_integer = || text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let begins = digits.starts_with(|it: char| it.is_ascii_digit());
    let is_padded =
        digits.starts_with('0') && digits[1..].starts_with(|it: char| it.is_ascii_digit());
    let is_float = || begins && !is_padded && text.parse::<f64>().is_ok_and(f64::is_finite);
    match text {
        "true" | "false" | "True" | "False" | "TRUE" | "FALSE" => Some(ColumnType::Bool),
        _ if is_integer() => Some(ColumnType::Int),
        // A whole number of more than 63 bits would be another one as a float.
        _ if is_float() && text.contains(['.', 'e', 'E']) => Some(ColumnType::Float),
        _ => None,
    }
}

/// The type of both.
fn either(a: ColumnType, b: ColumnType) -> Option<ColumnType> {
    match (a, b) {
        (a, b) if a == b => Some(a),
        (ColumnType::Int, ColumnType::Float) | (ColumnType::Float, ColumnType::Int) => {
            Some(ColumnType::Float)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selected(selection: &Selection, rows: Vec<Value>) -> Result<Vec<Value>, Error> {
        let rows: Vec<Fields> = rows.iter().map(|row| row.as_object().unwrap().clone()).collect();
        let selected = selection.of(rows.clone().into_iter().map(Ok))?;
        Ok(rows.into_iter().map(|row| selected.fields(row).into()).collect())
    }

    #[test]
    fn texts_have_types_where_a_whole_column_has() {
        let types = Selection { types: true, ..Selection::default() };
        let rows = vec![
            json!({"a": "1", "b": "1", "c": "true", "d": "007", "e": "x", "f": "", "g": "1e3"}),
            json!({"a": "-2", "b": "2.5", "c": "False", "d": "8", "e": "1", "f": "", "g": ""}),
        ];
        let typed = vec![
            json!({"a": 1, "b": 1.0, "c": true, "d": "007", "e": "x", "f": "", "g": 1000.0}),
            json!({"a": -2, "b": 2.5, "c": false, "d": "8", "e": "1", "f": "", "g": null}),
        ];
        assert_eq!(selected(&types, rows.clone()), Ok(typed));
        assert_eq!(selected(&Selection::default(), rows.clone()), Ok(rows));
        let long = vec![json!({"a": "18446744073709551616"})];
        assert_eq!(selected(&types, long.clone()), Ok(long));
    }

    #[test]
    fn columns_are_chosen_and_those_of_throng_have_types() {
        let row = json!({"id": "1", "p": "2", "_row": "0", "_ok": "true", "_status": "", "_ms": "1.5", "_error": ""});
        let all = json!({"id": "1", "p": "2", "_row": 0, "_ok": true, "_status": null, "_ms": 1.5, "_error": null});
        assert_eq!(selected(&Selection::default(), vec![row.clone()]), Ok(vec![all]));
        let no_meta = Selection { no_meta: true, ..Selection::default() };
        assert_eq!(selected(&no_meta, vec![row.clone()]), Ok(vec![json!({"id": "1", "p": "2"})]));
        let columns = |names: [&str; 2]| Selection {
            columns: Some(names.map(str::to_owned).to_vec()),
            ..Selection::default()
        };
        let chosen = selected(&columns(["p", "_row"]), vec![row.clone()]).unwrap();
        assert_eq!(chosen[0].to_string(), "{\"p\":\"2\",\"_row\":0}");
        let error = selected(&columns(["p", "q"]), vec![row]).unwrap_err().to_string();
        assert!(error.contains("no column \"q\"") && error.contains("id, p, _row"), "{error}");
    }
}
