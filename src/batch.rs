//! Many rows in one request, and each row's part of the answer. Pure.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::extract::{ItemSettings, Program, json, missing};
use crate::record::{Failure, FailureKind};
use crate::row::{Fields, Row};

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
#[derive(Default)]
pub struct AnswerParts {
    by_key: HashMap<String, Vec<Bytes>>,
    /// Those that say nothing.
    unsaid: Vec<Bytes>,
}

/// Rows whose answers can be told apart, with the first one of each key.
#[derive(Default)]
struct SeparatedRows {
    rows: Vec<Row>,
    first: HashMap<String, usize>,
}

/// What an answer has for the rows of its batch.
pub struct ItemShares {
    /// For each row its item, or a failure that concerns this row alone: `missing item`,
    /// `several items`.
    pub items: Vec<Result<Bytes, Failure>>,
    /// Items that no row takes.
    pub left: Vec<Bytes>,
}

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

    /// Rows in as many groups as it takes to tell their answers apart: in one group, two
    /// rows have the same key only if `used` fields, which a request is made of, are
    /// all the same.
    #[must_use]
    pub fn apart(&self, rows: Vec<Row>, used: &BTreeSet<String>) -> Vec<Vec<Row>> {
        let mut groups: Vec<SeparatedRows> = Vec::new();
        for row in rows {
            let key = self.key(&row);
            let place = groups
                .iter()
                .position(|it| it.takes(key.as_deref(), &row, used));
            let place = place.unwrap_or_else(|| {
                groups.push(SeparatedRows::default());
                groups.len() - 1
            });
            groups[place].add(key, row);
        }
        groups.into_iter().map(|group| group.rows).collect()
    }

    /// The items of an answer, by whose they are.
    ///
    /// # Errors
    /// That an item doesn't say.
    pub fn parts(&self, items: Vec<Bytes>) -> Result<AnswerParts, Failure> {
        let mut parts = AnswerParts::default();
        for item in items {
            let id = self
                .id
                .run(&json(&item)?)
                .map_err(|trouble| missing("items.match", trouble))?;
            parts.add(key(&id), item);
        }
        Ok(parts)
    }

    /// Each row's item, and the items that no row takes. Rows of one key have all been
    /// asked for alike: they share its one item, or each has one.
    #[must_use]
    pub fn share(&self, rows: &[Row], parts: AnswerParts) -> ItemShares {
        let mut asked: HashMap<String, usize> = HashMap::new();
        for key in rows.iter().filter_map(|row| self.key(row)) {
            *asked.entry(key).or_default() += 1;
        }
        let mut items = parts.by_key;
        let mut left = parts.unsaid;
        items.retain(|key, items| {
            let is_asked = asked.contains_key(key);
            if !is_asked {
                left.append(items);
            }
            is_asked
        });
        let mut taken: HashMap<String, usize> = HashMap::new();
        let mut item = |row: &Row| {
            let key = self.key(row).ok_or_else(|| self.missing(row))?;
            let items = items.get(&key).ok_or_else(|| self.missing(row))?;
            let place = taken.entry(key.clone()).or_default();
            *place += 1;
            if items.windows(2).all(|pair| pair[0] == pair[1]) {
                return Ok(items[0].clone());
            }
            if asked.get(&key) == Some(&items.len()) {
                Ok(items[*place - 1].clone())
            } else {
                Err(self.several(row, items.len()))
            }
        };
        ItemShares {
            items: rows.iter().map(&mut item).collect(),
            left,
        }
    }

    fn key(&self, row: &Row) -> Option<String> {
        row.fields.get(&self.field).and_then(key)
    }

    fn missing(&self, row: &Row) -> Failure {
        let (field, value) = (&self.field, self.value(row));
        let why = format!("the answer to its batch has no item for {field} {value}");
        Failure::new(FailureKind::MissingItem, why)
    }

    fn several(&self, row: &Row, items: usize) -> Failure {
        let (field, value) = (&self.field, self.value(row));
        let why = format!(
            "the answer to its batch has {items} items for {field} {value}, which differ: match by what tells them apart, or let items.each give one of them"
        );
        Failure::new(FailureKind::SeveralItems, why)
    }

    fn value<'a>(&self, row: &'a Row) -> &'a Value {
        row.fields.get(&self.field).unwrap_or(&Value::Null)
    }
}

impl AnswerParts {
    fn add(&mut self, key: Option<String>, item: Bytes) {
        match key {
            Some(key) => self.by_key.entry(key).or_default().push(item),
            None => self.unsaid.push(item),
        }
    }
}

impl SeparatedRows {
    fn takes(&self, key: Option<&str>, row: &Row, used: &BTreeSet<String>) -> bool {
        let Some(&first) = key.and_then(|key| self.first.get(key)) else {
            return true;
        };
        let first = &self.rows[first].fields;
        used.iter()
            .all(|name| first.get(name) == row.fields.get(name))
    }

    fn add(&mut self, key: Option<String>, row: Row) {
        if let Some(key) = key {
            self.first.entry(key).or_insert(self.rows.len());
        }
        self.rows.push(row);
    }
}

/// What rows and items are matched by: `7` in a table is a text, and a number in an
/// answer. A value that isn't there matches nothing.
fn key(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
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
        let items = [r#"{"id":7,"v":1}"#, r#"{"id":"a"}"#, r#"{"id":"z"}"#];
        let rows = [json!("7"), json!("a"), json!("b")].map(|id| row(0, json!({ "id": id })));
        let shares = share(&batch, &rows, &items);
        assert_eq!(
            shares.items[0].as_deref(),
            Ok(items[0].as_bytes()),
            "as a text"
        );
        assert_eq!(shares.items[1].as_deref(), Ok(items[1].as_bytes()));
        let failure = shares.items[2].clone().unwrap_err();
        assert_eq!(failure.kind, FailureKind::MissingItem);
        assert!(failure.detail.contains("id \"b\""), "{}", failure.detail);
        assert_eq!(shares.left, [items[2]]);
    }

    fn share(batch: &Batch, rows: &[Row], items: &[&'static str]) -> ItemShares {
        let items = items.iter().map(|item| Bytes::from(*item)).collect();
        batch.share(rows, batch.parts(items).unwrap())
    }

    #[test]
    fn a_row_without_a_key_takes_no_item_without_one() {
        let batch = batch(2, Some(".[]"), Some("id=.id")).unwrap().unwrap();
        let rows = [json!({}), json!({"id": null}), json!({"id": "null"})].map(|it| row(0, it));
        let shares = share(&batch, &rows, &[r#"{"v":1}"#]);
        let kinds = shares
            .items
            .iter()
            .map(|item| item.clone().unwrap_err().kind);
        assert!(kinds.eq([const { FailureKind::MissingItem }; 3]));
        assert_eq!(shares.left.len(), 1);
    }

    #[test]
    fn rows_of_one_key_share_its_item_or_have_one_each() {
        let batch = batch(2, Some(".[]"), Some("id=.id")).unwrap().unwrap();
        let rows = [json!({"id": "a"}), json!({"id": "a"})].map(|it| row(0, it));
        let (one, two, three) = (
            r#"{"id":"a"}"#,
            r#"{"id":"a","v":2}"#,
            r#"{"id":"a","v":3}"#,
        );
        for (items, expected) in [
            (vec![one], Some([one, one])),
            (vec![one, one, one], Some([one, one])),
            (vec![one, two], Some([one, two])),
            (vec![one, two, three], None),
        ] {
            let shares = share(&batch, &rows, &items);
            for (at, item) in shares.items.iter().enumerate() {
                match (item, expected) {
                    (Ok(item), Some(expected)) => assert_eq!(item, expected[at], "{items:?}"),
                    (Err(failure), None) => assert_eq!(failure.kind, FailureKind::SeveralItems),
                    other => panic!("{other:?}"),
                }
            }
            assert!(shares.left.is_empty());
        }
        let alone = share(&batch, &rows[..1], &[one, two]);
        assert_eq!(
            alone.items[0].clone().unwrap_err().kind,
            FailureKind::SeveralItems
        );
    }

    #[test]
    fn rows_that_are_asked_for_in_another_way_go_apart() {
        let batch = batch(9, Some(".[]"), Some("id=.id")).unwrap().unwrap();
        let row = |(number, (id, day)): (usize, (Value, &str))| {
            row(number as u64, json!({"id": id, "day": day, "note": number}))
        };
        let rows = [
            (json!("a"), "mon"),
            (json!("b"), "mon"),
            (json!("a"), "tue"),
            (json!("a"), "mon"),
            (json!(null), "mon"),
            (json!(null), "tue"),
        ];
        let rows: Vec<Row> = rows.into_iter().enumerate().map(row).collect();
        for (used, expected) in [
            (["id", "day"], vec![vec![0, 1, 3, 4, 5], vec![2]]),
            (["id", "id"], vec![vec![0, 1, 2, 3, 4, 5]]),
            (["note", "id"], vec![vec![0, 1, 4, 5], vec![2], vec![3]]),
        ] {
            let used = used.map(str::to_owned).into();
            let groups = batch.apart(rows.clone(), &used);
            let numbers = |rows: &Vec<Row>| rows.iter().map(|row| row.number).collect::<Vec<_>>();
            assert_eq!(groups.iter().map(numbers).collect::<Vec<_>>(), expected);
        }
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
