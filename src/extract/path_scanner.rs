//! Extracts the values at plain paths in one pass over a body, without building values of
//! the rest. The whole body is checked to be JSON. Pure.

use serde_json::Value;

use super::body;
use super::path::{Path, PathStep};
use super::scanner::{Scanner, Unusual};
use crate::record::Failure;

/// The value of each path: null if it is missing; the error is why the path can't be
/// followed.
pub type PathValues = Vec<Result<Value, String>>;

/// Paths, compiled to be followed together.
pub struct PathScanner {
    root: Node,
    paths: Vec<Path>,
}

/// The parts of one value that are extracted.
enum Node {
    /// The whole value, for these paths from here.
    Whole(Vec<(usize, Path)>),
    /// These fields of an object.
    Fields(Vec<(String, Node)>),
    /// These items of a list, by index.
    Items(Vec<(usize, Node)>),
}

impl PathScanner {
    /// Compiles these paths; values have the same order.
    pub fn new<'a>(paths: impl Iterator<Item = &'a Path>) -> PathScanner {
        let paths: Vec<_> = paths.cloned().collect();
        let root = Node::new(paths.iter().cloned().enumerate().collect());
        PathScanner { root, paths }
    }

    /// The values of one body.
    ///
    /// # Errors
    /// Why the body isn't one JSON document.
    pub fn scan(&self, body: &[u8]) -> Result<PathValues, Failure> {
        let mut found = vec![Ok(Value::Null); self.paths.len()];
        match self.walk(body::json_text(body)?, &mut found) {
            Ok(()) => Ok(found),
            Err(Unusual) => {
                let body = body::json(body)?;
                let walk = |path: &Path| path.walk(&body).cloned();
                Ok(self.paths.iter().map(walk).collect())
            }
        }
    }

    fn walk(&self, text: &str, found: &mut PathValues) -> Result<(), Unusual> {
        let mut json = Scanner::new(text);
        self.root.walk(&mut json, found)?;
        json.end()
    }
}

impl Node {
    fn new(paths: Vec<(usize, Path)>) -> Node {
        let mut fields: Vec<(String, Vec<(usize, Path)>)> = Vec::new();
        let mut items: Vec<(usize, Vec<(usize, Path)>)> = Vec::new();
        for (slot, path) in &paths {
            match path.split_first() {
                Some((PathStep::Key(key), rest)) => {
                    add_path(&mut fields, key.clone(), (*slot, rest))
                }
                Some((PathStep::Index(at @ 0..), rest)) => {
                    add_path(&mut items, *at as usize, (*slot, rest))
                }
                // The value itself is extracted, or an item counted from the end.
                _ => return Node::Whole(paths),
            }
        }
        match (fields.is_empty(), items.is_empty()) {
            (false, true) => Node::Fields(nodes(fields)),
            (true, false) => Node::Items(nodes(items)),
            _ => Node::Whole(paths),
        }
    }

    /// Extracts from the next value.
    fn walk(&self, json: &mut Scanner<'_>, found: &mut PathValues) -> Result<(), Unusual> {
        match (self, json.peek()?) {
            (Node::Whole(paths), _) => {
                let value = serde_json::from_str(json.value()?).map_err(|_| Unusual)?;
                for (slot, path) in paths {
                    found[*slot] = path.walk(&value).cloned();
                }
                Ok(())
            }
            (Node::Fields(fields), b'{') => walk_fields(fields, json, found),
            (Node::Items(items), b'[') => walk_items(items, json, found),
            // The parts of null are null.
            (_, b'n') => json.skip(),
            // The full parser reports why other types have no parts.
            _ => Err(Unusual),
        }
    }

    /// Clears the values from here: of two fields with one name the last one counts.
    fn clear(&self, found: &mut PathValues) {
        match self {
            Node::Whole(paths) => paths.iter().for_each(|(slot, _)| found[*slot] = Ok(Value::Null)),
            Node::Fields(fields) => fields.iter().for_each(|(_, node)| node.clear(found)),
            Node::Items(items) => items.iter().for_each(|(_, node)| node.clear(found)),
        }
    }
}

fn walk_fields(
    fields: &[(String, Node)],
    json: &mut Scanner<'_>,
    found: &mut PathValues,
) -> Result<(), Unusual> {
    json.expect(b'{')?;
    if json.take(b'}')? {
        return Ok(());
    }
    loop {
        let key = json.key()?;
        match fields.iter().find(|(name, _)| *name == key) {
            None => json.skip()?,
            Some((_, node)) => {
                node.clear(found);
                node.walk(json, found)?;
            }
        }
        if !json.take(b',')? {
            return json.expect(b'}');
        }
    }
}

fn walk_items(
    items: &[(usize, Node)],
    json: &mut Scanner<'_>,
    found: &mut PathValues,
) -> Result<(), Unusual> {
    json.expect(b'[')?;
    if json.take(b']')? {
        return Ok(());
    }
    for place in 0.. {
        match items.iter().find(|(at, _)| *at == place) {
            None => json.skip()?,
            Some((_, node)) => node.walk(json, found)?,
        }
        if !json.take(b',')? {
            break;
        }
    }
    json.expect(b']')
}

fn add_path<K: PartialEq>(groups: &mut Vec<(K, Vec<(usize, Path)>)>, key: K, path: (usize, Path)) {
    match groups.iter_mut().find(|(known, _)| *known == key) {
        Some((_, paths)) => paths.push(path),
        None => groups.push((key, vec![path])),
    }
}

fn nodes<K>(groups: Vec<(K, Vec<(usize, Path)>)>) -> Vec<(K, Node)> {
    let node = |(key, paths)| (key, Node::new(paths));
    groups.into_iter().map(node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::FailureKind;

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
                let found = PathScanner::new(set.iter()).scan(body.as_bytes()).unwrap();
                let expected: PathValues =
                    set.iter().map(|path| path.walk(&whole).cloned()).collect();
                assert_eq!(found, expected, "{body}");
            }
        }
    }

    #[test]
    fn what_is_not_json_is_an_error_wherever_it_stands() {
        let path = Path::parse(".a.b").unwrap();
        let picker = PathScanner::new(std::iter::once(&path));
        for body in [
            "",
            "{\"a\": 1",
            "{\"x\": nul}",
            "{\"a\": {}} more",
            "<html>",
            "{\"x\": \"\n\"}",
            "{\"a\": {\"b\": nul}}",
            "{\"a\": {\"b\": NaN}}",
            "{\"a\": {\"b\": 1",
            "{\"a\": {\"b\": 1}, \"c\": [1, 2, 3",
            "{\"a\": {\"b\": \"\\ud800\"}}",
        ] {
            assert!(picker.scan(body.as_bytes()).is_err(), "{body}");
        }
        let not_text = b"{\"a\": {\"b\": \"\xff\"}}";
        assert!(picker.scan(not_text).is_err());
    }

    #[test]
    fn all_of_a_body_is_read() {
        let paths = [".a.b", ".list[1]"].map(|path| Path::parse(path).unwrap());
        let picker = PathScanner::new(paths.iter());
        let body = br#"{"list": [0, 1, 2], "a": {"b": "x", "c": this is not JSON}}"#;
        assert_eq!(picker.scan(body).unwrap_err().kind, FailureKind::NotJson);
        let two = br#"{"list": [0, 1], "a": {"b": "x"}} {"list": [0, 2]}"#;
        assert_eq!(picker.scan(two).unwrap_err().kind, FailureKind::SeveralDocuments);
        let twice = br#"{"list": [0, 1], "a": {"b": "x"}, "\u0061": {"b": "y"}}"#;
        assert_eq!(picker.scan(twice).unwrap(), [Ok("y".into()), Ok(1.into())]);
    }
}
