//! Takes the values at plain paths out of a body in one pass over its bytes, without
//! making values of the rest, and no further than it has to. Pure.

use jiter::{Jiter, JiterError, Peek};
use serde_json::Value;

use super::path::{Path, Step};

/// What each path came to: null where nothing is, or why it can't be walked.
pub type Found = Vec<Result<Value, String>>;

/// Paths, compiled to be walked together.
pub struct Picker {
    root: Node,
    paths: Vec<Path>,
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

/// How far the walk has come.
#[derive(PartialEq)]
enum Walk {
    /// To the end of a value, after which there may be more.
    On,
    /// There is a value for every path.
    Enough,
}

/// It is no JSON, or has something else than the paths lead one to expect.
struct Unusual;

impl From<JiterError> for Unusual {
    fn from(_: JiterError) -> Unusual {
        Unusual
    }
}

impl Picker {
    /// For these paths, in their order.
    pub fn new<'a>(paths: impl Iterator<Item = &'a Path>) -> Picker {
        let paths: Vec<_> = paths.cloned().collect();
        let root = Node::new(paths.iter().cloned().enumerate().collect());
        Picker { root, paths }
    }

    /// The values of one body, or why it isn't JSON. Once each path has its value, the
    /// rest is not read, but for its end, which must fit the beginning.
    pub fn pick(&self, body: &[u8]) -> serde_json::Result<Found> {
        let mut found = vec![Ok(Value::Null); self.paths.len()];
        match self.walk(body, &mut found) {
            Ok(()) => Ok(found),
            Err(Unusual) => {
                let body = serde_json::from_slice(body)?;
                let walk = |path: &Path| path.walk(&body).cloned();
                Ok(self.paths.iter().map(walk).collect())
            }
        }
    }

    fn walk(&self, body: &[u8], found: &mut Found) -> Result<(), Unusual> {
        let mut json = Jiter::new(body);
        let first = json.peek()?;
        match self.root.walk(&mut json, first, found)? {
            Walk::On => Ok(json.finish()?),
            Walk::Enough if ends_as_it_begins(body) => Ok(()),
            Walk::Enough => Err(Unusual),
        }
    }
}

fn ends_as_it_begins(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let ends = (body.first(), body.last());
    matches!(ends, (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
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

    /// Walks the value that begins with this.
    fn walk(&self, json: &mut Jiter<'_>, first: Peek, found: &mut Found) -> Result<Walk, Unusual> {
        match self {
            Node::Whole(paths) => {
                let value = read(json, first)?;
                for (slot, path) in paths {
                    found[*slot] = path.walk(&value).cloned();
                }
                Ok(if is_enough(found) {
                    Walk::Enough
                } else {
                    Walk::On
                })
            }
            Node::Fields(fields) if first == Peek::Object => walk_fields(fields, json, found),
            Node::Items(items) if first == Peek::Array => walk_items(items, json, found),
            _ if first == Peek::Null => Ok(json.known_null().map(|()| Walk::On)?),
            _ => Err(Unusual),
        }
    }

    /// Of two fields with one name the last one counts.
    fn forget(&self, found: &mut Found) {
        match self {
            Node::Whole(paths) => paths
                .iter()
                .for_each(|(slot, _)| found[*slot] = Ok(Value::Null)),
            Node::Fields(fields) => fields.iter().for_each(|(_, node)| node.forget(found)),
            Node::Items(items) => items.iter().for_each(|(_, node)| node.forget(found)),
        }
    }
}

/// The value that begins with this, as serde_json has it.
fn read(json: &mut Jiter<'_>, first: Peek) -> Result<Value, Unusual> {
    if first == Peek::String {
        return Ok(json.known_str()?.into());
    }
    let start = json.current_index();
    json.known_skip(first)?;
    serde_json::from_slice(json.slice_to_current(start)).map_err(|_| Unusual)
}

fn walk_fields(
    fields: &[(String, Node)],
    json: &mut Jiter<'_>,
    found: &mut Found,
) -> Result<Walk, Unusual> {
    let wanted = |key: &[u8]| wanted(fields, key);
    let mut next = json.next_object_bytes()?.map(wanted).transpose()?;
    while let Some(field) = next {
        let first = json.peek()?;
        match field {
            None => json.known_skip(first)?,
            Some((_, node)) => {
                node.forget(found);
                if node.walk(json, first, found)? == Walk::Enough {
                    return Ok(Walk::Enough);
                }
            }
        }
        next = json.next_key_bytes()?.map(wanted).transpose()?;
    }
    Ok(Walk::On)
}

/// The field of this name, as it is written; one with escapes may be any of them.
fn wanted<'a>(
    fields: &'a [(String, Node)],
    key: &[u8],
) -> Result<Option<&'a (String, Node)>, Unusual> {
    if key.contains(&b'\\') {
        return Err(Unusual);
    }
    Ok(fields.iter().find(|(name, _)| name.as_bytes() == key))
}

fn walk_items(
    items: &[(usize, Node)],
    json: &mut Jiter<'_>,
    found: &mut Found,
) -> Result<Walk, Unusual> {
    let mut next = json.known_array()?;
    for place in 0.. {
        let Some(first) = next else {
            break;
        };
        match items.iter().find(|(at, _)| *at == place) {
            None => json.known_skip(first)?,
            Some((_, node)) => {
                if node.walk(json, first, found)? == Walk::Enough {
                    return Ok(Walk::Enough);
                }
            }
        }
        next = json.array_step()?;
    }
    Ok(Walk::On)
}

/// Whether there is a value for each path.
fn is_enough(found: &Found) -> bool {
    let is_value = |found: &Result<Value, _>| found.as_ref().is_ok_and(|value| !value.is_null());
    found.iter().all(is_value)
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
            "{\"a\": {\"b\": nul}}",
            "{\"a\": {\"b\": NaN}}",
            "{\"a\": {\"b\": 1",
            "{\"a\": {\"b\": 1}, \"c\": [1, 2, 3",
            "{\"a\": {\"b\": \"\\ud800\"}}",
        ] {
            assert!(picker.pick(body.as_bytes()).is_err(), "{body}");
        }
        let not_text = b"{\"a\": {\"b\": \"\xff\"}}";
        assert!(picker.pick(not_text).is_err());
    }

    #[test]
    fn what_follows_the_last_value_is_not_read() {
        let paths = [".a.b", ".list[1]"].map(|path| Path::parse(path).unwrap());
        let picker = Picker::new(paths.iter());
        let body = br#"{"list": [0, 1, 2], "a": {"b": "x", "c": this is not JSON}}"#;
        let found = picker.pick(body).unwrap();
        assert_eq!(found, [Ok("x".into()), Ok(1.into())]);
        let wanting = br#"{"list": [0], "a": {"b": "x", "c": this is not JSON}}"#;
        assert!(picker.pick(wanting).is_err());
    }
}
