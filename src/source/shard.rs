//! The rows of one shard: a range of the input, or those whose keys fall to it. Pure.

use std::ops::Range;

use serde_json::Value;

use crate::limit::Shard;
use crate::row::Row;

/// The rows of an input that one shard has.
#[derive(Debug, Clone)]
pub(super) struct ShardRows {
    shard: Shard,
    /// The field whose value decides; none if the rows' places do.
    key: Option<String>,
    /// The numbers of the rows, once the input has been counted.
    range: Range<u64>,
}

impl ShardRows {
    /// The rows of `shard`, by the value of the field `key` or else by their places.
    pub fn new(shard: Shard, key: Option<&str>) -> ShardRows {
        let range = if key.is_some() { 0..u64::MAX } else { 0..0 };
        ShardRows { shard, key: key.map(str::to_owned), range }
    }

    /// Whether the number of rows of the input must be known.
    pub fn is_range(&self) -> bool {
        self.key.is_none()
    }

    /// Settles the range of an input with this number of rows.
    pub fn count(&mut self, rows: u64) {
        if self.key.is_none() {
            self.range = self.shard.range(rows);
        }
    }

    /// The numbers that its rows have.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Whether this row is one of its rows.
    pub fn has(&self, row: &Row) -> bool {
        match &self.key {
            None => self.range.contains(&row.number),
            Some(key) => {
                let hash = key_hash(row.fields.get(key.as_str()).unwrap_or(&Value::Null));
                // The top bits of the product: the hash as a part of all hashes, in `count` parts.
                let part = (u128::from(hash) * u128::from(self.shard.count())) >> 64;
                part == u128::from(self.shard.index() - 1)
            }
        }
    }
}

/// The hash of a key, which is the same on every machine and in every version. A number has the
/// hash of its text, as formats without types have it.
fn key_hash(value: &Value) -> u64 {
    let hash = match value {
        Value::String(text) => blake3::hash(text.as_bytes()),
        other => blake3::hash(other.to_string().as_bytes()),
    };
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::row::Fields;

    #[test]
    fn each_key_falls_to_one_shard_whatever_its_type_and_about_equally_many_to_each() {
        let shards: Vec<ShardRows> = (1..=7)
            .filter_map(|it| Shard::new(it, 7))
            .map(|it| ShardRows::new(it, Some("id")))
            .collect();
        let row = |value: Value| Row {
            fields: Fields::from_iter([("id".into(), value)]),
            ..Row::default()
        };
        let mut counts = [0; 7];
        for id in 0..7_000 {
            let of = |value: Value| -> Vec<usize> {
                let row = row(value);
                (0..7).filter(|index| shards[*index].has(&row)).collect()
            };
            let number = of(json!(id));
            assert_eq!(number.len(), 1);
            assert_eq!(number, of(json!(id.to_string())));
            counts[number[0]] += 1;
        }
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }

    #[test]
    fn ranges_follow_one_another() {
        let mut all = Vec::new();
        for index in 1..=3 {
            let mut rows = ShardRows::new(Shard::new(index, 3).unwrap(), None);
            rows.count(10);
            all.extend(
                (0..10).filter(|number| rows.has(&Row { number: *number, ..Row::default() })),
            );
        }
        assert_eq!(all, (0..10).collect::<Vec<u64>>());
    }
}
