//! Takes the values at plain paths out of a body in one pass over its bytes,
//! without making values of the rest. Pure.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::path::{Path, Step, not_a_list, not_an_object};

/// What each path came to: null where nothing is, or why it can't be walked.
pub type Found = Vec<Result<Value, String>>;

/// Paths, compiled to be walked together.
pub struct Picker {
    root: Node,
    paths: usize,
}

/// What is wanted of one value in a body.
enum Node {
    /// All of it, for these paths from here.
    Whole(Vec<(usize, Path)>),
    /// Some of an object's fields.
    Fields(Vec<(String, Node)>),
    /// Some of a list's items, by their place.
    Items(Vec<(usize, Node)>),
}

impl Picker {
    /// For these paths, in their order.
    pub fn new<'a>(paths: impl Iterator<Item = &'a Path>) -> Picker {
        let paths: Vec<_> = paths.cloned().enumerate().collect();
        Picker {
            paths: paths.len(),
            root: Node::new(paths),
        }
    }

    /// The values of one body, or why it isn't JSON.
    pub fn pick(&self, body: &[u8]) -> serde_json::Result<Found> {
        let mut found = vec![Ok(Value::Null); self.paths];
        // Checked once rather than text by text.
        let text = std::str::from_utf8(body).map_err(serde::de::Error::custom)?;
        let mut json = serde_json::Deserializer::from_str(text);
        self.root.pick(&mut found).deserialize(&mut json)?;
        json.end()?;
        Ok(found)
    }
}

impl Node {
    fn new(paths: Vec<(usize, Path)>) -> Node {
        let mut fields: Vec<(String, Vec<(usize, Path)>)> = Vec::new();
        let mut items: Vec<(usize, Vec<(usize, Path)>)> = Vec::new();
        for (slot, path) in &paths {
            match path.split_first() {
                Some((Step::Key(key), rest)) => join(&mut fields, key.clone(), (*slot, rest)),
                Some((Step::Index(at @ 0..), rest)) => {
                    join(&mut items, *at as usize, (*slot, rest))
                }
                // The value itself is wanted, or one that is counted from the end.
                _ => return Node::Whole(paths),
            }
        }
        match (fields.is_empty(), items.is_empty()) {
            (false, true) => Node::Fields(below(fields)),
            (true, false) => Node::Items(below(items)),
            _ => Node::Whole(paths),
        }
    }

    fn pick<'a>(&'a self, found: &'a mut Found) -> Pick<'a> {
        Pick { node: self, found }
    }

    /// Gives all paths through here this result.
    fn set(&self, found: &mut Found, result: &Result<Value, String>) {
        match self {
            Node::Whole(paths) => paths
                .iter()
                .for_each(|(slot, _)| found[*slot] = result.clone()),
            Node::Fields(fields) => fields.iter().for_each(|(_, node)| node.set(found, result)),
            Node::Items(items) => items.iter().for_each(|(_, node)| node.set(found, result)),
        }
    }

    /// There is a value, but not one with fields or items.
    fn set_impossible(&self, found: &mut Found, kind: &str) {
        match self {
            Node::Whole(_) => {}
            Node::Fields(fields) => fields
                .iter()
                .for_each(|(key, node)| node.set(found, &Err(not_an_object(key, kind)))),
            Node::Items(items) => items
                .iter()
                .for_each(|(at, node)| node.set(found, &Err(not_a_list(*at as i64, kind)))),
        }
    }
}

fn join<K: PartialEq>(groups: &mut Vec<(K, Vec<(usize, Path)>)>, key: K, path: (usize, Path)) {
    match groups.iter_mut().find(|(known, _)| *known == key) {
        Some((_, paths)) => paths.push(path),
        None => groups.push((key, vec![path])),
    }
}

fn below<K>(groups: Vec<(K, Vec<(usize, Path)>)>) -> Vec<(K, Node)> {
    let node = |(key, paths)| (key, Node::new(paths));
    groups.into_iter().map(node).collect()
}

/// A node on its way through a body.
struct Pick<'a> {
    node: &'a Node,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Pick<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Node::Whole(paths) = self.node else {
            return deserializer.deserialize_any(self);
        };
        let value = Value::deserialize(deserializer)?;
        for (slot, path) in paths {
            self.found[*slot] = path.walk(&value).cloned();
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let fields: &[(String, Node)] = match self.node {
            Node::Fields(fields) => fields,
            _ => &[],
        };
        while let Some(child) = map.next_key_seed(Wanted(fields))? {
            match child {
                Some(node) => {
                    // Of two fields with one name the last one counts.
                    node.set(self.found, &Ok(Value::Null));
                    map.next_value_seed(node.pick(self.found))?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let items: &[(usize, Node)] = match self.node {
            Node::Items(items) => items,
            node => {
                node.set_impossible(self.found, "a list");
                &[]
            }
        };
        for place in 0.. {
            let item = items.iter().find(|(at, _)| *at == place);
            let more = match item {
                Some((_, node)) => list.next_element_seed(node.pick(self.found))?.is_some(),
                None => list.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.is("a boolean")
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.is("a number")
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.is("a number")
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.is("a number")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.is("a text")
    }
}

impl Pick<'_> {
    fn is<E>(self, kind: &str) -> Result<(), E> {
        self.node.set_impossible(self.found, kind);
        Ok(())
    }
}

/// Reads a key, and says what is wanted of its value.
struct Wanted<'a>(&'a [(String, Node)]);

impl<'de, 'a> DeserializeSeed<'de> for Wanted<'a> {
    type Value = Option<&'a Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Wanted<'a> {
    type Value = Option<&'a Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let field = self.0.iter().find(|(name, _)| name == key);
        Ok(field.map(|(_, node)| node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn together_they_come_to_what_each_comes_to_alone() {
        let paths: Vec<Path> = [
            ".",
            ".a",
            ".a.b",
            ".a.b[0]",
            ".a.b[2].c",
            ".a.b[-1]",
            ".n",
            ".n.x",
            ".t[0]",
            ".[1]",
            ".a.none",
            ".list[1]",
            ".list[1].x",
            ".list.x",
            ".twice.x",
            ".twice.y",
            ".nothing.x[0]",
        ]
        .iter()
        .map(|path| Path::parse(path).unwrap())
        .collect();
        for body in [
            r#"{"a": {"b": [1, {"skip": [1, "\u0041"]}, {"c": "x"}]}, "n": 1.5, "t": "text",
                "list": [0, {"x": true}], "twice": {"x": 1}, "nothing": null, "twice": {"y": 2}}"#,
            r#"[1, {"a": 2}, 3]"#,
            "7",
            "null",
            "\"text\"",
            "{}",
        ] {
            let whole: Value = serde_json::from_str(body).unwrap();
            // Without those that want everything, and each by itself.
            let sets = [&paths[..], &paths[1..], &paths[2..9], &paths[10..]];
            let alone = paths.iter().map(std::slice::from_ref);
            for set in sets.into_iter().chain(alone) {
                let found = Picker::new(set.iter()).pick(body.as_bytes()).unwrap();
                let expected: Found = set.iter().map(|path| path.walk(&whole).cloned()).collect();
                assert_eq!(found, expected, "{body}");
            }
        }
    }

    #[test]
    fn what_is_not_json_is_an_error_wherever_it_stands() {
        let path = Path::parse(".a.b").unwrap();
        let picker = Picker::new(std::iter::once(&path));
        for body in [
            "",
            "{\"a\": 1",
            "{\"x\": nul}",
            "{\"a\": {}} more",
            "<html>",
            "{\"x\": \"\n\"}",
        ] {
            assert!(picker.pick(body.as_bytes()).is_err(), "{body}");
        }
    }
}
