//! The text of units by time: one list of numbers, in which each time is followed by its units and
//! but for the first is the difference to the time before. Pure.
//!
//! Times have 15 digits, and their differences few: so the text of a fast limit is a quarter as
//! long as that of a list of pairs, which earlier versions wrote. Those are read, too.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serializer};

type UnitsByTime = Vec<(u64, u64)>;

pub fn serialize<S: Serializer>(units: &UnitsByTime, serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(2 * units.len()))?;
    let mut before = 0;
    for &(time, units) in units {
        list.serialize_element(&time.wrapping_sub(before))?;
        list.serialize_element(&units)?;
        before = time;
    }
    list.end()
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnitsByTime, D::Error> {
    deserializer.deserialize_seq(List)
}

struct List;

impl<'de> Visitor<'de> for List {
    type Value = UnitsByTime;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("times and units")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<UnitsByTime, A::Error> {
        let (mut all, mut before) = (Vec::new(), 0_u64);
        while let Some(entry) = list.next_element()? {
            let entry = match entry {
                Entry::Pair(pair) => pair,
                Entry::Number(later) => {
                    let units = list.next_element()?;
                    let units = units.ok_or_else(|| A::Error::custom("a time without units"))?;
                    (before.wrapping_add(later), units)
                }
            };
            before = entry.0;
            all.push(entry);
        }
        Ok(all)
    }
}

/// What a list begins with, or goes on with.
enum Entry {
    Number(u64),
    Pair((u64, u64)),
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_any(AnyEntry)
    }
}

struct AnyEntry;

impl<'de> Visitor<'de> for AnyEntry {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time, or a time and units")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Entry, E> {
        Ok(Entry::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Entry, A::Error> {
        let mut next = || pair.next_element()?.ok_or_else(|| A::Error::custom("half a pair"));
        Ok(Entry::Pair((next()?, next()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
    #[serde(transparent)]
    struct Units(#[serde(with = "super")] UnitsByTime);

    #[test]
    fn units_are_read_as_they_were_written_now_and_by_earlier_versions() {
        let units = Units(vec![(632_448_000_001_953, 25), (632_448_000_003_906, 7), (u64::MAX, 1)]);
        let text = serde_json::to_string(&units).unwrap();
        assert!(text.starts_with("[632448000001953,25,1953,7,"), "{text}");
        let earlier = serde_json::to_string(&units.0).unwrap();
        assert!(earlier.starts_with("[[632448000001953,25],[632448000003906,7],"), "{earlier}");
        for text in [text, earlier] {
            assert_eq!(serde_json::from_str::<Units>(&text).unwrap(), units);
        }
        assert_eq!(serde_json::from_str::<Units>("[]").unwrap(), Units(Vec::new()));
        for damaged in ["[1]", "[1,2,3]", "[[1]]", "[[1,2,3]]", "[1,[2,3]]", "[-1,2]", "[\"1\",2]"]
        {
            assert!(serde_json::from_str::<Units>(damaged).is_err(), "{damaged}");
        }
    }
}
