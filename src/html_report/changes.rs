//! The values that differ between two results files, row by row: each file is sorted by the key
//! of its rows, by way of files, and both are gone through side by side.

use std::cmp::Ordering;
use std::io::{self, Read, Write};
use std::iter::Peekable;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::fs::external_sort::{ExternalSort, Sorted, Stored, read_number};
use crate::record::Record;
use crate::tally::{number, text};

/// The size of a piece in memory, in bytes.
const PIECE: usize = 8 << 20;
/// Maximum number of changes that are kept as examples.
const MAX_EXAMPLES: usize = 200;
/// The name of a row's failure among its values.
const FAILURE: &str = "_error";

/// The values of the rows of one file, to be compared.
pub struct RowValues {
    key: String,
    /// The names of the values; all fields but the key where nothing says which they are.
    names: Option<Vec<String>>,
    sorted: ExternalSort<RowEntry>,
    rows: u64,
}

/// The values of one row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct RowEntry {
    key: String,
    /// Its place in the file, which tells rows of one key apart.
    place: u64,
    values: String,
}

/// The differences between two files.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Rows that both files have.
    pub both: u64,
    pub only_a: u64,
    pub only_b: u64,
    /// Rows with any change.
    pub changed: u64,
    /// Number of rows in which a value changed, by its name.
    pub by_name: Vec<(String, u64)>,
    pub examples: Vec<Change>,
}

/// A value that changed.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub key: String,
    pub name: String,
    pub a: Option<Value>,
    pub b: Option<Value>,
}

impl RowValues {
    /// No rows so far. They are told apart by the field `key`, and put aside in `directory`.
    #[must_use]
    pub fn new(key: &str, names: Option<Vec<String>>, directory: PathBuf) -> RowValues {
        let sorted = ExternalSort::new(directory, PIECE);
        RowValues { key: key.to_owned(), names, sorted, rows: 0 }
    }

    /// Adds the record of a row.
    ///
    /// # Errors
    /// The disk has no room.
    pub fn add(&mut self, record: &Record) -> io::Result<()> {
        let fields = &record.row.fields;
        let key = match fields.get(&self.key) {
            Some(key) => text(key, &mut String::new()).to_owned(),
            None => format!("{:020}", record.row.number),
        };
        let is_value = |name: &str| match &self.names {
            Some(names) => names.iter().any(|value| value == name),
            None => name != self.key,
        };
        let values = fields.iter().filter(|(name, _)| is_value(name));
        let mut values: Map<String, Value> =
            values.map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(failure) = record.outcome.as_ref().err().filter(|_| !record.is_ok()) {
            values.insert(FAILURE.to_owned(), failure.kind.text().into());
        }
        let entry = RowEntry { key, place: self.rows, values: Value::from(values).to_string() };
        self.rows += 1;
        self.sorted.push(entry)
    }
}

impl Changes {
    /// The differences between these files.
    ///
    /// # Errors
    /// What was put aside can't be read.
    pub fn between(mut a: RowValues, mut b: RowValues) -> io::Result<Changes> {
        let mut changes = Changes::default();
        let (mut a, mut b) = (a.sorted.sorted()?.peekable(), b.sorted.sorted()?.peekable());
        loop {
            let order = match (key(&mut a), key(&mut b)) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.cmp(b),
            };
            match order {
                Ordering::Less => changes.only_a += next(&mut a)?.map_or(0, |_| 1),
                Ordering::Greater => changes.only_b += next(&mut b)?.map_or(0, |_| 1),
                Ordering::Equal => {
                    if let (Some(a), Some(b)) = (next(&mut a)?, next(&mut b)?) {
                        changes.compare(&a, &b);
                    }
                }
            }
        }
        changes.by_name.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(changes)
    }

    fn compare(&mut self, a: &RowEntry, b: &RowEntry) {
        self.both += 1;
        if a.values == b.values {
            return;
        }
        let values = |entry: &RowEntry| -> Map<String, Value> {
            serde_json::from_str(&entry.values).unwrap_or_default()
        };
        let (mut before, mut after) = (values(a), values(b));
        let names: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
        let mut has_changed = false;
        for name in names {
            let (old, new) = (before.remove(&name), after.remove(&name));
            if is_same(old.as_ref(), new.as_ref()) {
                continue;
            }
            has_changed = true;
            match self.by_name.iter_mut().find(|(known, _)| *known == name) {
                Some((_, count)) => *count += 1,
                None => self.by_name.push((name.clone(), 1)),
            }
            if self.examples.len() < MAX_EXAMPLES {
                self.examples.push(Change { key: a.key.clone(), name, a: old, b: new });
            }
        }
        self.changed += u64::from(has_changed);
    }
}

/// Whether two values say the same. In a table of texts a number is a text, and nothing is an
/// empty one.
fn is_same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let [a, b] = [a, b].map(|value| value.filter(|value| !value.is_null() && **value != ""));
    match (a, b) {
        (Some(a), Some(b)) => {
            let written = |value| text(value, &mut String::new()).to_owned();
            let numbers = number(a).zip(number(b));
            a == b || numbers.is_some_and(|(a, b)| a == b) || written(a) == written(b)
        }
        (a, b) => a == b,
    }
}

type Entries<'a> = Peekable<Sorted<'a, RowEntry>>;

/// The key of the next entry. One that can't be read stands first, and is then the error.
fn key<'a>(entries: &'a mut Entries<'_>) -> Option<&'a str> {
    entries.peek().map(|entry| entry.as_ref().map_or("", |entry| &*entry.key))
}

fn next(entries: &mut Entries<'_>) -> io::Result<Option<RowEntry>> {
    entries.next().transpose()
}

impl Stored for RowEntry {
    fn size(&self) -> usize {
        size_of::<RowEntry>() + self.key.len() + self.values.len()
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.place.to_le_bytes())?;
        for text in [&self.key, &self.values] {
            to.write_all(&(text.len() as u64).to_le_bytes())?;
            to.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    fn read(from: &mut impl Read) -> io::Result<Option<RowEntry>> {
        let Some(place) = read_number(from)? else {
            return Ok(None);
        };
        Ok(Some(RowEntry { place, key: read_text(from)?, values: read_text(from)? }))
    }
}

fn read_text(from: &mut impl Read) -> io::Result<String> {
    let length = read_number(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut text = String::new();
    let read = from.take(length).read_to_string(&mut text)?;
    if read as u64 == length { Ok(text) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sink::record;

    fn of(rows: &[Value]) -> RowValues {
        let mut all = RowValues::new("id", None, std::env::temp_dir());
        for (number, row) in rows.iter().enumerate() {
            let mut fields = row.as_object().unwrap().clone();
            fields.insert("_row".into(), number.into());
            fields.entry("_ok").or_insert(true.into());
            all.add(&record(fields).unwrap()).unwrap();
        }
        all
    }

    #[test]
    fn rows_are_found_by_their_key_in_any_order() {
        let a = of(&[
            json!({"id": 1, "price": 2}),
            json!({"id": 2, "price": "3.0"}),
            json!({"id": 3, "price": 4}),
        ]);
        let b = of(&[
            json!({"id": "3", "price": 5, "_ok": true}),
            json!({"id": "4", "price": 5}),
            json!({"id": "2", "price": 3}),
        ]);
        let changes = Changes::between(a, b).unwrap();
        assert_eq!((changes.both, changes.only_a, changes.only_b), (2, 1, 1));
        assert_eq!((changes.changed, changes.by_name), (1, vec![("price".to_owned(), 1)]));
        let change =
            Change { key: "3".into(), name: "price".into(), a: Some(json!(4)), b: Some(json!(5)) };
        assert_eq!(changes.examples, [change]);
    }

    #[test]
    fn a_failure_is_a_change_and_rows_of_one_key_go_by_their_order() {
        let failed = json!({"id": 1, "price": null, "_ok": false, "_error": "timeout"});
        let changes = Changes::between(
            of(&[json!({"id": 1, "price": 2}), json!({"id": 1, "price": 7})]),
            of(&[failed, json!({"id": 1, "price": 7})]),
        );
        let changes = changes.unwrap();
        assert_eq!((changes.both, changes.changed, changes.examples.len()), (2, 1, 2));
        assert_eq!(changes.examples[1].b, Some(json!("timeout")));
    }

    #[test]
    fn many_rows_are_compared_by_way_of_files() {
        let rows = |price: u64| {
            let mut all = RowValues::new("id", None, std::env::temp_dir());
            all.sorted = ExternalSort::new(std::env::temp_dir(), 4_000);
            for number in 0..2_000 {
                let price = if number % 100 == 7 { price } else { 0 };
                let fields =
                    json!({"id": number * 7 % 2_000, "price": price, "_row": number, "_ok": true});
                all.add(&record(fields.as_object().unwrap().clone()).unwrap()).unwrap();
            }
            all
        };
        let changes = Changes::between(rows(1), rows(2)).unwrap();
        assert_eq!((changes.both, changes.changed, changes.only_a), (2_000, 20, 0));
    }
}
