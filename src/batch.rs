//! Many rows in one request, and each row's part of the answer. Pure.

use std::collections::HashMap;

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::extract::{ItemSettings, Program, parse};
use crate::record::Failure;
use crate::source::{Fields, Row};

const MOST: usize = 10_000;

/// The `[batch]` part of a job: many rows in one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The most rows in one request.
    pub size: Option<usize>,
    /// Statuses that mean that a batch is too large: it is halved.
    pub too_large: Vec<u16>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            size: None,
            too_large: vec![413, 414],
        }
    }
}

/// How rows are put together, and told apart again.
pub struct Batch {
    size: usize,
    too_large: Vec<u16>,
    field: String,
    id: Program,
}

/// The items of an answer by what they say whose they are.
pub struct Parts(HashMap<String, Bytes>);

impl Batch {
    /// Checks the settings; none if rows are asked for one by one.
    ///
    /// # Errors
    /// Which of them is wrong or missing.
    pub fn new(settings: &Settings, items: &ItemSettings) -> Result<Option<Batch>, Error> {
        let Some(size) = settings.size else {
            return match &items.r#match {
                None => Ok(None),
                Some(_) => Err(Error::plan(
                    "items.match (--match) finds the items of a batch's rows, and there are no batches: give batch.size (--batch)",
                )),
            };
        };
        if !(1..=MOST).contains(&size) {
            return Err(Error::plan(format!(
                "batch.size (--batch) is {size}; it is 1 to {MOST}"
            )));
        }
        let (Some(_), Some(text)) = (&items.each, &items.r#match) else {
            return Err(Error::plan(
                "a batch needs items.each (--each), which items its answer has, and items.match (--match), \
                 whose they are: such as --each '.items[]' --match id=.id",
            ));
        };
        let (field, id) = matching(text)?;
        Ok(Some(Batch {
            size,
            too_large: settings.too_large.clone(),
            field,
            id,
        }))
    }

    /// The most rows in one request.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The field that says which item is a row's.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Whether this status means that there were too many rows.
    #[must_use]
    pub fn is_too_large(&self, status: Option<StatusCode>) -> bool {
        status.is_some_and(|status| self.too_large.contains(&status.as_u16()))
    }

    /// One row that stands for all of these: each field is the list of theirs.
    #[must_use]
    pub fn together(&self, rows: &[Row]) -> Row {
        let mut fields = Fields::new();
        for name in rows.iter().flat_map(|row| row.fields.keys()) {
            if !fields.contains_key(name) {
                let value = |row: &Row| row.fields.get(name).cloned().unwrap_or_default();
                fields.insert(name.clone(), rows.iter().map(value).collect());
            }
        }
        Row {
            fields,
            ..rows.first().cloned().unwrap_or_default()
        }
    }

    /// The items of an answer, by whose they are. Of two for one row the first counts.
    ///
    /// # Errors
    /// That an item doesn't say.
    pub fn parts(&self, items: Vec<Bytes>) -> Result<Parts, Failure> {
        let mut parts = HashMap::with_capacity(items.len());
        for item in items {
            let id = self
                .id
                .run(&parse(&item)?)
                .map_err(|why| Failure::new("missing items", format!("items.match: {why}")))?;
            parts.entry(text(&id)).or_insert(item);
        }
        Ok(Parts(parts))
    }

    /// This row's item.
    ///
    /// # Errors
    /// A failure `missing item`, which concerns this row alone.
    pub fn part(&self, parts: &Parts, row: &Row) -> Result<Bytes, Failure> {
        let value = row.fields.get(&self.field).unwrap_or(&Value::Null);
        parts.0.get(&text(value)).cloned().ok_or_else(|| {
            let why = format!(
                "the answer to its batch has no item for {} {value}",
                self.field
            );
            Failure::new("missing item", why)
        })
    }
}

/// `7` in a table is a text, and a number in an answer.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn matching(text: &str) -> Result<(String, Program), Error> {
    let wrong = |why: String| Error::plan(format!("items.match (--match): {why}"));
    match text.split_once('=') {
        Some((field, code)) if !field.trim().is_empty() => {
            Ok((field.trim().to_owned(), Program::new(code).map_err(wrong)?))
        }
        _ => Err(wrong(format!("{text:?} is not FIELD=JQ, such as id=.id"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn batch(size: usize, each: Option<&str>, id: Option<&str>) -> Result<Option<Batch>, String> {
        let settings = Settings {
            size: Some(size),
            ..Settings::default()
        };
        let items = ItemSettings {
            each: each.map(str::to_owned),
            r#match: id.map(str::to_owned),
        };
        Batch::new(&settings, &items).map_err(|error| error.to_string())
    }

    fn row(number: u64, fields: Value) -> Row {
        Row {
            number,
            fields: serde_json::from_value(fields).unwrap(),
            item: None,
        }
    }

    #[test]
    fn rows_together_have_lists_for_fields() {
        let batch = batch(2, Some(".[]"), Some("id=.id")).unwrap().unwrap();
        let rows = [row(3, json!({"id": "a"})), row(4, json!({"id": 7, "x": 1}))];
        let one = batch.together(&rows);
        assert_eq!(one.number, 3);
        assert_eq!(
            Value::Object(one.fields),
            json!({"id": ["a", 7], "x": [null, 1]})
        );
    }

    #[test]
    fn each_row_finds_its_own_item() {
        let batch = batch(2, Some(".[]"), Some("id=.id")).unwrap().unwrap();
        let items = [r#"{"id":7,"v":1}"#, r#"{"id":"a"}"#, r#"{"id":7,"v":2}"#];
        let parts = batch.parts(items.map(Bytes::from).into()).unwrap();
        let part = |id: Value| batch.part(&parts, &row(0, json!({ "id": id })));
        assert_eq!(
            part(json!("7")).unwrap(),
            items[0],
            "as a text, and the first one"
        );
        assert_eq!(part(json!("a")).unwrap(), items[1]);
        let failure = part(json!("b")).unwrap_err();
        assert_eq!(failure.kind, "missing item");
        assert!(failure.detail.contains("id \"b\""), "{}", failure.detail);
    }

    #[test]
    fn what_a_batch_lacks_is_said() {
        for (size, each, id, message) in [
            (0, Some(".[]"), Some("id=.id"), "is 0; it is 1 to"),
            (5, None, Some("id=.id"), "a batch needs items.each"),
            (5, Some(".[]"), None, "a batch needs items.each"),
            (5, Some(".[]"), Some(".id"), "is not FIELD=JQ"),
        ] {
            let error = batch(size, each, id).err().unwrap();
            assert!(error.contains(message), "{error}");
        }
        let items = ItemSettings {
            r#match: Some("id=.id".into()),
            ..ItemSettings::default()
        };
        assert!(Batch::new(&Settings::default(), &items).is_err());
    }
}
