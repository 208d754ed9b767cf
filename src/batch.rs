//! Batches: many rows in one request, and each row's item of the answer. Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use bytesize::ByteSize;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;
use crate::extract::{AnswerContext, Document, ItemSettings, Program, missing_items};
use crate::record::{Failure, FailureKind, excerpt};
use crate::row::{Fields, Row};

const MAX_SIZE: usize = 10_000;

/// Maximum number of characters of an item that a failure shows.
const MAX_ITEM: usize = 100;

/// The `[batch]` part of a job: many rows in one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Maximum number of rows in one request, or in one batch of a provider's batch endpoint.
    pub size: Option<usize>,
    /// Maximum size in bytes of a provider's batch.
    #[cfg_attr(
        feature = "cli",
        schemars(with = "Option<crate::limit::schema::Either<u64, String>>")
    )]
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "crate::exact_size::serialize"
    )]
    pub bytes: Option<ByteSize>,
    /// Maximum number of tokens in all of a provider's batches that are in progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// The pause between two looks at a provider's batch; without it, 1 s that grows to 60 s.
    #[cfg_attr(feature = "cli", schemars(with = "Option<crate::limit::schema::DurationText>"))]
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// Statuses by which a server refuses a batch as too large: it is halved.
    pub too_large: Vec<u16>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { size: None, bytes: None, tokens: None, every: None, too_large: vec![413, 414] }
    }
}

/// Merges rows into requests, and assigns the items of answers to rows.
pub struct Batch {
    size: usize,
    too_large: Vec<u16>,
    by: MatchBy,
}

/// How the row of an item is found.
enum MatchBy {
    /// By this field of the row, which is equal to what the program finds in the item.
    Field(String, Program),
    /// By the row's place in the request, from 0, which the program finds in the item.
    Index(Program),
    /// By the item's own place: there are as many items as rows.
    Position,
}

/// The items of an answer by their keys.
#[derive(Default)]
pub struct KeyedItems {
    by_key: HashMap<String, Vec<Bytes>>,
    /// Items without a key.
    without_key: Vec<Bytes>,
}

/// Rows whose items can be told apart, with the first row of each key.
#[derive(Default)]
struct RowGroup {
    rows: Vec<Row>,
    first: HashMap<String, usize>,
}

/// The items of an answer, assigned to the rows of its batch.
pub struct AssignedItems {
    /// The item of each row, or a failure of this row alone: `missing item`, `several
    /// items`.
    pub items: Vec<Result<Bytes, Failure>>,
    /// Items that belong to no row.
    pub unmatched: Vec<Bytes>,
}

impl Batch {
    /// Checks the settings; none if each row has its own request.
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
        if !(1..=MAX_SIZE).contains(&size) {
            return Err(Error::plan(format!(
                "batch.size (--batch) is {size}; it is 1 to {MAX_SIZE}"
            )));
        }
        let (Some(_), Some(text)) = (&items.each, &items.r#match) else {
            return Err(Error::plan(
                "a batch needs items.each (--each), which items its answer has, and items.match (--match), \
                 whose they are: such as --each '.items[]' --match id=.id",
            ));
        };
        let by = parse_match(text)?;
        Ok(Some(Batch { size, too_large: settings.too_large.clone(), by }))
    }

    /// Maximum number of rows in one request.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The field of a row that its item is matched by, unless it is by the row's place.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match &self.by {
            MatchBy::Field(field, _) => Some(field),
            MatchBy::Index(_) | MatchBy::Position => None,
        }
    }

    /// Whether this status means that the batch is too large.
    #[must_use]
    pub fn is_too_large(&self, status: Option<StatusCode>) -> bool {
        status.is_some_and(|status| self.too_large.contains(&status.as_u16()))
    }

    /// The row of a batch: each field is the list of the rows' values.
    #[must_use]
    pub fn merge(&self, rows: &[Row]) -> Row {
        let mut fields = Fields::new();
        for name in rows.iter().flat_map(|row| row.fields.keys()) {
            if !fields.contains_key(name) {
                let value = |row: &Row| row.fields.get(name).cloned().unwrap_or_default();
                fields.insert(name.clone(), rows.iter().map(value).collect());
            }
        }
        Row { fields, ..rows.first().cloned().unwrap_or_default() }
    }

    /// The rows in groups whose items can be told apart: two rows of one group have the
    /// same key only if all `used` fields, which a request is made of, are equal.
    #[must_use]
    pub fn separate(&self, rows: Vec<Row>, used: &BTreeSet<String>) -> Vec<Vec<Row>> {
        let mut groups: Vec<RowGroup> = Vec::new();
        for row in rows {
            let key = self.key(&row, None);
            let index = groups.iter().position(|it| it.takes(key.as_deref(), &row, used));
            let index = index.unwrap_or_else(|| {
                groups.push(RowGroup::default());
                groups.len() - 1
            });
            groups[index].add(key, row);
        }
        groups.into_iter().map(|group| group.rows).collect()
    }

    /// Groups the items of an answer by their keys.
    ///
    /// # Errors
    /// That the program for the key fails for an item.
    pub fn group(
        &self,
        items: Vec<Bytes>,
        context: &AnswerContext<'_>,
    ) -> Result<KeyedItems, Failure> {
        let context = context.of_item();
        let mut keyed = KeyedItems::default();
        for (position, item) in items.into_iter().enumerate() {
            let id = match &self.by {
                MatchBy::Position => position.into(),
                MatchBy::Field(_, id) | MatchBy::Index(id) => {
                    let answer = Document::new(&item, &context)?;
                    let id = id.run_in(&answer.input, &context);
                    id.map_err(|error| missing_items("items.match", error))?
                }
            };
            match key(&id) {
                Some(key) => keyed.by_key.entry(key).or_default().push(item),
                None => keyed.without_key.push(item),
            }
        }
        Ok(keyed)
    }

    /// Assigns the items to the rows. Rows of one key had equal requests: they share their
    /// key's one item, or have one each. Where rows are known by their places, all of them fail
    /// if an item is no row's: the places of the others may be wrong as well.
    #[must_use]
    pub fn assign(&self, rows: &[Row], keyed: KeyedItems) -> AssignedItems {
        let mut requested: HashMap<String, usize> = HashMap::new();
        for key in rows.iter().enumerate().filter_map(|(place, row)| self.key(row, Some(place))) {
            *requested.entry(key).or_default() += 1;
        }
        let mut items = keyed.by_key;
        let mut unmatched = keyed.without_key;
        items.retain(|key, items| {
            let is_requested = requested.contains_key(key);
            if !is_requested {
                unmatched.append(items);
            }
            is_requested
        });
        if let Some(failure) = self.misplaced(rows.len(), &items, &unmatched) {
            return AssignedItems { items: vec![Err(failure); rows.len()], unmatched };
        }
        let mut taken: HashMap<String, usize> = HashMap::new();
        let mut item = |(place, row): (usize, &Row)| {
            let none = || self.failure(row, place, 0);
            let key = self.key(row, Some(place)).ok_or_else(none)?;
            let items = items.get(&key).ok_or_else(none)?;
            let count = taken.entry(key.clone()).or_default();
            *count += 1;
            if items.windows(2).all(|pair| pair[0] == pair[1]) {
                return Ok(items[0].clone());
            }
            if requested.get(&key) == Some(&items.len()) {
                Ok(items[*count - 1].clone())
            } else {
                Err(self.failure(row, place, items.len()))
            }
        };
        AssignedItems { items: rows.iter().enumerate().map(&mut item).collect(), unmatched }
    }

    /// The key of a row, which is at this place in its request.
    fn key(&self, row: &Row, place: Option<usize>) -> Option<String> {
        match &self.by {
            MatchBy::Field(field, _) => row.fields.get(field).and_then(key),
            MatchBy::Index(_) | MatchBy::Position => place.map(|place| place.to_string()),
        }
    }

    /// Why all rows of a batch fail, whose items are known by their places.
    fn misplaced(
        &self,
        rows: usize,
        items: &HashMap<String, Vec<Bytes>>,
        unmatched: &[Bytes],
    ) -> Option<Failure> {
        let is_by_position = match &self.by {
            MatchBy::Field(..) => return None,
            MatchBy::Index(_) => false,
            MatchBy::Position => true,
        };
        if is_by_position && items.len() + unmatched.len() != rows {
            let count = items.len() + unmatched.len();
            return Some(Failure::new(
                FailureKind::UnmatchedItems,
                format!(
                    "the answer has {count} items for the {rows} rows of its batch: which item is whose can't be told by position"
                ),
            ));
        }
        let item = unmatched.first()?;
        let item = excerpt(&String::from_utf8_lossy(item), MAX_ITEM);
        Some(Failure::new(
            FailureKind::UnmatchedItems,
            format!(
                "an item of the answer is of none of the {rows} rows of its batch, which are 0 to {}: {item}",
                rows - 1
            ),
        ))
    }

    /// The failure of a row with this number of items that may be its own.
    fn failure(&self, row: &Row, place: usize, items: usize) -> Failure {
        let of_row = match &self.by {
            MatchBy::Field(field, _) => {
                let value = row.fields.get(field).unwrap_or(&Value::Null);
                format!("for {field} {value}")
            }
            MatchBy::Index(_) | MatchBy::Position => format!("for index {place}"),
        };
        match items {
            0 => Failure::new(
                FailureKind::MissingItem,
                format!("the answer to its batch has no item {of_row}"),
            ),
            items => Failure::new(
                FailureKind::SeveralItems,
                format!(
                    "the answer to its batch has {items} items {of_row}, which differ: match by what tells them apart, or let items.each give one of them"
                ),
            ),
        }
    }
}

impl RowGroup {
    fn takes(&self, key: Option<&str>, row: &Row, used: &BTreeSet<String>) -> bool {
        let Some(&first) = key.and_then(|key| self.first.get(key)) else {
            return true;
        };
        let first = &self.rows[first].fields;
        used.iter().all(|name| first.get(name) == row.fields.get(name))
    }

    fn add(&mut self, key: Option<String>, row: Row) {
        if let Some(key) = key {
            self.first.entry(key).or_insert(self.rows.len());
        }
        self.rows.push(row);
    }
}

/// The key of a value, which is its text: `7` is a text in a table and a number in an
/// answer. A missing value has no key.
fn key(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => {
            let text = number.to_string();
            // A whole number is the same with and without a fraction.
            Some(text.strip_suffix(".0").map_or(text.clone(), str::to_owned))
        }
        other => Some(other.to_string()),
    }
}

fn parse_match(text: &str) -> Result<MatchBy, Error> {
    let wrong = |why: String| Error::plan(format!("items.match (--match): {why}"));
    if text.trim() == ":position" {
        return Ok(MatchBy::Position);
    }
    match text.split_once('=') {
        Some((field, code)) if !field.trim().is_empty() => {
            let id = Program::of_answer(code).map_err(wrong)?;
            match field.trim() {
                ":index" => Ok(MatchBy::Index(id)),
                field => Ok(MatchBy::Field(field.to_owned(), id)),
            }
        }
        _ => Err(wrong(format!(
            "{text:?} is not FIELD=JQ, such as id=.id, nor :index=JQ or :position"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn batch(size: usize, each: Option<&str>, id: Option<&str>) -> Result<Option<Batch>, String> {
        let settings = Settings { size: Some(size), ..Settings::default() };
        let items = ItemSettings { each: each.map(str::to_owned), r#match: id.map(str::to_owned) };
        Batch::new(&settings, &items).map_err(|error| error.to_string())
    }

    fn row(number: u64, fields: Value) -> Row {
        Row { number, fields: serde_json::from_value(fields).unwrap(), ..Row::default() }
    }

    #[test]
    fn a_merged_row_has_lists_for_fields() {
        let batch = batch(2, Some(".[]"), Some("id=.id")).unwrap().unwrap();
        let rows = [row(3, json!({"id": "a"})), row(4, json!({"id": 7, "x": 1}))];
        let one = batch.merge(&rows);
        assert_eq!(one.number, 3);
        assert_eq!(Value::Object(one.fields), json!({"id": ["a", 7], "x": [null, 1]}));
    }

    #[test]
    fn each_row_gets_its_own_item() {
        let batch = batch(2, Some(".[]"), Some("id=.id")).unwrap().unwrap();
        let items = [r#"{"id":7,"v":1}"#, r#"{"id":"a"}"#, r#"{"id":"z"}"#];
        let rows = [json!("7"), json!("a"), json!("b")].map(|id| row(0, json!({ "id": id })));
        let shares = share(&batch, &rows, &items);
        assert_eq!(shares.items[0].as_deref(), Ok(items[0].as_bytes()), "as a text");
        assert_eq!(shares.items[1].as_deref(), Ok(items[1].as_bytes()));
        let failure = shares.items[2].clone().unwrap_err();
        assert_eq!(failure.kind, FailureKind::MissingItem);
        assert!(failure.detail.contains("id \"b\""), "{}", failure.detail);
        assert_eq!(shares.unmatched, [items[2]]);
    }

    fn share(batch: &Batch, rows: &[Row], items: &[&'static str]) -> AssignedItems {
        let items = items.iter().map(|item| Bytes::from(*item)).collect();
        batch.assign(rows, batch.group(items, &AnswerContext::default()).unwrap())
    }

    #[test]
    fn a_row_without_a_key_gets_no_item_without_one() {
        let batch = batch(2, Some(".[]"), Some("id=.id")).unwrap().unwrap();
        let rows = [json!({}), json!({"id": null}), json!({"id": "null"})].map(|it| row(0, it));
        let shares = share(&batch, &rows, &[r#"{"v":1}"#]);
        let kinds = shares.items.iter().map(|item| item.clone().unwrap_err().kind);
        assert!(kinds.eq([const { FailureKind::MissingItem }; 3]));
        assert_eq!(shares.unmatched.len(), 1);
    }

    #[test]
    fn rows_of_one_key_share_its_item_or_have_one_each() {
        let batch = batch(2, Some(".[]"), Some("id=.id")).unwrap().unwrap();
        let rows = [json!({"id": "a"}), json!({"id": "a"})].map(|it| row(0, it));
        let (one, two, three) = (r#"{"id":"a"}"#, r#"{"id":"a","v":2}"#, r#"{"id":"a","v":3}"#);
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
            assert!(shares.unmatched.is_empty());
        }
        let alone = share(&batch, &rows[..1], &[one, two]);
        assert_eq!(alone.items[0].clone().unwrap_err().kind, FailureKind::SeveralItems);
    }

    #[test]
    fn rows_with_other_requests_are_in_other_groups() {
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
            let groups = batch.separate(rows.clone(), &used);
            let numbers = |rows: &Vec<Row>| rows.iter().map(|row| row.number).collect::<Vec<_>>();
            assert_eq!(groups.iter().map(numbers).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn missing_settings_of_a_batch_are_named() {
        for (size, each, id, message) in [
            (0, Some(".[]"), Some("id=.id"), "is 0; it is 1 to"),
            (5, None, Some("id=.id"), "a batch needs items.each"),
            (5, Some(".[]"), None, "a batch needs items.each"),
            (5, Some(".[]"), Some(".id"), "is not FIELD=JQ"),
        ] {
            let error = batch(size, each, id).err().unwrap();
            assert!(error.contains(message), "{error}");
        }
        let items = ItemSettings { r#match: Some("id=.id".into()), ..ItemSettings::default() };
        assert!(Batch::new(&Settings::default(), &items).is_err());
    }

    /// The letters of the items that two rows get, or the kinds of their failures.
    fn placed(by: &str, items: &[&'static str]) -> [String; 2] {
        let batch = batch(2, Some(".[]"), Some(by)).unwrap().unwrap();
        let rows = [json!({"text": "same"}), json!({"text": "same"})].map(|it| row(0, it));
        let shares = share(&batch, &rows, items).items;
        let text = |at: usize| match &shares[at] {
            Ok(item) => String::from_utf8_lossy(item).into_owned(),
            Err(failure) => failure.kind.text().into_owned(),
        };
        [text(0), text(1)]
    }

    #[test]
    fn rows_are_known_by_their_place_in_the_request() {
        let (a, b, c) = (r#"{"index":0,"v":"a"}"#, r#"{"index":1,"v":"b"}"#, r#"{"index":2}"#);
        let other_a = r#"{"index":0,"v":"z"}"#;
        let (missing, several, unmatched) = ("missing item", "several items", "unmatched items");
        for (by, items, expected) in [
            (":index=.index", vec![b, a], [a, b]),
            (":index=.index", vec![b], [missing, b]),
            (":index=.index", vec![a, other_a, b], [several, b]),
            (":index=.index", vec![a, b, c], [unmatched; 2]),
            (":index=.index", vec![a, r#"{"v":1}"#], [unmatched; 2]),
            (":position", vec![b, a], [b, a]),
            (":position", vec![a], [unmatched; 2]),
            (":position", vec![a, b, c], [unmatched; 2]),
        ] {
            assert_eq!(placed(by, &items), expected, "{by} {items:?}");
        }
    }
}
